//! A server that says what it is told to: one scripted reply a request, everything it was sent kept for the test.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use akvfs::clock::{Clock, SystemClock};
use akvfs::secret::{SecretName, SecretValue};
use akvfs::store::{ErrorKind, StoreError, Wait};
use akvfs::vault::{ClientOptions, SecretClient, StaticToken};

pub const VERSION: &str = "1f03fbba793f4906bad7605c37a1be4e";
pub const OTHER: &str = "2f03fbba793f4906bad7605c37a1be4e";
pub const TOKEN: &str = "canary-token";
/// The vault's time in every reply, and the same in seconds.
pub const DATE: &str = "Tue, 14 Jul 2026 03:33:20 GMT";
pub const NOW: i64 = 1_784_000_000;

/// What the server does with one request.
pub enum Act {
    /// Answers.
    Reply(u16, Vec<(String, String)>, String),
    /// Reads the request and hangs up.
    HangUp,
    /// Answers as if it would go on for ever: a byte now and then.
    Drip,
    /// Says the first, then the second for ever, with such a pause between.
    Endless(Vec<u8>, Vec<u8>, Duration),
    /// Answers with as many bytes, without saying beforehand.
    Flood(usize),
    /// Says nothing.
    Silence,
    /// Says exactly this, and hangs up.
    Raw(Vec<u8>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Decide = Box<dyn FnMut(&Seen) -> Act + Send>;

/// Listens on loopback until the process ends.
pub struct Server {
    pub port: u16,
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Plays `script`, then hangs up on everybody.
    pub fn play(script: Vec<Act>) -> Self {
        Self::at("127.0.0.1:0", script)
    }

    /// The same at an address of its own.
    pub fn at(address: &str, script: Vec<Act>) -> Self {
        Self::start(address, script, None, None)
    }

    /// Does with each request what `decide` says.
    pub fn decide(decide: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        Self::start("127.0.0.1:0", Vec::new(), None, Some(Box::new(decide)))
    }

    /// The same over TLS.
    pub fn play_tls(script: Vec<Act>, identity: &Identity) -> Self {
        Self::start("127.0.0.1:0", script, Some(identity.config()), None)
    }

    fn start(address: &str, script: Vec<Act>, tls: Option<Arc<rustls::ServerConfig>>, decide: Option<Decide>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (script, seen) = (Arc::new(Mutex::new(VecDeque::from(script))), Arc::default());
        let connections: Arc<AtomicUsize> = Arc::default();
        let server = Self { port, script: script.clone(), seen: Arc::clone(&seen), connections: connections.clone() };
        let next = move |_: &Seen| script.lock().expect("no panic").pop_front().unwrap_or(Act::HangUp);
        let decide = Arc::new(Mutex::new(decide.unwrap_or_else(|| Box::new(next))));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (decide, seen, tls) = (decide.clone(), seen.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &decide, &seen),
                    Some(tls) => {
                        let session = rustls::ServerConnection::new(tls).expect("a good configuration");
                        serve(rustls::StreamOwned::new(session, stream), &decide, &seen);
                    }
                });
            }
        });
        server
    }

    /// A vault that challenges the first request, then plays `script`.
    pub fn vault(script: Vec<Act>) -> Self {
        Self::play(std::iter::once(challenge()).chain(script).collect())
    }

    /// More to play.
    pub fn add(&self, acts: Vec<Act>) {
        self.script.lock().expect("no panic").extend(acts);
    }

    /// A port of loopback on which nobody listens.
    pub fn unused_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("bound").port()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// How often anybody connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The method and path of each request, without the query.
    pub fn asked(&self) -> Vec<String> {
        let short = |seen: &Seen| seen.line.split(['?', ' ']).take(2).collect::<Vec<_>>().join(" ");
        self.seen().iter().map(short).collect()
    }

    /// Asserts that all of the script was used.
    pub fn is_done(&self) {
        assert_eq!(self.script.lock().expect("no panic").len(), 0, "replies left over: {:?}", self.asked());
    }

    pub fn client(&self) -> SecretClient {
        self.client_with(ClientOptions { try_timeout: Duration::from_secs(1), ..ClientOptions::default() })
    }

    pub fn client_with(&self, options: ClientOptions) -> SecretClient {
        let options = ClientOptions { verify_challenge_resource: false, ..options };
        client(&self.url(), options).expect("loopback")
    }
}

