//! Answers read whole: a [`Reply`] becomes what the operation promised, or a [`StoreError`]. The only place where
//! the two meet; knows no HTTP beyond status, headers and body.

use std::time::{Duration, SystemTime};

use super::errors;
use super::reply::Reply;
use super::retry_after::retry_after;
use super::wire::WireError;
use crate::secret::SecretName;
use crate::store::{Answer, ErrorKind, Operation, StoreError};

/// What was asked, for whoever reads the answer.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What was being done.
    pub operation: Operation,
    /// To which secret.
    pub name: Option<&'a SecretName>,
    /// When the answer came, to hold an HTTP date against.
    pub now: SystemTime,
}

impl Question<'_> {
    /// What `read` (one of [`wire`](super::wire)'s functions) makes of a success; else the error.
    ///
    /// # Errors
    /// What the service said, or [`ErrorKind::Broken`] if a success makes no sense.
    pub fn read<T>(&self, reply: &Reply, read: fn(&[u8]) -> Result<T, WireError>) -> Result<T, StoreError> {
        if !reply.is_success() {
            return Err(self.refusal(reply));
        }
        read(&reply.body).map_err(|error| self.unreadable(reply, error))
    }

    fn refusal(&self, reply: &Reply) -> StoreError {
        errors::refusal(self.operation, self.name, reply, self.retry_after(reply))
    }

    /// What the reply asks to wait.
    pub(super) fn retry_after(&self, reply: &Reply) -> Option<Duration> {
        retry_after(reply, self.now)
    }

    fn unreadable(&self, reply: &Reply, error: WireError) -> StoreError {
        let answer = Answer {
            status: Some(reply.status),
            message: format!("the answer makes no sense: {error}"),
            request_id: reply.header("x-ms-request-id").map(str::to_owned),
            code: None,
        };
        StoreError { operation: self.operation, name: self.name.cloned(), kind: ErrorKind::Broken, answer }
    }
}
