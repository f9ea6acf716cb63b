//! Where a vault is: what a user may write for it, the URL of each operation, and which links lead to it.
//!
//! Knows the service's paths and nothing of HTTP. A link is followed only if [`Vault::follow`] accepts it.

use std::net::IpAddr;

use url::{Host, Url};

use crate::secret::{SecretName, Version};

/// Why a text names no vault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_text:?} is not a vault: {reason}")]
pub struct UrlError {
    source_text: String,
    reason: &'static str,
}

/// Why a link of the service is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Another scheme, host, port or user.
    #[error("a link leads to another host")]
    OtherHost,
    /// This vault, but not the listing that is being read.
    #[error("a link leads out of the listing")]
    OtherPath,
    /// No URL, or an endless one.
    #[error("a link is no URL")]
    NoUrl,
}

/// The longest link that is followed, in bytes. Recorded ones stay under 600.
const MAX_LINK: usize = 8 * 1024;

/// A vault's URL from what a user writes: `NAME` (in the public cloud), a host, or a whole URL. Without a trailing
/// slash.
///
/// # Errors
/// If it is none of these, carries a path, a query or a user, or is plain `http://` beyond loopback.
pub fn vault_url(source: &str) -> Result<String, UrlError> {
    Vault::parse(source).map(|vault| vault.url().to_owned())
}

/// A vault's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    root: Url,
}

