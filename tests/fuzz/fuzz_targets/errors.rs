//! Any answer that is no success: no panic, no control character in the message, an end to it, and never "not found"
//! without a Key Vault's word.
#![no_main]

use std::time::UNIX_EPOCH;

use akvfs::store::{ErrorKind, Operation};
use akvfs::vault::answer::Question;
use akvfs::vault::{Reply, wire};
use libfuzzer_sys::fuzz_target;

const OPERATIONS: [Operation; 4] = [Operation::Get, Operation::Purge, Operation::Restore, Operation::List];

fuzz_target!(|data: &[u8]| {
    let [which, high, low, body @ ..] = data else { return };
    let status = u16::from_be_bytes([*high, *low]) % 1_000;
    let reply = Reply { status, headers: Vec::new(), body: body.to_vec().into() };
    let operation = OPERATIONS[usize::from(*which) % OPERATIONS.len()];
    let question = Question { operation, name: None, now: UNIX_EPOCH };
    let Err(error) = question.read(&reply, wire::nothing) else {
        assert!(reply.is_success());
        return;
    };
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control) && text.chars().count() < 10_000);
    if error.kind == ErrorKind::NotFound {
        assert!(status == 404 && wire::error(body).is_some_and(|said| said.code.as_deref() == Some("SecretNotFound")));
    }
});
