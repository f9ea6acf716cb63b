//! The least HTTP client that shows an answer as it came: one connection, no header hidden, none added.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The name that the local vault is called by here; without a port, as Azure's are.
pub const HOST: &str = "contoso.localhost";

pub struct Connection {
    stream: BufReader<TcpStream>,
}

pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    pub authorized: bool,
    pub client_request_id: Option<&'a str>,
    pub body: Option<String>,
}

pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("set");
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, request: Request<'_>) -> Answer {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {HOST}\r\n", request.method, request.target);
        if request.authorized {
            text += "Authorization: Bearer any\r\n";
        }
        if let Some(id) = request.client_request_id {
            text += &format!("x-ms-client-request-id: {id}\r\n");
        }
        let body = request.body.unwrap_or_default();
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(text.as_bytes()).expect("sent");
        self.read()
    }

    fn read(&mut self) -> Answer {
        let status = self.line().split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse());
        let mut body = vec![0; length.transpose().expect("a length").unwrap_or(0)];
        self.stream.read_exact(&mut body).expect("a body");
        Answer { status, headers, body }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}
