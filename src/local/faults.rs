//! Bad days on request: what the server does wrong, how often, and to which operation.
//!
//! A fault strikes only requests that were let in, so that the challenge in front of them does not use it up.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::errors::THROTTLED;
use super::request::Operation;
use super::routes::Reply;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is not carried out; this is answered.
    Status {
        /// HTTP status.
        status: u16,
        /// Put over the usual headers; names in lower case.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Carried out; then the connection is closed without an answer.
    LoseReply,
    /// The connection is closed before anything is carried out.
    CloseBefore,
    /// Not carried out and never answered, until the faults are cleared or the server stops.
    Stall,
    /// Carried out; the page's `nextLink` leads to this origin (`https://elsewhere.example`), also if it was the last.
    ForeignNextLink(String),
    /// Not carried out; a 401 with this `WWW-Authenticate`, although a token came.
    Challenge(String),
    /// Carried out; the body breaks off in the middle.
    Truncate,
    /// Carried out; the page ends after so many items and has a `nextLink`, also if nothing is left.
    ShortPage(usize),
}

/// A fault to inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which operation it strikes; every one without it.
    pub operation: Option<Operation>,
    /// How many requests it strikes.
    pub count: u32,
    /// What goes wrong.
    pub kind: FaultKind,
}

impl FaultKind {
    /// A bare error answer as the service or something in front of it gives it.
    pub fn status(status: u16) -> Self {
        let (code, message) = match status {
            429 => ("Throttled", THROTTLED),
            _ => ("InternalServerError", "Injected by --fault."),
        };
        let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
        Self::Status { status, headers: Vec::new(), body }
    }

    /// A proxy's page, which says nothing of the vault.
    pub fn html(status: u16) -> Self {
        let headers = vec![("content-type".into(), "text/html".into())];
        Self::Status { status, headers, body: "<html><body>Not the vault</body></html>".into() }
    }

    /// A redirect to `location`.
    pub fn redirect(location: &str) -> Self {
        Self::Status { status: 307, headers: vec![("location".into(), location.into())], body: String::new() }
    }
}

impl FromStr for Fault {
    type Err = String;

    /// Reads `KIND[:N]`; N is how many requests it strikes, 1 if not given.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, count) = match text.split_once(':') {
            None => (text, 1),
            Some((kind, count)) => (kind, count.parse().map_err(|_| format!("{count:?} is not a number"))?),
        };
        Ok(Self { operation: None, count, kind: parse_kind(kind)? })
    }
}

fn parse_kind(kind: &str) -> Result<FaultKind, String> {
    Ok(match kind {
        "lose-reply" => FaultKind::LoseReply,
        "close-before" => FaultKind::CloseBefore,
        "stall" => FaultKind::Stall,
        "truncate" => FaultKind::Truncate,
        "html" => FaultKind::html(404),
        "redirect" => FaultKind::redirect("https://elsewhere.invalid/"),
        "foreign-next-link" => FaultKind::ForeignNextLink("https://elsewhere.invalid".into()),
        _ => match kind.parse() {
            Ok(status @ 400..=599) => FaultKind::status(status),
            _ => return Err(format!("no such fault; one of {KINDS}")),
        },
    })
}

/// The kinds the command line knows.
pub const KINDS: &str =
    "lose-reply, close-before, stall, truncate, html, redirect, foreign-next-link, or a status from 400 to 599";

/// The faults that are still to strike.
pub struct Faults {
    waiting: Mutex<Vec<Fault>>,
    cleared: watch::Sender<()>,
}

impl Faults {
    /// These, the first that fits first.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self { waiting: Mutex::new(faults), cleared: watch::Sender::new(()) }
    }

    /// One more, behind the others.
    pub fn add(&self, fault: Fault) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// None any more; what is stalled is let go.
    pub fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.cleared.send_replace(());
    }

    /// The fault that strikes a request for `operation`, and what tells of a clearing from now on.
    pub fn take(&self, operation: Option<Operation>) -> (Option<FaultKind>, watch::Receiver<()>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |fault: &Fault| fault.count > 0 && (fault.operation.is_none() || fault.operation == operation);
        let found = waiting.iter_mut().find(|fault| fits(fault)).map(|fault| {
            fault.count -= 1;
            fault.kind.clone()
        });
        waiting.retain(|fault| fault.count > 0);
        (found, self.cleared.subscribe())
    }
}

/// Puts `over` on the reply's headers in place of those of the same name.
pub fn replace_headers(reply: &mut Reply, over: &[(String, String)]) {
    reply.headers.retain(|(name, _)| !over.iter().any(|(other, _)| other == name));
    reply.headers.extend_from_slice(over);
}

/// Leads a page's `nextLink` to `origin`; leaves what is no page alone.
pub fn bend_next_link(reply: &mut Reply, origin: &str) {
    let Ok(mut page) = serde_json::from_slice::<serde_json::Value>(&reply.body) else { return };
    let Some(link) = page.get_mut("nextLink") else { return };
    *link = format!("{origin}/secrets?api-version=7.4&$skiptoken=bent").into();
    reply.body = page.to_string().into_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_in_order_and_as_often_as_told() {
        let faults = Faults::new(vec!["503:2".parse().expect("legal")]);
        faults.add(Fault { operation: Some(Operation::Set), count: 1, kind: FaultKind::LoseReply });
        let take = |operation| faults.take(Some(operation)).0;
        assert_eq!(take(Operation::Set), Some(FaultKind::status(503)));
        assert_eq!(take(Operation::Get), Some(FaultKind::status(503)));
        assert_eq!(take(Operation::Get), None);
        assert_eq!(take(Operation::Set), Some(FaultKind::LoseReply));
        assert_eq!(take(Operation::Set), None);
        faults.add("stall:9".parse().expect("legal"));
        faults.clear();
        assert_eq!(take(Operation::Set), None);
    }

    #[test]
    fn faults_are_read_from_the_command_line() {
        for kind in KINDS.split(", ").filter(|kind| !kind.contains(' ')) {
            assert_eq!(kind.parse::<Fault>().map(|fault| fault.count), Ok(1), "{kind}");
        }
        assert_eq!("429:5".parse::<Fault>().map(|fault| fault.count), Ok(5));
        for wrong in ["", "x", "200", "stall:", "stall:x", "stall:-1"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
