//! Every kind of fault at every call, once and at every try: the promised errno, nothing lost, at most one version a save,
//! nobody kept longer than the limit. One row a kind, one column a call.

use std::time::{Duration, Instant};

use akvfs::fs::errno::errno_name;
use libc::{EACCES, EBUSY, EEXIST, EIO, ENOENT, EPROTO, ETIMEDOUT};

use super::api::{CALLS, Call, GetDeleted, GetVersion, Lane, List, ListDeleted, ListVersions, Purge, Restore, State};
use super::harness::{Mount, can_mount};
use super::lanes::in_lanes;
use super::proxy::{Break, Fault, Proxy, Strike};
use super::soak;

/// Both limits of a mount whose operations end because the time is up.
const SHORT: Duration = Duration::from_secs(1);
/// The same where they end by what the vault says, so that a busy machine is not taken for a slow vault.
const LONG: Duration = Duration::from_secs(4);
/// Half a second by the promise, and what a busy machine takes for a file's several calls.
const SLACK: Duration = Duration::from_millis(500 + 2_000);
const OPTIONS: &str = "ttl=1h,max_stale=0s,allow_purge,purge_after=0s,max_writes=1000/s,lazy_auth";
/// An answer that is no Key Vault's, or bears its signature.
fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

const JSON: &str = "content-type: application/json\r\n";

