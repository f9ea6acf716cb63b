//! The ways to sign in, each a credential of Microsoft's azure_identity. Knows what each needs and says what is missing;
//! asks nobody for a token.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential, AzureDeveloperCliCredentialOptions,
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    Executor, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};

use super::assertion::Assertion;
use super::certificate::Certificate;
use super::settings::{Settings, Source};
use super::{AuthKind, Runner};
use crate::clock::Clock;

/// The metadata service of a virtual machine answers within this, or there is none.
const PROBE: Duration = Duration::from_secs(1);
/// Where it is (Microsoft's "Azure Instance Metadata Service").
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// The authority of the public cloud, as in azure_identity.
const PUBLIC: &str = "https://login.microsoftonline.com";
/// No identity service's complaint is repeated beyond this many characters.
const MAX_MESSAGE: usize = 600;

/// Why one identity service gave no token.
pub(super) enum Miss {
    /// It is not set up here.
    Absent(String),
    /// It is, and refused or failed.
    Failed(String),
}

type Made = Result<Arc<dyn TokenCredential>, Miss>;

/// Makes credentials.
pub(super) struct Maker {
    pub source: Source,
    pub client_id: Option<String>,
    pub runner: Option<Arc<dyn Runner>>,
    pub clock: Arc<dyn Clock>,
}

impl Maker {
    /// The credential of `kind`, for `tenant` where it makes a difference.
    pub(super) async fn make(&self, kind: AuthKind, tenant: Option<String>) -> Made {
        match kind {
            AuthKind::Auto => Err(Miss::Absent("not an identity service".to_owned())), // never in the order
            AuthKind::Environment => self.application(tenant),
            AuthKind::Workload => self.workload(tenant),
            AuthKind::ManagedIdentity => managed_identity(self.client_id.clone()).await,
            AuthKind::AzureCli => made(AzureCliCredential::new(Some(AzureCliCredentialOptions {
                tenant_id: tenant,
                executor: self.executor(),
                ..Default::default()
            }))),
            AuthKind::AzureDeveloperCli => {
                let options = AzureDeveloperCliCredentialOptions { tenant_id: tenant, executor: self.executor() };
                made(AzureDeveloperCliCredential::new(Some(options)))
            }
        }
    }

    /// An application with a secret, else with a certificate. The vault's tenant goes before `AZURE_TENANT_ID`: it
    /// takes no token of any other.
    fn application(&self, tenant: Option<String>) -> Made {
        let settings = self.settings()?;
        let own_tenant = needed(&settings, "AZURE_TENANT_ID")?;
        let client_id = needed(&settings, "AZURE_CLIENT_ID")?;
        let tenant = tenant.unwrap_or(own_tenant);
        if let Some(secret) = settings.get("AZURE_CLIENT_SECRET") {
            let options = ClientSecretCredentialOptions { client_options: patience(&settings) };
            let secret = Secret::new(secret.to_string());
            return made(ClientSecretCredential::new(&tenant, client_id, secret, Some(options)));
        }
        let Some(path) = settings.get("AZURE_CLIENT_CERTIFICATE_PATH") else {
            let why = "neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set";
            return Err(Miss::Absent(why.to_owned()));
        };
        let password = settings.get("AZURE_CLIENT_CERTIFICATE_PASSWORD");
        let certificate = Certificate::read(path.as_str().as_ref(), password.as_ref().map(|text| text.as_str()));
        let certificate =
            certificate.map_err(|why| Miss::Failed(format!("the certificate {}: {why}", path.as_str())))?;
        let authority = settings.get("AZURE_AUTHORITY_HOST").map_or_else(|| PUBLIC.to_owned(), |host| host.to_string());
        let assertion = Assertion::new(certificate, &authority, &tenant, &client_id, self.clock.clone());
        let assertion = assertion.map_err(|why| Miss::Failed(why.to_owned()))?;
        let options = ClientAssertionCredentialOptions { client_options: patience(&settings) };
        made(ClientAssertionCredential::new(tenant, client_id, assertion, Some(options)))
    }

    fn workload(&self, tenant: Option<String>) -> Made {
        let settings = self.settings()?;
        let file = needed(&settings, "AZURE_FEDERATED_TOKEN_FILE")?;
        let client_id = match &self.client_id {
            Some(client_id) => client_id.clone(),
            None => needed(&settings, "AZURE_CLIENT_ID")?,
        };
        let tenant = match tenant {
            Some(tenant) => tenant,
            None => needed(&settings, "AZURE_TENANT_ID")?,
        };
        made(WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options: patience(&settings) },
            client_id: Some(client_id),
            tenant_id: Some(tenant),
            token_file_path: Some(file.into()),
        })))
    }

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        self.runner.clone().map(|runner| -> Arc<dyn Executor> { Arc::new(Elsewhere(runner)) })
    }

    fn settings(&self) -> Result<Settings, Miss> {
        self.source.read().map_err(Miss::Failed)
    }
}

/// Runs what azure_identity runs, elsewhere.
struct Elsewhere(Arc<dyn Runner>);

impl fmt::Debug for Elsewhere {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Elsewhere")
    }
}

#[async_trait]
impl Executor for Elsewhere {
    /// azure_identity runs a line of the shell: `/bin/sh -c LINE`.
    async fn run(&self, _shell: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        let line = arguments.last().and_then(|line| line.to_str()).ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let runner = self.0.clone();
        tokio::task::spawn_blocking(move || runner.run(&line)).await.map_err(io::Error::other)?
    }
}

/// App Service names an endpoint; on a virtual machine there is a well-known address, which elsewhere leads nowhere
/// and would be tried for a minute.
async fn managed_identity(client_id: Option<String>) -> Made {
    let environment = Settings::default();
    if environment.get("IDENTITY_ENDPOINT").or_else(|| environment.get("MSI_ENDPOINT")).is_none() {
        let probe = tokio::time::timeout(PROBE, tokio::net::TcpStream::connect(METADATA)).await;
        if !matches!(probe, Ok(Ok(_))) {
            let why = "this is no Azure machine (no IDENTITY_ENDPOINT, no metadata service)";
            return Err(Miss::Absent(why.to_owned()));
        }
    }
    let user_assigned_id = client_id.map(UserAssignedId::ClientId);
    let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options: patience(&environment) };
    made(ManagedIdentityCredential::new(Some(options)))
}

fn made<C: TokenCredential + 'static>(credential: azure_core::Result<Arc<C>>) -> Made {
    match credential {
        Ok(credential) => Ok(credential),
        Err(error) => Err(Miss::Failed(in_short(&error))),
    }
}

fn needed(settings: &Settings, name: &str) -> Result<String, Miss> {
    let value = settings.get(name).map(|value| value.to_string());
    value.ok_or_else(|| Miss::Absent(format!("{name} is not set")))
}

/// azure_identity's own retries, kept short: the chain has a limit of its own. And the authority, where one is named.
fn patience(settings: &Settings) -> ClientOptions {
    let retry = ExponentialRetryOptions {
        max_retries: 3,
        max_total_elapsed: azure_core::time::Duration::seconds(10),
        ..Default::default()
    };
    let cloud = settings.get("AZURE_AUTHORITY_HOST").map(|authority| {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = authority.to_string();
        Arc::new(CloudConfiguration::Custom(cloud))
    });
    ClientOptions { retry: RetryOptions::exponential(retry), cloud, ..Default::default() }
}

/// The error in one line, with its causes and an end.
pub(super) fn in_short(error: &azure_core::Error) -> String {
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
