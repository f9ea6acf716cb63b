//! The vault's 401: what it asks for, and whether it may. Parses all forms of `WWW-Authenticate` that vaults and
//! proxies send, and checks that the resource belongs to the vault's own domain. Asks nobody for anything.

use url::Url;

use super::address::Vault;
use super::reply::Reply;

/// A checked challenge: the only way to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What to ask the identity service for: `https://vault.azure.net/.default`.
    pub scope: String,
    /// The tenant that the vault belongs to.
    pub tenant: Option<String>,
}

/// What a 401 turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A token of this scope and tenant.
    Token(Challenge),
    /// A new token for what is already known: the old one was revoked (continuous access evaluation).
    Renewal,
    /// Something that no token of ours may answer; the reason.
    Foreign(String),
    /// Nothing that we understand.
    Nothing,
}

/// Reads the challenge of `reply`. With `verify` its resource must be a parent domain of `vault`.
pub fn read(reply: &Reply, vault: &Vault, verify: bool) -> Asked {
    let mut asked = Asked::Nothing;
    for header in reply.headers_called("www-authenticate") {
        for scheme in schemes(header).iter().filter(|scheme| scheme.is("bearer")) {
            match weigh(scheme, vault, verify) {
                Asked::Nothing => {}
                found => asked = found,
            }
            if let Asked::Token(_) | Asked::Renewal = asked {
                return asked;
            }
        }
    }
    asked
}

/// What a claims challenge says of itself, if `reply` has one.
pub(super) fn claims_reason(reply: &Reply) -> Option<String> {
    let found =
        reply.headers_called("www-authenticate").flat_map(schemes).find(|scheme| scheme.get("claims").is_some());
    let scheme = found?;
    let reason = scheme.get("error_description").or_else(|| scheme.get("error"));
    Some(reason.unwrap_or("claims").to_owned())
}

fn weigh(scheme: &Scheme, vault: &Vault, verify: bool) -> Asked {
    // The authority and resource of a claims challenge are passed over: the known ones hold.
    if scheme.get("claims").is_some() {
        return Asked::Renewal;
    }
    let named = [scheme.get("scope"), scheme.get("resource")];
    let mut wanted = None;
    for named in named.into_iter().flatten() {
        match audience(named).filter(|audience| !verify || is_parent_domain(audience, vault.host())) {
            Some(audience) => wanted = wanted.or(Some(audience)),
            None => {
                let vault = vault.url();
                return Asked::Foreign(format!("the challenge's resource {named:?} is not of the domain of {vault}"));
            }
        }
    }
    let Some(wanted) = wanted else { return Asked::Nothing };
    let authority = scheme.get("authorization").or_else(|| scheme.get("authorization_uri"));
    match authority.map(tenant) {
        Some(None) => Asked::Foreign("the challenge's authority is no https:// URL of a tenant".to_owned()),
        tenant => Asked::Token(Challenge { scope: scope_of(&wanted), tenant: tenant.flatten() }),
    }
}

/// The resource or scope that was named, as what the parser made of it: what is checked must be what is asked for, and
/// the parser drops control characters, for one.
fn audience(named: &str) -> Option<Url> {
    let url = Url::parse(named).ok()?;
    let is_bare = matches!(url.path(), "/" | "/.default") && url.query().is_none() && url.fragment().is_none();
    let is_plain = url.username().is_empty() && url.password().is_none() && matches!(url.scheme(), "https" | "http");
    (is_bare && is_plain).then_some(url)
}

/// `https://vault.azure.net/.default`, whether a resource or a scope was named. No slash may be doubled: the
/// service refuses the audience `https://vault.azure.net/`.
fn scope_of(audience: &Url) -> String {
    format!("{}/.default", audience.origin().ascii_serialization())
}

/// Whether the `host` of a vault lies below that of `resource`. Equality is not enough, nor is an end that does not
/// begin at a dot, nor a bare top-level domain.
pub fn is_parent_domain(resource: &Url, host: &str) -> bool {
    let Some(domain) = resource.domain() else { return false };
    let is_below = host.strip_suffix(domain).is_some_and(|front| front.len() > 1 && front.ends_with('.'));
    let is_site = domain == "localhost" || domain.trim_matches('.').contains('.');
    resource.scheme() == "https" && is_below && is_site
}

/// The first segment of an authority's path.
fn tenant(authority: &str) -> Option<String> {
    let url = Url::parse(authority).ok().filter(|url| url.scheme() == "https")?;
    let tenant = url.path_segments()?.next()?.to_owned();
    let fits = !tenant.is_empty() && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    fits.then_some(tenant)
}

