//! What keeps the cache fresh, on a clock that is moved: what a refresher asks, what it hears, and what stands in for a
//! vault that does not answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use akvfs::cache::{CacheOptions, CachedStore, RefreshOptions, Refresher};
use akvfs::clock::Clock;
use akvfs::metrics::Metrics;
use akvfs::secret::{SecretAttributes, SecretName};
use akvfs::store::{Change, ErrorKind, News, Operation, SecretStore, Wait};
use support::{Fault, ManualClock, ModelStore, Settings, name, value};

const TTL: Duration = Duration::from_secs(30);
const KERNEL_TTL: Duration = Duration::from_secs(60);
const IDLE_TTL: Duration = Duration::from_secs(600);
const MAX_STALE: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    clock: Arc<ManualClock>,
    vault: Arc<ModelStore>,
    cache: Arc<CachedStore>,
    metrics: Arc<Metrics>,
    refresher: Refresher,
    changes: Receiver<Change>,
    held: Arc<Mutex<BTreeSet<SecretName>>>,
}

fn scene_with(max_stale: Duration) -> Scene {
    let clock = ManualClock::shared();
    let vault = ModelStore::with(clock.clone(), Settings::default());
    let metrics = Arc::new(Metrics::default());
    let options = CacheOptions { ttl: TTL, max_stale, ..CacheOptions::default() };
    let cache = Arc::new(CachedStore::counting(vault.clone(), options, clock.clone(), metrics.clone()));
    let held: Arc<Mutex<BTreeSet<SecretName>>> = Arc::default();
    let holder = held.clone();
    let options = RefreshOptions {
        ttl: TTL,
        kernel_ttl: KERNEL_TTL,
        idle_ttl: IDLE_TTL,
        all_held: false,
        timeout: Duration::from_secs(15),
        seed: 7,
    };
    let refresher = Refresher::new(cache.clone(), Box::new(move || holder.lock().expect("no panic").clone()), options);
    let changes = cache.changes();
    Scene { clock, vault, cache, metrics, refresher, changes, held }
}

fn scene() -> Scene {
    scene_with(MAX_STALE)
}

impl Scene {
    fn wait(&self) -> Wait {
        Wait::at_most(&*self.clock, Duration::from_secs(15))
    }

    fn theirs(&self, secret: &str, text: &str) {
        self.vault.set(&name(secret), &value(text), &SecretAttributes::default(), self.wait()).expect("set by others");
    }

    fn get(&self, secret: &str) -> Result<String, ErrorKind> {
        let answer = self.cache.get(&name(secret), None, self.wait());
        answer.map(|secret| secret.value.expose().to_owned()).map_err(|error| error.kind)
    }

    /// From memory.
    fn known(&self, secret: &str) -> Result<String, ErrorKind> {
        let answer = self.cache.get(&name(secret), None, Wait::No);
        answer.map(|secret| secret.value.expose().to_owned()).map_err(|error| error.kind)
    }

    /// Lets time pass as it does: a tick every second.
    fn pass(&mut self, time: Duration) {
        let end = self.clock.advanced() + time;
        while self.clock.advanced() < end {
            self.clock.advance(SECOND);
            self.refresher.tick();
        }
    }

    fn heard(&self) -> Vec<(String, News)> {
        self.changes.try_iter().map(|change| (change.name.to_string(), change.news)).collect()
    }

    /// Gets and pages that the vault was asked for since the last time.
    fn asked(&self) -> (usize, usize) {
        let asked = (self.vault.calls(Operation::Get), self.vault.calls(Operation::List));
        self.vault.forget_calls();
        asked
    }
}

#[test]
fn what_is_in_use_is_always_in_memory_and_a_change_is_seen_within_the_ttl() {
    let mut on = scene();
    on.theirs("a", "old");
    assert_eq!(on.get("a"), Ok("old".to_owned()));
    for _ in 0..100 {
        on.pass(SECOND);
        assert_eq!(on.known("a"), Ok("old".to_owned()));
    }
    on.theirs("a", "new");
    on.pass(TTL);
    assert_eq!(on.known("a"), Ok("new".to_owned()));
    assert_eq!(on.heard(), [("a".to_owned(), News::Rotated)]);
}

