//! The cache in front of a model vault: what it asks, what it believes and for how long.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::metrics::Metrics;
use akvfs::secret::{MAX_VALUE, SecretAttributes, SecretProperties};
use akvfs::store::{ErrorKind, Operation, SecretStore, StoreError, Wait};
use support::{ManualClock, ModelStore, Settings, name, value};

const TTL: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(1);

struct Scene {
    clock: Arc<ManualClock>,
    vault: Arc<ModelStore>,
    cache: Arc<CachedStore>,
}

fn scene_with(settings: Settings, options: CacheOptions) -> Scene {
    let clock = ManualClock::shared();
    let vault = ModelStore::with(clock.clone(), settings);
    let cache = Arc::new(CachedStore::new(vault.clone(), options, clock.clone()));
    Scene { clock, vault, cache }
}

fn scene() -> Scene {
    scene_with(Settings::default(), CacheOptions { ttl: TTL, ..CacheOptions::default() })
}

fn slow(delay: u64) -> Scene {
    let settings = Settings { delay: Duration::from_secs(delay), ..Settings::default() };
    scene_with(settings, CacheOptions { ttl: TTL, ..CacheOptions::default() })
}

impl Scene {
    fn wait(&self) -> Wait {
        Wait::at_most(&*self.clock, Duration::from_secs(15))
    }

    fn theirs(&self, secret: &str, text: &str) {
        self.vault.set(&name(secret), &value(text), &SecretAttributes::default(), self.wait()).expect("set by others");
    }

    fn ours(&self, secret: &str, text: &str) -> SecretProperties {
        self.cache.set(&name(secret), &value(text), &SecretAttributes::default(), self.wait()).expect("set by us")
    }

    fn get(&self, secret: &str) -> Result<String, ErrorKind> {
        text(self.cache.get(&name(secret), None, self.wait()))
    }

    fn listed(&self) -> Vec<String> {
        let page = self.cache.list(None, self.wait()).expect("listed");
        page.items.iter().map(|item| item.name.to_string()).collect()
    }

    fn deleted(&self) -> Vec<String> {
        let page = self.cache.list_deleted(None, self.wait()).expect("listed");
        page.items.iter().map(|item| item.properties.name.to_string()).collect()
    }

    fn gets(&self) -> usize {
        self.vault.calls(Operation::Get)
    }

    /// A get on another thread, with `limit` to wait.
    fn spawn_get(&self, secret: &'static str, limit: Duration) -> thread::JoinHandle<Result<String, ErrorKind>> {
        let (cache, wait) = (self.cache.clone(), Wait::at_most(&*self.clock, limit));
        thread::spawn(move || text(cache.get(&name(secret), None, wait)))
    }
}

fn text(answer: Result<akvfs::secret::KeyVaultSecret, StoreError>) -> Result<String, ErrorKind> {
    answer.map(|secret| secret.value.expose().to_owned()).map_err(|error| error.kind)
}

#[test]
fn many_readers_of_one_value_make_one_request() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.shut_gate(Operation::Get);
    let readers: Vec<_> = (0..32).map(|_| on.spawn_get("a", Duration::from_secs(15))).collect();
    on.vault.wait_at_gate(Operation::Get, 1);
    on.vault.open_gate(Operation::Get);
    for reader in readers {
        assert_eq!(reader.join().expect("no panic"), Ok("x".to_owned()));
    }
    assert_eq!(on.gets(), 1);
}

#[test]
fn an_error_is_for_those_who_waited_for_it_and_no_others() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.fail_next(Operation::Get, ErrorKind::Broken);
    assert_eq!(on.get("a"), Err(ErrorKind::Broken));
    assert_eq!(on.get("a"), Ok("x".to_owned()));
}

#[test]
fn who_has_time_left_asks_again_when_the_first_askers_ran_out() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.fail_next(Operation::Get, ErrorKind::TimedOut);
    on.vault.shut_gate(Operation::Get);
    let hasty = on.spawn_get("a", Duration::from_secs(15));
    on.vault.wait_at_gate(Operation::Get, 1);
    let patient = on.spawn_get("a", Duration::from_secs(15));
    on.vault.open_gate(Operation::Get);
    assert_eq!(hasty.join().expect("no panic"), Err(ErrorKind::TimedOut));
    assert_eq!(patient.join().expect("no panic"), Ok("x".to_owned()));
}

#[test]
fn an_answer_is_believed_for_its_ttl_and_not_a_moment_longer() {
    let on = scene();
    on.theirs("a", "old");
    assert_eq!(on.get("a"), Ok("old".to_owned()));
    on.theirs("a", "new");
    on.clock.advance(TTL - MOMENT);
    assert_eq!(on.get("a"), Ok("old".to_owned()));
    on.clock.advance(MOMENT);
    assert_eq!(on.get("a"), Ok("new".to_owned()));
    assert_eq!(on.gets(), 2);
}

