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

use akvfs::cache::{CacheOptions, CachedStore};
use akvfs::clock::SystemClock;
use akvfs::local::{ManagedSecret, ServeOptions, Server};
use akvfs::metrics::Metered;
use akvfs::secret::{SecretAttributes, SecretName, SecretValue};
use akvfs::vault::{ClientOptions, Proxy, SecretClient, StaticToken};
use broken::{Broken, Flaw};
use suite::{Clause, Subject, broken_clauses};
use support::{ManualClock, ModelStore, Settings};

type Maker = fn() -> Subject;

/// The stores that keep the contract.
const STORES: &[(&str, Maker)] = &[
    ("the model", model),
    ("the model on a slow day", slow_model),
    ("a model that is counted", || metered(model())),
    ("a cache", || cached(model(), TTL)),
    ("a cache that believes nothing", || cached(model(), Duration::ZERO)),
    ("a cache on a slow day", || cached(slow_model(), TTL)),
    ("a client of the local vault", || client(Duration::ZERO)),
    ("a client of a slow local vault", || client(SLOW)),
    ("a cache before a client of a slow local vault", || cached(client(SLOW), TTL)),
];

const TTL: Duration = Duration::from_secs(30);
/// Long enough to be seen under way by the next request, short enough for a test.
const SLOW: Duration = Duration::from_millis(400);

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

fn metered(below: Subject) -> Subject {
    let store = Metered::new(below.store.clone(), Arc::default(), below.clock.clone());
    Subject { store: Arc::new(store), ..below }
}

fn cached(below: Subject, ttl: Duration) -> Subject {
    let options = CacheOptions { ttl, ..CacheOptions::default() };
    let store = CachedStore::new(below.store.clone(), options, below.clock.clone());
    Subject { store: Arc::new(store), ..below }
}

/// The client and the local vault share no code but the words, so that each is checked by the other here.
fn client(delay: Duration) -> Subject {
    let clock = SystemClock::shared();
    let serve = ServeOptions { soft_delete_delay: delay, ..ServeOptions::default() };
    let server = Arc::new(Server::start(serve, clock.clone()).expect("a local vault"));
    let options = ClientOptions {
        verify_challenge_resource: false,
        proxy: Proxy::Direct,
        max_requests: 100_000,
        max_writes: 100_000,
        ..ClientOptions::default()
    };
    let tokens = Arc::new(StaticToken::new("any".to_owned()));
    let client = SecretClient::new(server.url(), tokens, options, clock.clone()).expect("a client");
    let planter = server.clone();
    let plant = move |name: &SecretName, value: &SecretValue| {
        let (name, value) = (name.clone(), value.clone());
        let content_type = "application/x-pem-file".to_owned();
        let secret = ManagedSecret { name, content_type, value, not_before: 0, expires_on: 4_000_000_000 };
        planter.add_managed(secret).expect("planted");
    };
    Subject {
        store: Arc::new(client),
        clock,
        dates: None,
        plant_managed: Some(Box::new(plant)),
        keep: Box::new(server),
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
    let broken: Vec<_> = STORES
        .iter()
        .map(|(store, make)| (store, broken_clauses(&clauses(), &make)))
        .filter(|(_, broken)| !broken.is_empty())
        .collect();
    assert!(broken.is_empty(), "broken: {broken:?}; what each said stands above");
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
