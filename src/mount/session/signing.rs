//! Which lines of the shell sign in to the mount's vault: those that azure_identity writes, for a token that the vault takes.
//! A token for anything else is refused, since the daemon that asks may have been taken over, and `az` would give it.
//!
//! The client checks the same of what a vault asks for.

use url::Url;

use crate::mount::options::Auth;
use crate::mount::source::Vault;
use crate::vault::challenge::is_parent_domain;

/// How azure_identity calls `az` and `azd`, and how it names the tenant behind the scope. It has more to say to both, but is
/// not told any of that.
const CALLS: [(Auth, &str, &str); 2] = [
    (Auth::AzCli, "cd /bin && az account get-access-token -o json --scope ", " --tenant "),
    (Auth::Azd, "cd /bin && azd auth token -o json --no-prompt --scope ", " --tenant-id "),
];

/// How a mount signs in.
#[derive(Clone, Debug)]
pub(super) struct Signing {
    /// The vault's host; none where nobody signs in.
    host: Option<String>,
    auth: Auth,
}

impl Signing {
    /// To this vault.
    pub(super) fn new(vault: &Vault, auth: Auth) -> Self {
        let url = match vault {
            Vault::Azure { url } | Vault::Loopback { url } => Url::parse(url).ok(),
            Vault::Local { .. } => None,
        };
        Self { host: url.and_then(|url| url.host_str().map(str::to_owned)), auth }
    }

    /// Whether `line` is such a line, and nothing more.
    pub(super) fn is_sign_in(&self, line: &str) -> bool {
        CALLS.iter().filter(|(auth, ..)| self.is_by(*auth)).any(|(_, call, tenant)| {
            let words = line.strip_prefix(call);
            words.is_some_and(|words| match words.split_once(tenant) {
                Some((scope, tenant)) => self.is_scope(scope) && is_tenant(tenant),
                None => self.is_scope(words),
            })
        })
    }

    fn is_by(&self, auth: Auth) -> bool {
        self.auth == Auth::Auto || self.auth == auth
    }

    /// A domain above the vault's own, as the client spells it: a plain word for the shell.
    fn is_scope(&self, scope: &str) -> bool {
        let Some((host, url)) = self.host.as_deref().zip(Url::parse(scope).ok()) else { return false };
        let is_spelled_so = scope == format!("{}/.default", url.origin().ascii_serialization());
        is_spelled_so && is_parent_domain(&url, host) && scope.chars().all(is_plain)
    }
}

/// What azure_identity takes for one; a dash at the beginning would be another option.
fn is_tenant(tenant: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-.".contains(letter);
    tenant.starts_with(|first: char| first.is_ascii_alphanumeric()) && tenant.chars().all(fits)
}

/// Nothing to the shell but a letter.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.:/".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::source::Source;

    const AZ: &str = "cd /bin && az account get-access-token -o json";
    const AZD: &str = "cd /bin && azd auth token -o json --no-prompt";
    const SCOPE: &str = "--scope https://vault.azure.net/.default";

    fn signing(vault: &str, auth: Auth) -> Signing {
        Signing::new(&Source::parse(vault).unwrap().vault, auth)
    }

    #[test]
    fn what_azure_identity_writes_for_the_vault_is_a_sign_in() {
        for vault in ["contoso", "https://CONTOSO.vault.azure.net", "https://contoso.privatelink.vault.azure.net:8443"]
        {
            for line in [
                format!("{AZ} {SCOPE}"),
                format!("{AZ} {SCOPE} --tenant 72f988bf-86f1-41af-91ab-2d7cd011db47"),
                format!("{AZD} {SCOPE}"),
                format!("{AZD} {SCOPE} --tenant-id contoso.onmicrosoft.com"),
            ] {
                assert!(signing(vault, Auth::Auto).is_sign_in(&line), "{line}");
            }
        }
        let localhost = format!("{AZ} --scope https://localhost:8443/.default");
        assert!(signing("https://akv.localhost:8443", Auth::AzCli).is_sign_in(&localhost));
    }

    #[test]
    fn no_token_is_for_anything_but_the_vault() {
        // As in vault::challenge.
        for (vault, scope) in [
            ("contoso", "https://management.azure.com/.default"),
            ("contoso", "https://graph.microsoft.com/.default"),
            ("contoso", "https://contoso.vault.azure.net/.default"),
            ("contoso", "https://ault.azure.net/.default"),
            ("contoso", "https://vault.azure.cn/.default"),
            ("contoso", "https://vault.azure.net.evil.example/.default"),
            ("contoso", "https://vault.azure.net@evil.example/.default"),
            ("contoso", "https://evil.example/https://vault.azure.net/.default"),
            ("contoso", "https://net/.default"),
            ("contoso", "https://.net/.default"),
            ("contoso", "http://vault.azure.net/.default"),
            ("contoso", "api://vault.azure.net/.default"),
            ("contoso", "https://vault.azure.net"),
            ("contoso", "https://vault.azure.net//.default"),
            ("contoso", "https://vault.azure.net/.default?x"),
            ("contoso", "https://VAULT.azure.net/.default"),
            ("contoso", "vault.azure.net/.default"),
            ("contoso", ""),
            ("https://127.0.0.1:8443", "https://0.0.1:8443/.default"),
            ("https://127.0.0.1:8443", "https://vault.azure.net/.default"),
            ("https://localhost:8443", "https://localhost:8443/.default"),
            ("local:", "https://vault.azure.net/.default"),
        ] {
            for call in [AZ, AZD] {
                assert!(!signing(vault, Auth::Auto).is_sign_in(&format!("{call} --scope {scope}")), "{vault} {scope}");
            }
        }
    }

    #[test]
    fn nothing_more_is_said_to_either_program() {
        let signing = |auth| signing("contoso", auth);
        for words in [
            String::new(),
            format!("{SCOPE} "),
            format!(" {SCOPE}"),
            format!("{SCOPE} --tenant"),
            format!("{SCOPE} --tenant "),
            format!("{SCOPE} --tenant --debug"),
            format!("{SCOPE} --tenant a --debug"),
            format!("{SCOPE} --tenant a --tenant b"),
            format!("{SCOPE} --subscription a"),
            format!("{SCOPE} {SCOPE}"),
            format!("{SCOPE} --query accessToken"),
            "--resource https://vault.azure.net".to_owned(),
            "--output-file /etc/passwd".to_owned(),
        ] {
            let azd = words.replace("--tenant", "--tenant-id");
            assert!(!signing(Auth::Auto).is_sign_in(&format!("{AZ} {words}")), "{words}");
            assert!(!signing(Auth::Auto).is_sign_in(&format!("{AZD} {azd}")), "{azd}");
        }
        for (auth, by_az, by_azd) in
            [(Auth::AzCli, true, false), (Auth::Azd, false, true), (Auth::Managed, false, false)]
        {
            assert_eq!(signing(auth).is_sign_in(&format!("{AZ} {SCOPE}")), by_az, "{auth:?}");
            assert_eq!(signing(auth).is_sign_in(&format!("{AZD} {SCOPE}")), by_azd, "{auth:?}");
        }
    }
}
