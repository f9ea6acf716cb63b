//! The model alone: the states between live and gone, and the switches that other tests turn.

use std::sync::Arc;
use std::time::Duration;

use akvfs::clock::Clock;
use akvfs::store::{ErrorKind, Operation, SecretStore, Wait};

use crate::suite::{Subject, kind, nothing};
use crate::support::{ManualClock, ModelStore, Settings, name, value};

const DELAY: Duration = Duration::from_secs(20);

/// A model with the clock that moves it, and a short way to ask it.
struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<ModelStore>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let clock = ManualClock::shared();
        Self { store: ModelStore::with(clock.clone(), settings), clock }
    }

    fn slow() -> Self {
        Self::new(Settings { delay: DELAY, ..Settings::default() })
    }

    fn wait(&self) -> Wait {
        Wait::at_most(&*self.clock, Duration::from_secs(30))
    }

    fn set(&self, secret: &str) -> Result<(), ErrorKind> {
        let answer = self.store.set(&name(secret), &value("x"), &nothing(), self.wait());
        answer.map(|_| ()).map_err(|error| error.kind)
    }

    /// What each operation says of `a`, in the order of the table; `None` is success. It changes what it may.
    fn row(&self) -> [Option<ErrorKind>; 7] {
        let (store, a, wait) = (&self.store, name("a"), self.wait());
        [
            store.get(&a, None, wait).err(),
            store.get_deleted(&a, wait).err(),
            store.delete(&a, wait).err(),
            store.set(&a, &value("y"), &nothing(), wait).err(),
            store.backup(&a, wait).err(),
            store.recover(&a, wait).err(),
            store.purge(&a, wait).err(),
        ]
        .map(|error| error.map(|error| error.kind))
    }
}

const NOT_FOUND: Option<ErrorKind> = Some(ErrorKind::NotFound);

#[test]
fn a_name_goes_through_the_states_that_were_recorded() {
    let on = Bench::slow();
    let (a, wait) = (name("a"), on.wait());
    on.set("a").expect("the name is free");
    on.store.delete(&a, wait).expect("delete");
    on.clock.advance(DELAY - Duration::from_millis(1));
    let deleting = Some(ErrorKind::BeingDeleted);
    assert_eq!(on.row(), [NOT_FOUND, NOT_FOUND, NOT_FOUND, deleting, NOT_FOUND, deleting, deleting]);
    on.clock.advance(Duration::from_millis(1));
    let (deleted, recovering) = (Some(ErrorKind::Deleted), Some(ErrorKind::BeingRecovered));
    assert_eq!(on.row(), [NOT_FOUND, None, NOT_FOUND, deleted, NOT_FOUND, None, recovering]);
    let exists = Some(ErrorKind::Exists);
    assert_eq!(on.row(), [NOT_FOUND, NOT_FOUND, NOT_FOUND, recovering, NOT_FOUND, exists, recovering]);
    on.clock.advance(DELAY);
    assert!(on.store.get(&a, None, on.wait()).is_ok());
}

#[test]
fn a_purged_name_takes_a_set_at_once_and_a_restore_later() {
    let on = Bench::slow();
    on.set("a").expect("the name is free");
    let blob = on.store.backup(&name("a"), on.wait()).expect("backup");
    on.store.delete(&name("a"), on.wait()).expect("delete");
    on.clock.advance(DELAY);
    on.store.purge(&name("a"), on.wait()).expect("purge");
    assert_eq!(kind(on.store.restore(&blob, on.wait())), ErrorKind::Exists);
    on.clock.advance(DELAY);
    on.store.restore(&blob, on.wait()).expect("the name is free now");
    on.store.delete(&name("a"), on.wait()).expect("delete");
    on.clock.advance(DELAY);
    on.store.purge(&name("a"), on.wait()).expect("purge");
    assert_eq!(on.set("a"), Ok(()));
}

#[test]
fn a_deleted_secret_is_gone_after_ninety_days() {
    let on = Bench::new(Settings::default());
    on.set("a").expect("the name is free");
    on.store.delete(&name("a"), on.wait()).expect("delete");
    on.clock.advance(Duration::from_secs(90 * 86_400 - 1));
    assert!(on.store.get_deleted(&name("a"), on.wait()).is_ok());
    on.clock.advance(Duration::from_secs(1));
    assert_eq!(kind(on.store.get_deleted(&name("a"), on.wait())), ErrorKind::NotFound);
}