/// A certificate of `localhost` that nobody knows, and its key.
pub struct Identity(rcgen::CertifiedKey<rcgen::KeyPair>);

impl Identity {
    pub fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        Self(rcgen::generate_simple_self_signed(names).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.cert.pem()
    }

    fn config(&self) -> Arc<rustls::ServerConfig> {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("usual versions").with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.0.cert.der().clone()], key.into()).expect("its own key"))
    }
}

pub fn client(url: &str, options: ClientOptions) -> Result<SecretClient, akvfs::vault::ClientError> {
    SecretClient::new(url, Arc::new(StaticToken::new(TOKEN.into())), options, clock())
}

fn serve<S: Read + Write>(stream: S, decide: &Mutex<Decide>, seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let act = (decide.lock().expect("no panic"))(&request);
        seen.lock().expect("no panic").push(request);
        if !perform(act, reader.get_mut()) {
            return;
        }
    }
}

/// Whether the connection goes on.
fn perform(act: Act, stream: &mut (impl Read + Write)) -> bool {
    match act {
        Act::Reply(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\nDate: {DATE}\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).and_then(|()| stream.flush()).is_ok()
        }
        Act::HangUp => false,
        Act::Drip => {
            let head = b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n".to_vec();
            perform(Act::Endless(head, b" ".to_vec(), Duration::from_millis(50)), stream)
        }
        Act::Endless(head, again, pause) => {
            let _ = stream.write_all(&head);
            while stream.write_all(&again).and_then(|()| stream.flush()).is_ok() {
                std::thread::sleep(pause);
            }
            false
        }
        Act::Flood(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&vec![b' '; bytes]);
            false
        }
        Act::Raw(bytes) => {
            let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
            false
        }
        Act::Silence => {
            let _ = stream.read(&mut [0]); // until the client hangs up
            false
        }
    }
}

fn read_request(reader: &mut BufReader<impl Read>) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().expect("a length"))];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { line: lines.first()?.clone(), headers, body: String::from_utf8(body).ok()? })
}

pub fn reply(status: u16, body: impl Into<String>) -> Act {
    Act::Reply(status, Vec::new(), body.into())
}

pub fn reply_with(status: u16, header: &str, value: &str) -> Act {
    Act::Reply(status, vec![(header.to_owned(), value.to_owned())], String::new())
}

pub fn challenge() -> Act {
    challenge_for("https://vault.azure.net")
}

pub fn challenge_for(resource: &str) -> Act {
    let value = format!(r#"Bearer authorization="https://login.example/tenant", resource="{resource}""#);
    reply_with(401, "WWW-Authenticate", &value)
}

/// A secret called `db`, made `age` seconds before [`NOW`].
pub fn bundle(version: &str, value: &str, age: i64) -> Act {
    let created = NOW - age;
    let attributes = format!(r#"{{"enabled":true,"created":{created},"updated":{created}}}"#);
    reply(200, format!(r#"{{"value":"{value}","id":"https://v/secrets/db/{version}","attributes":{attributes}}}"#))
}

pub fn refusal(status: u16, code: &str, inner: &str) -> Act {
    let inner = if inner.is_empty() { String::new() } else { format!(r#","innererror":{{"code":"{inner}"}}"#) };
    reply(status, format!(r#"{{"error":{{"code":"{code}","message":"said so"{inner}}}}}"#))
}

pub fn not_found() -> Act {
    refusal(404, "SecretNotFound", "")
}

pub fn db() -> SecretName {
    SecretName::parse("db").expect("legal")
}

pub fn value(text: &str) -> SecretValue {
    SecretValue::new(text.to_owned())
}

/// The clock of every client here.
pub fn clock() -> Arc<dyn Clock> {
    static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
    CLOCK.get_or_init(SystemClock::shared).clone()
}

pub fn within(milliseconds: u64) -> Wait {
    Wait::at_most(&*clock(), Duration::from_millis(milliseconds))
}

pub fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> ErrorKind {
    result.expect_err("an error").kind
}
