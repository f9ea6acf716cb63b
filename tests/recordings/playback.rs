//! Recorded sessions played back to the client in order. The server checks that each request is the one that was
//! recorded, and answers as the vault did; the client waits on a clock that it moves itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use akvfs::clock::{Clock, Moment};
use akvfs::secret::{BackupBlob, SecretAttributes, SecretName, SecretValue, Timestamp, Version};
use akvfs::store::{Continuation, Operation, SecretStore as _, StoreError, Wait};
use akvfs::vault::{AuthError, ClientOptions, SecretClient, Token, TokenSource, wire};
use serde_json::Value;

use crate::Counts;
use crate::client_support::{Act, Seen, Server, challenge};
use crate::exchange::{Exchange, Got};

/// Sessions that one client lives through; each new one has to be challenged first.
const SESSIONS_OF_A_CLIENT: usize = 20;

/// Plays all, on two threads, and counts what came of each exchange.
pub fn play(exchanges: impl Iterator<Item = Exchange>) -> Counts {
    let mut sessions: Vec<Vec<Exchange>> = Vec::new();
    for exchange in exchanges {
        match sessions.last_mut().filter(|session| session[0].source == exchange.source) {
            Some(session) => session.push(exchange),
            None => sessions.push(vec![exchange]),
        }
    }
    let sessions = Mutex::new(sessions.into_iter());
    let worker = || {
        let (mut player, mut counts) = (Player::new(), Counts::new());
        while let Some(session) = { sessions.lock().expect("no panic").next() } {
            player.play(session, &mut counts);
        }
        counts
    };
    let both = std::thread::scope(|scope| [scope.spawn(worker), scope.spawn(worker)].map(|thread| thread.join()));
    let mut all = Counts::new();
    for (what, count) in both.into_iter().flat_map(|counts| counts.expect("the reason is printed above")) {
        *all.entry(what).or_default() += count;
    }
    all
}

/// A session that is being played back, from the server's side.
#[derive(Default)]
struct Tape {
    exchanges: Vec<Exchange>,
    next: usize,
    /// Answers given again because the client asked once more than the recorded one.
    repeated: usize,
    /// Challenges that were not recorded, for a client that has no token yet.
    challenged: usize,
    wrong: Option<String>,
}

impl Tape {
    fn answer(&mut self, seen: &Seen) -> Act {
        let mut line = seen.line.split(['?', ' ']);
        let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
        let fits = |exchange: &&Exchange| exchange.method == method && same_path(&exchange.path, path);
        let last = self.next.checked_sub(1).and_then(|at| self.exchanges.get(at)).filter(fits);
        match (self.exchanges.get(self.next).filter(fits), last) {
            (Some(head), _) if seen.header("authorization").is_none() && head.reply.status != 401 => {
                self.challenged += 1;
                challenge()
            }
            (Some(head), _) => {
                let wrong = check_request(head, seen).err();
                let reply = reply(head);
                self.wrong = self.wrong.take().or(wrong);
                self.next += 1;
                reply
            }
            (None, Some(last)) => {
                let reply = reply(last);
                self.repeated += 1;
                reply
            }
            (None, None) => {
                self.wrong = Some(format!("an unexpected {}", seen.line));
                Act::HangUp
            }
        }
    }
}

