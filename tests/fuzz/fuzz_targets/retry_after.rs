//! Any wish to wait: no panic, and never longer than five minutes.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use akvfs::store::{ErrorKind, Operation};
use akvfs::vault::answer::Question;
use akvfs::vault::{Reply, wire};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["Retry-After", "retry-after-ms", "x-ms-retry-after-ms"];

fuzz_target!(|data: &[u8]| {
    let [first, second, third, fourth, text @ ..] = data else { return };
    let now = UNIX_EPOCH + Duration::from_secs(u32::from_be_bytes([*first, *second, *third, *fourth]).into());
    let text = String::from_utf8_lossy(text);
    let headers = text.lines().zip(NAMES).map(|(line, name)| (name.to_owned(), line.to_owned())).collect();
    let reply = Reply { status: 429, headers, body: Vec::new().into() };
    let question = Question { operation: Operation::Get, name: None, now };
    let error = question.read(&reply, wire::nothing).expect_err("429 is no success");
    let ErrorKind::Throttled { retry_after } = error.kind else { panic!("{:?}", error.kind) };
    assert!(retry_after.is_none_or(|wish| wish <= Duration::from_secs(300)));
});