fn refusal(status: u16, inner: &str) -> String {
    let body = format!(r#"{{"error":{{"code":"Code","message":"Injected.","innererror":{{"code":"{inner}"}}}}}}"#);
    answer(status, JSON, &body)
}

fn not_found() -> String {
    answer(404, JSON, r#"{"error":{"code":"SecretNotFound","message":"Injected."}}"#)
}

fn throttled(header: &str) -> String {
    answer(429, &format!("{JSON}{header}\r\n"), r#"{"error":{"code":"Throttled","message":"Injected."}}"#)
}

const PAGE: &str = "<html><body>Not the vault</body></html>";
const CHALLENGE: &str =
    "www-authenticate: Bearer authorization=\"https://login.invalid/t\", resource=\"https://vault.azure.net\"\r\n";
const REDIRECT: &str = "location: https://elsewhere.invalid/\r\n";

/// What a row promises: the errnos of a read and of a change, struck once and struck at every try. 0 is success.
struct Kind {
    name: &'static str,
    strike: Strike,
    read: [&'static [i32]; 2],
    change: [&'static [i32]; 2],
}

fn kind(name: &'static str, strike: Strike, read: [&'static [i32]; 2], change: [&'static [i32]; 2]) -> Kind {
    Kind { name, strike, read, change }
}

impl Kind {
    fn limit(&self) -> Duration {
        let by_time = self.read[1] == [ETIMEDOUT] || self.read[1] == [EBUSY];
        if by_time { SHORT } else { LONG }
    }

    /// What the row says, but where a call is special.
    fn promise(&self, call: Call, always: bool) -> &'static [i32] {
        match (call, &self.strike, self.name) {
            // A restore sent again without its name being known is refused if the first one was carried out; or it meets a
            // connection that is just being closed, and is in doubt a second time (docs/reliability.md, P4).
            (Restore, Strike::After(_) | Strike::Over(_), _) if self.change == [&[0], &[0]] => {
                if always {
                    &[EIO]
                } else {
                    &[EEXIST, EIO]
                }
            }
            // What may not be got is told from the listing; a value is asked for a second time.
            (GetDeleted, _, "403 no right") => &[0],
            (GetVersion, _, "403 no right") if !always => &[0, EACCES],
            // The C library takes ENOENT for the end of a directory.
            (ListVersions, _, "404 of the vault") => &[0],
            // Of all secrets there cannot be none.
            (List | ListDeleted, _, "404 of the vault") => &[EIO],
            (Purge, _, "stalled in the body") => &[0],
            _ if call.is_change() => self.change[usize::from(always)],
            _ => self.read[usize::from(always)],
        }
    }
}

/// An answer that another try does not mend.
fn refused(name: &'static str, answer: String, errno: &'static [i32]) -> Kind {
    kind(name, Strike::Instead(answer), [errno; 2], [errno; 2])
}

/// Something that another try mends, and that has changed nothing.
fn passing(name: &'static str, strike: Strike, errno: &'static [i32]) -> Kind {
    kind(name, strike, [&[0], errno], [&[0], errno])
}

/// Something that happens to an answer when a change was carried out: a look at the vault finds that out.
fn afterwards(name: &'static str, strike: Strike, read: [&'static [i32]; 2]) -> Kind {
    kind(name, strike, read, [&[0]; 2])
}

/// The time is up before anything can be found out.
fn silent(name: &'static str, strike: Strike) -> Kind {
    kind(name, strike, [&[ETIMEDOUT]; 2], [&[ETIMEDOUT]; 2])
}

fn kinds() -> Vec<Kind> {
    use Strike::{After, Before, Instead, Over};
    let mends: [&[i32]; 2] = [&[0], &[EIO]];
    let broken: [&[i32]; 2] = [&[EIO]; 2];
    let large = "x".repeat(3 << 20);
    let mut kinds = vec![
        refused("401", answer(401, "www-authenticate: Bearer error=\"invalid_token\"\r\n", ""), &[EACCES]),
        refused("a challenge of somebody else's", answer(401, CHALLENGE, ""), &[EACCES]),
        refused("403 no right", refusal(403, "ForbiddenByRbac"), &[EACCES]),
        refused("404 of the vault", not_found(), &[ENOENT]),
        refused("404 of a proxy", answer(404, "content-type: text/html\r\n", PAGE), &[EIO]),
        refused("a redirect", answer(307, REDIRECT, ""), &[EPROTO]),
        refused("409 deleted", refusal(409, "ObjectIsDeletedButRecoverable"), &[EEXIST]),
        passing("409 being deleted", Instead(refusal(409, "ObjectIsBeingDeleted")), &[EBUSY]),
        passing("409 being recovered", Instead(refusal(409, "ObjectIsBeingRecovered")), &[EBUSY]),
        // The first delay, up to a second, may not fit.
        kind("429", Instead(throttled("x: y")), [&[0, EBUSY], &[EBUSY]], [&[0, EBUSY], &[EBUSY]]),
        refused("429 for a minute", throttled("retry-after: 60"), &[EBUSY]),
        refused("429 until a date", throttled("retry-after: Fri, 31 Dec 9999 23:59:59 GMT"), &[EBUSY]),
        passing("429 for 50 ms", Instead(throttled("retry-after-ms: 50")), &[EBUSY]),
        passing("reset before", Before(Break::Reset), &[EIO]),
        passing("closed before", Before(Break::Close), &[EIO]),
        silent("stalled before", Before(Break::Stall)),
        afterwards("reset after", After(Break::Reset), mends),
        afterwards("closed after", After(Break::Close), mends),
        silent("stalled after", After(Break::Stall)),
        afterwards("reset in the head", After(Break::ResetInHead), mends),
        silent("stalled in the head", After(Break::StallInHead)),
        afterwards("a body cut short", After(Break::CutBody), mends),
        afterwards("half a body", After(Break::HalfBody), broken),
        silent("stalled in the body", After(Break::StallInBody)),
        silent("a byte now and then", After(Break::Drip)),
        afterwards("no JSON", Over(answer(200, JSON, "{\"value\":")), broken),
        afterwards("a portal's page", Over(answer(200, "content-type: text/html\r\n", PAGE)), broken),
        afterwards("3 MiB", Over(answer(200, JSON, &large)), broken),
    ];
    for (status, before, after) in [
        (408, "408 before", "408 after"),
        (500, "500 before", "500 after"),
        (502, "502 before", "502 after"),
        (503, "503 before", "503 after"),
        (504, "504 before", "504 after"),
    ] {
        kinds.push(passing(before, Instead(answer(status, "", "")), &[EIO]));
        kinds.push(afterwards(after, Over(answer(status, "", "")), mends));
    }
    kinds
}

/// How a cell came out.
struct Cell {
    number: i32,
    took: Duration,
    struck: u32,
    /// What else is wrong with it.
    wrong: Option<String>,
}

fn try_cell(lane: &Lane, secret: &str, kind: &Kind, call: Call, always: bool) -> Cell {
    let (on, vault) = (lane.prepare(call, secret), &lane.vault);
    let proxy = Proxy::to(vault.server.addr());
    let mount = Mount::new(&proxy.url(), &format!("{OPTIONS},timeout={0}s,write_timeout={0}s", kind.limit().as_secs()));
    let (method, path) = call.request(&on);
    proxy.arm(Fault { method, path, strike: kind.strike.clone(), count: if always { u32::MAX } else { 1 } });
    let start = Instant::now();
    let (number, read) = call.act(&mount, &on);
    let (took, struck) = (start.elapsed(), proxy.disarm());
    let [before, after] = call.states();
    let state = State::of(vault, secret);
    let may_be_there = matches!(kind.strike, Strike::Over(_) | Strike::After(_));
    let is_possible = if number == 0 { state == after } else { state == before || (may_be_there && state == after) };
    let wrong = if !is_possible {
        Some(format!("the vault holds {state:?}"))
    } else if number == 0 && !call.is_right(&read, &on) {
        Some(format!("{} bytes were read, and not the right ones", read.len()))
    } else {
        None
    };
    Cell { number, took, struck, wrong }
}

/// A try that a machine which stood still explains proves nothing and is made again.
const TRIES: u32 = 3;

/// One cell of the matrix; what is wrong with it.
fn check_cell(lane: &Lane, secret: &str, kind: &Kind, call: Call, always: bool) -> Result<(), String> {
    let promised = kind.promise(call, always);
    let mut tries = 0;
    let said = loop {
        tries += 1;
        let cell = try_cell(lane, &format!("{secret}-{tries}"), kind, call, always);
        // Out of time where that was not promised, a request may be carried out after it was given up.
        let is_slow = cell.took >= kind.limit() + SLACK || (cell.number == ETIMEDOUT && !promised.contains(&ETIMEDOUT));
        let is_vain = is_slow || cell.struck == 0;
        if !is_vain && cell.wrong.is_none() && promised.contains(&cell.number) {
            return Ok(());
        }
        if !is_vain || tries == TRIES {
            let errno = if cell.number == 0 { "success" } else { errno_name(cell.number) };
            break format!("{errno} after {:?}, {} strikes, {:?}", cell.took, cell.struck, cell.wrong);
        }
    };
    let when = if always { "at every try" } else { "once" };
    Err(format!("{call:?}, {} {when}: {said}", kind.name))
}

#[test]
fn every_fault_at_every_call_has_the_promised_end() {
    if !can_mount() {
        return;
    }
    let kinds = kinds();
    let cells: Vec<_> = kinds
        .iter()
        .flat_map(|kind| CALLS.map(|call| (kind, call)))
        .flat_map(|(kind, call)| [(kind, call, false), (kind, call, true)])
        .collect();
    let (end, mut round) = (Instant::now() + soak::lasting(Duration::ZERO), 0);
    loop {
        let check = |lane: &Lane, at: usize, (kind, call, always): &(&Kind, Call, bool)| {
            check_cell(lane, &format!("c{round}-{at}"), kind, *call, *always)
        };
        let failures = in_lanes(&cells, Lane::new, check);
        assert!(failures.is_empty(), "{} of {} cells:\n{}", failures.len(), cells.len(), failures.join("\n"));
        round += 1;
        println!("{} cells, round {round}", cells.len());
        if Instant::now() >= end {
            return;
        }
    }
}
