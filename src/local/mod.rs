//! The local vault: an HTTP server that speaks Key Vault's secrets API, for tests and for work without an account.
//!
//! A request falls through these files, each of which knows only the ones below it:
//!
//! ```text
//! server (sockets, tls) -> http (one exchange, faults, throttle) -> routes (request -> reply; request, challenge, wire) -> vault (one lock, one log)
//!        -> operations (decide) -> model (state);   vault -> store, stored, blob (disk and backups)
//! ```
//!
//! It knows nothing of the client in `vault`, of files or of caches, and shares no JSON code with the client: the
//! two would agree on the same mistake. What it answers where no recording says what the service answers is chosen
//! in [`errors`] and listed in `docs/local-vault.md`.

mod api_version;
mod blob;
mod challenge;
mod errors;
mod faults;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod model;
mod operations;
mod options;
mod page;
mod request;
mod routes;
mod server;
mod store;
mod stored;
mod throttle;
mod tls;
mod vault;
mod wire;

pub use faults::{Fault, FaultKind};
pub use options::{RecoveryLevel, ServeError, ServeOptions};
pub use request::Operation;
pub use server::Server;
pub use throttle::{Rate, Throttle};
pub use vault::ManagedSecret;
