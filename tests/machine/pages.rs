//! Every block of the README and of `docs/` that stands apart: its commands are run, or it is said why not and what else
//! holds it. None is left out, and none is named that is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::named::tests_below;
use super::support::{FUNCTIONS, run};

/// What becomes of a block.
enum Fate {
    /// A script runs it: `@@` is the block, `@1` its first line, and so on; `contoso` is the local vault, DIR the place `mnt`.
    Run(&'static str),
    /// A test of this name has it.
    Test(&'static str),
    /// It cannot be run here, for this reason.
    Not(&'static str),
}
use Fate::{Not, Run, Test};

/// Runs `@1` to the last as one mount each.
const MOUNTED: &str = r#"
@1
[ -d /mnt/vault/secrets ]
umount /mnt/vault
echo '@2' >/etc/fstab
mount /mnt/vault
mount -a
cat /mnt/vault/files/db-password
umount /mnt/vault
"#;

/// By page and by how the block begins.
#[rustfmt::skip]
const BLOCKS: &[(&str, &str, Fate)] = &[
    ("README.md", "scripts/try", Test("trying_it_works_twice_and_stops_twice")),
    ("README.md", "scripts/test", Not("it is what runs this")),
    ("README.md", "akvfs mount local: DIR", Run(r#"
for line in "@1" "@2" "@3" "@4"; do
  bash -euc "$line"
  [ -d mnt/secrets ]
  @5
done
[ -s /var/lib/vault.redb ]
"#)),
    ("README.md", "mount -t akvfs contoso", Run(MOUNTED)),
    ("README.md", "akvfs serve --listen", Run(r#"
@1 >first 2>/dev/null &
eventually grep -x 'listening on http://127.0.0.1:9000' first
@2
mkdir mnt/secrets/a
akvfs unmount mnt
kill $!
"#)),
    ("README.md", "secrets/", Test("the_readmes_tree_is_what_stands_there")),
    ("docs/clients.md", "az cloud register", Not("scripts/sdk runs these by tests/sdk/az.py: az is no Debian package")),
    ("docs/clients.md", "scripts/sdk", Not("it installs from package registries; .ci/run runs it")),
    ("docs/kubernetes.md", "scripts/package --static", Test("the_image_mounts_is_probed_and_ends_as_the_sidecars_manifest_has_it")),
    ("docs/local-vault.md", "akvfs serve", Run(r#"
for line in "@1" "@2"; do
  bash -euc "exec $line" >first 2>/dev/null &
  eventually grep -E '^listening on https?://(127.0.0.1|localhost):8443$' first
  kill $!
  wait $! || true
done
[ -s vault.db ] && [ -s tls/ca.pem ]
"#)),
    ("docs/local-vault.md", "client = SecretClient", Not("tests/sdk/python_client.py does so; Microsoft's client is no Debian package")),
    ("docs/operating.md", "scripts/package", Test("a_newcomers_way_is_walked_on_a_clean_machine")),
    ("docs/operating.md", "install -m 755", Run(r#"
cp "$AKVFS" akvfs
rm /usr/sbin/mount.akvfs
@@
mount -t akvfs local: mnt
umount mnt
"#)),
    ("docs/operating.md", "akvfs doctor contoso", Run(r#"
@1 >said
grep -c '^ok ' said >/dev/null
# The second line wants a machine of Azure's: here only that such words are understood.
grep -q -- --write <<<'@2'
akvfs mount --print-config -o auth=managed,client_id=x | grep -q '^auth = "managed"'
"#)),
    ("docs/operating.md", "ok       device", Test("an_embedded_vault_is_examined_too_and_people_read_lines")),
    ("docs/operating.md", "mount -t akvfs contoso /mnt/vault -o ro,ttl", Run(MOUNTED)),
    ("docs/operating.md", "systemctl enable", Not("no systemd runs as the first process; what_the_service_may_do_is_enough runs what the unit runs")),
    ("docs/operating.md", "akvfs list", Run(r#"
akvfs mount contoso /mnt/vault
@1 | grep -q ' /mnt/vault  rw  answers'
@2 | grep -q '^mount .* at /mnt/vault, writable'
said=0
timeout 3 bash -euc "exec @3" >watched || said=$?
[ $said = 124 ] && [ "$(grep -c '^now ' watched)" -ge 1 ]
@4
@5
[ "$(cat /mnt/vault/.akvfs/log)" = debug ]
@6
[ ! -d /mnt/vault/secrets ]
"#)),
    ("docs/operating.md", "journalctl", Test("a_daemon_logs_to_journald_with_fields")),
    ("docs/operating.md", "akvfs log /mnt/vault", Run(r#"
akvfs mount contoso /mnt/vault
@@
[ "$(akvfs log /mnt/vault)" = akvfs=info ]
@1
@2
[ "$(akvfs log /mnt/vault)" = info,akvfs::vault=debug,akvfs::fs=debug ]
akvfs unmount /mnt/vault
"#)),
    ("docs/operating.md", "{\"time\"", Test("every_open_of_a_value_is_audited_and_nothing_else_is")),
    ("docs/operating.md", "/var/log/akvfs/audit.log {", Run(r#"
mkdir -p /var/log/akvfs
for way in 'akvfs mount' 'mount -t akvfs'; do
  $way contoso /mnt/vault -o audit_file=/var/log/akvfs/audit.log
  cat /mnt/vault/files/db-password >/dev/null
  eventually grep -q db-password /var/log/akvfs/audit.log
  mv /var/log/akvfs/audit.log moved
  @5
  eventually sh -c 'cat /mnt/vault/files/db-password && grep db-password /var/log/akvfs/audit.log'
  umount /mnt/vault
done
"#)),
    ("docs/operating.md", "mount -t akvfs contoso /mnt/vault -o ro,allow_other", Run(r#"
echo app:x:1234:1234::/:/bin/sh >>/etc/passwd
echo app:x:1234: >>/etc/group
@@
as_user 1234 cat /mnt/vault/files/db-password
fails 1 as_user 65534 cat /mnt/vault/files/db-password >/dev/null
umount /mnt/vault
"#)),
    ("docs/operating.md", "$ tail", Run(r#"
akvfs mount contoso /mnt/vault
(
  cd /mnt/vault
  mkdir elsewhere 2>/dev/null || true
  line='@1'
  bash -euc "${line#\$ }" >"$OLDPWD/said"
)
for key in time path operation errno status code message request_id remedy; do grep -q "\"$key\": " said; done
umount /mnt/vault
"#)),
    ("docs/operating.md", "jq '.operations", Run(r#"
akvfs mount contoso /mnt/vault
(cd /mnt/vault && @@ | grep -q '"list": "20')
umount /mnt/vault
"#)),
    ("docs/operating.md", "cat /mnt/vault/.akvfs/metrics", Run(r#"
akvfs mount contoso /mnt/vault
mkdir /var/lib/node_exporter
@@
grep -q '^akvfs_vault_operations_total{' /var/lib/node_exporter/akvfs.prom
umount /mnt/vault
"#)),
    ("docs/operating.md", "echo db-password > .akvfs/refresh", Run(r#"
akvfs mount contoso /mnt/vault
(
  cd /mnt/vault
  @@
)
umount /mnt/vault
"#)),
    ("docs/operating.md", "inotifywait -qm", Test("nginx_takes_a_new_certificate_when_a_watcher_reloads_it")),
    ("docs/operating.md", "akvfs mount contoso /mnt/vault -o on_change", Run(r#"
mkdir bin other
printf '#!/bin/sh\necho "$@" >>%s/asked\n' "$PWD" >bin/systemctl
chmod +x bin/systemctl
PATH=$PWD/bin:$PATH bash -euc "@@,ttl=300ms"
cat /mnt/vault/files/db-password >/dev/null
akvfs mount contoso other
printf %s rotated | tee other/files/db-password >/dev/null
eventually grep -x 'reload nginx' asked
akvfs unmount other
umount /mnt/vault
"#)),
    ("docs/options.md", "akvfs mount --print-config contoso", Run(r#"
echo 'ttl = "10s"' >/etc/akvfs.toml
@@ >said
"#)),
    ("docs/options.md", "ro = true", Run(r#"
echo 'ttl = "10s"' >/etc/akvfs.toml
akvfs mount --print-config contoso /mnt -o ro,config=/etc/akvfs.toml | tr -s ' ' >said
tr -s ' ' <<'END' | while read -r line; do grep -qxF "$line" said; done
@@
END
"#)),
    ("docs/options.md", "[aliases]", Run(r#"
cat >/etc/akvfs.toml <<'END'
@@
END
akvfs mount contoso /mnt/vault -o config=/etc/akvfs.toml
[ "$(cat '/mnt/vault/files/tls.crt')" = pem ]
umount /mnt/vault
"#)),
    ("docs/options.md", "[[rules]]", Run(r#"
echo ssl-cert:x:4321: >>/etc/group
cat >/etc/akvfs.toml <<'END'
@@
END
akvfs mount contoso /mnt/vault -o config=/etc/akvfs.toml
[ "$(stat -c '%U %G %a' /mnt/vault/secrets/web-tls/value)" = 'www-data ssl-cert 440' ]
umount /mnt/vault
"#)),
    ("docs/sign-in.md", "az role assignment", Not("it changes who may do what in Azure")),
];

/// A vault at port 80 of nobody else's network with two secrets, and the places that the pages name.
const BEFORE: &str = r#"
mount -t tmpfs none /mnt
mkdir /mnt/vault
ip link set lo up
akvfs serve --listen 127.0.0.1:7000 >serving 2>/dev/null &
serving=$!
eventually grep -q 'listening on' serving
akvfs mount http://127.0.0.1:7000 mnt
for pair in db-password=hunter2 web-tls=pem; do
  mkdir "mnt/secrets/${pair%=*}"
  printf %s "${pair#*=}" | tee "mnt/secrets/${pair%=*}/value" >/dev/null
done
akvfs unmount mnt
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|file| format!("docs/{}", file.unwrap().file_name().to_str().unwrap()));
    let mut pages: Vec<_> = names.filter(|name| name.ends_with(".md")).chain(["README.md".to_owned()]).collect();
    pages.sort();
    pages
}

/// The blocks of a page: what stands between fences, or four spaces in behind an empty line.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let (mut found, mut block, mut fenced, mut before) = (Vec::new(), Vec::new(), false, "");
    for line in text.lines().chain([""; 2]) {
        let is_fence = line.starts_with("```");
        let inside = match line.strip_prefix("    ") {
            _ if is_fence => None,
            _ if fenced => Some(line),
            Some(inner) if !block.is_empty() || before.is_empty() => Some(inner),
            _ => None,
        };
        match inside {
            Some(inner) => block.push(inner),
            None if !block.is_empty() => found.push(std::mem::take(&mut block).join("\n")),
            None => {}
        }
        fenced ^= is_fence;
        before = line;
    }
    found
}

#[test]
fn every_block_of_every_page_is_run_or_it_is_said_why_not() {
    let tests = tests_below("tests");
    let mut found = Vec::new();
    for page in pages() {
        for block in blocks(&page) {
            let fit = |at: &usize| BLOCKS[*at].0 == page && block.starts_with(BLOCKS[*at].1) && !found.contains(at);
            // Of two beginnings the longer one is meant.
            let fate = (0..BLOCKS.len()).filter(fit).max_by_key(|at| BLOCKS[*at].1.len());
            found.push(fate.unwrap_or_else(|| panic!("{page}: nothing runs this, and nothing says why:\n{block}")));
        }
    }
    for (at, (page, start, fate)) in BLOCKS.iter().enumerate() {
        assert!(found.contains(&at), "{page} has no block (more) that begins with {start}");
        match fate {
            Run(script) => assert!(script.contains('@'), "{page}: {start}"),
            Test(name) => assert!(tests.contains(*name), "{page}: {start}: there is no test {name}"),
            Not(why) => assert!(why.len() > 15, "{page}: {start}"),
        }
    }
}

/// `script` with the block's lines in their places, for the local vault and a place that is there.
fn filled(script: &str, block: &str) -> String {
    let here = |text: &str| {
        let text = text.replace("https://contoso.vault.azure.net", "contoso");
        text.replace("contoso", "http://127.0.0.1:7000").replace(" DIR", " mnt")
    };
    let mut script = script.replace("@@", block);
    // A comment behind a command is for the reader, and no part of a line of fstab.
    let lines: Vec<&str> = block.lines().map(|line| line.split(" #").next().unwrap().trim_end()).collect();
    for (at, line) in lines.iter().enumerate().rev() {
        script = script.replace(&format!("@{}", at + 1), line);
    }
    here(&script)
}

#[test]
fn the_commands_of_the_pages_are_run_as_they_stand_there() {
    let missing = ["jq", "ip"].into_iter().find(|program| which(program).is_none());
    if let Some(program) = missing {
        return skipped!("{program} is missing (apt-get install jq iproute2)");
    }
    let mut script = String::new();
    for page in pages() {
        let mut used = BTreeSet::new();
        for block in blocks(&page) {
            let fit = |at: &usize| BLOCKS[*at].0 == page && block.starts_with(BLOCKS[*at].1) && !used.contains(at);
            let at = (0..BLOCKS.len()).filter(fit).max_by_key(|at| BLOCKS[*at].1.len()).unwrap();
            used.insert(at);
            if let Run(how) = BLOCKS[at].2 {
                script += &format!("at='{page}: {}'\n{}", BLOCKS[at].1.replace('\'', ""), filled(how, &block));
            }
        }
    }
    let whole = format!(
        "install_akvfs\ncat >all <<'WHOLE'\nset -euE\ntrap 'echo \"failed in $at, line $LINENO\" >&2' ERR\n{FUNCTIONS}\nat=before\n\
         {BEFORE}\n{script}\nkill $serving\necho all were run\nWHOLE\nunshare --net bash all\n"
    );
    let Some(wrote) = run(&whole) else { return };
    assert!(wrote.ends_with("all were run\n"), "{wrote}");
}

fn which(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}
