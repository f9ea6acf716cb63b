//! Fetching ahead, on a model vault whose answers wait until the test lets them go: how many requests, for which readers,
//! how many at a time.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, Operation, SecretStore, Wait};
use support::{Fault, ManualClock, ModelStore, Settings, name, value};

const AT_ONCE: usize = 16;
const LIMIT: Duration = Duration::from_secs(15);

struct Scene {
    clock: Arc<ManualClock>,
    vault: Arc<ModelStore>,
    cache: Arc<CachedStore>,
}

fn secret(number: usize) -> String {
    format!("s{number:04}")
}

/// A vault of so many secrets, listed.
fn scene(count: usize) -> Scene {
    scene_with(count, AT_ONCE)
}

fn scene_with(count: usize, at_once: usize) -> Scene {
    let clock = ManualClock::shared();
    let vault = ModelStore::with(clock.clone(), Settings::default());
    let cache = Arc::new(CachedStore::new(vault.clone(), CacheOptions::default(), clock.clone()));
    cache.fetch_ahead(at_once, LIMIT);
    let scene = Scene { clock, vault, cache };
    for number in 0..count {
        let secret = name(&secret(number));
        scene.vault.set(&secret, &value("x"), &SecretAttributes::default(), scene.wait()).expect("set");
    }
    let mut next = None;
    while let Some(more) = scene.cache.list(next.as_ref(), scene.wait()).expect("listed").next {
        next = Some(more);
    }
    scene.vault.forget_calls();
    scene
}

impl Scene {
    fn wait(&self) -> Wait {
        Wait::at_most(&*self.clock, LIMIT)
    }

    fn gets(&self) -> usize {
        self.vault.calls(Operation::Get)
    }

    /// As files are read: from memory if it can be, else with time to wait.
    fn read(&self, number: usize) -> Result<String, ErrorKind> {
        let secret = name(&secret(number));
        let got = match self.cache.get(&secret, None, Wait::No) {
            Err(error) if error.kind == ErrorKind::NotInMemory => self.cache.get(&secret, None, self.wait()),
            got => got,
        };
        got.map(|secret| secret.value.expose().to_owned()).map_err(|error| error.kind)
    }

    fn is_in_memory(&self, number: usize) -> bool {
        self.cache.get(&name(&secret(number)), None, Wait::No).is_ok()
    }

    fn until(&self, what: &str, look: impl Fn() -> bool) {
        let waited = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(if look() { 0 } else { 10 }));
            look()
        });
        assert!(waited, "waited for {what}");
    }
}

#[test]
fn a_walk_asks_once_for_each_and_never_for_more_than_sixteen_at_a_time() {
    let scene = scene(200);
    for number in 0..2 {
        scene.read(number).expect("read");
        assert_eq!(scene.gets(), number + 1, "who reads one or two causes no other request");
    }
    scene.vault.shut_gate(Operation::Get);
    thread::scope(|scope| {
        let third = scope.spawn(|| scene.read(2));
        scene.vault.wait_at_gate(Operation::Get, AT_ONCE);
        // He waits, and nobody asks for more meanwhile.
        thread::sleep(Duration::from_millis(50));
        assert_eq!(scene.gets(), 2 + AT_ONCE);
        scene.vault.open_gate(Operation::Get);
        assert_eq!(third.join().expect("no panic").as_deref(), Ok("x"));
    });
    for number in 3..200 {
        assert_eq!(scene.read(number).as_deref(), Ok("x"));
    }
    assert_eq!(scene.gets(), 200);
}

#[test]
fn readers_here_and_there_cause_their_own_requests_only() {
    let scene = scene(200);
    for number in [7, 150, 40, 90, 8, 190, 60, 120, 20, 7, 150] {
        scene.read(number).expect("read");
    }
    // Nothing is under way that could still arrive.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(scene.gets(), 9);
}

#[test]
fn the_values_lie_ready_before_they_are_asked_for() {
    let scene = scene(100);
    (0..3).for_each(|number| drop(scene.read(number)));
    scene.until("fifteen values ahead", || (3..2 + AT_ONCE).all(|number| scene.is_in_memory(number)));
}

#[test]
fn who_walks_down_the_listing_has_them_ready_too() {
    let scene = scene(100);
    (97..100).rev().for_each(|number| drop(scene.read(number)));
    scene.until("fifteen values ahead", || (98 - AT_ONCE..97).all(|number| scene.is_in_memory(number)));
    (0..97).rev().for_each(|number| drop(scene.read(number)));
    assert_eq!(scene.gets(), 100, "each once");
}

#[test]
fn a_failure_ahead_is_no_readers() {
    let scene = scene_with(100, 2);
    (0..3).for_each(|number| drop(scene.read(number)));
    scene.until("one value ahead", || scene.is_in_memory(3));
    scene.vault.shut_gate(Operation::Get);
    scene.read(3).expect("from memory");
    scene.vault.wait_at_gate(Operation::Get, 1);
    scene.vault.fail_next(Operation::Get, ErrorKind::Broken);
    thread::scope(|scope| {
        // He comes to wait for what is being fetched.
        let fourth = scope.spawn(|| scene.read(4));
        thread::sleep(Duration::from_millis(50));
        assert_eq!(scene.gets(), 5);
        scene.vault.open_gate(Operation::Get);
        assert_eq!(fourth.join().expect("no panic").as_deref(), Ok("x"), "the failure was not his");
    });
}

#[test]
fn a_failure_ends_the_fetching() {
    let scene = scene(100);
    (0..2).for_each(|number| drop(scene.read(number)));
    scene.vault.break_down(Some(Fault::Refuse(ErrorKind::Broken)));
    assert_eq!(scene.read(2), Err(ErrorKind::Broken));
    // All that was under way has failed.
    thread::sleep(Duration::from_millis(100));
    let before = scene.gets();
    assert!(before <= 2 + AT_ONCE, "{before}");
    assert_eq!(scene.read(3), Err(ErrorKind::Broken));
    thread::sleep(Duration::from_millis(50));
    assert!(scene.gets() <= before + 1, "who walks on asks for himself alone");
    scene.vault.break_down(None);
    assert_eq!(scene.read(4).as_deref(), Ok("x"));
}

#[test]
fn switched_off_it_fetches_nothing() {
    for at_once in [0, 1] {
        let scene = scene(50);
        let cache = Arc::new(CachedStore::new(scene.vault.clone(), CacheOptions::default(), scene.clock.clone()));
        cache.fetch_ahead(at_once, LIMIT);
        cache.list(None, scene.wait()).expect("listed");
        scene.vault.forget_calls();
        for number in 0..20 {
            cache.get(&name(&secret(number)), None, scene.wait()).expect("read");
        }
        thread::sleep(Duration::from_millis(50));
        assert_eq!(scene.gets(), 20);
    }
}