#[test]
fn many_are_refreshed_by_one_listing_and_only_what_changed_is_got() {
    let mut on = scene();
    let names: Vec<_> = (0..20).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| on.theirs(name, "old"));
    on.clock.advance(10 * SECOND);
    names.iter().for_each(|name| assert!(on.get(name).is_ok()));
    on.asked();
    on.pass(TTL);
    assert_eq!(on.asked(), (0, 1), "twenty secrets, one page");
    on.theirs("s7", "new");
    on.pass(TTL);
    let (gets, pages) = on.asked();
    assert!(gets == 1 && (1..=2).contains(&pages), "{gets} {pages}");
    assert_eq!(on.known("s7"), Ok("new".to_owned()));
    assert_eq!(on.heard(), [("s7".to_owned(), News::Rotated)]);
}

#[test]
fn one_in_a_large_vault_is_asked_for_by_itself() {
    let mut on = scene();
    (0..100).for_each(|number| on.theirs(&format!("s{number}"), "x"));
    on.clock.advance(10 * SECOND);
    for secret in ["s1", "s2"] {
        assert!(on.get(secret).is_ok());
    }
    on.pass(TTL);
    assert!(on.asked().1 <= 2, "two pages show that four are too many");
    on.pass(10 * TTL - 2 * KERNEL_TTL);
    assert_eq!(on.asked().1, 0);
}

#[test]
fn without_the_right_to_list_each_is_asked_for_by_itself() {
    let mut on = scene();
    for secret in ["a", "b", "c"] {
        on.theirs(secret, "old");
        assert!(on.get(secret).is_ok());
    }
    on.vault.fail_next(Operation::List, ErrorKind::Forbidden);
    on.theirs("b", "new");
    on.pass(TTL);
    assert_eq!(on.known("b"), Ok("new".to_owned()));
    on.asked();
    on.pass(TTL);
    let (gets, pages) = on.asked();
    assert!(gets >= 3 && pages == 0, "{gets} {pages}: the refusal is remembered");
}

#[test]
fn the_second_of_two_changes_in_one_second_is_seen_too() {
    let mut on = scene();
    for secret in ["a", "b", "c"] {
        on.theirs(secret, "old");
    }
    on.clock.advance(10 * SECOND);
    on.theirs("a", "first");
    for secret in ["a", "b", "c"] {
        assert!(on.get(secret).is_ok());
    }
    on.theirs("a", "second");
    assert_eq!(on.known("a"), Ok("first".to_owned()));
    on.pass(TTL);
    assert_eq!(on.known("a"), Ok("second".to_owned()), "though its date is the first one's");
    on.asked();
    on.pass(TTL);
    assert_eq!(on.asked().0, 0, "asked again once");
}

#[test]
fn what_may_no_longer_be_read_is_gone_within_the_ttl() {
    let off = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    for case in ["deleted", "disabled", "forbidden"] {
        let mut on = scene();
        on.theirs("a", "x");
        on.theirs("b", "x");
        on.clock.advance(10 * SECOND);
        assert!(on.get("a").is_ok() && on.get("b").is_ok());
        let wanted = match case {
            "deleted" => {
                on.vault.delete(&name("a"), on.wait()).expect("deleted");
                ErrorKind::NotFound
            }
            "disabled" => {
                on.vault.update(&name("a"), None, &off, on.wait()).expect("disabled");
                ErrorKind::Disabled
            }
            _ => {
                on.vault.fail_next(Operation::List, ErrorKind::Forbidden);
                on.vault.fail_next(Operation::Get, ErrorKind::Forbidden);
                ErrorKind::Forbidden
            }
        };
        on.pass(TTL);
        assert_eq!(on.known("a"), Err(wanted), "{case}");
        assert_eq!(on.heard(), [("a".to_owned(), News::Revoked)], "{case}");
        on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
        on.clock.advance(2 * TTL);
        assert!(on.get("a").is_err(), "{case}: it does not come back in an outage");
    }
}

#[test]
fn what_nobody_reads_is_refreshed_only_while_the_kernel_holds_it_and_seldom() {
    let mut on = scene();
    on.theirs("a", "old");
    assert!(on.get("a").is_ok());
    on.pass(2 * KERNEL_TTL + TTL);
    on.asked();
    on.pass(3 * IDLE_TTL);
    assert_eq!(on.asked(), (0, 0), "nobody holds it");
    on.held.lock().unwrap().insert(name("a"));
    on.pass(3 * IDLE_TTL);
    let (gets, pages) = on.asked();
    assert!((3..=4).contains(&(gets + pages)), "{gets} {pages}");
    on.theirs("a", "new");
    on.pass(IDLE_TTL + TTL);
    assert_eq!(on.heard(), [("a".to_owned(), News::Rotated)], "who watches it hears of it");
    on.theirs("a", "newest");
    on.clock.advance(TTL);
    assert_eq!(on.get("a"), Ok("newest".to_owned()), "the first access after a pause asks");
}

