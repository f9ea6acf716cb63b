//! What several tests share: a clock that is moved by hand and a vault in memory. Knows no caches and
//! no HTTP. A test takes it in with `mod support;`.

#![allow(dead_code, unused_imports, reason = "each test takes in all of this and uses what it needs")]

mod alone;
mod clock;
mod deaf;
mod entry;
mod model;
mod switches;
mod vault;

use akvfs::secret::{SecretName, SecretValue};

pub use alone::Alone;
pub use clock::ManualClock;
pub use deaf::Deaf;
pub use entry::VAULT_URL;
pub use model::ModelStore;
pub use switches::Fault;
pub use vault::Settings;

/// The name `text`, which must be legal.
pub fn name(text: &str) -> SecretName {
    SecretName::parse(text).expect("a test uses legal names")
}

/// The value `text`.
pub fn value(text: &str) -> SecretValue {
    SecretValue::new(text.to_owned())
}
