//! Changes: answers about another secret, and successes that are none.

use super::client_support::{VERSION, refusal, reply};
use super::server::At;
use super::{Row, lies, says};

const BROKEN: Result<&str, i32> = Err(libc::EIO);

pub fn rows() -> Vec<Row> {
    let other =
        format!(r#"{{"id":"https://v/secrets/other/{VERSION}","recoveryId":"https://v/deletedsecrets/other"}}"#);
    let path = r#"{"id":"https://v/secrets/../../etc","recoveryId":"https://v/deletedsecrets/.."}"#;
    let mut rows = Vec::new();
    for at in [At::Save, At::Update, At::Remove, At::Recover] {
        rows.push(says(at, "another secret", BROKEN, other.clone()));
        rows.push(says(at, "a path", BROKEN, path));
    }
    rows.extend([
        says(At::Restore, "a path", BROKEN, path),
        says(At::Backup, "a backup that is no base64", BROKEN, r#"{"value":"../../etc/passwd!"}"#),
        says(At::Backup, "a backup that is a number", BROKEN, r#"{"value":1}"#),
        // The vault's own word.
        lies(At::Save, "that it is not there", Err(libc::ENOENT), |_, _| refusal(404, "SecretNotFound", "")),
        lies(At::Save, "done, without a word", BROKEN, |_, _| reply(204, "")),
        lies(At::Save, "half a success", BROKEN, |_, _| reply(202, "{}")),
    ]);
    rows
}