/// What a request is about; each is one path of the service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// All secrets.
    Secrets,
    /// A secret as a whole.
    Secret(&'a SecretName),
    /// One version, or with `None` the current one.
    Version(&'a SecretName, Option<&'a Version>),
    /// The versions of a secret.
    Versions(&'a SecretName),
    /// A backup to be made.
    Backup(&'a SecretName),
    /// A backup to be restored.
    Restore,
    /// All soft-deleted secrets.
    AllDeleted,
    /// A soft-deleted secret.
    Deleted(&'a SecretName),
    /// A soft-deleted secret to be recovered.
    Recover(&'a SecretName),
}

impl Target<'_> {
    fn path(self) -> String {
        match self {
            Self::Secrets => "/secrets".to_owned(),
            Self::Secret(name) => format!("/secrets/{name}"),
            Self::Version(name, None) => format!("/secrets/{name}/"),
            Self::Version(name, Some(version)) => format!("/secrets/{name}/{version}"),
            Self::Versions(name) => format!("/secrets/{name}/versions"),
            Self::Backup(name) => format!("/secrets/{name}/backup"),
            Self::Restore => "/secrets/restore".to_owned(),
            Self::AllDeleted => "/deletedsecrets".to_owned(),
            Self::Deleted(name) => format!("/deletedsecrets/{name}"),
            Self::Recover(name) => format!("/deletedsecrets/{name}/recover"),
        }
    }
}

impl Vault {
    /// As [`vault_url`].
    ///
    /// # Errors
    /// As [`vault_url`].
    pub fn parse(source: &str) -> Result<Self, UrlError> {
        let refuse = |reason| UrlError { source_text: source.to_owned(), reason };
        let root = Url::parse(&spelled_out(source)).map_err(|_| refuse("neither a name, a host nor a URL"))?;
        match root.scheme() {
            "https" => {}
            "http" if is_loopback(&root) => {}
            "http" => return Err(refuse("plain http:// is for loopback only")),
            _ => return Err(refuse("its URL must begin with https://")),
        }
        if !root.username().is_empty() || root.password().is_some() {
            return Err(refuse("its URL must not hold a user")); // it would end up in logs
        }
        if root.path() != "/" || root.query().is_some() || root.fragment().is_some() {
            return Err(refuse("its URL must end with the host"));
        }
        Ok(Self { root })
    }

    /// Scheme, host, and the port where it is not the scheme's own; no trailing slash.
    pub fn url(&self) -> &str {
        self.root.as_str().trim_end_matches('/')
    }

    /// The host in lower case.
    pub fn host(&self) -> &str {
        self.root.host_str().unwrap_or_default() // both schemes have one
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.root)
    }

    /// Whether nothing that is sent to it is encrypted.
    pub(super) fn is_plain(&self) -> bool {
        self.root.scheme() == "http"
    }

    /// Whether `url` has this vault's scheme, host and port, and no user.
    pub(super) fn owns(&self, url: &Url) -> bool {
        self.root.origin() == url.origin() && url.username().is_empty() && url.password().is_none()
    }

    /// The URL of `target`.
    pub(super) fn at(&self, target: Target<'_>, api_version: &str) -> Url {
        let mut url = self.root.clone();
        url.set_path(&target.path());
        url.query_pairs_mut().append_pair("api-version", api_version);
        url
    }

    /// The URL behind `link`, a continuation of the listing `target`, with our own api-version. The rest of its
    /// query stays as it was spelled: it is the service's.
    pub(super) fn follow(&self, link: &str, target: Target<'_>, api_version: &str) -> Result<Url, LinkError> {
        if link.len() > MAX_LINK {
            return Err(LinkError::NoUrl);
        }
        let mut url = Url::parse(link).map_err(|_| LinkError::NoUrl)?;
        if !self.owns(&url) {
            return Err(LinkError::OtherHost);
        }
        if !url.path().trim_end_matches('/').eq_ignore_ascii_case(&target.path()) {
            return Err(LinkError::OtherPath);
        }
        let theirs = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let kept = theirs.filter(|pair| !is_api_version(pair));
        let query = kept.fold(format!("api-version={api_version}"), |all, pair| all + "&" + pair);
        url.set_query(Some(&query));
        url.set_fragment(None);
        Ok(url)
    }
}

/// Whether a pair of a query is the api-version, however it is spelled.
fn is_api_version(pair: &str) -> bool {
    url::form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("api-version"))
}

/// A name becomes a host of the public cloud, a host a URL.
fn spelled_out(source: &str) -> String {
    let source = source.trim();
    let is_name =
        (3..=24).contains(&source.len()) && source.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name {
        format!("https://{source}.vault.azure.net")
    } else if source.contains("://") {
        source.to_owned()
    } else {
        format!("https://{source}")
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_is_a_name_a_host_or_a_url() {
        for (source, url) in [
            ("contoso", "https://contoso.vault.azure.net"),
            ("Contoso-7", "https://contoso-7.vault.azure.net"),
            ("contoso.vault.azure.cn", "https://contoso.vault.azure.cn"),
            ("https://contoso.vault.azure.net/", "https://contoso.vault.azure.net"),
            ("https://contoso.vault.azure.net:443", "https://contoso.vault.azure.net"),
            ("https://akv.localhost:8443", "https://akv.localhost:8443"),
            ("localhost:8443", "https://localhost:8443"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("http://[::1]:8200/", "http://[::1]:8200"),
            ("http://localhost:8200", "http://localhost:8200"),
        ] {
            assert_eq!(vault_url(source).as_deref(), Ok(url), "{source}");
        }
    }

    #[test]
    fn what_is_no_vault_is_refused() {
        for source in [
            "",
            "a b",
            "http://contoso.vault.azure.net",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "ftp://contoso.vault.azure.net",
            "https://user@contoso.vault.azure.net",
            "https://:pw@contoso.vault.azure.net",
            "https://contoso.vault.azure.net/secrets",
            "https://contoso.vault.azure.net?x=1",
            "https://contoso.net/#x",
            "https://",
            "file:///etc/passwd",
        ] {
            assert!(vault_url(source).is_err(), "{source}");
        }
    }

    #[test]
    fn a_link_is_followed_within_its_own_listing_only() {
        let vault = Vault::parse("contoso").expect("a name");
        let follow = |link: &str| vault.follow(link, Target::Secrets, "7.6").map(|url| url.to_string());
        assert_eq!(
            follow("https://contoso.vault.azure.net:443/secrets?api-version=7.3&$skiptoken=ey-J9&maxresults=5")
                .as_deref(),
            Ok("https://contoso.vault.azure.net/secrets?api-version=7.6&$skiptoken=ey-J9&maxresults=5")
        );
        assert_eq!(
            follow("https://CONTOSO.vault.azure.net/Secrets/?%24skiptoken=a%2Fb&API-version=7.3&api%2Dversion&%61pi-version=1")
                .as_deref(),
            Ok("https://contoso.vault.azure.net/Secrets/?api-version=7.6&%24skiptoken=a%2Fb")
        );
        for (link, why) in [
            ("https://evil.example/secrets?$skiptoken=x", LinkError::OtherHost),
            ("https://contoso.vault.azure.net.evil.example/secrets", LinkError::OtherHost),
            ("https://contoso.vault.azure.net@evil.example/secrets", LinkError::OtherHost),
            ("https://evil@contoso.vault.azure.net/secrets", LinkError::OtherHost),
            ("https://contoso.vault.azure.net:8443/secrets", LinkError::OtherHost),
            ("http://contoso.vault.azure.net/secrets", LinkError::OtherHost),
            ("https://contoso.vault.azure.net\\@evil.example/secrets", LinkError::OtherPath),
            ("https://contoso.vault.azure.net/deletedsecrets", LinkError::OtherPath),
            ("https://contoso.vault.azure.net/secrets/../keys", LinkError::OtherPath),
            ("/secrets?$skiptoken=x", LinkError::NoUrl),
            ("", LinkError::NoUrl),
        ] {
            assert_eq!(follow(link), Err(why), "{link}");
        }
        assert_eq!(
            follow(&format!("https://contoso.vault.azure.net/secrets?{}", "x".repeat(9000))),
            Err(LinkError::NoUrl)
        );
    }
}