#[test]
fn the_ttl_counts_from_the_question_not_from_the_answer() {
    let on = scene();
    on.theirs("a", "old");
    on.vault.shut_gate(Operation::Get);
    let reader = on.spawn_get("a", Duration::from_secs(60));
    on.vault.wait_at_gate(Operation::Get, 1);
    on.clock.advance(TTL - MOMENT);
    on.vault.open_gate(Operation::Get);
    assert_eq!(reader.join().expect("no panic"), Ok("old".to_owned()));
    on.clock.advance(MOMENT);
    assert_eq!(on.get("a"), Ok("old".to_owned()));
    assert_eq!(on.gets(), 2);
}

#[test]
fn that_there_is_none_is_believed_for_its_own_shorter_time() {
    let on = scene();
    assert_eq!(on.get("a"), Err(ErrorKind::NotFound));
    on.theirs("a", "x");
    on.clock.advance(Duration::from_secs(1) - MOMENT);
    assert_eq!(on.get("a"), Err(ErrorKind::NotFound));
    on.clock.advance(MOMENT);
    assert_eq!(on.get("a"), Ok("x".to_owned()));
}

#[test]
fn a_complete_listing_answers_for_names_that_are_not_in_it() {
    let on = scene();
    on.theirs("a", "x");
    assert_eq!(on.listed(), ["a"]);
    assert_eq!(on.get("nothing"), Err(ErrorKind::NotFound));
    assert_eq!(on.cache.find(&name("a"), Wait::No).expect("listed").properties.name, name("a"));
    assert_eq!(on.gets(), 0);
}

#[test]
fn what_is_expired_is_asked_for() {
    let on = scene();
    on.theirs("a", "old");
    let _ = (on.get("a"), on.listed());
    on.theirs("a", "new");
    on.theirs("b", "x");
    on.cache.expire(Some(&name("a")));
    assert_eq!(on.get("a"), Ok("new".to_owned()));
    assert_eq!(on.listed(), ["a"], "the listing is not a's alone");
    on.cache.expire(None);
    assert_eq!(on.listed(), ["a", "b"]);
}

#[test]
fn who_reads_after_an_expiry_does_not_wait_for_a_question_from_before() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.shut_gate(Operation::Get);
    let early = on.spawn_get("a", Duration::from_secs(15));
    on.vault.wait_at_gate(Operation::Get, 1);
    on.cache.expire(Some(&name("a")));
    let late = on.spawn_get("a", Duration::from_secs(15));
    on.vault.wait_at_gate(Operation::Get, 2);
    on.vault.open_gate(Operation::Get);
    assert!(early.join().expect("no panic").is_ok() && late.join().expect("no panic").is_ok());
}

#[test]
fn an_answer_under_way_when_a_change_of_ours_goes_out_is_not_kept() {
    let on = scene();
    on.theirs("a", "old");
    on.vault.fail_next(Operation::Get, ErrorKind::NotFound);
    on.vault.shut_gate(Operation::Get);
    let early = on.spawn_get("a", Duration::from_secs(15));
    on.vault.wait_at_gate(Operation::Get, 1);
    on.ours("a", "new");
    on.vault.open_gate(Operation::Get);
    assert_eq!(early.join().expect("no panic"), Err(ErrorKind::NotFound));
    assert_eq!((on.get("a"), on.gets()), (Ok("new".to_owned()), 1));
}

#[test]
fn a_listing_under_way_when_a_change_of_ours_goes_out_shows_it() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.shut_gate(Operation::List);
    let (cache, wait) = (on.cache.clone(), on.wait());
    let early = thread::spawn(move || cache.list(None, wait).expect("listed").items.len());
    on.vault.wait_at_gate(Operation::List, 1);
    on.ours("b", "x");
    on.vault.open_gate(Operation::List);
    assert_eq!(early.join().expect("no panic"), 2);
    assert_eq!(on.listed(), ["a", "b"]);
}

#[test]
fn a_deleted_name_is_in_its_new_place_at_once_and_back_after_a_recovery() {
    let on = slow(5);
    on.ours("a", "x");
    let _ = (on.listed(), on.deleted());
    on.cache.delete(&name("a"), on.wait()).expect("delete");
    assert_eq!((on.listed(), on.deleted()), (vec![], vec!["a".to_owned()]));
    on.cache.expire(None);
    assert_eq!((on.listed(), on.deleted()), (vec![], vec!["a".to_owned()]), "the vault does not show it yet");
    on.cache.recover(&name("a"), on.wait()).expect("the recovery waits for the deletion");
    assert_eq!((on.listed(), on.deleted()), (vec!["a".to_owned()], vec![]));
    let before = on.clock.slept();
    assert_eq!(on.get("a"), Ok("x".to_owned()), "the get waits for the recovery");
    assert!(on.clock.slept() > before);
}

