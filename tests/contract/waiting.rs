//! What [`Wait`] promises of every operation.

use std::time::Duration;

use akvfs::store::{Continuation, ErrorKind, StoreError, Wait};

use crate::suite::{Subject, clauses, everything, nothing, version};
use crate::support::{name, value};

/// What a store on the machine's clock may take beyond its limit: a thread has to be woken.
const GRACE: Duration = Duration::from_secs(1);

clauses![
    without_waiting_nothing_changes,
    without_waiting_a_read_knows_or_says_so,
    without_waiting_no_time_passes,
    when_the_time_is_up_nothing_changes,
    when_the_time_is_up_a_read_ends,
    an_operation_ends_by_its_moment,
];

/// A live secret, a deleted one, and a backup of one that is gone.
struct Scene {
    before: String,
    blob: akvfs::secret::BackupBlob,
}

fn everything_there_is(on: &Subject) -> String {
    let deleted = on.list_deleted();
    format!("{:?} {:?} {deleted:?} {:?}", on.list(), on.picture("live"), on.get("live").value.expose())
}

fn scene(on: &Subject) -> Scene {
    on.set("lost", "x");
    let blob = on.backup("lost");
    on.delete("lost");
    on.purge("lost");
    on.set("dead", "x");
    on.delete("dead");
    on.set("live", "old");
    on.set_with("live", "new", &everything());
    Scene { before: everything_there_is(on), blob }
}

/// Every change, each of which would take effect if it might.
fn changes(on: &Subject, scene: &Scene, wait: Wait) -> Vec<Result<(), StoreError>> {
    let (store, live, dead) = (&on.store, name("live"), name("dead"));
    vec![
        store.set(&live, &value("y"), &nothing(), wait).map(|_| ()),
        store.set(&name("new"), &value("y"), &nothing(), wait).map(|_| ()),
        store
            .update(&live, None, &akvfs::secret::SecretAttributes { tags: Some([].into()), ..nothing() }, wait)
            .map(|_| ()),
        store.recover(&dead, wait).map(|_| ()),
        store.purge(&dead, wait),
        store.restore(&scene.blob, wait).map(|_| ()),
        store.delete(&live, wait).map(|_| ()),
    ]
}

fn without_waiting_nothing_changes(on: &Subject) {
    let scene = scene(on);
    for outcome in changes(on, &scene, Wait::No) {
        assert_eq!(outcome.expect_err("no change without waiting").kind, ErrorKind::NotInMemory);
    }
    assert_eq!(everything_there_is(on), scene.before);
}

/// Every read, as text. The time that an answer holds for is left out, for it runs.
fn reads(on: &Subject, wait: impl Fn() -> Wait) -> Vec<Result<String, StoreError>> {
    let (store, live, dead, missing) = (&on.store, name("live"), name("dead"), name("missing"));
    let old = version(&on.list_versions("live")[0]);
    let told = |found: akvfs::store::Found| format!("{:?}", found.properties);
    vec![
        store.get(&live, None, wait()).map(|secret| format!("{secret:?} {}", secret.value.expose())),
        store.get(&live, Some(&old), wait()).map(|secret| format!("{secret:?} {}", secret.value.expose())),
        store.get(&missing, None, wait()).map(|secret| format!("{secret:?}")),
        store.find(&live, wait()).map(told),
        store.find(&missing, wait()).map(told),
        store.find(&dead, wait()).map(told),
        store.get_deleted(&dead, wait()).map(|deleted| format!("{deleted:?}")),
        store.get_deleted(&live, wait()).map(|deleted| format!("{deleted:?}")),
    ]
}

fn without_waiting_a_read_knows_or_says_so(on: &Subject) {
    scene(on);
    let asked = reads(on, || on.wait());
    for (known, asked) in reads(on, || Wait::No).into_iter().zip(asked) {
        match (known, asked) {
            (Err(known), _) if known.kind == ErrorKind::NotInMemory => assert!(!known.is_no_answer()),
            (Err(known), Err(asked)) => assert_eq!(known.kind, asked.kind),
            (known, asked) => assert_eq!(known, asked),
        }
    }
}

fn without_waiting_no_time_passes(on: &Subject) {
    let (scene, start) = (scene(on), on.clock.moment());
    let (store, place) = (&on.store, Continuation("nowhere".to_owned()));
    changes(on, &scene, Wait::No);
    let pages = [store.list(None, Wait::No).err(), store.list_versions(&name("live"), None, Wait::No).err()];
    let others = [store.list(Some(&place), Wait::No).err(), store.list_deleted(None, Wait::No).err()];
    let backup = store.backup(&name("live"), Wait::No).err();
    for error in pages.into_iter().chain(others).chain([backup]).flatten() {
        assert!(matches!(error.kind, ErrorKind::NotInMemory | ErrorKind::Invalid), "{error}");
    }
    let grace = if on.dates.is_some() { Duration::ZERO } else { GRACE };
    assert!(on.clock.moment().since(start) <= grace);
}

fn when_the_time_is_up_nothing_changes(on: &Subject) {
    let scene = scene(on);
    on.clock.sleep(Duration::from_millis(1));
    for outcome in changes(on, &scene, Wait::Until(on.clock.moment())) {
        assert_eq!(outcome.expect_err("there was no time left").kind, ErrorKind::TimedOut);
    }
    assert_eq!(everything_there_is(on), scene.before);
}

fn when_the_time_is_up_a_read_ends(on: &Subject) {
    scene(on);
    let asked = reads(on, || on.wait());
    for (late, asked) in reads(on, || Wait::Until(on.clock.moment())).into_iter().zip(asked) {
        match (late, asked) {
            (Err(late), _) if late.kind == ErrorKind::TimedOut => assert!(late.is_no_answer()),
            (Err(late), Err(asked)) => assert_eq!(late.kind, asked.kind),
            (late, asked) => assert_eq!(late, asked),
        }
    }
}

fn an_operation_ends_by_its_moment(on: &Subject) {
    on.set("a", "x");
    on.store.delete(&name("a"), on.wait()).expect("delete");
    let (start, limit) = (on.clock.moment(), Duration::from_secs(3));
    // The deletion may be under way, which is what a store is most tempted to wait for.
    let _ = on.store.set(&name("a"), &value("y"), &nothing(), Wait::at_most(&*on.clock, limit));
    let grace = if on.dates.is_some() { Duration::ZERO } else { GRACE };
    assert!(on.clock.moment().since(start) <= limit + grace);
}
