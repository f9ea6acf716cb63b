//! A running vault, a clock that tests move, and a plain HTTP client.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use akvfs::clock::{Clock, Moment};
use akvfs::local::{ServeOptions, Server};
use reqwest::blocking::Client;
use serde_json::{Value, json};

/// When every test begins, in seconds since 1970.
pub const START: i64 = 1_800_000_000;

/// Stands still until moved.
#[derive(Debug, Default)]
pub struct TestClock(Mutex<Duration>);

impl TestClock {
    pub fn advance(&self, time: Duration) {
        *self.0.lock().expect("unpoisoned") += time;
    }

    pub fn go_back(&self, time: Duration) {
        *self.0.lock().expect("unpoisoned") -= time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START as u64) + self.moment().since(Moment::default())
    }

    fn moment(&self) -> Moment {
        Moment::from_start(*self.0.lock().expect("unpoisoned"))
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}

pub struct Local {
    pub server: Server,
    pub clock: Arc<TestClock>,
    pub http: Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("a JSON body")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ascii"))
    }

    /// Status, `code`, `innererror.code` (empty without) and message.
    pub fn error(&self) -> (u16, String, String, String) {
        let error = &self.json()["error"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (self.status, text(&error["code"]), text(&error["innererror"]["code"]), text(&error["message"]))
    }

    /// The version at the end of `id`.
    pub fn version(&self) -> String {
        let id = self.json()["id"].as_str().expect("an id").to_owned();
        id.rsplit('/').next().expect("a version").to_owned()
    }

    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

pub fn http() -> Client {
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

impl Local {
    pub fn start() -> Self {
        Self::with(ServeOptions::default())
    }

    pub fn with(options: ServeOptions) -> Self {
        let clock = Arc::new(TestClock::default());
        let server = Server::start(options, Arc::clone(&clock) as Arc<dyn Clock>).expect("a vault");
        Self { server, clock, http: http() }
    }

    /// Sends with a token, and with api-version 7.6 unless `path` has one.
    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> reqwest::Result<Answer> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let version = if path.contains("api-version") { String::new() } else { format!("{joint}api-version=7.6") };
        let url = format!("{}{path}{version}", self.server.url());
        let request = self.http.request(method.parse().expect("a verb"), url).bearer_auth("any");
        read(match body {
            Some(body) => request.body(body.to_owned()),
            None => request,
        })
    }

    pub fn call(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, None).expect("an answer")
    }

    pub fn call_with(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, Some(&body.to_string())).expect("an answer")
    }

    pub fn set(&self, name: &str, value: &str) -> Answer {
        self.call_with("PUT", &format!("/secrets/{name}"), &json!({ "value": value })).expect(200)
    }

    pub fn delete(&self, name: &str) -> Answer {
        self.call("DELETE", &format!("/secrets/{name}")).expect(200)
    }
}

pub fn read(request: reqwest::blocking::RequestBuilder) -> reqwest::Result<Answer> {
    let answer = request.send()?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok(Answer { status, headers, text: answer.text()? })
}

/// `akvfs serve` with `arguments`, its output to be read by us.
pub fn serve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
    command.arg("serve").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address that a child of ours tells.
pub fn url_of(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    line.trim_end().strip_prefix("listening on ").expect("an address").to_owned()
}

/// The names of an object's members, in order.
pub fn members(value: &Value) -> String {
    value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(",")
}
