//! The 401 challenge, and whether a token is taken.

use std::hint::black_box;

use zeroize::Zeroizing;

use super::errors::Refusal;
use super::request::{Operation, Origin, Request};

/// The tenant this vault sends everybody to: made up, and the same for all.
pub const TENANT: &str = "6f6c6361-6c76-4175-8c74-616b76667300";
const LOGIN: &str = "https://login.microsoftonline.com";

/// Who is let in.
pub struct Access {
    /// The only token that is taken; any is without it.
    pub token: Option<Zeroizing<String>>,
    /// Whether only callers that used a name of this machine are answered, because the vault is on loopback: a page
    /// in a browser must not reach it through a name that was bent to point here.
    pub local_names_only: bool,
    /// Permissions that nobody has, each by the operation it is called after.
    pub denied: Vec<Operation>,
}

impl Access {
    /// Lets `request` in, or says why not.
    pub fn check(&self, origin: &Origin, request: &Request) -> Result<(), Refusal> {
        if self.local_names_only && !origin.is_local() {
            return Err(Refusal::ForeignHost);
        }
        let page = request.page.as_deref().map(Origin::of_page);
        if self.local_names_only && page.is_some_and(|page| !page.is_some_and(|page| page.is_local())) {
            return Err(Refusal::ForeignPage);
        }
        let given = request.authorization.as_deref().and_then(|header| bearer(header));
        match (given, &self.token) {
            (None, _) => Err(Refusal::NoToken),
            (Some(given), Some(token)) if !same(given, token) => Err(Refusal::WrongToken),
            _ => Ok(()),
        }
    }

    /// Lets a caller who was let in do `operation`, or says why not.
    pub fn check_permission(&self, operation: Operation) -> Result<(), Refusal> {
        let permission = operation.permission();
        if self.denied.contains(&permission) { Err(Refusal::Denied(permission.as_str())) } else { Ok(()) }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Compares without telling by its time how much was right.
fn same(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    let differing = given.iter().zip(token).fold(0, |differing, (a, b)| black_box(differing | (a ^ b)));
    given.len() == token.len() && differing == 0
}

/// The `WWW-Authenticate` of a 401: one scheme, one blank, quoted pairs, a comma and a blank between them, which is
/// the only form that all SDKs read.
pub fn header(origin: &Origin) -> String {
    format!("Bearer authorization=\"{LOGIN}/{TENANT}\", resource=\"{}\"", resource(origin))
}

/// The host less its first label, port kept: SDKs insist that the vault's host ends in a dot and the resource's
/// host. Where no label can be spared (an address, `localhost`) it is the host itself, which no SDK takes without
/// its opt-out, as they would take nothing else either.
fn resource(origin: &Origin) -> String {
    let host = match origin.host.split_once('.') {
        Some((_, parent)) if !origin.is_address() && !parent.is_empty() => parent,
        _ => &origin.host,
    };
    let parent = Origin { scheme: "https", host: host.to_owned(), port: origin.port };
    parent.url()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_the_host_less_its_first_label() {
        for (host, expected) in [
            ("akv.localhost:8443", "https://localhost:8443"),
            ("akv.vault.localhost:8443", "https://vault.localhost:8443"),
            ("akv.localhost", "https://localhost"),
            ("localhost:8443", "https://localhost:8443"),
            ("127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("[::1]:8443", "https://[::1]:8443"),
        ] {
            let origin = Origin::parse("https", host).expect("legal");
            assert!(header(&origin).ends_with(&format!(", resource=\"{expected}\"")), "{host}");
        }
    }

    #[test]
    fn a_bearer_token_is_found_and_compared() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for wrong in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(bearer(wrong), None, "{wrong}");
        }
        assert!(same("abc", "abc"));
        assert!(!same("abd", "abc") && !same("ab", "abc") && !same("abcd", "abc") && !same("", "abc"));
    }
}
