//! What the service's refusals mean: status and codes to [`ErrorKind`], one table. Knows no operation's purpose and
//! never looks at a message.

use std::time::Duration;

use super::challenge;
use super::reply::Reply;
use super::wire::{self, ServiceError};
use crate::secret::SecretName;
use crate::store::{Answer, ErrorKind, Operation, StoreError};

/// No message of the service is longer (the longest recorded has some 900 characters).
const MAX_MESSAGE: usize = 2_000;

/// The error that `reply`, which is no success, stands for. `retry_after` is what it asks to wait.
pub(super) fn refusal(
    operation: Operation,
    name: Option<&SecretName>,
    reply: &Reply,
    retry_after: Option<Duration>,
) -> StoreError {
    let said = wire::error(&reply.body);
    let kind = classify(operation, reply.status, said.as_ref(), retry_after);
    let answer = Answer {
        status: Some(reply.status),
        code: said.as_ref().and_then(codes),
        message: message(reply, said.as_ref()),
        request_id: reply.header("x-ms-request-id").map(printable),
    };
    StoreError { operation, name: name.cloned(), kind, answer }
}

/// The table. Branches on status, then on the inner code, then on the code. What no Key Vault signed (a proxy's or a
/// captive portal's page) says nothing about a secret: that is `Broken`, never `NotFound` or `Forbidden`.
pub(super) fn classify(
    operation: Operation,
    status: u16,
    said: Option<&ServiceError>,
    retry_after: Option<Duration>,
) -> ErrorKind {
    let code = said.and_then(|said| said.code.as_deref()).unwrap_or_default();
    let inner = said.and_then(|said| said.inner.as_deref()).unwrap_or_default();
    match (status, inner, code) {
        (300..=399, ..) => ErrorKind::Foreign,
        (401, ..) => ErrorKind::Authentication,
        (429, ..) => ErrorKind::Throttled { retry_after },
        (_, "", "") => ErrorKind::Broken,
        (400, "RequestNotAllowedOnNonDeletedObject", _) => ErrorKind::Exists,
        (400, _, "Malformed backup blob") => ErrorKind::BadBackup,
        // The code of "Cannot decrypt backup blob" was never recorded; a restore has no other parameter.
        (400, ..) if operation == Operation::Restore => ErrorKind::BadBackup,
        (400 | 405, ..) => ErrorKind::Invalid,
        (403, "SecretDisabled", _) => ErrorKind::Disabled,
        (403, "SecretManagedByKeyVault", _) => ErrorKind::Managed,
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection", _) => ErrorKind::Firewall,
        // Purge protection is the one refusal of a purge that comes without an inner code.
        (403, "", _) if operation == Operation::Purge => ErrorKind::PurgeProtected,
        (403, ..) => ErrorKind::Forbidden,
        // A listing of all is never missing: whoever says so must not be taken for an empty vault.
        (404, _, "SecretNotFound") if !matches!(operation, Operation::List | Operation::ListDeleted) => {
            ErrorKind::NotFound
        }
        (409, "ObjectIsDeletedButRecoverable", _) => ErrorKind::Deleted,
        (409, "ObjectIsBeingDeleted", _) => ErrorKind::BeingDeleted,
        (409, "ObjectIsBeingRecovered", _) => ErrorKind::BeingRecovered,
        (409, ..) => ErrorKind::Exists,
        (402 | 404 | 406..=408 | 410..=428 | 430.., ..) | (..300, ..) => ErrorKind::Broken,
    }
}

/// `Forbidden/SecretDisabled`, or the code alone.
fn codes(said: &ServiceError) -> Option<String> {
    let code = said.code.as_deref().map(printable)?;
    Some(match &said.inner {
        Some(inner) => format!("{code}/{}", printable(inner)),
        None => code,
    })
}

fn message(reply: &Reply, said: Option<&ServiceError>) -> String {
    let message = said.map_or_else(|| unexplained(reply.status).to_owned(), |said| printable(&said.message));
    match challenge::claims_reason(reply).filter(|_| reply.status == 401) {
        Some(reason) => {
            let (message, reason) = (message.trim_end_matches('.'), printable(&reason));
            format!("{message}; it wants another kind of token ({reason}): sign in again")
        }
        None => message,
    }
}

fn unexplained(status: u16) -> &'static str {
    match status {
        300..=399 => "a redirect, which is never followed",
        401 => "the vault does not accept the token",
        _ => "an answer that does not come from a Key Vault",
    }
}

