//! Who can reach a local vault: other machines, pages in a browser, other users of this one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use akvfs::clock::SystemClock;
use akvfs::local::{ServeOptions, Server};
use reqwest::blocking::RequestBuilder;

use crate::support::{Local, http, read, serve, url_of};

#[test]
fn nobody_beyond_this_machine_is_served_without_a_token() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[2001:db8::1]:0", "[::ffff:127.0.0.1]:0"] {
        let options = ServeOptions { listen: listen.parse().expect("an address"), ..Default::default() };
        let why = Server::start(options, SystemClock::shared()).expect_err(listen).to_string();
        assert!(
            why.starts_with("refusing to listen on ")
                && why.ends_with("without a token: anyone who reaches it could read the vault; give --token FILE"),
            "{why}"
        );
    }
    let options = ServeOptions {
        listen: "0.0.0.0:0".parse().expect("an address"),
        token: Some("right".to_owned().into()),
        ..Default::default()
    };
    let local = Local::with(options);
    let url = format!("http://127.0.0.1:{}/secrets?api-version=7.6", local.server.addr().port());
    let status = |request: RequestBuilder| read(request).expect("an answer").status;
    assert_eq!(status(http().get(&url)), 401);
    assert_eq!(status(http().get(&url).bearer_auth("wrong")), 401);
    assert_eq!(status(http().get(&url).bearer_auth("right")), 200);
}

#[test]
fn a_page_of_another_place_is_answered_nothing() {
    let local = Local::start();
    local.set("n", "canary");
    let url = format!("{}/secrets/n?api-version=7.6", local.server.url());
    let asked = |origin: &str| read(http().get(&url).bearer_auth("any").header("origin", origin)).expect("an answer");
    for origin in [
        "null",
        "https://evil.example",
        "http://localhost.evil.example:8443",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
        "file://",
        "chrome-extension://abcdefgh",
        "localhost",
        "",
        "http://user@localhost",
    ] {
        let refused = asked(origin).expect(403);
        assert_eq!(refused.error().3, "This local vault answers no page of another place.", "{origin}");
        assert!(!refused.text.contains("canary"));
    }
    for origin in ["http://localhost:3000", "https://akv.localhost", "http://127.0.0.1:80", "http://[::1]"] {
        assert!(asked(origin).expect(200).text.contains("canary"), "{origin}");
    }
    // What a browser asks before it sends a token to another place: it is not told that it may.
    let before = read(http().request(reqwest::Method::OPTIONS, &url).header("origin", "https://evil.example"));
    let before = before.expect("an answer").expect(403);
    assert_eq!(before.header("access-control-allow-origin"), None);
}

/// The most memory that a process ever had, in KiB.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn nothing_that_a_stranger_sends_is_kept() {
    const SENT: usize = 48 << 20;
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    put(&token, "right", 0o600);
    let mut child =
        serve(&["--listen", "127.0.0.1:0", "--token", &token.display().to_string()]).spawn().expect("a child");
    let url = url_of(&mut child);
    let before = peak(&child);
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("connected");
    let head = "POST /secrets/restore?api-version=7.6 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n";
    stream.write_all(format!("{head}Connection: close\r\nContent-Length: {SENT}\r\n\r\n").as_bytes()).expect("sent");
    for _ in 0..SENT >> 16 {
        stream.write_all(&[b'x'; 1 << 16]).expect("sent");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let grown = peak(&child) - before;
    child.kill().expect("it runs");
    child.wait().expect("waited for");
    assert!(grown < 16 * 1024, "it grew by {grown} KiB");
}

fn put(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("allowed");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn files_that_others_can_get_at_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, tls) = (dir.path().join("vault"), dir.path().join("tls"));
    let options = || ServeOptions { store: Some(store.clone()), tls: Some(tls.clone()), ..Default::default() };
    let start = || Server::start(options(), SystemClock::shared());
    start().expect("a vault").stop();
    let key = tls.join("ca.key");
    assert_eq!((mode(&store), mode(&key)), (0o600, 0o600));
    for file in [&store, &key] {
        for loose in [0o644, 0o620, 0o602] {
            set_mode(file, loose);
            let why = start().expect_err("refused").to_string();
            let expected = format!("its mode is {loose:04o}, so that others may get at it; chmod 0600 it");
            assert!(why.contains(&file.display().to_string()) && why.ends_with(&expected), "{why}");
        }
        set_mode(file, 0o600);
    }
    start().expect("as it was").stop();
}

#[test]
fn what_an_interrupted_start_left_becomes_no_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let left = dir.path().join("ca.new");
    put(&left, "left", 0o666);
    let held = std::fs::File::open(&left).expect("opened by somebody else");
    let options = ServeOptions { tls: Some(dir.path().to_owned()), ..Default::default() };
    Server::start(options, SystemClock::shared()).expect("a vault").stop();
    assert_eq!(mode(&dir.path().join("ca.key")), 0o600);
    assert_eq!(std::io::read_to_string(held).expect("read"), "left", "who held it open reads no key");
}
