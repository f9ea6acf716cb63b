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
pub use vault::ManagedSecret;

/// What the fuzzer reaches that callers need not: a vault in memory without sockets.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::ServeOptions;
    use super::challenge::Access;
    use super::page::Cut;
    use super::request::Request;
    use super::routes;
    use super::store::Store;
    use super::vault::LocalVault;
    use crate::clock::Clock;

    /// See the module.
    pub struct Router {
        vault: LocalVault,
        access: Access,
    }

    impl Router {
        /// An empty vault that takes any token.
        pub fn new(clock: Arc<dyn Clock>) -> Self {
            let (store, contents) = Store::in_memory().expect("random numbers");
            let policy = ServeOptions::default().policy().expect("the defaults fit");
            let access = Access { token: None, local_names_only: true, denied: Vec::new() };
            Self { vault: LocalVault::new(store, contents, policy, clock), access }
        }

        /// Status, headers and body of the answer.
        pub fn answer(
            &self,
            [method, target, host, token]: [&str; 4],
            body: &[u8],
        ) -> (u16, Vec<(String, String)>, Vec<u8>) {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let request = Request {
                method: method.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                scheme: "http",
                host: Some(host.to_owned()),
                page: None,
                authorization: Some(token.to_owned().into()),
                client_request_id: Some(token.to_owned()),
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
                body: body.to_vec().into(),
            };
            let reply = match routes::admit(&self.access, &request) {
                Ok(admitted) => routes::answer(&self.vault, &admitted, &request, Cut::Full),
                Err(reply) => reply,
            };
            (reply.status, reply.headers, reply.body)
        }
    }
}
