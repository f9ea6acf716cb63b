//! Azure's identity services, through Microsoft's azure_identity. The only file that knows it, and the only owner of an
//! async runtime in the client: one thread, on which nothing but tokens is fetched. Callers hand over a question and
//! wait elsewhere, so that no thread of theirs is ever inside the runtime.
//!
//! azure_identity keeps tokens itself, in each credential. We keep our own ([`cache`](super::cache)), because its
//! refresh loses a token that still works; so a credential is built anew when a token was refused, and when the vault
//! names another tenant.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential, AzureDeveloperCliCredentialOptions,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use tokio::runtime::Runtime;

use super::cache::{Fresh, Identity, Report, TokenCache, Wanted};
use super::{AuthError, Token, TokenSource};
use crate::clock::Clock;

/// One identity service may take this long: `az` starts an interpreter and may refresh its own token first.
const LIMIT: Duration = Duration::from_secs(25);
/// The metadata service of a virtual machine answers within this, or there is none.
const PROBE: Duration = Duration::from_secs(1);
/// Where it is (Microsoft's "Azure Instance Metadata Service").
const METADATA: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);
/// No identity service's complaint is repeated beyond this many characters.
const MAX_MESSAGE: usize = 600;

/// How to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// The first of the others that is set up here, in this order.
    Auto,
    /// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`.
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

/// Tokens by `kind`. `client_id` picks one of several managed or workload identities. Starts a thread: a process that
/// forks must do so before.
///
/// # Errors
/// If that thread cannot be started. Whether anybody can sign in shows with the first token.
pub fn azure_tokens(
    kind: AuthKind,
    client_id: Option<String>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn TokenSource>, AuthError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("sign-in").enable_all().build();
    let runtime = runtime.map_err(|error| AuthError::Refused(format!("no thread for it: {error}")))?;
    let chain = Chain { kind, client_id, clock: clock.clone(), state: Mutex::default() };
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
    client_id: Option<String>,
    clock: Arc<dyn Clock>,
    state: Mutex<ChainState>,
}

#[derive(Default)]
struct ChainState {
    /// The first that gave a token; from then on it is the only one, so that an outage does not change who we are.
    chosen: Option<AuthKind>,
    credentials: HashMap<(AuthKind, Option<String>), Arc<dyn TokenCredential>>,
}

/// Why one identity service gave no token.
enum Miss {
    /// It is not set up here.
    Absent(String),
    /// It is, and refused or failed.
    Failed(String),
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
            None => self.build(kind, wanted).await?,
        };
        let answer = tokio::time::timeout(LIMIT, credential.get_token(&[&wanted.scope], None)).await;
        let answer = answer.map_err(|_| Miss::Failed(format!("no answer within {} s", LIMIT.as_secs())))?;
        let token = answer.map_err(|error| Miss::Failed(in_short(&error)))?;
        self.lock().credentials.insert((kind, wanted.tenant.clone()), credential);
        let lifetime = SystemTime::from(token.expires_on).duration_since(self.clock.now()).unwrap_or_default();
        Ok(Fresh { token: Token::new(token.token.secret().to_owned()), lifetime })
    }

    fn kept(&self, kind: AuthKind, wanted: &Wanted) -> Option<Arc<dyn TokenCredential>> {
        self.lock().credentials.get(&(kind, wanted.tenant.clone())).cloned()
    }

    async fn build(&self, kind: AuthKind, wanted: &Wanted) -> Result<Arc<dyn TokenCredential>, Miss> {
        let tenant = wanted.tenant.clone();
        match kind {
            AuthKind::Auto => Err(Miss::Absent("not an identity service".to_owned())), // `order` never names it
            AuthKind::Environment => environment(tenant),
            AuthKind::Workload => workload(tenant, self.client_id.clone()),
            AuthKind::ManagedIdentity => managed_identity(self.client_id.clone()).await,
            AuthKind::AzureCli => azure_cli(tenant),
            AuthKind::AzureDeveloperCli => azure_developer_cli(tenant),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ChainState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no update leaves it half done
    }
}

