//! Azure's identity services, one after the other. The only owner of an async runtime in the client: one thread, on
//! which nothing but tokens is fetched. Callers hand over a question and wait elsewhere, so that no thread of theirs is
//! ever inside the runtime. How each service is set up is told by [`ways`](super::ways).
//!
//! azure_identity keeps tokens itself, in each credential. We keep our own ([`cache`](super::cache)), because its
//! refresh loses a token that still works; so a credential is built anew when a token was refused, when the vault
//! names another tenant, and after a failure, so that a secret that was changed on disk is taken up.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use azure_core::credentials::TokenCredential;
use tokio::runtime::Runtime;

use super::cache::{Fresh, Identity, Report, TokenCache, Wanted};
use super::settings::Source;
use super::ways::{Maker, Miss, in_short};
use super::{AuthError, Runner, Token, TokenSource};
use crate::clock::Clock;

/// One identity service may take this long: `az` starts an interpreter and may refresh its own token first.
const LIMIT: Duration = Duration::from_secs(25);

/// How to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// The first of the others that is set up here, in this order.
    #[default]
    Auto,
    /// `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` with `AZURE_CLIENT_SECRET` or `AZURE_CLIENT_CERTIFICATE_PATH`.
    Environment,
    /// A token file that Kubernetes writes: `AZURE_FEDERATED_TOKEN_FILE`.
    Workload,
    /// The identity of an Azure machine or App Service.
    ManagedIdentity,
    /// Who is signed in to `az`.
    AzureCli,
    /// Who is signed in to `azd`.
    AzureDeveloperCli,
}

/// Who signs in, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthOptions {
    /// Which way.
    pub kind: AuthKind,
    /// Picks one of several managed or workload identities.
    pub client_id: Option<String>,
    /// A file of `NAME=VALUE` lines with the names that are otherwise looked for in the environment, which it goes
    /// before. Nobody else may read it. A bare name is looked for in `$CREDENTIALS_DIRECTORY` first; without any,
    /// `$CREDENTIALS_DIRECTORY/akvfs` is taken if it exists.
    pub credentials_file: Option<PathBuf>,
}

/// Tokens as `options` say; `runner` runs `az` and `azd` where this process may not. Starts a thread: a process that forks must do so before.
///
/// # Errors
/// If the credentials file cannot be used, or that thread cannot be started. Whether anybody can sign in shows with
/// the first token.
pub fn azure_tokens(
    options: AuthOptions,
    runner: Option<Arc<dyn Runner>>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn TokenSource>, AuthError> {
    let source = Source::find(options.credentials_file.as_deref());
    source.read().map_err(AuthError::Refused)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("sign-in").enable_all().build();
    let runtime = runtime.map_err(|error| AuthError::Refused(format!("no thread for it: {error}")))?;
    let maker = Maker { source, client_id: options.client_id, runner, clock: clock.clone() };
    let chain = Chain { kind: options.kind, maker, clock: clock.clone(), state: Mutex::default() };
    let azure = Azure { runtime: Some(runtime), chain: Arc::new(chain) };
    Ok(Arc::new(TokenCache::new(Box::new(azure), clock)))
}

struct Azure {
    /// Taken at the end only.
    runtime: Option<Runtime>,
    chain: Arc<Chain>,
}

impl Identity for Azure {
    fn begin(&self, wanted: Wanted, report: Report) {
        let chain = self.chain.clone();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move { report.send(chain.token(&wanted).await) });
        }
    }

    fn forget(&self, wanted: &Wanted) {
        self.chain.lock().credentials.retain(|(_, tenant), _| *tenant != wanted.tenant);
    }
}

impl Drop for Azure {
    /// Does not wait for an `az` that hangs.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The identity services in order.
struct Chain {
    kind: AuthKind,
    maker: Maker,
    clock: Arc<dyn Clock>,
    state: Mutex<ChainState>,
}

#[derive(Default)]
struct ChainState {
    /// The first that gave a token; from then on it is the only one, so that an outage does not change who we are.
    chosen: Option<AuthKind>,
    credentials: HashMap<(AuthKind, Option<String>), Arc<dyn TokenCredential>>,
}

impl Chain {
    async fn token(&self, wanted: &Wanted) -> Result<Fresh, AuthError> {
        let mut tried = Vec::new();
        for kind in self.order() {
            match self.ask(kind, wanted).await {
                Ok(fresh) => {
                    self.lock().chosen = Some(kind);
                    return Ok(fresh);
                }
                Err(Miss::Absent(why)) => tried.push(format!("{kind}: {why}")),
                Err(Miss::Failed(why)) => {
                    tried.push(format!("{kind}: {why}"));
                    // Somebody set this one up on purpose; another identity in its place would be a surprise.
                    if matches!(kind, AuthKind::Environment | AuthKind::Workload) {
                        break;
                    }
                }
            }
        }
        Err(AuthError::Refused(tried.join("; ")))
    }

    fn order(&self) -> Vec<AuthKind> {
        use AuthKind::{Auto, AzureCli, AzureDeveloperCli, Environment, ManagedIdentity, Workload};
        let chosen = self.lock().chosen;
        match (self.kind, chosen) {
            (Auto, None) => vec![Environment, Workload, ManagedIdentity, AzureCli, AzureDeveloperCli],
            (Auto, Some(chosen)) => vec![chosen],
            (kind, _) => vec![kind],
        }
    }

    async fn ask(&self, kind: AuthKind, wanted: &Wanted) -> Result<Fresh, Miss> {
        let credential = match self.kept(kind, wanted) {
            Some(credential) => credential,
            None => self.maker.make(kind, wanted.tenant.clone()).await?,
        };
        let key = (kind, wanted.tenant.clone());
        match self.fetch(&*credential, &wanted.scope).await {
            Ok(fresh) => {
                self.lock().credentials.insert(key, credential);
                Ok(fresh)
            }
            Err(why) => {
                self.lock().credentials.remove(&key);
                Err(Miss::Failed(why))
            }
        }
    }

    async fn fetch(&self, credential: &dyn TokenCredential, scope: &str) -> Result<Fresh, String> {
        let answer = tokio::time::timeout(LIMIT, credential.get_token(&[scope], None)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?;
        let token = answer.map_err(|error| in_short(&error))?;
        let lifetime = SystemTime::from(token.expires_on).duration_since(self.clock.now()).unwrap_or_default();
        Ok(Fresh { token: Token::new(token.token.secret().to_owned()), lifetime })
    }

    fn kept(&self, kind: AuthKind, wanted: &Wanted) -> Option<Arc<dyn TokenCredential>> {
        self.lock().credentials.get(&(kind, wanted.tenant.clone())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, ChainState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no update leaves it half done
    }
}

impl fmt::Display for AuthKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::Environment => "environment",
            Self::Workload => "workload identity",
            Self::ManagedIdentity => "managed identity",
            Self::AzureCli => "Azure CLI",
            Self::AzureDeveloperCli => "Azure Developer CLI",
        })
    }
}