fn same_path(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn reply(exchange: &Exchange) -> Act {
    let ours = ["date", "content-length", "transfer-encoding", "connection", "content-encoding"];
    let headers = exchange.reply.headers.iter().filter(|(name, _)| !ours.contains(&name.as_str())).cloned();
    let body = String::from_utf8(exchange.reply.body.to_vec()).expect("JSON");
    Act::Reply(exchange.reply.status, headers.collect(), body)
}

/// What the client sends says the same as what was recorded. A recorded challenge shows no body.
fn check_request(exchange: &Exchange, seen: &Seen) -> Result<(), String> {
    if exchange.reply.status == 401 || exchange.request.is_null() {
        return Ok(());
    }
    let ours: Value = serde_json::from_str(&seen.body).map_err(|_| format!("no JSON: {}", seen.line))?;
    let mut theirs = exchange.request.clone();
    if exchange.operation() == Operation::Update {
        theirs["value"].take(); // early clients sent it, and the vault passed over it
    }
    if said(&ours) == said(&theirs) { Ok(()) } else { Err(format!("{ours} for {theirs}")) }
}

/// The members that a client may write, where they say something.
fn said(body: &Value) -> Vec<&Value> {
    const WRITABLE: [&str; 6] =
        ["/value", "/contentType", "/tags", "/attributes/enabled", "/attributes/nbf", "/attributes/exp"];
    WRITABLE.map(|pointer| body.pointer(pointer).unwrap_or(&Value::Null)).into()
}

/// The client's side.
struct Player {
    server: Server,
    tape: Arc<Mutex<Tape>>,
    client: SecretClient,
    clock: Arc<Leaping>,
    sessions: usize,
}

impl Player {
    fn new() -> Self {
        let tape: Arc<Mutex<Tape>> = Arc::default();
        let played = tape.clone();
        let server = Server::decide(move |seen| played.lock().expect("no panic").answer(seen));
        let clock = Arc::new(Leaping::default());
        let client = client(&server, clock.clone());
        Self { server, tape, client, clock, sessions: 0 }
    }

    fn play(&mut self, mut session: Vec<Exchange>, counts: &mut Counts) {
        self.sessions += 1;
        if self.sessions.is_multiple_of(SESSIONS_OF_A_CLIENT) {
            self.client = client(&self.server, self.clock.clone());
        }
        session.iter_mut().for_each(|exchange| lead_here(exchange, &self.server.url()));
        *self.tape.lock().expect("no panic") = Tape { exchanges: session, ..Tape::default() };
        while self.step(counts) {}
        let tape = self.tape.lock().expect("no panic");
        *counts.entry("(answers given again, as the client waits longer)".to_owned()).or_default() += tape.repeated;
        *counts.entry("(challenges that were not recorded)".to_owned()).or_default() += tape.challenged;
    }

    /// One operation of the client, which may take several exchanges. Whether there was one to do.
    fn step(&self, counts: &mut Counts) -> bool {
        let mut count = |what: String| *counts.entry(what).or_default() += 1;
        let (at, asked) = {
            let mut tape = self.tape.lock().expect("no panic");
            let Some(head) = tape.exchanges.get(tape.next) else { return false };
            match Asked::of(&tape.exchanges[tape.next..], &self.server.url()) {
                Some(asked) => (tape.next, asked),
                None => {
                    count(format!("{} {} (a request that no typed client can make)", head.op, head.reply.status));
                    tape.next += 1;
                    return true;
                }
            }
        };
        let got = self.perform(asked);
        let tape = self.tape.lock().expect("no panic");
        let place = || format!("{}, exchange {}", tape.exchanges[at].source, tape.next);
        assert!(tape.wrong.is_none(), "{}: {:?}", place(), tape.wrong);
        assert!(tape.next > at, "{}: nothing was asked: {:?}", place(), got.err());
        for passed in &tape.exchanges[at..tape.next - 1] {
            count(format!("{} {} (passed through)", passed.op, passed.reply.status));
        }
        let verdict = tape.exchanges[tape.next - 1].judge(got);
        count(verdict.unwrap_or_else(|why| panic!("{}: {why}", place())));
        true
    }

    fn perform(&self, asked: Asked) -> Result<Got, StoreError> {
        let (client, wait) = (&self.client, Wait::at_most(&*self.clock, Duration::from_secs(3)));
        let Asked { operation, name, version, value, attributes, blob, from } = asked;
        let (version, from) = (version.as_ref(), from.as_ref());
        match operation {
            Operation::Get | Operation::Find => client.get(&name, version, wait).map(Got::Secret),
            Operation::Set => client.set(&name, &value, &attributes, wait).map(Got::Properties),
            Operation::Update => client.update(&name, version, &attributes, wait).map(Got::Properties),
            Operation::Delete => client.delete(&name, wait).map(Got::Deleted),
            Operation::GetDeleted => client.get_deleted(&name, wait).map(Got::Deleted),
            Operation::Recover => client.recover(&name, wait).map(Got::Properties),
            Operation::Purge => client.purge(&name, wait).map(|()| Got::Nothing),
            Operation::Backup => client.backup(&name, wait).map(Got::Blob),
            Operation::Restore => client.restore(&blob, wait).map(Got::Properties),
            Operation::List => client.list(from, wait).map(|page| Got::Page(page.items, page.next.map(|next| next.0))),
            Operation::ListVersions => {
                client.list_versions(&name, from, wait).map(|page| Got::Page(page.items, page.next.map(|next| next.0)))
            }
            Operation::ListDeleted => {
                client.list_deleted(from, wait).map(|page| Got::DeletedPage(page.items, page.next.map(|next| next.0)))
            }
        }
    }
}

fn client(server: &Server, clock: Arc<Leaping>) -> SecretClient {
    let options = ClientOptions {
        verify_challenge_resource: false,
        max_requests: u32::MAX,
        max_writes: u32::MAX,
        ..ClientOptions::default()
    };
    SecretClient::new(&server.url(), Arc::new(Numbered::default()), options, clock).expect("loopback")
}

/// Lets links into the recorded vault lead to the server, and takes doubled slashes out of a path.
fn lead_here(exchange: &mut Exchange, url: &str) {
    exchange.path = exchange.path.replace("//", "/");
    let link = exchange.body["nextLink"].as_str().and_then(|link| link.strip_prefix("https://"));
    if let Some((_, path)) = link.and_then(|link| link.split_once('/')) {
        let link = format!("{url}/{path}");
        let mut body = exchange.body.clone();
        body["nextLink"] = link.into();
        exchange.answer_with(body);
    }
}

/// What the client is to ask for.
struct Asked {
    operation: Operation,
    name: SecretName,
    version: Option<Version>,
    value: SecretValue,
    attributes: SecretAttributes,
    blob: BackupBlob,
    from: Option<Continuation>,
}

impl Asked {
    /// What the first of `ahead` asks for; `None` if a client cannot, as for a secret without a name. The body is
    /// that of the first try that has one: a challenge is answered before it is sent.
    fn of(ahead: &[Exchange], url: &str) -> Option<Self> {
        let head = &ahead[0];
        let same = |other: &&Exchange| other.method == head.method && other.path == head.path;
        let body = ahead.iter().take_while(same).map(|exchange| &exchange.request).find(|body| !body.is_null());
        let body = body.cloned().unwrap_or_default();
        let segments: Vec<_> = head.path.trim_matches('/').split('/').collect();
        let no_name = matches!(head.operation(), Operation::List | Operation::ListDeleted | Operation::Restore);
        let name = if no_name { "none" } else { *segments.get(1)? };
        let is_whole = match head.operation() {
            Operation::Backup | Operation::Recover | Operation::ListVersions => segments.len() == 3,
            _ => true,
        };
        let version = segments.get(2).filter(|_| matches!(head.operation(), Operation::Get | Operation::Update));
        Some(Self {
            operation: head.operation(),
            name: SecretName::parse(name).ok().filter(|_| is_whole)?,
            version: version.map(|version| Version::parse(version).expect("a version")),
            value: SecretValue::new(body["value"].as_str().unwrap_or_default().to_owned()),
            attributes: attributes(&body),
            blob: blob(&body),
            from: continuation(head, url),
        })
    }
}

fn attributes(body: &Value) -> SecretAttributes {
    let inner = &body["attributes"];
    SecretAttributes {
        enabled: inner["enabled"].as_bool(),
        not_before: inner["nbf"].as_i64().map(Timestamp),
        expires_on: inner["exp"].as_i64().map(Timestamp),
        content_type: body["contentType"].as_str().map(str::to_owned),
        tags: body["tags"].as_object().map(|tags| {
            tags.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
        }),
    }
}

fn blob(body: &Value) -> BackupBlob {
    wire::backup(body.to_string().as_bytes()).unwrap_or_else(|_| BackupBlob::new(b"none".to_vec()))
}

/// Where a listing went on, as the link before had said.
fn continuation(exchange: &Exchange, url: &str) -> Option<Continuation> {
    let is_later = exchange.query.iter().any(|(name, _)| name == "$skiptoken");
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&exchange.query).finish();
    is_later.then(|| Continuation(format!("{url}{}?{query}", exchange.path)))
}

/// Another token after each refusal, and for each tenant.
#[derive(Default)]
struct Numbered(AtomicUsize);

impl TokenSource for Numbered {
    fn token(&self, _scope: &str, tenant: Option<&str>, _wait: Wait) -> Result<Token, AuthError> {
        Ok(Token::new(format!("{}-{}", tenant.unwrap_or("none"), self.0.load(Ordering::SeqCst))))
    }

    fn forget(&self, _scope: &str, _tenant: Option<&str>, _refused: &Token) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A clock that stands until somebody sleeps.
#[derive(Debug, Default)]
struct Leaping(Mutex<Duration>);

impl Clock for Leaping {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_784_000_000) + *self.0.lock().expect("no panic")
    }

    fn moment(&self) -> Moment {
        Moment::from_start(*self.0.lock().expect("no panic"))
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().expect("no panic") += time;
    }
}
