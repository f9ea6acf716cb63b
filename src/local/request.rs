//! A request as the wire brings it, and what it asks for: host, operation, name, version, query. Pure parsing.
//!
//! Paths are taken as generously as the service takes them: a doubled leading slash, a trailing slash in place of
//! the version, the collection in any case.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::secret::SecretName;

use super::errors::Refusal;

/// A request, free of any HTTP library's types.
pub struct Request {
    /// The verb.
    pub method: String,
    /// The path, still escaped.
    pub path: String,
    /// What follows `?`, still escaped; empty without one.
    pub query: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The `Host` header, or the authority of an absolute target.
    pub host: Option<String>,
    /// The `Origin` header: the page on whose behalf a browser asks. No other program sends it.
    pub page: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<Zeroizing<String>>,
    /// The `x-ms-client-request-id` header.
    pub client_request_id: Option<String>,
    /// Whose request it is.
    pub peer: IpAddr,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl Request {
    /// The first query parameter called `name` (without case), decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.into_owned())
    }
}

/// The operations of the secrets API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the API's; [`Operation::as_str`] spells them
pub enum Operation {
    Set,
    Get,
    GetVersion,
    Update,
    Delete,
    GetDeleted,
    List,
    ListVersions,
    ListDeleted,
    Recover,
    Purge,
    Backup,
    Restore,
}

impl Operation {
    /// All of them.
    pub const ALL: [(Operation, &'static str); 13] = [
        (Self::Set, "set"),
        (Self::Get, "get"),
        (Self::GetVersion, "get-version"),
        (Self::Update, "update"),
        (Self::Delete, "delete"),
        (Self::GetDeleted, "get-deleted"),
        (Self::List, "list"),
        (Self::ListVersions, "list-versions"),
        (Self::ListDeleted, "list-deleted"),
        (Self::Recover, "recover"),
        (Self::Purge, "purge"),
        (Self::Backup, "backup"),
        (Self::Restore, "restore"),
    ];

    /// The permission it needs, by the operation that permission is called after: an access policy grants get,
    /// list, set, delete, recover, purge, backup and restore.
    pub fn permission(self) -> Self {
        match self {
            Self::Get | Self::GetVersion | Self::GetDeleted => Self::Get,
            Self::List | Self::ListVersions | Self::ListDeleted => Self::List,
            Self::Set | Self::Update => Self::Set,
            Self::Delete | Self::Recover | Self::Purge | Self::Backup | Self::Restore => self,
        }
    }

    /// Its name in tests and on the command line.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(operation, _)| *operation == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(operation, _)| *operation);
        found.ok_or_else(|| format!("no such operation; one of {}", Self::ALL.map(|(_, name)| name).join(", ")))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// An operation with what its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Call {
    Set(SecretName),
    Get(SecretName, Option<String>),
    Update(SecretName, Option<String>),
    Delete(SecretName),
    GetDeleted(SecretName),
    List,
    ListVersions(SecretName),
    ListDeleted,
    Recover(SecretName),
    Purge(SecretName),
    Backup(SecretName),
    Restore,
}

impl Call {
    /// Reads verb and path.
    pub fn parse(method: &str, path: &str) -> Result<Self, Refusal> {
        let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let refused = Err(Refusal::Verb(method.to_owned()));
        match segments.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case("secrets") => Self::parse_secrets(method, rest),
            Some((first, rest)) if first.eq_ignore_ascii_case("deletedsecrets") => Self::parse_deleted(method, rest),
            _ => refused,
        }
    }

    fn parse_secrets(method: &str, rest: &[&str]) -> Result<Self, Refusal> {
        Ok(match (method, rest) {
            ("GET", []) => Self::List,
            ("POST", ["restore"]) => Self::Restore,
            ("PUT", [name]) => Self::Set(parse_name(name)?),
            ("GET", [name]) => Self::Get(parse_name(name)?, None),
            ("PATCH", [name]) => Self::Update(parse_name(name)?, None),
            ("DELETE", [name]) => Self::Delete(parse_name(name)?),
            ("GET", [name, "versions"]) => Self::ListVersions(parse_name(name)?),
            ("POST", [name, "backup"]) => Self::Backup(parse_name(name)?),
            ("GET", [name, version]) => Self::Get(parse_name(name)?, Some((*version).to_owned())),
            ("PATCH", [name, version]) => Self::Update(parse_name(name)?, Some((*version).to_owned())),
            _ => return Err(Refusal::Verb(method.to_owned())),
        })
    }

    fn parse_deleted(method: &str, rest: &[&str]) -> Result<Self, Refusal> {
        Ok(match (method, rest) {
            ("GET", []) => Self::ListDeleted,
            ("GET", [name]) => Self::GetDeleted(parse_name(name)?),
            ("DELETE", [name]) => Self::Purge(parse_name(name)?),
            ("POST", [name, "recover"]) => Self::Recover(parse_name(name)?),
            _ => return Err(Refusal::Verb(method.to_owned())),
        })
    }

    /// Which operation it is.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Set(_) => Operation::Set,
            Self::Get(_, None) => Operation::Get,
            Self::Get(_, Some(_)) => Operation::GetVersion,
            Self::Update(..) => Operation::Update,
            Self::Delete(_) => Operation::Delete,
            Self::GetDeleted(_) => Operation::GetDeleted,
            Self::List => Operation::List,
            Self::ListVersions(_) => Operation::ListVersions,
            Self::ListDeleted => Operation::ListDeleted,
            Self::Recover(_) => Operation::Recover,
            Self::Purge(_) => Operation::Purge,
            Self::Backup(_) => Operation::Backup,
            Self::Restore => Operation::Restore,
        }
    }
}

