//! The way to the vault: its name's addresses, and whether one of them can be connected to.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use url::Url;

use super::report::{Line, Report};

const NAME: &str = "name";
const CONNECTION: &str = "connection";

/// Whether a connection can be tried further. `limit` bounds each of the two steps.
pub(super) fn check(report: &mut Report, vault: &Url, limit: Duration) -> bool {
    let (Some(host), Some(port)) = (vault.host_str(), vault.port_or_known_default()) else { return true };
    if let Some(proxy) = proxy_for(host, &|name| std::env::var(name).ok()) {
        report.add(Line::skipped(NAME, format!("{proxy} is set: the proxy looks names up")));
        return report.add(Line::skipped(CONNECTION, format!("{proxy} is set: the proxy connects")));
    }
    match resolve(host, port, limit) {
        Ok(addresses) => {
            report.add(Line::ok(NAME, format!("{host} is {}", in_words(&addresses))));
            report.add(connect(&addresses, limit))
        }
        Err(why) => {
            let remedy = "check the vault's name (outside the public cloud: the whole host) and this machine's DNS; behind a \
                          private endpoint the zone privatelink.vaultcore.azure.net must be linked to this network";
            report.add(Line::failed(NAME, format!("{host}: {why}"), remedy));
            report.add(Line::skipped(CONNECTION, "there is no address"));
            false
        }
    }
}

/// The variable that sends requests to `host` through a proxy.
fn proxy_for(host: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is_here = host == "localhost" || host.ends_with(".localhost") || is_loopback(host);
    let set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let none = ["NO_PROXY", "no_proxy"].iter().find_map(|name| variable(name)).unwrap_or_default();
    let passes = |entry: &str| {
        let entry = entry.trim().trim_start_matches('.');
        entry == "*" || (!entry.is_empty() && (host == entry || host.ends_with(&format!(".{entry}"))))
    };
    if is_here || none.split(',').any(passes) {
        return None;
    }
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find(set)
}

fn is_loopback(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// On a thread of its own: the resolver takes no limit.
fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, String> {
    let (tell, told) = mpsc::channel();
    let host = host.trim_matches(['[', ']']).to_owned();
    let look = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Nobody listens any more if it was late.
        let _ = tell.send(found.map_err(|error| error.to_string()));
    };
    thread::Builder::new().name("resolve".to_owned()).spawn(look).map_err(|error| error.to_string())?;
    let found = told.recv_timeout(limit).map_err(|_| format!("no answer within {limit:?}"))??;
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

fn in_words(addresses: &[SocketAddr]) -> String {
    let words: Vec<_> = addresses.iter().map(|address| format!("{} ({})", address.ip(), kind(address.ip()))).collect();
    words.join(", ")
}

/// Where an address leads. A vault behind a private endpoint has a private one inside its network.
fn kind(address: IpAddr) -> &'static str {
    let is_private = match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    if address.is_loopback() {
        "this machine"
    } else if is_private {
        "private"
    } else {
        "public"
    }
}

fn connect(addresses: &[SocketAddr], limit: Duration) -> Line {
    let each = limit / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut why = String::new();
    for address in addresses {
        match TcpStream::connect_timeout(address, each) {
            Ok(_) => return Line::ok(CONNECTION, format!("{address} answers")),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    let remedy = "let this machine out to port 443 of the vault, or set HTTPS_PROXY; a private address is reached from its own \
                  network only";
    Line::failed(CONNECTION, why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_for_what_no_proxy_does_not_name() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let vault = "contoso.vault.azure.net";
        assert_eq!(proxy_for(vault, &with(&[])), None);
        assert_eq!(proxy_for(vault, &with(&[("https_proxy", "http://p:1")])), Some("https_proxy"));
        assert_eq!(proxy_for(vault, &with(&[("HTTPS_PROXY", "p"), ("NO_PROXY", "x, .vault.azure.net")])), None);
        assert_eq!(proxy_for(vault, &with(&[("HTTPS_PROXY", "p"), ("NO_PROXY", "azure.com")])), Some("HTTPS_PROXY"));
        assert_eq!(proxy_for("127.0.0.1", &with(&[("HTTPS_PROXY", "p")])), None);
        assert_eq!(proxy_for("a.localhost", &with(&[("HTTPS_PROXY", "p")])), None);
    }

    #[test]
    fn addresses_are_told_apart() {
        for (address, expected) in [
            ("10.1.2.3", "private"),
            ("172.16.0.4", "private"),
            ("192.168.1.1", "private"),
            ("fd00::1", "private"),
            ("20.42.0.1", "public"),
            ("2603:1030::1", "public"),
            ("127.0.0.1", "this machine"),
            ("::1", "this machine"),
        ] {
            assert_eq!(kind(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_does_not_resolve_says_so() {
        assert!(resolve("no-such-host.invalid", 443, Duration::from_secs(20)).is_err());
        assert!(resolve("[::1]", 443, Duration::from_secs(20)).is_ok());
    }
}
