//! What a mount still needs of the machine once it is mounted, read off its options and its environment.

use std::path::{Path, PathBuf};

use url::Url;

use crate::mount::audit::Target;
use crate::mount::options::Settings;
use crate::mount::sandbox::Needs;
use crate::vault::Reach;

/// Identity services, and the metadata service of an Azure machine.
const ALWAYS_ASKED: [u16; 2] = [443, 80];
/// DNS, where an answer is too long for a datagram.
const DNS: u16 = 53;
/// Variables with the URL of a proxy.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// Variables with paths of certificate authorities.
const AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// For a mount of the vault at `url`.
pub(super) fn needs(settings: &Settings, url: &str) -> Needs {
    let variable = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let reach = Reach::of(settings.mount.credentials_file.as_deref());
    let authorities = AUTHORITIES.iter().filter_map(variable).map(PathBuf::from);
    let files = reach.files.into_iter().chain(settings.mount.ca_file.clone()).chain(authorities);
    let services = reach.services.into_iter().chain(PROXIES.iter().filter_map(variable)).chain([url.to_owned()]);
    let fixed = ALWAYS_ASKED.into_iter().chain([DNS]);
    Needs {
        reads: files.flat_map(|file| [directory_of(&file), file]).collect(),
        writes: match settings.audit_target() {
            Some(Target::File(file)) => vec![directory_of(&file)],
            _ => Vec::new(),
        },
        ports: fixed.chain(services.filter_map(|service| port_of(&service))).collect(),
        abstract_sockets: std::env::var("NOTIFY_SOCKET").is_ok_and(|socket| socket.starts_with('@')),
    }
}

/// Where a file stands: it may be replaced by another one of its name.
fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Of a URL; a proxy may be written without `http://`.
fn port_of(service: &str) -> Option<u16> {
    let parse = |text: &str| Url::parse(text).ok().and_then(|url| url.port_or_known_default());
    parse(service).or_else(|| parse(&format!("http://{service}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_however_a_service_is_written() {
        for (service, port) in [
            ("https://v.vault.azure.net", Some(443)),
            ("http://127.0.0.1:8080/x", Some(8080)),
            ("proxy.example:3128", Some(3128)),
            ("user:password@proxy.example:3128", Some(3128)),
            ("proxy", Some(80)),
            ("", None),
        ] {
            assert_eq!(port_of(service), port, "{service}");
        }
    }

    #[test]
    fn what_is_read_and_written_is_what_the_options_name() {
        let mut settings = Settings::default();
        settings.mount.ca_file = Some("/somewhere/ca.pem".into());
        settings.mount.credentials_file = Some("/elsewhere/credentials".into());
        settings.mount.audit = true;
        settings.mount.audit_file = Some("/log/audit".into());
        let needs = needs(&settings, "http://127.0.0.1:4711");
        for path in ["/somewhere", "/somewhere/ca.pem", "/elsewhere", "/elsewhere/credentials"] {
            assert!(needs.reads.contains(&path.into()), "{path}: {needs:?}");
        }
        assert_eq!(needs.writes, [PathBuf::from("/log")]);
        assert!(
            [443, 80, 4711].iter().all(|port| needs.ports.contains(port)) && !needs.ports.contains(&22),
            "{needs:?}"
        );
        assert!(super::needs(&Settings::default(), "http://127.0.0.1:4711").writes.is_empty());
    }
}