#[test]
fn what_appears_and_what_goes_in_a_listing_is_told() {
    let on = scene();
    on.theirs("a", "x");
    on.theirs("b", "x");
    on.cache.list(None, on.wait()).expect("listed");
    on.theirs("c", "x");
    on.vault.delete(&name("b"), on.wait()).expect("deleted");
    on.clock.advance(TTL);
    on.cache.list(None, on.wait()).expect("listed");
    assert_eq!(on.heard(), [("c".to_owned(), News::Appeared), ("b".to_owned(), News::Revoked)]);
}

#[test]
fn what_we_change_ourselves_is_no_news() {
    let mut on = scene();
    on.theirs("b", "x");
    on.cache.list(None, on.wait()).expect("listed");
    on.cache.set(&name("a"), &value("x"), &SecretAttributes::default(), on.wait()).expect("set");
    on.cache.delete(&name("b"), on.wait()).expect("deleted");
    on.pass(2 * TTL);
    assert_eq!(on.heard(), []);
}

#[test]
fn an_answer_under_way_when_we_change_the_secret_is_no_news_either() {
    let on = scene();
    on.theirs("a", "old");
    assert!(on.get("a").is_ok());
    on.clock.advance(TTL);
    on.vault.shut_gate(Operation::Get);
    let (cache, wait) = (on.cache.clone(), on.wait());
    let early = std::thread::spawn(move || cache.get(&name("a"), None, wait));
    on.vault.wait_at_gate(Operation::Get, 1);
    on.cache.set(&name("a"), &value("ours"), &SecretAttributes::default(), on.wait()).expect("set");
    on.vault.open_gate(Operation::Get);
    early.join().expect("no panic").expect("got");
    assert_eq!((on.known("a"), on.heard()), (Ok("ours".to_owned()), vec![]));
}

#[test]
fn what_the_kernel_may_keep_is_longer_while_somebody_looks_after_it() {
    let on = scene();
    on.theirs("a", "x");
    assert!(on.get("a").is_ok());
    let valid_for = || on.cache.find(&name("a"), Wait::No).expect("known").valid_for;
    assert!(valid_for() > KERNEL_TTL);
    drop(on.refresher);
    assert_eq!(valid_for(), TTL);
    let strict = scene_with(Duration::ZERO);
    strict.theirs("a", "x");
    assert!(strict.get("a").is_ok());
    assert_eq!(strict.cache.find(&name("a"), Wait::No).expect("known").valid_for, TTL, "no longer than it is true");
}

const OUTAGES: [ErrorKind; 3] = [ErrorKind::Unreachable, ErrorKind::Firewall, ErrorKind::Broken];

#[test]
fn the_last_known_value_stands_in_for_a_vault_that_does_not_answer_as_long_as_it_may() {
    for kind in OUTAGES {
        let mut on = scene();
        on.theirs("a", "x");
        assert!(on.get("a").is_ok());
        on.cache.list(None, on.wait()).expect("listed");
        on.vault.break_down(Some(Fault::Refuse(kind)));
        on.pass(TTL + MAX_STALE - 2 * SECOND);
        assert_eq!(on.get("a"), Ok("x".to_owned()), "{kind:?}");
        assert_eq!(on.cache.list(None, on.wait()).expect("the last listing").items.len(), 1);
        assert_eq!(on.cache.find(&name("b"), on.wait()).expect_err("never known").kind, kind, "doubt is not absence");
        let stale = on.metrics.stale.of(Operation::Get).get();
        assert!(stale > 0, "it is counted");
        on.pass(TTL);
        assert_eq!(on.get("a"), Err(kind), "{kind:?}: the bound");
        on.vault.break_down(None);
        assert_eq!(on.get("a"), Ok("x".to_owned()));
    }
}

#[test]
fn nothing_stands_in_where_that_is_switched_off() {
    let on = scene_with(Duration::ZERO);
    on.theirs("a", "x");
    assert!(on.get("a").is_ok());
    on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
    on.clock.advance(TTL - SECOND);
    assert!(on.get("a").is_ok());
    on.clock.advance(SECOND);
    assert_eq!(on.get("a"), Err(ErrorKind::Unreachable));
}

