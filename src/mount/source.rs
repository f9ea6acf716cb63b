//! SOURCE: which vault is meant. Knows addresses, connects to none.

use std::fmt;
use std::path::{Path, PathBuf};

use url::{Host, Url};

/// What to mount: the vault, and how the user wrote it. The mount table shows the text, so that mount(8) finds what
/// stands in fstab there and does not mount it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As given.
    pub text: String,
    /// What it means.
    pub vault: Vault,
}

/// A vault. An address has a scheme, a host and perhaps a port, and no slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vault {
    /// A vault of the service: `https` to a host that is not this machine.
    Azure {
        /// `https://name.vault.azure.net`.
        url: String,
    },
    /// A vault that `akvfs serve` runs on this machine.
    Loopback {
        /// `http://127.0.0.1:8443` or `https://akv.localhost:8443`.
        url: String,
    },
    /// An embedded vault, in memory or in a file.
    Local {
        /// Absolute.
        path: Option<PathBuf>,
    },
}

/// Why a text is no SOURCE. The text itself is not repeated: an address may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No address, no vault's name.
    #[error(
        "SOURCE is neither a vault's name (3 to 24 letters, digits and single dashes) nor an address: write \
         https://NAME.vault.azure.net, NAME, local: or local:FILE"
    )]
    Neither,
    /// `host:8443`.
    #[error("SOURCE has a port but no scheme: write https://HOST:PORT")]
    NoScheme,
    /// `ftp://`.
    #[error("SOURCE starts with {0}://, which is not spoken here: write https://HOST")]
    Scheme(String),
    /// `http://` to another machine.
    #[error("http:// is for this machine only (127.0.0.1, localhost): write https://{0}")]
    PlainHttp(String),
    /// `https://user:password@host`.
    #[error("SOURCE holds a user name or a password: leave them out, and see -o auth= for how to sign in")]
    Credentials,
    /// `https://host/secrets/x`.
    #[error("SOURCE goes on after the host: write https://{0} for the vault")]
    PathBehind(String),
    /// The working directory cannot be told.
    #[error("the file of local: cannot be made absolute: {0}")]
    File(String),
}

impl Source {
    /// Reads what the user wrote.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        Ok(Self { text: text.to_owned(), vault: Vault::parse(text)? })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Vault {
    fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(file) = text.strip_prefix("local:") {
            return parse_local(file);
        }
        if text.contains("://") {
            return parse_address(text);
        }
        if is_vault_name(text) {
            return Ok(Self::Azure { url: format!("https://{}.vault.azure.net", text.to_ascii_lowercase()) });
        }
        parse_host(text)
    }
}

fn parse_local(file: &str) -> Result<Vault, SourceError> {
    if file.is_empty() {
        return Ok(Vault::Local { path: None });
    }
    let path = std::path::absolute(Path::new(file)).map_err(|error| SourceError::File(error.to_string()))?;
    Ok(Vault::Local { path: Some(path) })
}

fn parse_host(text: &str) -> Result<Vault, SourceError> {
    let looks_like_host = |host: &str| host.contains('.') || host.eq_ignore_ascii_case("localhost");
    match text.rsplit_once(':') {
        Some((host, port)) if looks_like_host(host) && port.parse::<u16>().is_ok() => Err(SourceError::NoScheme),
        None if looks_like_host(text) => parse_address(&format!("https://{text}")),
        _ => Err(SourceError::Neither),
    }
}

fn parse_address(text: &str) -> Result<Vault, SourceError> {
    let url = Url::parse(text).map_err(|_| SourceError::Neither)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::Credentials);
    }
    let (Some(host), Some(name)) = (url.host(), url.host_str()) else { return Err(SourceError::Neither) };
    let here = is_loopback(&host);
    match url.scheme() {
        "https" => {}
        "http" if here => {}
        "http" => return Err(SourceError::PlainHttp(name.to_owned())),
        other => return Err(SourceError::Scheme(other.to_owned())),
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(SourceError::PathBehind(name.to_owned()));
    }
    let address = url.origin().ascii_serialization();
    Ok(if here { Vault::Loopback { url: address } } else { Vault::Azure { url: address } })
}

/// This machine, by a name or a number that cannot mean another: `localhost` and all below it (RFC 6761, 6.3),
/// 127.0.0.0/8 and `::1`.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// 3 to 24 of `0-9a-zA-Z-`, no `--` (Key Vault's "about keys, secrets and certificates"); `localhost` would be one, but nobody means it.
fn is_vault_name(text: &str) -> bool {
    (3..=24).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.contains("--")
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn azure(url: &str) -> Result<Vault, SourceError> {
        Ok(Vault::Azure { url: url.to_owned() })
    }

    fn loopback(url: &str) -> Result<Vault, SourceError> {
        Ok(Vault::Loopback { url: url.to_owned() })
    }

    #[test]
    fn a_vault_of_the_service() {
        for text in ["contoso", "CONTOSO", "contoso.vault.azure.net", "https://Contoso.vault.azure.net/"] {
            assert_eq!(Vault::parse(text), azure("https://contoso.vault.azure.net"), "{text}");
        }
        assert_eq!(Vault::parse("https://c.vault.usgovcloudapi.net"), azure("https://c.vault.usgovcloudapi.net"));
        assert_eq!(Vault::parse("https://vault.example:8443"), azure("https://vault.example:8443"));
    }

    #[test]
    fn a_vault_on_this_machine() {
        for url in [
            "http://127.0.0.1:9000",
            "http://127.1.2.3:9000",
            "http://[::1]:9000",
            "http://localhost:9000",
            "https://akv.localhost:8443",
        ] {
            assert_eq!(Vault::parse(url), loopback(url));
        }
        assert_eq!(Vault::parse("localhost"), loopback("https://localhost"));
    }

    #[test]
    fn an_embedded_vault() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(Vault::parse("local:"), Ok(Vault::Local { path: None }));
        assert_eq!(Vault::parse("local:/a/b"), Ok(Vault::Local { path: Some("/a/b".into()) }));
        assert_eq!(Vault::parse("local:b"), Ok(Vault::Local { path: Some(here.join("b")) }));
    }

    #[test]
    fn the_text_stays_as_it_was_given() {
        for text in ["CONTOSO", "https://contoso.vault.azure.net/", "local:b"] {
            assert_eq!(Source::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        for (text, part) in [
            ("", "write https://NAME.vault.azure.net"),
            ("ab", "3 to 24"),
            ("has_underscore", "3 to 24"),
            ("double--dash", "3 to 24"),
            ("https://", "write https://NAME.vault.azure.net"),
            ("vault.example:8443", "write https://HOST:PORT"),
            ("localhost:8443", "write https://HOST:PORT"),
            ("ftp://vault.example", "ftp://"),
            ("http://contoso.vault.azure.net", "write https://contoso.vault.azure.net"),
            ("http://127.0.0.1.example.com", "this machine only"),
            ("https://contoso.vault.azure.net/secrets/x", "write https://contoso.vault.azure.net for"),
            ("https://contoso.vault.azure.net?x", "goes on after the host"),
        ] {
            let said = Source::parse(text).expect_err(text).to_string();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in ["https://joe:canary@contoso.vault.azure.net", "joe:canary@contoso.vault.azure.net"] {
            assert!(!Source::parse(text).expect_err(text).to_string().contains("canary"));
        }
    }
}
