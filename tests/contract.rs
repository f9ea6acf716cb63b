//! The contract of `src/store.rs`, sentence by sentence, on every store.
//!
//! A clause is a function on an empty store (`tests/contract/*.rs`). A store is held to all of them by one line in
//! [`STORES`]. That the clauses bite is shown by stores with one flaw each: every flaw must break a clause. The model
//! has tests of its own, for other tests lean on its being stricter than the service.

#[path = "contract/broken.rs"]
mod broken;
#[path = "contract/deleting.rs"]
mod deleting;
#[path = "contract/keeping.rs"]
mod keeping;
#[path = "contract/listing.rs"]
mod listing;
#[path = "contract/model_itself.rs"]
mod model_itself;
#[path = "contract/reading.rs"]
mod reading;
#[path = "contract/suite.rs"]
mod suite;
mod support;
#[path = "contract/waiting.rs"]
mod waiting;
#[path = "contract/writing.rs"]
mod writing;

use std::sync::Arc;
use std::time::Duration;

use akvfs::secret::SecretAttributes;
use broken::{Broken, Flaw};
use suite::{Clause, Subject, broken_clauses};
use support::{ManualClock, ModelStore, Settings};

type Maker = fn() -> Subject;

/// The stores that keep the contract.
const STORES: &[(&str, Maker)] = &[("the model", model), ("the model on a slow day", slow_model)];

fn model() -> Subject {
    model_with(Settings::default())
}

/// Deletions take as long as the service's did in 2019, pages are short, and the first one is empty.
fn slow_model() -> Subject {
    model_with(Settings { delay: Duration::from_secs(18), page: 7, empty_pages: true, ..Settings::default() })
}

fn model_with(settings: Settings) -> Subject {
    let clock = ManualClock::shared();
    let store = ModelStore::with(clock.clone(), settings);
    let planter = store.clone();
    let typed = SecretAttributes { content_type: Some("application/x-pem-file".to_owned()), ..Default::default() };
    Subject {
        store,
        clock: clock.clone(),
        dates: Some(clock),
        plant_managed: Some(Box::new(move |name, value| planter.plant_managed(name, value, &typed))),
        keep: Box::new(()),
    }
}

fn broken(flaw: Flaw) -> Subject {
    let sound = model();
    Subject { store: Arc::new(Broken::new(flaw, sound.store.clone(), sound.clock.clone())), ..sound }
}

fn clauses() -> Vec<Clause> {
    [reading::CLAUSES, writing::CLAUSES, listing::CLAUSES, deleting::CLAUSES, keeping::CLAUSES, waiting::CLAUSES]
        .concat()
}

#[test]
fn every_store_keeps_the_contract() {
    for (store, make) in STORES {
        let broken = broken_clauses(&clauses(), &make);
        assert!(broken.is_empty(), "{store} breaks {broken:?}; what each said stands above");
    }
}

#[test]
fn the_wrapper_that_breaks_stores_breaks_none_by_itself() {
    assert_eq!(broken_clauses(&clauses(), &|| broken(Flaw::None)), [""; 0]);
}

#[test]
fn every_flaw_is_noticed() {
    let unnoticed: Vec<_> =
        Flaw::ALL.iter().filter(|flaw| broken_clauses(&clauses(), &|| broken(**flaw)).is_empty()).collect();
    assert!(unnoticed.is_empty(), "no clause notices {unnoticed:?}");
}
