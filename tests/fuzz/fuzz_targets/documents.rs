//! Any edited `.meta.json`: no panic, nothing changes that may not be changed, and a document that nobody edited changes
//! nothing.
#![no_main]

use akvfs::fs::fuzzing::{changes, document};
use akvfs::secret::SecretAttributes;
use akvfs::vault::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Before it a secret as the vault sends it, or none.
    let mut parts = data.splitn(2, |byte| *byte == 0x1e);
    let (edited, sent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let before = wire::properties(sent).ok();
    let _ = changes(edited, None);
    let Some(before) = before else { return };
    let _ = changes(edited, Some(&before));
    let text = document(&before);
    let unchanged = changes(text.as_bytes(), Some(&before));
    assert!(unchanged.is_ok_and(|changes| changes == SecretAttributes::default()), "{text}");
});