/// One scheme of a header with its parameters.
struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn get(&self, key: &str) -> Option<&str> {
        let mut named = self.parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        named.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Splits a header into schemes and parameters (RFC 9110, 11.3), taking blanks, commas or both between them.
fn schemes(header: &str) -> Vec<Scheme> {
    let mut found: Vec<Scheme> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() && behind.is_empty() {
            return found;
        }
        match (behind.trim_start().strip_prefix('='), found.last_mut()) {
            (Some(value), Some(scheme)) => {
                let (value, behind) = parameter(value.trim_start());
                scheme.parameters.push((word.to_owned(), value));
                rest = behind;
            }
            (Some(value), None) => rest = value, // a parameter of no scheme
            (None, _) => {
                found.push(Scheme { name: word.to_owned(), parameters: Vec::new() });
                rest = behind;
            }
        }
    }
}

/// A value, quoted or not, and what stands behind it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, behind) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (value.to_owned(), behind);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    fn asked(vault: &str, headers: &[&str]) -> Asked {
        let headers = headers.iter().map(|value| ("WWW-Authenticate".to_owned(), (*value).to_owned())).collect();
        let reply = Reply { status: 401, headers, body: Vec::new().into() };
        read(&reply, &Vault::parse(vault).expect("a vault"), true)
    }

    fn token(scope: &str, tenant: Option<&str>) -> Asked {
        Asked::Token(Challenge { scope: scope.to_owned(), tenant: tenant.map(str::to_owned) })
    }

    #[test]
    fn a_domain_is_above_only_what_has_a_name_before_it() {
        let domain = Url::parse("https://vault.azure.net").expect("a URL");
        for (host, is_above) in [
            ("x.vault.azure.net", true),
            (".vault.azure.net", false),
            ("vault.azure.net", false),
            ("xvault.azure.net", false),
        ] {
            assert_eq!(is_parent_domain(&domain, host), is_above, "{host}");
        }
    }

    #[test]
    fn a_header_is_split_into_schemes_and_values_as_they_are_quoted() {
        let split = |header: &str| -> Vec<(String, Vec<(String, String)>)> {
            schemes(header).into_iter().map(|scheme| (scheme.name, scheme.parameters)).collect()
        };
        let of = |name: &str, parameters: &[(&str, &str)]| {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            (name.to_owned(), parameters.iter().map(own).collect::<Vec<_>>())
        };
        for (header, expected) in [
            (r#"Basic realm="x", Bearer"#, vec![of("Basic", &[("realm", "x")]), of("Bearer", &[])]),
            ("=x, Bearer a=b", vec![of("x", &[]), of("Bearer", &[("a", "b")])]),
            (r#"Bearer a="b\"c\\d, e=f", g=h"#, vec![of("Bearer", &[("a", r#"b"c\d, e=f"#), ("g", "h")])]),
            (r#"Bearer a="never closed\""#, vec![of("Bearer", &[("a", "never closed\"")])]),
            ("", vec![]),
        ] {
            assert_eq!(split(header), expected, "{header}");
        }
        let other = r#"Basic authorization="https://login.example/t", resource="https://vault.azure.net""#;
        assert_eq!(asked("contoso", &[other]), Asked::Nothing, "not a bearer's");
    }

    #[test]
    fn every_form_of_a_challenge() {
        let azure = token("https://vault.azure.net/.default", Some(T));
        for header in [
            format!(
                r#"Bearer authorization="https://login.microsoftonline.com/{T}", resource="https://vault.azure.net""#
            ),
            format!(r#"Bearer authorization="https://login.windows.net/{T}", resource="https://vault.azure.net""#),
            format!(
                r#"bearer authorization="https://login.microsoftonline.com/{T}",resource="https://vault.azure.net/""#
            ),
            format!(
                r#"Bearer authorization="https://login.microsoftonline.com/{T}" resource="https://vault.azure.net""#
            ),
            format!(
                r#"BEARER  Authorization = "https://login.microsoftonline.com/{T}/" , Resource = https://vault.azure.net"#
            ),
            format!(
                r#"Bearer authorization_uri="https://login.microsoftonline.com/{T}/oauth2/authorize", scope="https://vault.azure.net/.default""#
            ),
            format!(
                r#"Basic realm="a, \"b\" Bearer x=1", Bearer authorization="https://login.microsoftonline.com/{T}", resource="https://vault.azure.net""#
            ),
            format!(
                r#"Bearer authorization="https://login.microsoftonline.com/{T}", resource="https://vault.azure.net", PoP nonce="x""#
            ),
        ] {
            assert_eq!(asked("contoso", &[&header]), azure, "{header}");
        }
        let bearer = format!(r#"Bearer authorization="https://x.example/{T}", resource="https://vault.azure.net""#);
        assert_eq!(asked("contoso", &["PoP nonce=\"x\"", &bearer]), azure);
        let bare = token("https://vault.azure.net/.default", None);
        assert_eq!(asked("contoso", &[r#"Bearer resource="https://vault.azure.net""#]), bare);
    }

    #[test]
    fn a_claims_challenge_asks_for_a_renewal() {
        for header in [
            r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJh""#,
            r#"Bearer authorization="https://login.windows-ppe.net/", error="invalid_token", error_description="User session has been revoked", claims="eyJh""#,
        ] {
            assert_eq!(asked("contoso", &[header]), Asked::Renewal);
        }
    }

    #[test]
    fn the_resource_must_be_a_parent_domain_of_the_vault() {
        for (vault, resource, good) in [
            ("contoso.vault.azure.net", "https://vault.azure.net", true),
            ("contoso.vault.azure.cn", "https://vault.azure.cn", true),
            ("contoso.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net", true),
            ("CONTOSO.vault.azure.net", "https://VAULT.azure.net", true),
            ("https://akv.localhost:8443", "https://localhost:8443", true),
            ("contoso.vault.azure.net", "https://contoso.vault.azure.net", false),
            ("contoso.vault.azure.net", "https://ault.azure.net", false),
            ("contoso-vault.azure.net", "https://vault.azure.net", false),
            ("contoso.vault.azure.net", "https://vault.azure.cn", false),
            ("contoso.vault.azure.net", "https://vault.azure.net.evil.example", false),
            ("contoso.vault.azure.net", "https://vault.azure.net@evil.example", false),
            ("contoso.vault.azure.net", "https://net", false),
            ("contoso.vault.azure.net", "https://.net", false),
            ("contoso.vault.azure.net", "http://vault.azure.net", false),
            ("contoso.vault.azure.net", "vault.azure.net", false),
            ("contoso.vault.azure.net", "https://user@vault.azure.net", false),
            ("contoso.vault.azure.net", "https://vault.azure.net/path", false),
            ("contoso.vault.azure.net", "https://vault.azure.net//", false),
            ("contoso.vault.azure.net", "https://vault.azure.net?x", false),
            ("contoso.vault.azure.net", "https://vault.azure.net#x", false),
            ("contoso.vault.azure.net", "api://vault.azure.net", false),
            ("https://127.0.0.1:8443", "https://0.0.1:8443", false),
            ("https://localhost:8443", "https://localhost:8443", false),
        ] {
            let header = format!(r#"Bearer authorization="https://login.example/t", resource="{resource}""#);
            let good_answer = matches!(asked(vault, &[&header]), Asked::Token(_));
            assert_eq!(good_answer, good, "{vault} {resource}");
        }
    }

    #[test]
    fn what_was_checked_is_what_is_asked_for() {
        for resource in ["https://vault.azure.net\u{2}", "https://VAULT.azure.net:443/", "https:vault.az\ture.net"] {
            let header = format!(r#"Bearer authorization="https://login.example/t", resource="{resource}""#);
            assert_eq!(
                asked("contoso", &[&header]),
                token("https://vault.azure.net/.default", Some("t")),
                "{resource:?}"
            );
        }
    }

    #[test]
    fn what_is_no_challenge_of_ours_asks_for_nothing_or_is_foreign() {
        for header in [
            "",
            ",,,",
            "Negotiate",
            "Bearer",
            "Bearer realm=\"x\"",
            "= = =",
            "Bearer =\"\"",
            "\"",
            "Bearer resource=\"\"",
        ] {
            assert_eq!(asked("contoso", &[header]), Asked::Nothing, "{header}");
        }
        for authority in ["http://login.example/t", "https://login.example", "https://login.example/a%20b", "x"] {
            let header = format!(r#"Bearer authorization="{authority}", resource="https://vault.azure.net""#);
            assert!(matches!(asked("contoso", &[&header]), Asked::Foreign(_)), "{authority}");
        }
        let both = r#"Bearer authorization="https://l.example/t", resource="https://vault.azure.net", scope="https://evil.example/.default""#;
        assert!(matches!(asked("contoso", &[both]), Asked::Foreign(_)));
    }

    #[test]
    fn the_check_can_be_switched_off() {
        let header = r#"Bearer authorization="https://localhost:1/t", resource="https://localhost:1""#.to_owned();
        let reply = Reply { status: 401, headers: vec![("www-authenticate".into(), header)], body: Vec::new().into() };
        let vault = Vault::parse("http://127.0.0.1:1").expect("loopback");
        assert_eq!(read(&reply, &vault, false), token("https://localhost:1/.default", Some("t")));
        assert!(matches!(read(&reply, &vault, true), Asked::Foreign(_)));
    }
}
