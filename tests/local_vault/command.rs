//! `akvfs serve`, as the process it is.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Child;

use crate::support::{http, read, serve, url_of as url};

fn start(arguments: &[&str]) -> Child {
    serve(arguments).spawn().expect("a child")
}

fn errors(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    text
}

fn put(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("allowed");
}

fn end(child: &mut Child, signal: i32) {
    // SAFETY: the process is our child and not waited for yet, so the id is still its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
    assert!(child.wait().expect("waited for").success());
}

#[test]
fn it_tells_its_address_serves_and_ends_on_a_signal() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = tempfile::tempdir().expect("a directory");
        let token = dir.path().join("token");
        put(&token, "right\n", 0o600);
        let mut child =
            start(&["--listen", "127.0.0.1:0", "--token", &token.display().to_string(), "--fault", "503:1"]);
        let url = format!("{}/secrets?api-version=7.6", url(&mut child));
        let get = |token: &str| read(http().get(&url).bearer_auth(token)).expect("an answer").status;
        assert_eq!((get("wrong"), get("right"), get("right")), (401, 503, 200));
        end(&mut child, signal);
        let errors = errors(&mut child);
        assert!(errors.contains("for development"), "{errors}");
        assert!(!errors.contains("right"), "{errors}");
    }
}

#[test]
fn a_token_file_that_others_can_get_at_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let mut wrong = vec![("link", "symbolic link"), ("latin", "not UTF-8"), ("empty", "the token is empty")];
    for (name, mode) in [("read", 0o640), ("write", 0o602), ("both", 0o644)] {
        put(&at(name), "canary", mode);
        wrong.push((name, "chmod 0600 it"));
    }
    put(&at("kept"), "canary", 0o600);
    symlink(at("kept"), at("link")).expect("linked");
    put(&at("empty"), "\n", 0o600);
    put(&at("latin"), "", 0o600);
    std::fs::write(at("latin"), b"canary\xff").expect("written");
    put(&at("theirs"), "canary", 0o600);
    if chown(at("theirs"), Some(4711), None).is_ok() {
        wrong.push(("theirs", "it belongs to user 4711"));
    }
    for (name, reason) in wrong {
        let output = serve(&["--listen", "127.0.0.1:0", "--token", &at(name).display().to_string()]).output();
        let output = output.expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{name}: {output:?}");
        assert!(errors.contains(reason) && errors.trim().lines().count() == 1, "{name}: {errors}");
        assert!(reason.contains("empty") || errors.contains(&at(name).display().to_string()), "{errors}");
        assert!(!errors.contains("canary"), "{errors}");
    }
}

#[test]
fn with_tls_it_tells_what_to_trust() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&["--listen", "127.0.0.1:0", "--tls", &dir.path().display().to_string()]);
    assert!(url(&mut child).starts_with("https://localhost:"));
    end(&mut child, libc::SIGTERM);
    let errors = errors(&mut child);
    assert!(errors.contains(&dir.path().join("ca.pem").display().to_string()), "{errors}");
    assert!(errors.contains("https://akv.localhost:"), "{errors}");
}

#[test]
fn it_says_in_one_line_why_it_does_not_start() {
    for (arguments, reason) in [
        (vec!["--listen", "0.0.0.0:0"], "--token FILE"),
        (vec!["--token", "/no/such/file"], "/no/such/file"),
        (vec!["--retention-days", "5"], "7 to 90"),
        (vec!["--store", "/no/such/dir/vault", "--listen", "127.0.0.1:0"], "/no/such/dir/vault"),
    ] {
        let mut child = start(&arguments);
        let errors = errors(&mut child);
        assert!(!child.wait().expect("waited for").success());
        assert!(errors.contains(reason) && errors.trim().lines().count() == 1, "{errors}");
    }
    for (option, wrong) in [
        ("--fault", "nonsense"),
        ("--latency", "5"),
        ("--recovery-level", "Forever"),
        ("--deny", "get,nonsense"),
        ("--throttle", "0/s"),
        ("--throttle", "5"),
        ("--throttle", "5/0s"),
    ] {
        let output = serve(&[option, wrong]).output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), errors.contains(option)), (Some(1), true), "{errors}");
    }
}

#[test]
fn it_denies_throttles_and_gives_empty_pages_if_told_to() {
    let mut child = start(&["--listen", "127.0.0.1:0", "--deny", "set,list", "--deny", "purge"]);
    let url_of = |child: &mut Child, path| format!("{}{path}?api-version=7.6", url(child));
    let denying = url_of(&mut child, "/secrets/n");
    let status =
        |request: reqwest::blocking::RequestBuilder| read(request.bearer_auth("any")).expect("an answer").status;
    assert_eq!((status(http().put(&denying)), status(http().get(&denying))), (403, 404));
    end(&mut child, libc::SIGTERM);
    let mut child = start(&["--listen", "127.0.0.1:0", "--empty-pages", "--throttle", "1/10s"]);
    let listing = url_of(&mut child, "/secrets");
    let http = http();
    let page = read(http.get(&listing).bearer_auth("any")).expect("an answer").expect(200);
    assert!(page.json()["nextLink"].is_string(), "{}", page.text);
    let soon = (0..50).map(|_| status(http.get(&listing))).find(|status| *status == 429);
    assert_eq!(soon, Some(429));
    end(&mut child, libc::SIGTERM);
}