#[test]
fn a_refusal_in_the_middle_of_an_outage_ends_it_for_the_value() {
    for refusal in [ErrorKind::Forbidden, ErrorKind::Authentication, ErrorKind::Disabled, ErrorKind::NotFound] {
        let on = scene();
        on.theirs("a", "x");
        assert!(on.get("a").is_ok());
        on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
        on.clock.advance(2 * TTL);
        assert_eq!(on.get("a"), Ok("x".to_owned()));
        on.vault.fail_next(Operation::Get, refusal);
        assert_eq!(on.get("a"), Err(refusal));
        on.clock.advance(2 * TTL);
        assert_eq!(on.get("a"), Err(ErrorKind::Unreachable), "{refusal:?}: what was refused never stands in again");
    }
}

#[test]
fn a_save_does_not_compare_with_what_stands_in() {
    let on = scene();
    on.theirs("a", "x");
    assert!(on.get("a").is_ok());
    on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
    let anew = on.cache.get(&name("a"), None, on.wait().anew());
    assert_eq!(anew.expect_err("the vault was to say it").kind, ErrorKind::Unreachable);
    assert_eq!(on.get("a"), Ok("x".to_owned()), "for others it still stands in");
}

#[test]
fn a_vault_that_hangs_costs_one_time_limit_whatever_is_asked_for() {
    let mut on = scene();
    on.theirs("a", "x");
    assert!(on.get("a").is_ok());
    on.vault.break_down(Some(Fault::Hang));
    let began = on.clock.slept();
    assert_eq!(on.get("b"), Err(ErrorKind::TimedOut));
    assert_eq!(on.clock.slept() - began, Duration::from_secs(15));
    for number in 0..50 {
        assert_eq!(on.get(&format!("s{number}")), Err(ErrorKind::TimedOut));
    }
    assert_eq!(on.clock.slept() - began, Duration::from_secs(15), "the others fail at once");
    on.clock.advance(TTL);
    assert_eq!(on.get("a"), Ok("x".to_owned()), "and what is known is there at once");
    assert!(on.metrics.silent_since.get().is_some());
    on.vault.break_down(None);
    on.pass(30 * SECOND);
    assert_eq!((on.get("b"), on.metrics.silent_since.get()), (Err(ErrorKind::NotFound), None), "a probe got through");
}

#[test]
fn a_caller_is_let_through_where_nobody_probes() {
    let on = scene();
    on.vault.break_down(Some(Fault::Hang));
    assert_eq!(on.get("a"), Err(ErrorKind::TimedOut));
    on.vault.break_down(None);
    assert_eq!(on.get("a"), Err(ErrorKind::TimedOut), "at once");
    on.clock.advance(Duration::from_secs(31));
    assert_eq!(on.get("a"), Err(ErrorKind::NotFound));
}

#[test]
fn the_end_of_an_outage_brings_no_burst() {
    let mut on = scene();
    let names: Vec<_> = (0..200).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| on.theirs(name, "x"));
    on.clock.advance(10 * SECOND);
    names.iter().for_each(|name| assert!(on.get(name).is_ok()));
    on.cache.list(None, on.wait()).expect("listed");
    on.vault.break_down(Some(Fault::Hang));
    on.pass(300 * SECOND);
    names.iter().for_each(|name| assert!(on.get(name).is_ok(), "it stands in"));
    on.vault.break_down(None);
    on.asked();
    on.pass(TTL);
    let (gets, pages) = on.asked();
    assert!(gets == 0 && pages <= 20, "{gets} gets, {pages} pages of 8 and a probe");
    names.iter().for_each(|name| assert!(on.known(name).is_ok(), "all of it is fresh"));
}

