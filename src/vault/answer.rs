//! Answers read whole: a [`Reply`] becomes what the operation promised, or a [`StoreError`]. The only place where
//! the two meet; knows no HTTP beyond status, headers and body.

use std::time::{Duration, SystemTime};

use super::errors;
use super::reply::Reply;
use super::retry_after::retry_after;
use super::wire::{WireError, WirePage};
use crate::secret::{BackupBlob, DeletedSecret, KeyVaultSecret, SecretName, SecretProperties};
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

/// An answer, which may say of which secret it is.
pub trait OfSecret {
    /// Of this one; `None` for what is about several, or does not say.
    fn secret(&self) -> Option<&SecretName>;
}

impl OfSecret for SecretProperties {
    fn secret(&self) -> Option<&SecretName> {
        Some(&self.name)
    }
}

impl OfSecret for KeyVaultSecret {
    fn secret(&self) -> Option<&SecretName> {
        Some(&self.properties.name)
    }
}

impl OfSecret for DeletedSecret {
    fn secret(&self) -> Option<&SecretName> {
        Some(&self.properties.name)
    }
}

impl<T> OfSecret for WirePage<T> {
    fn secret(&self) -> Option<&SecretName> {
        None
    }
}

impl OfSecret for BackupBlob {
    fn secret(&self) -> Option<&SecretName> {
        None
    }
}

impl OfSecret for () {
    fn secret(&self) -> Option<&SecretName> {
        None
    }
}

impl Question<'_> {
    /// What `read` (one of [`wire`](super::wire)'s functions) makes of a success; else the error.
    ///
    /// # Errors
    /// What the service said, or [`ErrorKind::Broken`] if a success makes no sense or is of another secret.
    pub fn read<T: OfSecret>(&self, reply: &Reply, read: fn(&[u8]) -> Result<T, WireError>) -> Result<T, StoreError> {
        if !reply.is_success() {
            return Err(self.refusal(reply));
        }
        let answer = read(&reply.body).map_err(|error| self.unreadable(reply, error))?;
        match (self.name, answer.secret()) {
            (Some(asked), Some(told)) if asked != told => Err(self.unreadable(reply, WireError::OtherSecret)),
            _ => Ok(answer),
        }
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
