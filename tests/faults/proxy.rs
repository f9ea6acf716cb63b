//! Stands between a mount and its vault and breaks chosen exchanges at a chosen moment: before the vault has the request, after
//! it carried it out, in the middle of its answer. What the local vault's own faults cannot do, because they end in a library.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with an exchange.
#[derive(Clone, Debug)]
pub enum Strike {
    /// The vault never has the request; this whole answer is given.
    Instead(String),
    /// The vault carries it out; this whole answer is given.
    Over(String),
    /// The vault never has the request.
    Before(Break),
    /// The vault carries it out, and its answer suffers.
    After(Break),
}

/// How a connection or an answer breaks.
#[derive(Clone, Copy, Debug)]
pub enum Break {
    /// RST, no byte of an answer.
    Reset,
    /// FIN, no byte of an answer.
    Close,
    /// Never a byte.
    Stall,
    /// Half of the head, then RST.
    ResetInHead,
    /// Half of the head, then nothing.
    StallInHead,
    /// Half of the body, then FIN: fewer bytes than announced.
    CutBody,
    /// Half of the body, announced as all of it.
    HalfBody,
    /// Half of the body, then nothing.
    StallInBody,
    /// A byte every fifth of a second.
    Drip,
}

/// One fault: which requests it strikes, and how many of them.
#[derive(Debug)]
pub struct Fault {
    pub method: &'static str,
    /// Without the query and a slash at the end.
    pub path: String,
    pub strike: Strike,
    pub count: u32,
}

/// What is armed, and how often it has struck.
#[derive(Default)]
struct Plan {
    fault: Option<Fault>,
    /// So many of a hundred requests are struck by one of these.
    chaos: (u8, Vec<Strike>),
    struck: u32,
}

/// A relay. Its port is what a mount mounts.
pub struct Proxy {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

const DRIP: Duration = Duration::from_millis(200);

impl Proxy {
    pub fn to(vault: SocketAddr) -> Self {
        let plan = Arc::<Mutex<Plan>>::default();
        let shared = plan.clone();
        Self::listening(plan, move |stream| {
            let plan = shared.clone();
            // Whoever hangs up has ended his exchange.
            std::thread::spawn(move || serve(&stream, vault, &plan));
        })
    }

    /// Where nobody is let in: every connection is closed when its first bytes have come.
    pub fn to_nobody() -> Self {
        Self::listening(Arc::default(), |mut stream| drop(stream.read(&mut [0; 64])))
    }

    fn listening(plan: Arc<Mutex<Plan>>, serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, accepting) = (listener.local_addr().unwrap(), listener.clone());
        std::thread::spawn(move || accepting.incoming().map_while(Result::ok).for_each(serve));
        Self { listener, address, plan }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// In place of whatever was armed.
    pub fn arm(&self, fault: Fault) {
        *self.plan.lock().unwrap() = Plan { fault: Some(fault), ..Plan::default() };
    }

    /// In place of whatever was armed: strikes so many of a hundred requests, by chance.
    pub fn arm_chaos(&self, percent: u8, strikes: Vec<Strike>) {
        *self.plan.lock().unwrap() = Plan { chaos: (percent, strikes), ..Plan::default() };
    }

    pub fn struck(&self) -> u32 {
        self.plan.lock().unwrap().struck
    }

