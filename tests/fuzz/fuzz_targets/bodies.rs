//! Any body of a success, to every reader: no panic, and what is read is whole.
#![no_main]

use akvfs::secret::{SecretName, SecretProperties, Version};
use akvfs::vault::wire;
use libfuzzer_sys::fuzz_target;

fn check(found: &SecretProperties) {
    assert!(SecretName::parse(found.name.as_str()).is_ok());
    assert!(found.version.as_ref().is_none_or(|version| Version::parse(version.as_str()).is_some()));
    assert!(found.tags.as_ref().is_none_or(|tags| tags.len() <= 100));
    let (vault, name, version) = wire::parse_id(&found.id).expect("it was read before");
    assert!((vault, name, version) == (found.vault_url.clone(), found.name.clone(), found.version.clone()));
}

fuzz_target!(|body: &[u8]| {
    wire::properties(body).iter().for_each(check);
    wire::secret(body).iter().for_each(|secret| check(&secret.properties));
    wire::deleted(body).iter().for_each(|deleted| check(&deleted.properties));
    if let Ok(page) = wire::page(body) {
        assert!(page.items.len() + page.dropped <= 1_000 && page.next_link.is_none_or(|link| !link.is_empty()));
        page.items.iter().for_each(check);
    }
    if let Ok(page) = wire::deleted_page(body) {
        page.items.iter().for_each(|deleted| check(&deleted.properties));
    }
    if let Ok(blob) = wire::backup(body) {
        let again = wire::backup(&wire::restore_body(&blob)).expect("our own");
        assert!(again.expose() == blob.expose());
    }
});
