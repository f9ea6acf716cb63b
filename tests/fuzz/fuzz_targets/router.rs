//! Any requests to the local vault: no panic, never a failure of its own, and every answer is JSON that the service could
//! have sent.
#![no_main]

#[path = "../../support/mod.rs"]
mod support;

use akvfs::local::fuzzing::Router;
use libfuzzer_sys::fuzz_target;
use support::ManualClock;

const HOST: &str = "127.0.0.1:8443";

/// One request: `METHOD TARGET [HOST [TOKEN]]`, and behind an end of line its body.
fn ask(router: &Router, request: &[u8]) {
    let end = request.iter().position(|byte| *byte == b'\n').unwrap_or(request.len());
    let (line, body) = request.split_at(end);
    let Ok(line) = std::str::from_utf8(line) else { return };
    let mut words = line.splitn(4, ' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (host, token) = (words.next().unwrap_or(HOST), words.next().unwrap_or("Bearer any"));
    let (status, headers, body) = router.answer([method, target, host, token], body);
    assert!([200, 204, 400, 401, 403, 404, 405, 409, 413, 421].contains(&status), "{status} to {line}");
    assert!(headers.iter().all(|(name, value)| !name.is_empty() && (value.contains(token) || !value.contains(['\r', '\n']))));
    if status == 204 {
        assert!(body.is_empty());
    } else {
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body.get("error").is_some(), status >= 400, "{status} {body}");
    }
}

fuzz_target!(|data: &[u8]| {
    let clock = ManualClock::shared();
    let router = Router::new(clock.clone());
    for request in data.split(|byte| *byte == 0x1e).take(16) {
        ask(&router, request);
        clock.advance(std::time::Duration::from_secs(1));
    }
});
