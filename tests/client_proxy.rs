//! The proxy of the environment: used for a vault elsewhere, never for one on this machine. Each case runs in a
//! process of its own, because the environment is what it is about.

mod client_support;

use std::process::Command;

use akvfs::store::SecretStore;
use akvfs::vault::{ClientOptions, Proxy};
use client_support::*;

/// The child: one request to the vault that its environment names.
#[test]
fn child() {
    let Ok(url) = std::env::var("AKVFS_TEST_VAULT") else { return };
    let proxy = if std::env::var_os("AKVFS_TEST_DIRECT").is_some() { Proxy::Direct } else { Proxy::Environment };
    let client = client(&url, ClientOptions { proxy, ..ClientOptions::default() }).expect("a vault");
    println!("{:?}", client.get(&db(), None, within(500)));
}

fn ask(url: &str, proxy: &Server, direct: bool) {
    let mut child = Command::new(std::env::current_exe().expect("running"));
    child.args(["--exact", "child"]).env_clear().env("AKVFS_TEST_VAULT", url);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy"] {
        child.env(name, proxy.url());
    }
    if direct {
        child.env("AKVFS_TEST_DIRECT", "1");
    }
    assert!(child.output().expect("it runs").status.success());
}

#[test]
fn a_vault_elsewhere_is_reached_by_the_proxy_and_one_on_this_machine_never() {
    let proxy = Server::play(vec![]);
    let local = Server::play(vec![]);
    ask(&local.url(), &proxy, false);
    ask(&format!("https://localhost:{}", local.port), &proxy, false);
    ask("https://contoso.invalid", &proxy, true);
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
    assert!(!local.seen().is_empty());
    ask("https://contoso.invalid", &proxy, false);
    assert!(proxy.seen()[0].line.starts_with("CONNECT contoso.invalid:443 "), "{:?}", proxy.seen());
}