/// Text of the service, fit for a terminal: no control characters, and an end.
fn printable(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(operation: Operation, status: u16, code: &str, inner: &str) -> ErrorKind {
        let said = ServiceError {
            code: Some(code.to_owned()),
            inner: (!inner.is_empty()).then(|| inner.to_owned()),
            message: String::new(),
        };
        classify(operation, status, Some(&said), None)
    }

    #[test]
    fn the_catalogue() {
        use ErrorKind::*;
        for (operation, status, code, inner, expected) in [
            (Operation::Set, 400, "BadParameter", "", Invalid),
            (Operation::Restore, 400, "Malformed backup blob", "", BadBackup),
            (Operation::Restore, 400, "BadParameter", "", BadBackup),
            (Operation::Recover, 400, "MethodNotAllowed", "RequestNotAllowedOnNonDeletedObject", Exists),
            (Operation::Get, 401, "Unauthorized", "", Authentication),
            (Operation::Get, 403, "Forbidden", "SecretDisabled", Disabled),
            (Operation::GetDeleted, 403, "Forbidden", "AccessDenied", Forbidden),
            (Operation::Set, 403, "Forbidden", "SecretManagedByKeyVault", Managed),
            (Operation::Get, 403, "Forbidden", "ForbiddenByPolicy", Forbidden),
            (Operation::Get, 403, "Forbidden", "", Forbidden),
            (Operation::Get, 403, "Forbidden", "ForbiddenByRbac", Forbidden),
            (Operation::Purge, 403, "Forbidden", "ForbiddenByRbac", Forbidden),
            (Operation::Get, 403, "Forbidden", "ForbiddenByFirewall", Firewall),
            (Operation::Get, 403, "Forbidden", "ForbiddenByConnection", Firewall),
            (Operation::Purge, 403, "Forbidden", "", PurgeProtected),
            (Operation::Get, 404, "SecretNotFound", "", NotFound),
            (Operation::Get, 404, "ResourceNotFound", "", Broken),
            (Operation::ListVersions, 404, "SecretNotFound", "", NotFound),
            (Operation::List, 404, "SecretNotFound", "", Broken),
            (Operation::ListDeleted, 404, "SecretNotFound", "", Broken),
            (Operation::Set, 405, "MethodNotAllowed", "", Invalid),
            (Operation::Set, 409, "Conflict", "ObjectIsDeletedButRecoverable", Deleted),
            (Operation::Set, 409, "Conflict", "ObjectIsBeingDeleted", BeingDeleted),
            (Operation::Purge, 409, "Conflict", "ObjectIsBeingDeleted", BeingDeleted),
            (Operation::Set, 409, "Conflict", "ObjectIsBeingRecovered", BeingRecovered),
            (Operation::Restore, 409, "Conflict", "", Exists),
            (Operation::Get, 429, "Throttled", "", Throttled { retry_after: None }),
            (Operation::Get, 500, "InternalServerError", "", Broken),
        ] {
            assert_eq!(kind(operation, status, code, inner), expected, "{operation} {status} {code}/{inner}");
        }
    }

    #[test]
    fn what_no_key_vault_signed_says_nothing_about_a_secret() {
        for (status, expected) in [
            (204, ErrorKind::Broken),
            (302, ErrorKind::Foreign),
            (400, ErrorKind::Broken),
            (401, ErrorKind::Authentication), // builds before 2019 sent no body
            (403, ErrorKind::Broken),
            (404, ErrorKind::Broken),
            (408, ErrorKind::Broken),
            (409, ErrorKind::Broken),
            (429, ErrorKind::Throttled { retry_after: None }),
            (503, ErrorKind::Broken),
            (999, ErrorKind::Broken),
        ] {
            assert_eq!(classify(Operation::Get, status, None, None), expected, "{status}");
        }
    }

    #[test]
    fn an_error_keeps_status_codes_message_and_request_id_apart() {
        let body = br#"{"error":{"code":"Forbidden","message":"Operation is\r\n\u001b[31m not allowed.","innererror":{"code":"ForbiddenByPolicy"}}}"#;
        let headers = vec![("X-Ms-Request-Id".to_owned(), "0f00".to_owned())];
        let reply = Reply { status: 403, headers, body: body.to_vec().into() };
        let name = SecretName::parse("db").expect("legal");
        let error = refusal(Operation::Get, Some(&name), &reply, None);
        assert_eq!(error.answer.status, Some(403));
        assert_eq!(error.answer.code.as_deref(), Some("Forbidden/ForbiddenByPolicy"));
        assert_eq!(
            error.to_string(),
            "cannot get db: 403 Forbidden/ForbiddenByPolicy: Operation is [31m not allowed. (request 0f00)"
        );
    }
}
