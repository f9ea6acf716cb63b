//! A stand-in for the unpublished crate of this name, which Microsoft's own tests of the Rust client import.
//!
//! The tests run live, against the vault at AKV_URL; nothing is recorded. What they expect of telemetry is not checked:
//! that is the client's own affair.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::ClientOptions;

pub mod credentials;
pub mod http;
pub mod tracing;

/// The attribute `#[recorded::test]`.
pub mod recorded {
    pub use azure_core_test_macros::test;
}

/// Where the other side of a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestMode {
    /// In a file.
    Playback,
    /// A vault.
    Live,
}

/// What not to record.
pub enum Skip {
    /// Both directions.
    RequestResponse,
}

/// What a test is given.
#[derive(Default)]
pub struct TestContext {
    recording: Recording,
}

impl TestContext {
    /// The recording, of which there is none.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }
}

/// Where a test finds its vault.
#[derive(Default)]
pub struct Recording;

/// How a variable is kept in a recording.
pub struct VarOptions;

impl Recording {
    /// Nothing to change: the requests go to the vault.
    pub fn instrument(&self, _: &mut ClientOptions) {}

    /// A setting of the test.
    pub fn var(&self, name: &str, _: Option<VarOptions>) -> String {
        let name = if name == "AZURE_KEYVAULT_URL" { "AKV_URL" } else { name };
        std::env::var(name).unwrap_or_default()
    }

    /// Any token will do.
    pub fn credential(&self) -> Arc<dyn TokenCredential> {
        Arc::new(credentials::MockCredential)
    }

    /// Always live.
    pub fn test_mode(&self) -> TestMode {
        TestMode::Live
    }

    /// Nothing is recorded anyway.
    pub fn skip(&self, _: Skip) {}
}

/// Runs a test to its end.
pub fn run(test: impl Future<Output = azure_core::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test).expect("the test");
}
