//! Any `WWW-Authenticate`: no panic, and a token is asked for only when the resource is a parent domain of the vault.
#![no_main]

use akvfs::vault::challenge::{Asked, read};
use akvfs::vault::{Reply, Vault};
use libfuzzer_sys::fuzz_target;

const VAULTS: [&str; 3] = ["contoso.vault.azure.net", "a.vault.usgovcloudapi.net", "https://akv.localhost:8443"];

fuzz_target!(|data: &[u8]| {
    let Some((&which, text)) = data.split_first() else { return };
    let Ok(vault) = Vault::parse(VAULTS[usize::from(which) % VAULTS.len()]) else { return };
    let text = String::from_utf8_lossy(text);
    let headers = text.lines().map(|line| ("www-authenticate".to_owned(), line.to_owned())).collect();
    let reply = Reply { status: 401, headers, body: Vec::new().into() };
    let _ = read(&reply, &vault, false);
    let Asked::Token(challenge) = read(&reply, &vault, true) else { return };
    let scope = url::Url::parse(&challenge.scope).expect("a scope is a URL");
    let domain = scope.domain().expect("of a domain");
    assert!(vault.host().strip_suffix(domain).is_some_and(|front| front.ends_with('.') && front.len() > 1));
    assert!(scope.scheme() == "https" && challenge.scope.ends_with("/.default"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    assert!(challenge.tenant.is_none_or(|tenant| !tenant.is_empty() && tenant.bytes().all(is_plain)));
});