#[test]
fn versions_are_waited_for_while_a_recovery_is_under_way() {
    let on = slow(3);
    on.ours("a", "x");
    on.cache.delete(&name("a"), on.wait()).expect("delete");
    on.clock.advance(Duration::from_secs(3));
    on.cache.recover(&name("a"), on.wait()).expect("recover");
    assert_eq!(on.cache.list_versions(&name("a"), None, on.wait()).expect("versions").items.len(), 1);
}

#[test]
fn a_secret_that_is_being_recovered_is_found_without_waiting_and_then_as_others_made_it() {
    let on = slow(120);
    on.ours("a", "x");
    on.cache.delete(&name("a"), on.wait()).expect("deleted");
    on.clock.advance(Duration::from_secs(120));
    on.cache.recover(&name("a"), on.wait()).expect("recovery begun");
    on.clock.advance(TTL);
    on.cache.expire(None);
    let (asked, now) = (on.vault.calls(Operation::Get), on.clock.slept());
    on.cache.find(&name("a"), on.wait()).expect("it is on its way back");
    assert_eq!((on.vault.calls(Operation::Get) - asked, on.clock.slept()), (1, now), "one look, and no wait");
    on.clock.advance(Duration::from_secs(120));
    on.theirs("a", "theirs");
    on.cache.expire(None);
    let found = on.cache.find(&name("a"), on.wait()).expect("found");
    assert_eq!(
        found.current.as_ref(),
        on.cache.get(&name("a"), None, on.wait()).expect("got").properties.version.as_ref()
    );
    assert_eq!(on.get("a"), Ok("theirs".to_owned()));
}

#[test]
fn what_others_recover_is_seen_in_the_next_listing() {
    let on = scene();
    on.ours("a", "x");
    on.cache.delete(&name("a"), on.wait()).expect("delete");
    on.vault.recover(&name("a"), on.wait()).expect("recovered by others");
    on.cache.expire(None);
    assert_eq!((on.listed(), on.get("a")), (vec!["a".to_owned()], Ok("x".to_owned())));
}

#[test]
fn refusals_are_remembered_for_their_ttl() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.fail_next(Operation::Get, ErrorKind::Forbidden);
    assert_eq!(on.get("a"), Err(ErrorKind::Forbidden));
    on.clock.advance(TTL - MOMENT);
    assert_eq!((on.get("a"), on.gets()), (Err(ErrorKind::Forbidden), 1));
    on.clock.advance(MOMENT);
    assert_eq!(on.get("a"), Ok("x".to_owned()));
    let off = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    on.vault.update(&name("a"), None, &off, on.wait()).expect("disabled by others");
    on.cache.expire(None);
    assert_eq!((on.get("a"), on.get("a"), on.gets()), (Err(ErrorKind::Disabled), Err(ErrorKind::Disabled), 3));
}

#[test]
fn of_two_disabled_versions_of_one_second_the_current_one_is_told() {
    let on = scene();
    let tagged = |tag: &str| SecretAttributes {
        tags: Some([("which".to_owned(), tag.to_owned())].into()),
        enabled: Some(false),
        ..Default::default()
    };
    // Versions are listed in an order that says nothing of time: each secret has its own.
    for number in 0..20 {
        let secret = name(&format!("a{number}"));
        for tag in ["first", "second"] {
            on.vault.set(&secret, &value("x"), &tagged(tag), on.wait()).expect("set by others");
        }
        let found = on.cache.find(&secret, on.wait()).expect("found");
        assert_eq!(found.properties.tags, tagged("second").tags, "{secret}");
        on.cache.expire(None);
    }
}

#[test]
fn who_may_not_get_finds_what_the_listing_tells() {
    let on = scene();
    let tagged = SecretAttributes { tags: Some([("k".to_owned(), "v".to_owned())].into()), ..Default::default() };
    on.vault.set(&name("a"), &value("x"), &tagged, on.wait()).expect("set");
    on.cache.expire(Some(&name("a")));
    on.vault.fail_next(Operation::Get, ErrorKind::Forbidden);
    assert_eq!(on.get("a"), Err(ErrorKind::Forbidden));
    assert_eq!(on.cache.find(&name("a"), on.wait()).expect("found").properties.tags, tagged.tags);
}