/// An administrator, a time service or a virtual machine that wakes sets the calendar. Ages and limits are counted otherwise.
#[test]
fn a_clock_that_jumps_changes_no_age_and_no_limit() {
    const DAY: Duration = Duration::from_secs(86_400);
    let jumps: [fn(SystemTime) -> SystemTime; 4] =
        [|now| now + DAY, |now| now - DAY, |now| now + 3650 * DAY, |_| SystemTime::UNIX_EPOCH];
    for jump in jumps {
        let on = scene();
        on.theirs("a", "x");
        assert!(on.get("a").is_ok());
        on.clock.set_calendar(jump(on.clock.now()));
        on.asked();
        assert_eq!(on.known("a"), Ok("x".to_owned()), "no younger and no older");
        // The bound of what stands in.
        on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
        on.clock.advance(TTL + MAX_STALE - 2 * SECOND);
        on.clock.set_calendar(jump(on.clock.now()));
        assert_eq!(on.get("a"), Ok("x".to_owned()));
        on.clock.advance(2 * SECOND);
        assert_eq!(on.get("a"), Err(ErrorKind::Unreachable));
        // A time limit.
        on.vault.break_down(Some(Fault::Hang));
        let began = on.clock.slept();
        assert_eq!(on.get("b"), Err(ErrorKind::TimedOut));
        assert_eq!(on.clock.slept() - began, Duration::from_secs(15));
    }
}

/// The names of so many secrets, in their order; a page of the vault has 25.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("s{number:02}")).collect()
}

#[test]
fn a_listing_that_was_left_half_way_says_nothing_an_hour_later() {
    const HOUR: Duration = Duration::from_secs(3600);
    let on = scene();
    many(60).iter().for_each(|secret| on.theirs(secret, "x"));
    on.clock.advance(10 * SECOND);
    let page = on.cache.list(None, on.wait()).expect("a page");
    assert_eq!(on.get("s00"), Ok("x".to_owned()));
    on.clock.advance(HOUR / 3);
    on.theirs("s00", "new");
    on.theirs("s00b", "new");
    on.clock.advance(HOUR);
    let mut next = page.next;
    while let Some(from) = next {
        next = on.cache.list(Some(&from), on.wait()).expect("it goes on").next;
    }
    assert_eq!(on.get("s00"), Ok("new".to_owned()), "the old page confirms nothing");
    assert!(on.cache.find(&name("s00b"), on.wait()).is_ok(), "nor does it say what there is not");
}

#[test]
fn who_may_list_and_not_get_is_told_by_a_listing_of_now() {
    let on = scene();
    many(60).iter().for_each(|secret| on.theirs(secret, "x"));
    assert!(on.cache.list(None, on.wait()).expect("a page").next.is_some());
    on.clock.advance(3 * TTL);
    on.theirs("s00b", "new");
    on.vault.fail_next(Operation::Get, ErrorKind::Forbidden);
    assert!(on.cache.find(&name("s00b"), on.wait()).is_ok());
    assert!(on.cache.list(None, on.wait()).is_ok());
}

#[test]
fn a_secret_deleted_after_half_a_listing_was_read_is_among_the_deleted() {
    let on = scene();
    for secret in many(60) {
        on.theirs(&secret, "x");
        on.vault.delete(&name(&secret), on.wait()).expect("deleted");
    }
    assert!(on.cache.list_deleted(None, on.wait()).expect("a page").next.is_some());
    on.clock.advance(3 * TTL);
    on.theirs("s00b", "x");
    on.vault.delete(&name("s00b"), on.wait()).expect("deleted");
    assert!(on.cache.get_deleted(&name("s00b"), on.wait()).is_ok());
}

#[test]
fn who_asks_anew_is_told_by_no_page_of_before() {
    let on = scene();
    for secret in many(60) {
        on.theirs(&secret, "x");
        on.vault.delete(&name(&secret), on.wait()).expect("deleted");
    }
    assert!(on.cache.list_deleted(None, on.wait()).expect("a page").next.is_some());
    on.theirs("s00b", "x");
    on.vault.delete(&name("s00b"), on.wait()).expect("deleted");
    assert!(on.cache.get_deleted(&name("s00b"), on.wait().anew()).is_ok());
}

#[test]
fn pauses_between_its_pages_make_a_listing_older() {
    let on = scene();
    many(200).iter().for_each(|secret| on.theirs(secret, "x"));
    on.clock.advance(10 * SECOND);
    let mut page = on.cache.list(None, on.wait()).expect("a page");
    on.theirs("s00b", "x");
    while let Some(from) = page.next {
        on.clock.advance(TTL / 3);
        page = on.cache.list(Some(&from), on.wait()).expect("it goes on");
    }
    assert!(on.cache.find(&name("s00b"), on.wait()).is_ok(), "its first page is older than may be believed");
}