#[test]
fn purge_protection_is_for_everyone() {
    let on = Bench::new(Settings { purge_protected: true, ..Settings::default() });
    on.set("a").expect("the name is free");
    on.store.delete(&name("a"), on.wait()).expect("delete");
    assert_eq!(kind(on.store.purge(&name("a"), on.wait())), ErrorKind::PurgeProtected);
    assert!(on.store.get_deleted(&name("a"), on.wait()).is_ok());
}

#[test]
fn a_listing_has_pages_of_25_and_may_start_with_an_empty_one() {
    for (empty_pages, sizes) in [(false, vec![25, 25, 10]), (true, vec![0, 25, 25, 10])] {
        let on = Bench::new(Settings { empty_pages, ..Settings::default() });
        (0..60).for_each(|number| on.set(&format!("s{number}")).expect("the name is free"));
        let (mut told, mut next) = (Vec::new(), None);
        while told.is_empty() || next.is_some() {
            let page = on.store.list(next.as_ref(), on.wait()).expect("a page");
            told.push(page.items.len());
            next = page.next;
        }
        assert_eq!(told, sizes);
    }
}

#[test]
fn a_continuation_belongs_to_its_listing() {
    let on = Bench::new(Settings { empty_pages: true, ..Settings::default() });
    let next = on.store.list(None, on.wait()).expect("a page").next;
    assert_eq!(kind(on.store.list_deleted(next.as_ref(), on.wait())), ErrorKind::Invalid);
    assert_eq!(kind(on.store.list_versions(&name("a"), next.as_ref(), on.wait())), ErrorKind::Invalid);
}

#[test]
fn faults_come_in_order_and_then_no_more() {
    let on = Bench::new(Settings::default());
    on.store.fail_next(Operation::Set, ErrorKind::Unreachable);
    on.store.lose_next_reply(Operation::Set, ErrorKind::Broken);
    assert_eq!(on.set("a"), Err(ErrorKind::Unreachable));
    assert_eq!(kind(on.store.get(&name("a"), None, on.wait())), ErrorKind::NotFound);
    assert_eq!(on.set("a"), Err(ErrorKind::Broken));
    assert!(on.store.get(&name("a"), None, on.wait()).is_ok(), "only the answer was lost");
    assert_eq!(on.set("a"), Ok(()));
}

#[test]
fn what_hangs_takes_all_the_time_there_is_and_does_nothing() {
    let on = Bench::new(Settings::default());
    on.store.hang_next(Operation::Set);
    let start = on.clock.moment();
    assert_eq!(on.set("a"), Err(ErrorKind::TimedOut));
    assert_eq!(on.clock.moment().since(start), Duration::from_secs(30));
    assert_eq!(on.clock.slept(), Duration::from_secs(30));
    assert_eq!(kind(on.store.get(&name("a"), None, on.wait())), ErrorKind::NotFound);
}

#[test]
fn calls_are_counted_unless_they_could_not_wait() {
    let on = Bench::new(Settings::default());
    assert_eq!(on.set("a"), Ok(()));
    assert!(on.store.get(&name("a"), None, Wait::No).is_err());
    assert!(on.store.get(&name("b"), None, on.wait()).is_err());
    assert_eq!((on.store.calls(Operation::Set), on.store.calls(Operation::Get), on.store.all_calls()), (1, 1, 2));
    on.store.forget_calls();
    assert_eq!(on.store.all_calls(), 0);
}

#[test]
fn a_gate_holds_everybody_up_until_it_opens() {
    let on = Bench::new(Settings::default());
    assert_eq!(on.set("a"), Ok(()));
    on.store.shut_gate(Operation::Get);
    std::thread::scope(|threads| {
        let readers = [(); 3].map(|()| threads.spawn(|| on.store.get(&name("a"), None, on.wait()).is_ok()));
        on.store.wait_at_gate(Operation::Get, 3);
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        on.store.open_gate(Operation::Get);
        assert!(readers.into_iter().all(|reader| reader.join().expect("no panic")));
    });
}

#[test]
fn two_models_make_the_same_versions_in_an_order_that_is_not_that_of_time() {
    let made = || {
        let on: Subject = crate::model();
        (0..10).map(|_| on.set("a", "x").version.expect("told")).collect::<Vec<_>>()
    };
    assert_eq!(made(), made());
    assert!(!made().is_sorted());
}
