//! Every method of Microsoft's Rust client against the vault at AKV_URL; run by with_vault.py, which sets SSL_CERT_FILE.

mod checks;

use std::sync::{Arc, Mutex};

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::{Duration, OffsetDateTime};
use azure_security_keyvault_secrets::SecretClient;

/// Any token will do; what it was asked for is kept.
#[derive(Debug, Default)]
pub struct Credential {
    /// The scopes of each call.
    pub asked: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl TokenCredential for Credential {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        self.asked.lock().map(|mut asked| asked.extend(scopes.iter().map(|scope| (*scope).to_owned()))).ok();
        Ok(AccessToken::new("any-token", OffsetDateTime::now_utc() + Duration::hours(1)))
    }
}

fn main() {
    let url = std::env::var("AKV_URL").expect("AKV_URL, see with_vault.py");
    let credential = Arc::new(Credential::default());
    let client = SecretClient::new(&url, credential.clone(), None).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut passed, mut failed) = (0, 0);
    for (name, verdict) in runtime.block_on(checks::all(&client, &credential, &url)) {
        match verdict {
            Ok(()) => passed += 1,
            Err(reason) => {
                failed += 1;
                println!("FAILED {name}: {}", reason.chars().take(300).collect::<String>());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(passed == 0 || failed > 0));
}