#[test]
fn what_we_change_while_a_listing_is_under_way_is_there_as_we_changed_it() {
    let tagged = SecretAttributes { tags: Some([("a".to_owned(), "b".to_owned())].into()), ..Default::default() };
    let on_again = SecretAttributes { enabled: Some(true), ..SecretAttributes::default() };
    let off = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    for case in ["restored", "enabled", "saved as disabled", "tagged"] {
        let on = scene();
        many(60).iter().for_each(|secret| on.theirs(secret, "x"));
        let secret = name("s30");
        let blob = on.cache.backup(&secret, on.wait()).expect("a backup");
        match case {
            "restored" => {
                on.vault.delete(&secret, on.wait()).expect("deleted");
                on.vault.purge(&secret, on.wait()).expect("purged");
            }
            "enabled" => drop(on.vault.update(&secret, None, &off, on.wait()).expect("disabled")),
            _ => drop(on.cache.get(&secret, None, on.wait()).expect("got")),
        }
        let page = on.cache.list(None, on.wait()).expect("a page");
        match case {
            "restored" => drop(on.cache.restore(&blob, on.wait()).expect("restored")),
            "enabled" => drop(on.cache.update(&secret, None, &on_again, on.wait()).expect("enabled")),
            "tagged" => drop(on.cache.update(&secret, None, &tagged, on.wait()).expect("tagged")),
            _ => drop(on.cache.set(&secret, &value("y"), &off, on.wait()).expect("saved")),
        }
        let (mut next, mut listed) = (page.next, page.items);
        while let Some(from) = next {
            let page = on.cache.list(Some(&from), on.wait()).expect("it goes on");
            listed.extend(page.items);
            next = page.next;
        }
        let found = on.cache.find(&secret, on.wait()).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(found.properties.is_disabled(), case == "saved as disabled", "{case}");
        assert_eq!(found.properties.tags.is_some(), case == "tagged", "{case}");
        assert!(listed.iter().any(|item| item.name == secret), "{case}: it is not listed");
    }
}

#[test]
fn what_we_disabled_ourselves_does_not_stand_in() {
    let off = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    for named in [false, true] {
        let on = scene();
        on.theirs("a", "x");
        let version = on.cache.get(&name("a"), None, on.wait()).expect("got").properties.version;
        on.theirs("a", "y");
        on.clock.advance(TTL);
        assert_eq!(on.get("a"), Ok("y".to_owned()));
        let which = version.as_ref().filter(|_| named);
        on.cache.update(&name("a"), which, &off, on.wait()).expect("disabled");
        on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
        on.clock.advance(2 * TTL);
        assert_eq!(on.get("a"), if named { Ok("y".to_owned()) } else { Err(ErrorKind::Unreachable) });
        let old = on.cache.get(&name("a"), version.as_ref(), on.wait());
        assert_eq!(old.expect_err("disabled, or forgotten with the others").kind, ErrorKind::Unreachable);
    }
}

#[test]
fn a_version_that_was_refused_does_not_stand_in() {
    for refusal in [ErrorKind::Forbidden, ErrorKind::Authentication, ErrorKind::Disabled, ErrorKind::NotFound] {
        let on = scene();
        on.theirs("a", "x");
        let version = on.cache.get(&name("a"), None, on.wait()).expect("got").properties.version;
        on.clock.advance(2 * TTL);
        on.vault.fail_next(Operation::Get, refusal);
        let get = || on.cache.get(&name("a"), version.as_ref(), on.wait()).map(drop).map_err(|error| error.kind);
        assert_eq!(get(), Err(refusal));
        on.vault.break_down(Some(Fault::Refuse(ErrorKind::Unreachable)));
        assert_eq!(get(), Err(ErrorKind::Unreachable), "{refusal:?}");
        assert_eq!(on.get("a"), Err(ErrorKind::Unreachable), "{refusal:?}: nor as the current one");
    }
}

#[test]
fn one_request_without_an_answer_is_no_silence_while_others_are_answered() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.fail_next(Operation::Backup, ErrorKind::TimedOut);
    on.vault.shut_gate(Operation::Backup);
    let (cache, wait) = (on.cache.clone(), on.wait());
    let slow = std::thread::spawn(move || cache.backup(&name("a"), wait).map(drop));
    on.vault.wait_at_gate(Operation::Backup, 1);
    on.clock.advance(10 * SECOND);
    assert_eq!(on.get("a"), Ok("x".to_owned()));
    on.vault.open_gate(Operation::Backup);
    assert_eq!(slow.join().expect("no panic").expect_err("too slow").kind, ErrorKind::TimedOut);
    assert_eq!(on.get("b"), Err(ErrorKind::NotFound), "the vault is asked");
}
