//! What an identity with some permissions can do: each cell of the table in docs/operating.md tried on a mount, and
//! each column of it through the client.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use akvfs::local::{Operation, ServeOptions};
use akvfs::secret::{BackupBlob, SecretAttributes, SecretValue};
use akvfs::store::{ErrorKind, StoreError};

use super::harness::{Mount, Vault, World, eventually, has, name};
use super::readme::{in_backticks, page, table};

const PERMISSIONS: [Operation; 8] = [
    Operation::Get,
    Operation::List,
    Operation::Set,
    Operation::Delete,
    Operation::Recover,
    Operation::Purge,
    Operation::Backup,
    Operation::Restore,
];

/// A vault kept at `store` whose callers have these permissions and no others.
fn vault(store: &Path, may: &[&str]) -> Option<Vault> {
    let deny = PERMISSIONS.into_iter().filter(|permission| !may.contains(&permission.as_str())).collect();
    Vault::with(ServeOptions { store: Some(store.join("vault")), deny, ..ServeOptions::default() }, &[])
}

fn vault_of_all(store: &Path) -> Option<Vault> {
    vault(store, &PERMISSIONS.map(Operation::as_str))
}

/// The documentation's table: its roles, and its rows as commands and cells.
fn roles() -> (Vec<String>, Vec<Vec<String>>) {
    let text = page("docs/operating.md");
    let head = text.lines().find(|line| line.starts_with("| with ")).unwrap();
    let roles = in_backticks(head).into_iter().map(str::to_owned).collect();
    (roles, table(&text, "| with "))
}

/// One command of the table, with a secret, a deleted secret and a free name of its own.
struct Try {
    written: String,
    /// What the table says.
    said: String,
    live: String,
    deleted: String,
    free: String,
    version: String,
}

impl Try {
    fn script(&self) -> String {
        let part = |part: &str| match part {
            "n" => self.live.clone(),
            "x" => self.deleted.clone(),
            "new" => self.free.clone(),
            "V" => self.version.clone(),
            "FILE" | "JSON" | "BACKUP" => format!("\"$T\"/{part}"),
            other => other.to_owned(),
        };
        let word = |word: &str| word.split('/').map(part).collect::<Vec<_>>().join("/");
        self.written.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    /// What a success shows.
    fn shows(&self) -> &str {
        match self.written.as_str() {
            "ls secrets" | "ls files" => &self.live,
            "ls deleted" => &self.deleted,
            "ls secrets/n/versions" => &self.version,
            "cat secrets/n/.meta.json" => "\"id\": \"http",
            "cat deleted/x/.meta.json" => "\"deleted_date\": \"",
            "cat secrets/n/value" | "cat files/n" | "cat secrets/n/versions/V" => "first",
            _ => "",
        }
    }

    fn changes(&self) -> bool {
        !["ls", "stat", "cat secrets", "cat files", "cat deleted", "cat backup"]
            .iter()
            .any(|word| self.written.starts_with(word))
    }

    /// What happens, in the table's words.
    fn happens(&self, mount: &Mount) -> String {
        let ran = mount.bash("", &format!("cd \"$M\" && {}", self.script()));
        if ran.code != 0 {
            return errno_in(&ran.err).to_owned();
        }
        assert!(ran.out.contains(self.shows()), "{}: {ran:?}", self.written);
        // A removal is sent when somebody looks at the deleted ones.
        if self.written.starts_with("rm ") && !self.written.starts_with("rm -r ") {
            mount.bash("", "ls \"$M/deleted\"");
            let back = self.written.strip_prefix("rm ").unwrap().replace("/n", &format!("/{}", self.live));
            eventually("the removed file to be back", || mount.path(&back).exists());
            let told = mount.bash("", "cat \"$M/.akvfs/errors\"").ok();
            let why = format!("\"path\":\"secrets/{}/value\",\"operation\":\"unlink\",\"errno\":\"EACCES\"", self.live);
            assert!(told.contains(&why), "{told}");
            return "comes back".to_owned();
        }
        "yes".to_owned()
    }

    /// Whether the vault has another state than before, which is then the one that was wanted.
    fn has_changed(&self, vault: &Vault) -> bool {
        let (live, free) = (vault.get(&self.live), vault.get(&self.free));
        let wanted = match self.written.as_str() {
            "cat FILE >> secrets/n/value" => "firstx",
            _ => "x",
        };
        let is_new = live.as_deref() == Ok(wanted) || free.as_deref() == Ok("x");
        assert!(is_new || (live.as_deref() == Ok("first") && free.is_err()), "{}: {live:?} {free:?}", self.written);
        let is_tagged = vault.tags(&self.live).contains_key("from");
        let is_back = vault.get(&self.deleted).is_ok();
        let is_restored = self.written.contains("BACKUP") && vault.get("back").is_ok();
        is_new || is_tagged || is_back || is_restored
    }
}

fn errno_in(message: &str) -> &'static str {
    let known = [
        ("Permission denied", "EACCES"),
        ("File exists", "EEXIST"),
        ("No such file or directory", "ENOENT"),
        ("Operation not permitted", "EPERM"),
    ];
    known.into_iter().find(|(text, _)| message.contains(text)).map_or_else(|| panic!("{message}"), |(_, name)| name)
}