    /// Nothing goes wrong any more; how often it has.
    pub fn disarm(&self) -> u32 {
        std::mem::take(&mut *self.plan.lock().unwrap()).struck
    }
}

impl Drop for Proxy {
    /// Its thread ends. An exchange under way ends with the mount that it is for.
    fn drop(&mut self) {
        // SAFETY: an open socket.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

struct Message {
    head: String,
    body: Vec<u8>,
}

fn serve(client: &TcpStream, vault: SocketAddr, plan: &Mutex<Plan>) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    while let Some(request) = read_message(&mut reader)? {
        let strike = plan.lock().unwrap().strike(&request);
        match strike {
            None => send_all(client, &forward(vault, request)?)?,
            Some(strike) => return carry_out(strike, client, vault, request),
        }
    }
    Ok(())
}

impl Plan {
    fn strike(&mut self, request: &Message) -> Option<Strike> {
        let mut words = request.head.split([' ', '?']);
        let (method, path) = (words.next()?, words.next()?.trim_end_matches('/'));
        // The first request of all has no token, and is only to be asked for one.
        header(&request.head, "authorization")?;
        if fastrand::u8(..100) < self.chaos.0 {
            self.struck += 1;
            return fastrand::choice(&self.chaos.1).cloned();
        }
        let fault = self.fault.as_mut()?;
        // A change of properties may name a version.
        let here = path == fault.path || (method == "PATCH" && path.starts_with(&fault.path));
        if !(here && method == fault.method && fault.count > 0) {
            return None;
        }
        fault.count -= 1;
        self.struck += 1;
        Some(fault.strike.clone())
    }
}

/// The connection is over afterwards.
fn carry_out(strike: Strike, client: &TcpStream, vault: SocketAddr, request: Message) -> io::Result<()> {
    match strike {
        Strike::Instead(answer) => send_raw(client, answer.as_bytes()),
        Strike::Over(answer) => forward(vault, request).and_then(|_| send_raw(client, answer.as_bytes())),
        Strike::Before(how) => spoil(how, client, &Message { head: String::new(), body: Vec::new() }),
        Strike::After(how) => spoil(how, client, &forward(vault, request)?),
    }
}

fn spoil(how: Break, client: &TcpStream, answer: &Message) -> io::Result<()> {
    let head = answer.head.as_bytes();
    let half = &answer.body[..answer.body.len() / 2];
    match how {
        Break::Reset => reset(client),
        Break::Close => {}
        Break::Stall => wait_for_the_end(client),
        Break::ResetInHead => {
            send_raw(client, &head[..head.len() / 2])?;
            reset(client);
        }
        Break::StallInHead => {
            send_raw(client, &head[..head.len() / 2])?;
            wait_for_the_end(client);
        }
        Break::CutBody => send_raw(client, &[head, half].concat())?,
        Break::HalfBody => {
            send_all(client, &Message { head: with_length(&answer.head, half.len()), body: half.to_vec() })?;
        }
        Break::StallInBody => {
            send_raw(client, &[head, half].concat())?;
            wait_for_the_end(client);
        }
        Break::Drip => {
            for byte in [head, &answer.body].concat() {
                send_raw(client, &[byte])?;
                std::thread::sleep(DRIP);
            }
        }
    }
    Ok(())
}

fn send_raw(mut client: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    client.write_all(bytes)
}

fn send_all(client: &TcpStream, message: &Message) -> io::Result<()> {
    send_raw(client, &[message.head.as_bytes(), &message.body].concat())
}

/// Makes the close that follows a RST.
fn reset(client: &TcpStream) {
    let how = libc::linger { l_onoff: 1, l_linger: 0 };
    let (how, size) = ((&raw const how).cast(), size_of::<libc::linger>() as libc::socklen_t);
    // SAFETY: an open socket, and a value that lives through the call.
    let done = unsafe { libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, how, size) };
    assert_eq!(done, 0);
}

fn wait_for_the_end(mut client: &TcpStream) {
    let mut rest = [0; 256];
    while client.read(&mut rest).is_ok_and(|bytes| bytes > 0) {}
}

/// The vault's answer, as if the connection to it stayed open.
fn forward(vault: SocketAddr, request: Message) -> io::Result<Message> {
    let upstream = TcpStream::connect(vault)?;
    send_all(&upstream, &request)?;
    read_message(&mut BufReader::new(&upstream))?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// `None` at the end of the connection.
fn read_message(reader: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    let length = header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Message { head, body }))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let found = head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

fn with_length(head: &str, length: usize) -> String {
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
    format!("{}\r\ncontent-length: {length}\r\n\r\n", lines.collect::<Vec<_>>().join("\r\n"))
}
