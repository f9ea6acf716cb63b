//! Any identifier, link and vault: no panic, and a link that is followed leads to the vault and to nothing beside the
//! listing.
#![no_main]

use akvfs::vault::{Vault, fuzzing, vault_url, wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let vault = Vault::parse("contoso").expect("a name");
    if let Some(url) = fuzzing::follow(&vault, text) {
        assert_eq!(url.origin().ascii_serialization(), "https://contoso.vault.azure.net");
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        assert_eq!(url.path().trim_end_matches('/').to_ascii_lowercase(), "/secrets");
        assert!(url.query().is_some_and(|query| query.starts_with("api-version=7.6")));
        assert_eq!(url.query_pairs().filter(|(name, _)| name.eq_ignore_ascii_case("api-version")).count(), 1);
    }
    if let Ok((vault, name, _)) = wire::parse_id(text) {
        assert!(!vault.ends_with('/') && name.as_str().len() <= 127);
    }
    if let Ok(url) = vault_url(text) {
        let again = Vault::parse(&url).expect("what was made of a vault is one");
        assert!(again.url() == url && !url.contains('@') && !url.ends_with('/'));
        assert!(url.starts_with("https://") || (url.starts_with("http://") && again.is_loopback()));
    }
});
