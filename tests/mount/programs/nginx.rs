//! nginx: certificates, passwords and static files from a mount, and a reload after a change.

use std::process::Command;

use super::super::harness::{World, eventually};
use super::{Group, Service, free_port, have, set, set_certificate};

/// TLS with `certificate/`; what stands in `files/` as static content; a file of users.
fn configuration(world: &World, port: u16) -> String {
    let (mount, aside) = (world.path(""), world.mount.aside(""));
    let (mount, aside) = (mount.display(), aside.display());
    format!(
        "daemon off; pid {aside}/nginx.pid; error_log {aside}/nginx.log; worker_processes 1;
        events {{ worker_connections 64; }}
        http {{
            sendfile on; access_log off; default_type text/plain;
            client_body_temp_path {aside}/1; proxy_temp_path {aside}/2; fastcgi_temp_path {aside}/3;
            uwsgi_temp_path {aside}/4; scgi_temp_path {aside}/5;
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {mount}/secrets/web/certificate/fullchain.pem;
                ssl_certificate_key {mount}/secrets/web/certificate/privkey.pem;
                location /static/ {{ alias {mount}/files/; }}
                location /closed/ {{
                    alias {mount}/files/; auth_basic closed; auth_basic_user_file {mount}/files/users;
                }}
            }}
        }}"
    )
}

fn start(world: &World, port: u16) -> Service {
    let file = world.mount.aside("nginx.conf");
    // Only who mounted gets in.
    // SAFETY: no arguments, cannot fail.
    let user = if unsafe { libc::geteuid() } == 0 { "user root;" } else { "" };
    std::fs::write(&file, format!("{user}{}", configuration(world, port))).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file).arg("-e").arg(world.mount.aside("nginx.log"));
    Service::start(command, libc::SIGTERM, port, &world.mount.aside("nginx.out"))
}

/// Served as it stands in the vault; as large as values get, and as bytes that are no text.
const PAGES: [&str; 3] = ["small", "large", "bytes"];

#[test]
fn nginx_serves_from_a_mount_and_takes_a_new_certificate_at_reload() {
    if !have(&["nginx", "openssl", "curl"]) {
        return;
    }
    let large = "0123456789abcde\n".repeat(1600);
    let Some(world) = World::new(&[("small", "a page\n"), ("large", &large)], "ttl=100ms") else { return };
    world.bash("", r#"head -c 19000 /dev/urandom > "$T/bytes" && cp "$T/bytes" "$M/files/bytes""#).ok();
    world.bash("", r#"printf 'small, by a name' > "$T/netrc""#).ok();
    set(&world.vault, "users", "reader:{PLAIN}word\n", "", &[]);
    set(&world.vault, "netrc", "machine localhost login reader password word\n", "", &[("akvfs-file", ".netrc")]);
    set_certificate(&world, "web", "first");
    let port = free_port();
    let server = start(&world, port);
    let get = format!(r#"curl -sf --cacert "$T/ca.pem" "https://localhost:{port}"#);
    for page in PAGES {
        let same = format!(r#"{get}/static/{page}" | cmp - "$M/files/{page}" && echo same"#);
        assert_eq!(world.bash("", &same).ok(), "same\n", "{page}");
    }
    world.vault.set("small", "another page, and a longer one\n");
    eventually("the new page", || {
        world.bash("", &format!(r#"{get}/static/small""#)).out.starts_with("another page, and a longer one\n")
    });
    let closed = |how: &str| world.bash("", &format!(r#"{get}/closed/small" {how}"#)).code;
    assert_eq!((closed(""), closed(r#"--netrc-file "$M/files/.netrc""#)), (22, 0));
    let subject = subject(port);
    assert_eq!(world.bash("", &subject).ok(), "subject=CN = first\n");
    set_certificate(&world, "web", "second");
    eventually("the new certificate", || {
        server.signal(libc::SIGHUP);
        world.bash("", &subject).out == "subject=CN = second\n"
    });
}

/// What the certificate says that is shown on `port`.
fn subject(port: u16) -> String {
    format!("openssl s_client -connect 127.0.0.1:{port} < /dev/null 2> /dev/null | openssl x509 -noout -subject")
}

/// As docs/operating.md has it.
const RELOADS: &str = r#"
nginx() { command nginx -c "$T/nginx.conf" -e "$T/nginx.log" "$@"; }
inotifywait -qm -e close_write,moved_to "$M/secrets/web" | while read -r _; do nginx -s reload; done"#;

#[test]
fn nginx_takes_a_new_certificate_when_a_watcher_reloads_it() {
    if !have(&["nginx", "openssl", "inotifywait"]) {
        return;
    }
    for options in ["ttl=500ms", "ro,ttl=500ms"] {
        let Some(world) = World::new(&[("small", "x")], options) else { return };
        set(&world.vault, "users", "", "", &[]);
        set_certificate(&world, "web", "first");
        let port = free_port();
        let _server = start(&world, port);
        let _reloads = Group::start(&world, RELOADS, &[]);
        let subject = subject(port);
        assert_eq!(world.bash("", &subject).ok(), "subject=CN = first\n");
        for next in ["second", "third", "fourth"] {
            set_certificate(&world, "web", next);
            eventually(next, || world.bash("", &subject).out == format!("subject=CN = {next}\n"));
        }
    }
}
