//! What a caller may choose about a client, with every default in one place. Knows nothing else.

use std::path::PathBuf;
use std::time::Duration;

/// How a [`SecretClient`](super::SecretClient) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Sent with every request. `2026-04-01`, the newest stable one.
    pub api_version: String,
    /// A PEM file of certificate authorities to accept beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How to reach the vault. A vault on loopback is always reached directly.
    pub proxy: Proxy,
    /// Whether a challenge's resource must belong to the vault's own domain. May be `false` for a vault on loopback
    /// only: anywhere else a token could be asked for on a stranger's behalf.
    pub verify_challenge_resource: bool,
    /// Requests a second, over time; up to five seconds' worth at once. 400: the service takes 4,000 in 10 s.
    pub max_requests: u32,
    /// Changes a second, and at most as many at once. 30: the service takes 300 new versions in 10 s.
    pub max_writes: u32,
    /// Tries of a request that meets failures of the network or the vault. 4: with 5 s each, more would not fit.
    /// Throttling and a deletion under way are waited for as long as the call may take.
    pub max_tries: u32,
    /// The limit of one try, from its first byte to the last of the answer's body. 5 s.
    pub try_timeout: Duration,
    /// The limit for a connection, within [`try_timeout`](Self::try_timeout). 3 s.
    pub connect_timeout: Duration,
    /// The limit of a call that is given no other, retries and waits included. 30 s.
    pub time_limit: Duration,
}

/// Which way requests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY` and `NO_PROXY` in the environment say.
    Environment,
    /// None.
    Direct,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            api_version: "2026-04-01".to_owned(),
            ca_file: None,
            proxy: Proxy::Environment,
            verify_challenge_resource: true,
            max_requests: 400,
            max_writes: 30,
            max_tries: 4,
            try_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            time_limit: Duration::from_secs(30),
        }
    }
}
