//! A client for a vault, and the vault itself where it is embedded.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::local::{ServeOptions, Server};
use crate::mount::options::{Auth, MountOptions};
use crate::mount::source::Vault;
use crate::store::{ErrorKind, SecretStore, Wait};
use crate::vault::{
    AuthKind, AuthOptions, ClientOptions, Runner, SecretClient, StaticToken, TokenSource, azure_tokens, local_token,
};

use super::MountError;

/// A client that signs in as `options` say, and the embedded vault that it is for, which ends when dropped. `runner` runs
/// what may be needed for that where this process may not.
///
/// # Errors
/// If the vault does not start, or the options do not fit. The vault is not asked.
pub fn connect(
    vault: &Vault,
    options: &MountOptions,
    runner: Option<Arc<dyn Runner>>,
    clock: &Arc<dyn Clock>,
) -> Result<(SecretClient, Option<Server>), MountError> {
    let client = |url: &str, tokens: Arc<dyn TokenSource>, verify: bool| {
        let options = ClientOptions { verify_challenge_resource: verify, ..client_options(options) };
        let client = SecretClient::new(url, tokens, options, clock.clone());
        client.map_err(|error| MountError::Client(error.to_string()))
    };
    match vault {
        Vault::Local { path } => {
            let token = random_token()?;
            let tokens = Arc::new(StaticToken::new(token.to_string()));
            let serve = ServeOptions { store: path.clone(), token: Some(token), ..ServeOptions::default() };
            let server = Server::start(serve, clock.clone())?;
            Ok((client(server.url(), tokens, false)?, Some(server)))
        }
        Vault::Loopback { url } if matches!(options.auth, Auth::Auto | Auth::Local) => {
            // A token of the user's own identity is nothing for a vault that anybody on this machine may run.
            Ok((client(url, loopback_token(options)?, false)?, None))
        }
        Vault::Loopback { url } | Vault::Azure { url } => {
            let kind = auth_kind(options.auth)?;
            let (client_id, credentials_file) = (options.client_id.clone(), options.credentials_file.clone());
            let how = AuthOptions { kind, client_id, credentials_file };
            let tokens =
                azure_tokens(how, runner, clock.clone()).map_err(|error| MountError::Client(error.to_string()))?;
            Ok((client(url, tokens, true)?, None))
        }
    }
}

/// A third of the time of a read for each of its tries: who gives a slow vault more time gives more to each answer.
fn client_options(options: &MountOptions) -> ClientOptions {
    let usual = ClientOptions::default();
    ClientOptions {
        ca_file: options.ca_file.clone(),
        max_requests: options.max_requests,
        max_writes: options.max_writes,
        time_limit: options.write_timeout,
        try_timeout: usual.try_timeout.max(options.timeout / 3),
        ..usual
    }
}

/// The token that `akvfs serve --token` was given, or one that says nothing: without it the vault takes any.
fn loopback_token(options: &MountOptions) -> Result<Arc<dyn TokenSource>, MountError> {
    Ok(Arc::new(match &options.credentials_file {
        Some(file) => local_token(Some(file)).map_err(|error| MountError::Client(error.to_string()))?,
        None => StaticToken::new("local".to_owned()),
    }))
}

fn auth_kind(auth: Auth) -> Result<AuthKind, MountError> {
    Ok(match auth {
        Auth::Auto => AuthKind::Auto,
        Auth::Environment => AuthKind::Environment,
        Auth::Workload => AuthKind::Workload,
        Auth::Managed => AuthKind::ManagedIdentity,
        Auth::AzCli => AuthKind::AzureCli,
        Auth::Azd => AuthKind::AzureDeveloperCli,
        Auth::Local => {
            let why = "auth=local is for a vault that akvfs serve runs on this machine; leave it out";
            return Err(MountError::Client(why.to_owned()));
        }
    })
}

/// What keeps other users of this machine out of the embedded vault.
fn random_token() -> Result<Zeroizing<String>, MountError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| MountError::Client(format!("no random numbers: {error}")))?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// One authenticated answer. A vault that lets this identity in but does not let it list is usable.
pub(super) fn check_answers(client: &dyn SecretStore, wait: Wait) -> Result<(), MountError> {
    match client.list(None, wait) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::Forbidden => Ok(()),
        Err(error) => Err(MountError::Vault { error }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_longer_timeout_gives_each_try_more_time() {
        for (timeout, a_try) in [(15, 5), (60, 20), (1, 5)] {
            let options = MountOptions { timeout: Duration::from_secs(timeout), ..MountOptions::default() };
            assert_eq!(client_options(&options).try_timeout, Duration::from_secs(a_try), "{timeout}");
        }
    }
}