fn parse_name(text: &str) -> Result<SecretName, Refusal> {
    SecretName::parse(text).map_err(|_| Refusal::InvalidName(text.to_owned()))
}

/// Resolves percent escapes; what is no escape, or no UTF-8, stays visible and makes an invalid name.
fn decode(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(hex);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// The address the client used: what identifiers, links and the challenge are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host name or address, lower case, IPv6 in brackets.
    pub host: String,
    /// As given; `None` is the scheme's own.
    pub port: Option<u16>,
}

impl Origin {
    /// Reads a `Host` header; `None` if it is none.
    pub fn parse(scheme: &'static str, header: &str) -> Option<Self> {
        let (host, port) = match header.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (header, None),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let name = !host.is_empty() && host.bytes().all(legal);
        let host = host.to_ascii_lowercase();
        (name || ipv6(&host).is_some()).then_some(Self { scheme, host, port })
    }

    fn default_port(&self) -> u16 {
        if self.scheme == "https" { 443 } else { 80 }
    }

    /// The vault's URL, with the port only if it is not the scheme's own: what identifiers start with.
    pub fn url(&self) -> String {
        match self.port.filter(|port| *port != self.default_port()) {
            Some(port) => format!("{}://{}:{port}", self.scheme, self.host),
            None => format!("{}://{}", self.scheme, self.host),
        }
    }

    /// The vault's URL with the port in any case: what a nextLink starts with.
    pub fn url_with_port(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port.unwrap_or(self.default_port()))
    }

    /// Reads an `Origin` header; `None` for one of no address, such as `null`.
    pub fn of_page(header: &str) -> Option<Self> {
        let (scheme, host) = header.split_once("://")?;
        let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
        Self::parse(scheme, host)
    }

    /// Whether this names the machine itself, so that no name of somebody else's can have led here.
    pub fn is_local(&self) -> bool {
        let address = self.host.parse::<IpAddr>().ok().or(ipv6(&self.host).map(IpAddr::V6));
        self.host == "localhost" || self.host.ends_with(".localhost") || address.is_some_and(|ip| ip.is_loopback())
    }

    /// Whether the host is an address and no name.
    pub fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok() || ipv6(&self.host).is_some()
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).expect("legal")
    }

    #[test]
    fn paths_are_taken_generously() {
        for (method, path, call) in [
            ("GET", "/secrets", Call::List),
            ("GET", "/secrets/", Call::List),
            ("GET", "//secrets/n", Call::Get(name("n"), None)),
            ("GET", "/secrets/n/", Call::Get(name("n"), None)),
            ("GET", "/Secrets/n/v", Call::Get(name("n"), Some("v".into()))),
            ("PATCH", "/secrets/n/", Call::Update(name("n"), None)),
            ("GET", "/deletedSecrets/n", Call::GetDeleted(name("n"))),
            ("POST", "/deletedsecrets/n/recover", Call::Recover(name("n"))),
            ("GET", "/secrets/restore", Call::Get(name("restore"), None)),
            ("PUT", "/secrets/restore", Call::Set(name("restore"))),
            ("POST", "/secrets/restore", Call::Restore),
            ("GET", "/secrets/versions/versions", Call::ListVersions(name("versions"))),
            ("GET", "/secrets/n/backup", Call::Get(name("n"), Some("backup".into()))),
            ("PUT", "/secrets/%6e", Call::Set(name("n"))),
        ] {
            assert_eq!(Call::parse(method, path), Ok(call), "{method} {path}");
        }
    }

    #[test]
    fn verbs_that_do_not_match_and_names_that_cannot_be_are_refused() {
        for (method, path) in [
            ("PUT", "/secrets/"),
            ("POST", "/secrets/n"),
            ("DELETE", "/secrets/n/v"),
            ("PUT", "/deletedsecrets/n"),
            ("GET", "/keys"),
            ("GET", "/"),
            ("GET", "/secrets/n/v/more"),
        ] {
            assert_eq!(Call::parse(method, path), Err(Refusal::Verb(method.into())), "{method} {path}");
        }
        for (path, shown) in [("/secrets/a_b", "a_b"), ("/secrets/a%20b", "a b"), ("/secrets/a%zz", "a%zz")] {
            assert_eq!(Call::parse("PUT", path), Err(Refusal::InvalidName(shown.into())));
        }
        assert!(Call::parse("PUT", &format!("/secrets/{}", "n".repeat(128))).is_err());
    }

    #[test]
    fn hosts_are_read_and_told_apart() {
        for (header, url, local) in [
            ("akv.localhost:8443", "https://akv.localhost:8443", true),
            ("AKV.localhost", "https://akv.localhost", true),
            ("localhost:443", "https://localhost", true),
            ("127.0.0.1:80", "https://127.0.0.1:80", true),
            ("[::1]:9", "https://[::1]:9", true),
            ("[::1]", "https://[::1]", true),
            ("evil.example", "https://evil.example", false),
            ("notlocalhost", "https://notlocalhost", false),
            ("10.0.0.1:1", "https://10.0.0.1:1", false),
        ] {
            let origin = Origin::parse("https", header).expect("legal");
            assert_eq!((origin.url().as_str(), origin.is_local()), (url, local), "{header}");
        }
        for wrong in ["", ":1", "a b", "a:x", "a/b", "a\"b", "[::1", "[x]", "a:99999", "a:+1"] {
            assert_eq!(Origin::parse("https", wrong), None, "{wrong}");
        }
        assert_eq!(Origin::parse("https", "a.b").expect("legal").url_with_port(), "https://a.b:443");
    }
}