#[test]
fn who_may_not_list_is_told_of_a_deleted_secret_every_time() {
    let on = scene();
    on.theirs("a", "x");
    on.vault.delete(&name("a"), on.wait()).expect("deleted by others");
    on.vault.fail_next(Operation::ListDeleted, ErrorKind::Forbidden);
    for _ in 0..2 {
        // Whoever cannot wait must come back: that the listing is refused says nothing about the secret.
        let memory = on.cache.get_deleted(&name("a"), Wait::No).map_err(|error| error.kind);
        assert_eq!(memory, Err(ErrorKind::NotInMemory));
        on.cache.get_deleted(&name("a"), on.wait()).expect("told");
    }
    assert_eq!(on.vault.calls(Operation::ListDeleted), 1);
}

#[test]
fn a_disabled_version_is_not_given_out_of_memory() {
    let on = scene();
    let version = on.ours("a", "x").version.expect("told");
    let off = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
    on.vault.update(&name("a"), Some(&version), &off, on.wait()).expect("disabled by others");
    on.clock.advance(TTL);
    assert_eq!(text(on.cache.get(&name("a"), Some(&version), on.wait())), Err(ErrorKind::Disabled));
}

#[test]
fn one_name_that_hangs_holds_up_no_other() {
    let on = scene();
    on.ours("known", "x");
    on.theirs("slow", "y");
    let _ = on.listed();
    on.vault.shut_gate(Operation::Get);
    let hung = on.spawn_get("slow", Duration::from_secs(15));
    on.vault.wait_at_gate(Operation::Get, 1);
    assert_eq!(on.get("known"), Ok("x".to_owned()));
    assert_eq!(on.listed(), ["known", "slow"]);
    on.ours("other", "z");
    assert_eq!(text(on.cache.get(&name("slow"), None, Wait::No)), Err(ErrorKind::NotInMemory));
    on.vault.open_gate(Operation::Get);
    assert_eq!(hung.join().expect("no panic"), Ok("y".to_owned()));
}

#[test]
fn a_walk_through_ten_times_its_room_fills_it_and_no_more() {
    const ROOM: usize = 1 << 20;
    let metrics = Arc::new(Metrics::default());
    let (clock, options) = (ManualClock::shared(), CacheOptions { ttl: TTL, bytes: ROOM, ..CacheOptions::default() });
    let vault = ModelStore::with(clock.clone(), Settings::default());
    let cache = Arc::new(CachedStore::counting(vault.clone(), options, clock.clone(), metrics.clone()));
    let on = Scene { clock, vault, cache };
    let longest = "x".repeat(MAX_VALUE);
    let names: Vec<_> = (0..10 * ROOM / MAX_VALUE).map(|number| format!("s{number}")).collect();
    for secret in &names {
        on.theirs(secret, &longest);
        assert!(on.get(secret).is_ok());
        assert!(metrics.bytes.get() <= ROOM as u64);
    }
    assert!(metrics.bytes.get() > ROOM as u64 * 95 / 100, "{} bytes", metrics.bytes.get());
    on.vault.forget_calls();
    let last = &names[names.len() - (ROOM / (value(&longest).room() + 1024))..];
    assert!(last.iter().all(|secret| on.get(secret).is_ok()) && on.gets() == 0, "the last ones are there");
}

#[test]
fn values_without_room_are_asked_for_again() {
    let options = CacheOptions { ttl: TTL, entries: 2, ..CacheOptions::default() };
    let on = scene_with(Settings::default(), options);
    for secret in ["a", "b", "c"] {
        on.theirs(secret, secret);
        assert!(on.get(secret).is_ok());
    }
    on.vault.forget_calls();
    assert_eq!((on.get("c"), on.get("b"), on.gets()), (Ok("c".to_owned()), Ok("b".to_owned()), 0));
    assert_eq!((on.get("a"), on.gets()), (Ok("a".to_owned()), 1));
}

#[test]
fn a_change_that_may_not_wait_forgets_nothing() {
    let on = scene();
    on.ours("a", "x");
    let none = SecretAttributes::default();
    assert!(on.cache.set(&name("a"), &value("y"), &none, Wait::No).is_err());
    assert!(on.cache.delete(&name("a"), Wait::No).is_err());
    assert_eq!(text(on.cache.get(&name("a"), None, Wait::No)), Ok("x".to_owned()));
}

#[test]
fn a_change_of_ours_shows_in_a_listing_from_before() {
    let on = scene();
    on.ours("a", "x");
    assert_eq!(on.listed(), ["a"]);
    let typed = SecretAttributes { content_type: Some("t".to_owned()), ..SecretAttributes::default() };
    on.cache.update(&name("a"), None, &typed, on.wait()).expect("updated");
    let page = on.cache.list(None, on.wait()).expect("listed");
    assert_eq!(page.items[0].content_type.as_deref(), Some("t"));
}
