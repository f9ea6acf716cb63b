//! One request to the vault with everything that surrounds it: our own limits, the challenge, the token.
//!
//! Knows how to be let in, and nothing of what is asked for or of trying again. The first request of a client goes
//! out without a token and without its body, as in all of Microsoft's clients: the vault answers with a challenge,
//! and only a challenge that passes its check ([`challenge`]) is remembered or leads to a token. Later requests carry
//! the token at once. No lock is held while anything is sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use super::address::Vault;
use super::answer::Question;
use super::auth::{AuthError, Token, TokenSource};
use super::challenge::{self, Asked, Challenge};
use super::http::{Http, NoReply, Outgoing, Payload, SetupError, Trouble, Verb};
use super::limits::{Leave, Limits};
use super::options::ClientOptions;
use super::reply::Reply;
use super::retry::Outcome;
use super::server_time::ServerTime;
use crate::clock::Clock;
use crate::secret::SecretName;
use crate::store::{ErrorKind, Operation, Wait};

/// A request, and what it is for.
pub(super) struct Call<'a> {
    pub operation: Operation,
    pub name: Option<&'a SecretName>,
    pub verb: Verb,
    pub url: Url,
    pub payload: Option<Payload>,
    /// The most that is read of the answer's body, in bytes.
    pub limit: usize,
    /// Whether it changes the vault.
    pub change: bool,
}

/// Why a call has no reply.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub outcome: Outcome,
    pub kind: ErrorKind,
    pub message: String,
}

/// The way to one vault.
pub(super) struct Link {
    http: Http,
    tokens: Arc<dyn TokenSource>,
    challenge: Mutex<Option<Challenge>>,
    limits: Limits,
    server_time: ServerTime,
    pub(super) vault: Vault,
    pub(super) options: ClientOptions,
    pub(super) clock: Arc<dyn Clock>,
}

impl Link {
    pub(super) fn new(
        vault: Vault,
        tokens: Arc<dyn TokenSource>,
        options: ClientOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            http: Http::new(&vault, &options)?,
            tokens,
            challenge: Mutex::new(None),
            limits: Limits::new(options.max_requests, options.max_writes),
            server_time: ServerTime::default(),
            vault,
            options,
            clock,
        })
    }

    /// The vault's own time at `moment`, in seconds since 1970, once it has said it.
    pub(super) fn server_time(&self) -> &ServerTime {
        &self.server_time
    }

    /// One try of `call`, challenges answered. A 401 that comes back in spite of that is the reply.
    pub(super) fn attempt(&self, call: &Call<'_>, wait: Wait) -> Result<Reply, Failed> {
        let challenge = match self.known() {
            Some(challenge) => challenge,
            None => match self.knock(call, wait)? {
                Knock::Challenged(challenge) => challenge,
                Knock::Answered(reply) => return Ok(reply),
            },
        };
        let token = self.token(&challenge, wait)?;
        let reply = self.send(call, Some(&token), wait)?;
        if reply.status != 401 {
            return Ok(reply);
        }
        let challenge = self.refused(&reply, challenge, &token)?;
        let other = self.token(&challenge, wait)?;
        if other == token {
            return Ok(reply);
        }
        self.send(call, Some(&other), wait)
    }

    /// What the vault asks for, whether that is known already or not.
    pub(super) fn ask_challenge(&self, call: &Call<'_>, wait: Wait) -> Result<Challenge, Failed> {
        match self.knock(call, wait)? {
            Knock::Challenged(challenge) => Ok(challenge),
            Knock::Answered(reply) => {
                let message =
                    format!("it answered {} to a request without a token, and not with a challenge", reply.status);
                Err(Failed::hopeless(ErrorKind::Broken, message))
            }
        }
    }

    /// A token for the vault.
    pub(super) fn sign_in(&self, call: &Call<'_>, wait: Wait) -> Result<Token, Failed> {
        let challenge = self.known().map_or_else(|| self.ask_challenge(call, wait), Ok)?;
        self.token(&challenge, wait)
    }

    /// The first request, without token and body. Whatever becomes of it, nothing has happened in the vault.
    fn knock(&self, call: &Call<'_>, wait: Wait) -> Result<Knock, Failed> {
        let reply = self.send(call, None, wait).map_err(|failed| match failed.outcome {
            Outcome::Cut | Outcome::TimedOut => Failed { outcome: Outcome::Unsent, ..failed },
            _ => failed,
        })?;
        if reply.status == 401 {
            return self.challenged(&reply).map(Knock::Challenged);
        }
        if reply.is_success() && call.payload.is_some() {
            let message = "the vault accepted a change without its body and without a token";
            return Err(Failed::hopeless(ErrorKind::Broken, message));
        }
        if call.change && matches!(reply.status, 408 | 500..) {
            let message = format!("the vault answered {} before anything was sent", reply.status);
            return Err(Failed { outcome: Outcome::Unsent, kind: ErrorKind::Broken, message });
        }
        Ok(Knock::Answered(reply))
    }

    /// Checks the challenge of a 401, and only then remembers it.
    fn challenged(&self, reply: &Reply) -> Result<Challenge, Failed> {
        match challenge::read(reply, &self.vault, self.options.verify_challenge_resource) {
            Asked::Token(challenge) => {
                *self.lock() = Some(challenge.clone());
                Ok(challenge)
            }
            Asked::Foreign(why) => Err(Failed::hopeless(ErrorKind::Foreign, why)),
            Asked::Renewal | Asked::Nothing => {
                Err(Failed::hopeless(ErrorKind::Broken, "the vault refuses, but does not say which token it wants"))
            }
        }
    }

    /// A token was refused: takes over a challenge that has changed (the vault moved to another tenant); else drops
    /// the token, so that a fresh one is asked for.
    fn refused(&self, reply: &Reply, known: Challenge, token: &Token) -> Result<Challenge, Failed> {
        match challenge::read(reply, &self.vault, self.options.verify_challenge_resource) {
            Asked::Token(new) if new != known => {
                *self.lock() = Some(new.clone());
                Ok(new)
            }
            Asked::Foreign(why) => Err(Failed::hopeless(ErrorKind::Foreign, why)),
            Asked::Token(_) | Asked::Renewal | Asked::Nothing => {
                self.tokens.forget(&known.scope, known.tenant.as_deref(), token);
                Ok(known)
            }
        }
    }

    fn token(&self, challenge: &Challenge, wait: Wait) -> Result<Token, Failed> {
        self.tokens.token(&challenge.scope, challenge.tenant.as_deref(), wait).map_err(|error| {
            let kind = match error {
                AuthError::Refused(_) => ErrorKind::Authentication,
                AuthError::TimedOut(_) => ErrorKind::TimedOut,
            };
            Failed::hopeless(kind, error.to_string())
        })
    }

    /// Sends once, when our own limits allow it.
    fn send(&self, call: &Call<'_>, token: Option<&Token>, wait: Wait) -> Result<Reply, Failed> {
        self.wait_for_leave(call, wait)?;
        let time = wait.remaining(&*self.clock).min(self.options.try_timeout);
        if time.is_zero() {
            return Err(Failed {
                outcome: Outcome::Unsent,
                ..Failed::hopeless(ErrorKind::TimedOut, "the time was up")
            });
        }
        let payload = call.payload.as_ref().filter(|_| token.is_some());
        let outgoing = Outgoing { verb: call.verb, url: &call.url, token, payload, limit: call.limit, time };
        let reply = self.http.send(&outgoing).map_err(Failed::from);
        self.note(call, reply.as_ref());
        reply
    }

    fn wait_for_leave(&self, call: &Call<'_>, wait: Wait) -> Result<(), Failed> {
        let mut leave = self.limits.admit(call.change, &*self.clock, wait.remaining(&*self.clock));
        loop {
            match leave {
                Leave::After(Duration::ZERO) => return Ok(()),
                Leave::After(time) => self.clock.sleep(time),
                Leave::Refused(time) => {
                    let message = format!("no request for another {:.1} s", time.as_secs_f64());
                    return Err(Failed::hopeless(ErrorKind::Throttled { retry_after: Some(time) }, message));
                }
            }
            // Another's answer may have told meanwhile to wait longer.
            leave = self.limits.still(&*self.clock, wait.remaining(&*self.clock));
        }
    }

    /// Learns from a reply what concerns every later request.
    fn note(&self, call: &Call<'_>, reply: Result<&Reply, &Failed>) {
        let (operation, path) = (call.operation, call.url.path());
        match reply {
            Ok(reply) => {
                tracing::debug!(%operation, path, status = reply.status, "answered");
                self.server_time.note(reply, self.clock.moment());
                if let Some(wish) = self.question(call).retry_after(reply).filter(|_| !reply.is_success()) {
                    self.limits.silence(&*self.clock, wish);
                }
            }
            Err(failed) => tracing::debug!(%operation, path, kind = ?failed.kind, why = failed.message, "no answer"),
        }
    }

    /// What `call` asks, for reading its answer.
    pub(super) fn question<'a>(&self, call: &Call<'a>) -> Question<'a> {
        Question { operation: call.operation, name: call.name, now: self.clock.now() }
    }

    fn known(&self) -> Option<Challenge> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Challenge>> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner) // replaced whole, never half
    }
}

