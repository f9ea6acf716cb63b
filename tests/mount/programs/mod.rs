//! Programs that nobody here wrote, reading what they need from a mount: keys, certificates, passwords, whole trees.

mod certificates;
mod credentials;
mod nginx;
mod postgres;
mod ssh;
mod trees;
mod watching;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use akvfs::secret::{SecretAttributes, SecretValue, Tags};

use super::harness::{Vault, World, eventually, has, name};

/// Whether all of these are installed; says so loudly if not.
fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        skipped!("{missing:?} not installed");
    }
    missing.is_empty()
}

/// Whether this is root, who alone may start a server for others; says so loudly if not.
fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        skipped!("only root can start this server");
    }
    is_root
}

/// A port that nobody uses.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A server that ends with its test.
struct Service {
    process: Child,
    /// What makes it end at once.
    signal: i32,
}

impl Service {
    /// Starts it and waits until it listens.
    fn start(mut command: Command, signal: i32, port: u16, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let process = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut service = Self { process, signal };
        eventually("a server", || {
            let ended = service.process.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?}: {}", std::fs::read_to_string(log).unwrap());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        service
    }

    fn signal(&self, signal: i32) {
        // SAFETY: numbers; the process is our own child, not waited for yet.
        unsafe { libc::kill(self.process.id().cast_signed(), signal) };
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.signal(self.signal);
        let _ = self.process.wait();
    }
}

/// A shell script that ends, with all that it started, with its test.
struct Group(Child);

impl Group {
    /// Starts it, with the mount as `$M`, what lies beside it as `$T`, and these variables.
    fn start(world: &World, script: &str, variables: &[(&str, PathBuf)]) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", script]).env("M", world.path("")).env("T", world.mount.aside(""));
        command.envs(variables.iter().map(|(name, path)| (name, path)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: numbers; the group is its own.
        unsafe { libc::kill(-self.0.id().cast_signed(), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

/// The first of these that is there.
fn first_of(paths: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    paths.into_iter().find(|path| path.exists())
}

/// A secret with a content type and tags.
fn set(vault: &Vault, secret: &str, value: &str, content_type: &str, tags: &[(&str, &str)]) {
    let attributes = SecretAttributes {
        content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
        tags: Some(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Tags>()),
        ..SecretAttributes::default()
    };
    vault.client.set_secret(&name(secret), &SecretValue::new(value.to_owned()), &attributes).unwrap();
}

/// An authority and a certificate of it for localhost: `ca.pem`, and `key`, `cert` and a bundle without a password.
const MAKE_CERTIFICATE: &str = r#"
set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/ca.key" -out "$T/ca.pem" -subj "/CN=authority" -days 2 2> /dev/null
openssl req -newkey rsa:2048 -nodes -keyout "$T/key" -out "$T/csr" -subj "/CN=$CN" 2> /dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > "$T/ext"
openssl x509 -req -in "$T/csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -CAcreateserial -days 2 -extfile "$T/ext" -out "$T/cert" 2> /dev/null
cat "$T/key" "$T/cert" "$T/ca.pem" > "$T/all.pem"
openssl pkcs12 -export -in "$T/cert" -inkey "$T/key" -certfile "$T/ca.pem" -passout pass: | openssl base64 -A > "$T/pfx"
"#;

/// Makes the secret a certificate of this subject, in PEM.
fn set_certificate(world: &World, secret: &str, subject: &str) {
    world.bash("", &format!("CN={subject}\n{MAKE_CERTIFICATE}")).ok();
    let pem = std::fs::read_to_string(world.mount.aside("all.pem")).unwrap();
    set(&world.vault, secret, &pem, "application/x-pem-file", &[]);
}