/// The vault's tenant goes before `AZURE_TENANT_ID`: it takes no token of any other.
fn environment(tenant: Option<String>) -> Result<Arc<dyn TokenCredential>, Miss> {
    let own_tenant = variable("AZURE_TENANT_ID")?;
    let client_id = variable("AZURE_CLIENT_ID")?;
    if variable("AZURE_CLIENT_SECRET").is_err() && variable("AZURE_CLIENT_CERTIFICATE_PATH").is_ok() {
        return Err(Miss::Failed("a client certificate cannot be used; set AZURE_CLIENT_SECRET".to_owned()));
    }
    let secret = Secret::new(variable("AZURE_CLIENT_SECRET")?);
    let options = ClientSecretCredentialOptions { client_options: patience() };
    let tenant = tenant.unwrap_or(own_tenant);
    built(ClientSecretCredential::new(&tenant, client_id, secret, Some(options)))
}

fn workload(tenant: Option<String>, client_id: Option<String>) -> Result<Arc<dyn TokenCredential>, Miss> {
    variable("AZURE_FEDERATED_TOKEN_FILE")?;
    built(WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options: patience() },
        client_id,
        tenant_id: tenant,
        ..Default::default()
    })))
}

/// App Service names an endpoint; on a virtual machine there is a well-known address, which elsewhere leads nowhere
/// and would be tried for a minute.
async fn managed_identity(client_id: Option<String>) -> Result<Arc<dyn TokenCredential>, Miss> {
    if variable("IDENTITY_ENDPOINT").is_err() && variable("MSI_ENDPOINT").is_err() {
        let probe = tokio::time::timeout(PROBE, tokio::net::TcpStream::connect(METADATA)).await;
        if !matches!(probe, Ok(Ok(_))) {
            return Err(Miss::Absent(
                "this is no Azure machine (no IDENTITY_ENDPOINT, no metadata service)".to_owned(),
            ));
        }
    }
    let user_assigned_id = client_id.map(UserAssignedId::ClientId);
    let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options: patience() };
    built(ManagedIdentityCredential::new(Some(options)))
}

fn azure_cli(tenant_id: Option<String>) -> Result<Arc<dyn TokenCredential>, Miss> {
    built(AzureCliCredential::new(Some(AzureCliCredentialOptions { tenant_id, ..Default::default() })))
}

fn azure_developer_cli(tenant_id: Option<String>) -> Result<Arc<dyn TokenCredential>, Miss> {
    let options = AzureDeveloperCliCredentialOptions { tenant_id, ..Default::default() };
    built(AzureDeveloperCliCredential::new(Some(options)))
}

fn built<C: TokenCredential + 'static>(
    credential: azure_core::Result<Arc<C>>,
) -> Result<Arc<dyn TokenCredential>, Miss> {
    match credential {
        Ok(credential) => Ok(credential),
        Err(error) => Err(Miss::Failed(in_short(&error))),
    }
}

/// Set and not empty.
fn variable(name: &str) -> Result<String, Miss> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| Miss::Absent(format!("{name} is not set")))
}

/// azure_identity's own retries, kept within [`LIMIT`].
fn patience() -> ClientOptions {
    let retry = ExponentialRetryOptions {
        max_retries: 3,
        max_total_elapsed: azure_core::time::Duration::seconds(10),
        ..Default::default()
    };
    ClientOptions { retry: RetryOptions::exponential(retry), ..Default::default() }
}

/// The error in one line, with its causes and an end.
fn in_short(error: &azure_core::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = text + ": " + &words;
        }
        cause = error.source();
    }
    let text = text.split("To troubleshoot, visit").next().unwrap_or_default(); // a link to pages about other clients
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|letter| !letter.is_control()).take(MAX_MESSAGE).collect()
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