/// A vault in which each command of the column finds what it needs, and the backup of a secret that is gone.
fn fill(vault: &Vault, rows: &[Vec<String>], column: usize) -> (Vec<Try>, BackupBlob) {
    let commands = rows.iter().flat_map(|row| in_backticks(&row[0]).into_iter().map(|written| (written, &row[column])));
    let tries = commands.enumerate().map(|(at, (written, said))| {
        let (live, deleted) = (format!("n{at}"), format!("x{at}"));
        vault.set(&live, "first");
        vault.set(&deleted, "x");
        vault.client.begin_delete_secret(&name(&deleted)).unwrap();
        let version = vault.versions(&live)[0].clone();
        Try { written: written.to_owned(), said: said.clone(), live, deleted, free: format!("new{at}"), version }
    });
    let tries = tries.collect();
    vault.set("back", "x");
    let blob = vault.client.backup_secret(&name("back")).unwrap();
    vault.client.begin_delete_secret(&name("back")).unwrap();
    vault.client.purge_deleted_secret(&name("back")).unwrap();
    (tries, blob)
}

#[test]
fn each_role_can_do_what_the_table_says() {
    let (roles, rows) = roles();
    let mut wrong = Vec::new();
    for (at, role) in roles.iter().enumerate() {
        let store = tempfile::tempdir().unwrap();
        let Some(before) = vault_of_all(store.path()) else { return };
        let (tries, blob) = fill(&before, &rows, at + 1);
        drop(before);
        let may: Vec<_> = role.split(' ').collect();
        let Some(World { mount, vault: after }) = vault(store.path(), &may).and_then(|vault| World::of(vault, ""))
        else {
            return;
        };
        fs::write(mount.aside("FILE"), "x").unwrap();
        fs::write(mount.aside("JSON"), r#"{"tags": {"from": "json"}}"#).unwrap();
        fs::write(mount.aside("BACKUP"), blob.expose()).unwrap();
        let happened: Vec<_> = tries.iter().map(|one| one.happens(&mount)).collect();
        drop((mount, after));
        let Some(after) = vault_of_all(store.path()) else { return };
        for (one, happened) in tries.iter().zip(&happened) {
            if *happened != one.said {
                wrong.push(format!("{role}: {}: {happened}, not {}", one.written, one.said));
            }
            let changed = one.has_changed(&after);
            assert_eq!(changed, one.changes() && happened == "yes", "{role}: {}", one.written);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(roles.len() >= 7 && rows.len() >= 12, "{} roles, {} rows", roles.len(), rows.len());
}

#[test]
fn who_may_not_get_saves_with_what_the_listing_tells() {
    for (may, tags) in [(&["list", "set"][..], &["kept"][..]), (&["set"], &[])] {
        let store = tempfile::tempdir().unwrap();
        let Some(before) = vault_of_all(store.path()) else { return };
        before.set("n", "first");
        drop(before);
        let Some(world) = vault(store.path(), may).and_then(|vault| World::of(vault, "")) else { return };
        assert_eq!(world.bash("n", r#"stat -c "%a %s" "$V" && printf x | tee "$V""#).ok(), "0 1\nx");
        drop(world);
        let Some(after) = vault_of_all(store.path()) else { return };
        assert_eq!((after.get("n").as_deref(), after.versions("n").len()), (Ok("x"), 2));
        assert_eq!(after.tags("n").keys().collect::<Vec<_>>(), tags, "{may:?}");
    }
}

#[test]
fn who_may_not_get_and_is_not_root_saves_by_renaming() {
    if !has("setpriv") {
        return;
    }
    let store = tempfile::tempdir().unwrap();
    let Some(vault) = vault(store.path(), &["set"]) else { return };
    let Some(world) = World::of(vault, "allow_other,uid=65534,gid=65534") else { return };
    fs::set_permissions(world.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).ok();
    let other = |script: &str| {
        let switch = "setpriv --reuid=65534 --regid=65534 --clear-groups bash -c";
        world.bash("", &format!("cd / && {switch} '{script}' \"$M\""))
    };
    assert_eq!(errno_in(&other(r#"printf x > "$0/files/n""#).err), "EACCES");
    assert_eq!(world.vault.requests("set"), 0);
    other(r#"printf x > "$0/files/n.tmp" && mv "$0/files/n.tmp" "$0/files/n""#).ok();
    assert_eq!(world.vault.requests("set"), 1);
}

/// Each method, and the permission that it needs.
type Method = (&'static str, fn(&Vault) -> Result<(), StoreError>);

const METHODS: [Method; 13] = [
    ("get", |on| on.client.get_secret(&name("n"), None).map(drop)),
    ("get", |on| on.client.get_deleted_secret(&name("x")).map(drop)),
    ("list", |on| on.client.list_properties_of_secrets().collect::<Result<Vec<_>, _>>().map(drop)),
    ("list", |on| on.client.list_properties_of_secret_versions(&name("n")).collect::<Result<Vec<_>, _>>().map(drop)),
    ("list", |on| on.client.list_deleted_secrets().collect::<Result<Vec<_>, _>>().map(drop)),
    ("set", |on| {
        on.client.set_secret(&name("n"), &SecretValue::new("y".into()), &SecretAttributes::default()).map(drop)
    }),
    ("set", |on| on.client.update_secret_properties(&name("n"), None, &tagged()).map(drop)),
    ("backup", |on| on.client.backup_secret(&name("n")).map(drop)),
    ("restore", |on| on.client.restore_secret_backup(&BackupBlob::new("no backup".into())).map(drop)),
    ("recover", |on| on.client.begin_recover_deleted_secret(&name("x"))?.wait(Duration::from_secs(10))),
    ("delete", |on| on.client.begin_delete_secret(&name("x"))?.wait(Duration::from_secs(10))),
    ("delete", |on| on.client.begin_delete_secret(&name("n"))?.wait(Duration::from_secs(10))),
    ("purge", |on| on.client.purge_deleted_secret(&name("n"))),
];

fn tagged() -> SecretAttributes {
    SecretAttributes { tags: Some([("k".to_owned(), "v".to_owned())].into()), ..SecretAttributes::default() }
}

#[test]
fn the_client_says_what_is_forbidden_after_one_request() {
    let (mut roles, _) = roles();
    roles.extend(["delete recover purge".to_owned(), "backup restore".to_owned()]);
    let mut refused = BTreeSet::new();
    for role in roles {
        let store = tempfile::tempdir().unwrap();
        let Some(before) = vault_of_all(store.path()) else { return };
        before.set("n", "first");
        before.set("x", "x");
        before.client.begin_delete_secret(&name("x")).unwrap();
        drop(before);
        let Some(vault) = vault(store.path(), &role.split(' ').collect::<Vec<_>>()) else { return };
        // The first answer is the challenge.
        let _ = vault.client.get_secret(&name("none"), None);
        for (permission, method) in METHODS {
            let sent = vault.server.request_count();
            let error = method(&vault).map_err(|error| (error.kind, error.answer));
            let sent = vault.server.request_count() - sent;
            let may = role.split(' ').any(|given| given == permission);
            match error {
                Err((ErrorKind::Forbidden, answer)) => {
                    assert!(!may, "{role}: {permission}: {answer:?}");
                    let code = answer.code.as_deref();
                    assert_eq!((answer.status, code, sent), (Some(403), Some("Forbidden/ForbiddenByPolicy"), 1));
                    refused.insert(permission);
                }
                other => assert!(may, "{role}: {permission}: {other:?}"),
            }
        }
    }
    assert_eq!(refused.len(), PERMISSIONS.len(), "each is refused once at least");
}
