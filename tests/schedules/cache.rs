//! The cache: whoever asks after an answer was known gets that one or a later one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use akvfs::store::{ErrorKind, SecretStore};
use shuttle::thread::spawn;

use super::support::name;
use super::{Stage, join, save, under_all};

/// A reader that compares what it reads with what was known before.
fn reader(stage: &Arc<Stage>, known: &Arc<AtomicUsize>) -> impl FnOnce() + Send + 'static {
    let (stage, known) = (stage.clone(), known.clone());
    move || {
        for _ in 0..2 {
            let before = known.load(SeqCst);
            let read = stage.read();
            assert!(read >= before, "{read} was read, and {before} was known");
        }
    }
}

#[test]
fn who_reads_after_a_save_reads_that_or_a_later_one() {
    under_all(|| {
        let (stage, known) = (Stage::new(), Arc::new(AtomicUsize::new(0)));
        let mut all: Vec<_> = (0..2).map(|_| spawn(reader(&stage, &known))).collect();
        all.push(spawn(move || {
            for number in 1..=3 {
                save(&*stage.store, number, stage.wait());
                known.store(number, SeqCst);
            }
        }));
        join(all);
    });
}

#[test]
fn who_reads_after_a_change_was_found_reads_that_or_a_later_one() {
    under_all(|| {
        let (stage, known) = (Stage::new(), Arc::new(AtomicUsize::new(0)));
        let mut all: Vec<_> = (0..2).map(|_| spawn(reader(&stage, &known))).collect();
        all.push(spawn(move || {
            for number in 1..=3 {
                // Another client's, which somebody who looks anew finds.
                save(&*stage.vault, number, stage.wait());
                stage.store.find(&name("n"), stage.wait().anew()).unwrap();
                known.store(number, SeqCst);
            }
        }));
        join(all);
    });
}

#[test]
fn two_who_save_at_once_leave_the_cache_as_the_vault_is() {
    under_all(|| {
        let stage = Stage::new();
        let saver = |number| {
            let stage = stage.clone();
            spawn(move || save(&*stage.store, number, stage.wait()))
        };
        let reads = stage.clone();
        let reading = spawn(move || assert!(reads.read() <= 2));
        join(vec![saver(1), saver(2), reading]);
        assert_eq!(stage.read(), stage.held());
    });
}

#[test]
fn what_was_deleted_is_not_read_again() {
    under_all(|| {
        let (stage, gone) = (Stage::new(), Arc::new(AtomicUsize::new(0)));
        let reader = || {
            let (stage, gone) = (stage.clone(), gone.clone());
            spawn(move || {
                for _ in 0..2 {
                    let was_gone = gone.load(SeqCst) == 1;
                    let read = stage.store.get(&name("n"), None, stage.wait());
                    assert!(read.is_err() || !was_gone, "read after its deletion was acknowledged");
                    assert!(read.is_ok() || stage.vault.get(&name("n"), None, stage.wait()).is_err());
                }
            })
        };
        let readers = [reader(), reader()];
        let remover = spawn({
            let (stage, gone) = (stage.clone(), gone.clone());
            move || {
                stage.store.delete(&name("n"), stage.wait()).unwrap();
                gone.store(1, SeqCst);
            }
        });
        join(readers.into_iter().chain([remover]).collect());
        let found = stage.store.find(&name("n"), stage.wait()).unwrap_err();
        assert!(matches!(found.kind, ErrorKind::NotFound | ErrorKind::Deleted | ErrorKind::BeingDeleted), "{found}");
    });
}