enum Knock {
    Challenged(Challenge),
    Answered(Reply),
}

impl Failed {
    fn hopeless(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Hopeless, kind, message: message.into() }
    }
}

impl From<NoReply> for Failed {
    fn from(NoReply { trouble, message }: NoReply) -> Self {
        let (outcome, kind) = match trouble {
            Trouble::Unreachable => (Outcome::Unsent, ErrorKind::Unreachable),
            Trouble::Tls => (Outcome::Hopeless, ErrorKind::Tls),
            Trouble::Cut => (Outcome::Cut, ErrorKind::Broken),
            Trouble::TimedOut => (Outcome::TimedOut, ErrorKind::TimedOut),
            Trouble::TooLarge => (Outcome::Unreadable, ErrorKind::Broken),
            Trouble::NotOurs => (Outcome::Hopeless, ErrorKind::Foreign),
        };
        Self { outcome, kind, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::auth::StaticToken;
    use crate::vault::test_clock::TestClock;

    fn link() -> Link {
        let vault = Vault::parse("contoso").expect("a name");
        let tokens = Arc::new(StaticToken::new("t".to_owned()));
        Link::new(vault, tokens, ClientOptions::default(), Arc::new(TestClock::default())).expect("no file needed")
    }

    fn unauthorized(resource: &str) -> Reply {
        let value = format!(r#"Bearer authorization="https://login.example/t", resource="{resource}""#);
        Reply { status: 401, headers: vec![("WWW-Authenticate".to_owned(), value)], body: Vec::new().into() }
    }

    #[test]
    fn a_challenge_that_fails_its_check_leaves_no_state() {
        let link = link();
        let refused = link.challenged(&unauthorized("https://evil.example")).expect_err("foreign");
        assert_eq!((refused.kind, link.known()), (ErrorKind::Foreign, None));
        let good = link.challenged(&unauthorized("https://vault.azure.net")).expect("the vault's own");
        assert_eq!(link.known(), Some(good.clone()));
        let token = Token::new("t".to_owned());
        assert!(link.refused(&unauthorized("https://evil.example"), good.clone(), &token).is_err());
        assert_eq!(link.known(), Some(good), "what was known before still is");
    }
}
