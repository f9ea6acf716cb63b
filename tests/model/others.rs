//! Another client, at the vault itself.

use akvfs::secret::{SecretAttributes, SecretName, SecretValue, Tags};
use akvfs::store::{SecretStore, Wait};

use crate::op::Others;
use crate::reference::pem;

/// What is not possible in the vault's state is refused there, and nothing happens.
pub fn change(vault: &dyn SecretStore, secret: &SecretName, what: Others, wait: Wait) {
    let none = SecretAttributes::default;
    let set = |text: &str, attributes| {
        // Refused while the name is a deleted secret's.
        let _ = vault.set(secret, &SecretValue::new(text.to_owned()), &attributes, wait);
    };
    let update = |attributes| {
        // Refused where there is nothing.
        let _ = vault.update(secret, None, &attributes, wait);
    };
    match what {
        Others::Set(text) => set(text, none()),
        Others::SetBase64 => {
            set("/wBo\naQ==\n", SecretAttributes { tags: tag("file-encoding", "base64"), ..none() });
        }
        Others::SetCertificate => {
            let content_type = Some("application/x-pem-file".to_owned());
            set(&pem().value, SecretAttributes { content_type, ..none() });
        }
        Others::Enable(enabled) => update(SecretAttributes { enabled: Some(enabled), ..none() }),
        Others::Tag(key, text) => update(SecretAttributes { tags: tag(key, text), ..none() }),
        Others::Delete => drop(vault.delete(secret, wait)),
        Others::Recover => drop(vault.recover(secret, wait)),
        Others::Purge => drop(vault.purge(secret, wait)),
    }
}

fn tag(key: &str, text: &str) -> Option<Tags> {
    Some([(key.to_owned(), text.to_owned())].into())
}
