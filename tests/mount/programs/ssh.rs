//! OpenSSH: keys of clients and of servers, and their modes.

use std::process::Command;

use super::super::harness::World;
use super::{Service, free_port, have, is_root, set};

/// A mount with a client's key as `files/id_ed25519` and a server's key.
fn world(options: &str) -> Option<World> {
    let world = World::new(&[("a", "before\n")], options)?;
    let keys =
        r#"ssh-keygen -q -t ed25519 -N '' -C client -f "$T/client" && ssh-keygen -q -t ed25519 -N '' -f "$T/server""#;
    world.bash("", keys).ok();
    let key = |file: &str| std::fs::read_to_string(world.mount.aside(file)).unwrap();
    set(&world.vault, "client-key", &key("client"), "", &[("akvfs-file", "id_ed25519")]);
    set(&world.vault, "server-key", &key("server"), "", &[]);
    world.bash("", r#"echo > "$M/.akvfs/refresh""#).ok();
    Some(world)
}

/// It wants to be called by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// Who logs in, and how.
const LOG_IN: &str = r#"-F none -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"#;

#[test]
fn ssh_takes_its_keys_from_a_mount() {
    if !have(&["ssh", "ssh-keygen", "ssh-add", "ssh-agent"]) {
        return;
    }
    let Some(world) = world("") else { return };
    for path in ["$V", "$M/files/client-key", "$M/files/id_ed25519"] {
        let public =
            world.bash("client-key", &format!(r#"ssh-keygen -y -f "{path}" | cmp - "$T/client.pub" && echo same"#));
        assert_eq!(public.ok(), "same\n", "{path}");
        let added = world.bash("client-key", &format!(r#"ssh-agent sh -c 'ssh-add -q "{path}" && ssh-add -L'"#));
        assert_eq!(added.ok(), std::fs::read_to_string(world.mount.aside("client.pub")).unwrap(), "{path}");
    }
}

#[test]
fn a_server_and_a_client_of_ssh_take_their_keys_from_a_mount() {
    if !have(&["ssh", "sftp", SSHD]) || !is_root() {
        return;
    }
    let Some(world) = world("") else { return };
    world.bash("", r#"mkdir -p /run/sshd && cp "$T/client.pub" "$T/authorized""#).ok();
    let port = free_port();
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e", "-f", "/dev/null", "-h"]).arg(world.path("secrets/server-key/value"));
    for option in [
        format!("Port={port}"),
        "ListenAddress=127.0.0.1".to_owned(),
        "PidFile=none".to_owned(),
        "UsePAM=no".to_owned(),
        "StrictModes=no".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "Subsystem=sftp internal-sftp".to_owned(),
        format!("AuthorizedKeysFile={}", world.mount.aside("authorized").display()),
    ] {
        command.args(["-o", &option]);
    }
    let _server = Service::start(command, libc::SIGTERM, port, &world.mount.aside("sshd.log"));
    for path in ["$M/secrets/client-key/value", "$M/files/id_ed25519"] {
        let script = format!(r#"ssh {LOG_IN} -p {port} -i "{path}" root@127.0.0.1 echo in"#);
        assert_eq!(world.bash("", &script).ok(), "in\n", "{path}");
    }
    // Over sftp a file comes to the mount by open, write, close and fsetstat.
    let put = format!(
        r#"echo new > "$T/new" && printf 'put %s %s\n' "$T/new" "$V" |
        sftp -q {LOG_IN} -P {port} -i "$M/files/id_ed25519" -b - root@127.0.0.1 > /dev/null"#
    );
    world.bash("a", &put).ok();
    assert_eq!((world.vault.get("a").as_deref(), world.vault.versions("a").len()), (Ok("new\n"), 2));
}

/// That the test above can fail: OpenSSH does look.
#[test]
fn ssh_refuses_a_key_that_others_may_read() {
    if !have(&["ssh-keygen"]) {
        return;
    }
    let Some(world) = world("file_mode=0644") else { return };
    let ran = world.bash("client-key", r#"ssh-keygen -y -f "$V""#);
    assert!(ran.code != 0 && ran.err.contains("UNPROTECTED PRIVATE KEY"), "{ran:?}");
}
