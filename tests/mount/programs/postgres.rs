//! PostgreSQL's clients: a file of passwords that only its owner may read.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::harness::{Ran, World};
use super::{Service, first_of, free_port, have, is_root};

const PASSWORD: &str = "pass:word\\with";

/// Where Debian and others put the server's programs.
fn server_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let dirs = versions.map(|version| version.path().join("bin")).chain(["/usr/bin".into(), "/usr/local/bin".into()]);
    let found = first_of(dirs.map(|dir| dir.join("initdb")));
    if found.is_none() {
        skipped!("PostgreSQL's server is not installed");
    }
    Some(found?.parent().unwrap().to_owned())
}

/// A server of PostgreSQL that lets its owner in with [`PASSWORD`]. It does not run as root.
fn start(programs: &Path, dir: &Path, port: u16) -> Service {
    let as_its_user = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(programs.join(program));
        command.current_dir(dir);
        command
    };
    std::fs::write(dir.join("password"), PASSWORD).unwrap();
    assert!(Command::new("chown").args(["-R", "postgres:"]).arg(dir).status().unwrap().success());
    let mut made = as_its_user("initdb");
    made.args(["--no-sync", "--auth=scram-sha-256", "--username=owner", "--pwfile=password", "-D", "data"]);
    let made = made.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut command = as_its_user("postgres");
    command.args(["-D", "data", "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]);
    command.args(["-c", "unix_socket_directories=", "-p", &port.to_string()]);
    Service::start(command, libc::SIGINT, port, &dir.join("log"))
}

fn ask(world: &World, port: u16, passfile: &str) -> Ran {
    let script =
        format!(r#"PGPASSFILE="{passfile}" psql -w -h 127.0.0.1 -p {port} -U owner -d postgres -Atc 'select 6 * 7'"#);
    world.bash("pgpass", &script)
}

#[test]
fn psql_takes_its_password_from_a_mount_unless_others_may_read_it() {
    if !have(&["psql", "setpriv"]) || !is_root() {
        return;
    }
    let Some(programs) = server_programs() else { return };
    let port = free_port();
    let escaped = PASSWORD.replace('\\', r"\\").replace(':', r"\:");
    let line = format!("127.0.0.1:{port}:*:owner:{escaped}\n");
    let Some(world) = World::new(&[("pgpass", &line)], "") else { return };
    let dir = tempfile::tempdir().unwrap();
    let _server = start(&programs, dir.path(), port);
    for passfile in ["$M/secrets/pgpass/value", "$M/files/pgpass"] {
        assert_eq!(ask(&world, port, passfile).ok(), "42\n", "{passfile}");
    }
    let without = ask(&world, port, "/nonexistent");
    assert!(without.err.contains("no password supplied"), "{without:?}");
    let Some(open) = World::of(world.vault, "file_mode=0640") else { return };
    let refused = ask(&open, port, "$M/files/pgpass");
    assert!(refused.code != 0 && refused.err.contains("has group or world access"), "{refused:?}");
}
