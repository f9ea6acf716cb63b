//! What signing in is set up with: names and values from a credentials file, then from the environment. Knows the names
//! and nothing of what is done with them. No message here holds anything of the file but the number of a line.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use super::{AuthError, StaticToken};
use crate::private::{self, Rule};

/// The token of a vault that `akvfs serve --token` runs.
const LOCAL_TOKEN: &str = "AKVFS_TOKEN";
/// With what an application proves itself. One of them in the file, and those of the environment do not count: they
/// would be another application's.
const PROOFS: [&str; 3] = ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD"];
/// The other names that a file may hold.
const NAMES: [&str; 5] =
    ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", LOCAL_TOKEN];

/// Where the settings come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    file: Option<(PathBuf, Rule)>,
}

/// The settings at one time.
#[derive(Default)]
pub(super) struct Settings {
    file: HashMap<&'static str, Zeroizing<String>>,
}

impl Source {
    /// The file that `named` means, else the one that systemd may have put there, else none.
    pub(super) fn find(named: Option<&Path>) -> Self {
        Self { file: find_in(private::credentials_directory().as_deref(), named) }
    }

    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn read(&self) -> Result<Settings, String> {
        let Some((path, rule)) = &self.file else { return Ok(Settings::default()) };
        let read = private::read(path, *rule).and_then(|bytes| parse(text(&bytes)?));
        read.map_err(|why| refused(path, &why)).map(|file| Settings { file })
    }

    /// The token of a vault on this machine: the file is either the one that `akvfs serve --token` reads, or names it.
    fn local_token(&self) -> Result<Zeroizing<String>, String> {
        let Some((path, rule)) = &self.file else { return Err("no credentials file was given".to_owned()) };
        let bytes = private::read(path, *rule).map_err(|why| refused(path, &why))?;
        let text = text(&bytes).map_err(|why| refused(path, &why))?;
        let bare = text.trim();
        let token = match parse(text) {
            Ok(mut named) => named.remove(LOCAL_TOKEN),
            Err(_) => Some(Zeroizing::new(bare.to_owned())).filter(|_| !bare.contains(char::is_whitespace)),
        };
        token.ok_or_else(|| refused(path, "it holds no token: write it alone, or as AKVFS_TOKEN=..."))
    }
}

/// The token of a vault that `akvfs serve --token FILE` runs, from that file or from one with a line
/// `AKVFS_TOKEN=...`. The file is found and must be kept as [`AuthOptions`](super::AuthOptions) says.
///
/// # Errors
/// Why it cannot be used.
pub fn local_token(credentials_file: Option<&Path>) -> Result<StaticToken, AuthError> {
    let token = Source::find(credentials_file).local_token().map_err(AuthError::Refused)?;
    Ok(StaticToken::new(token.to_string()))
}

impl Settings {
    /// What `name` is set to, if to anything.
    pub(super) fn get(&self, name: &str) -> Option<Zeroizing<String>> {
        if let Some(value) = self.file.get(name) {
            return Some(value.clone());
        }
        let is_others = PROOFS.contains(&name) && PROOFS.iter().any(|proof| self.file.contains_key(proof));
        let value = std::env::var(name).ok().filter(|value| !value.is_empty() && !is_others);
        value.map(Zeroizing::new)
    }
}

/// What signing in may reach later, as it is set up now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files that are read.
    pub files: Vec<PathBuf>,
    /// Services that are asked, by their URLs; ones that are known to everybody are not among them.
    pub services: Vec<String>,
}

impl Reach {
    /// With this credentials file, which is found as [`AuthOptions`](super::AuthOptions) says. What cannot be read is not
    /// reached.
    pub fn of(credentials_file: Option<&Path>) -> Self {
        let source = Source::find(credentials_file);
        let settings = source.read().unwrap_or_default();
        let get = |name: &&str| settings.get(name).map(|value| value.to_string());
        let named =
            ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_CERTIFICATE_PATH"].iter().filter_map(get).map(PathBuf::from);
        let files = named.chain(source.file.map(|(path, _)| path)).collect();
        let services = ["AZURE_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "IMDS_ENDPOINT"];
        Self { files, services: services.iter().filter_map(get).collect() }
    }
}

fn find_in(sealed: Option<&Path>, named: Option<&Path>) -> Option<(PathBuf, Rule)> {
    let is_bare = |path: &Path| matches!(path.components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    let kept = |name: &OsStr| sealed.map(|place| place.join(name)).filter(|path| path.symlink_metadata().is_ok());
    let path = match named {
        None => kept(OsStr::new("akvfs"))?,
        Some(path) => Some(path).filter(|path| is_bare(path)).and_then(|path| kept(path.as_os_str())).unwrap_or_else(
            // The process may have another directory later.
            || std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        ),
    };
    let rule = Rule::of(&path, sealed);
    Some((path, rule))
}

fn refused(path: &Path, why: &str) -> String {
    format!("the credentials file {}: {why}", path.display())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// `NAME=VALUE` lines as systemd's `EnvironmentFile=` has them: blank lines and those that begin with `#` are passed
/// over, and quotes around a value.
fn parse(text: &str) -> Result<HashMap<&'static str, Zeroizing<String>>, String> {
    let mut found = HashMap::new();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {number} is not NAME=VALUE"))?;
        let known = PROOFS.iter().chain(&NAMES).find(|known| **known == name.trim_end());
        let known = *known.ok_or_else(|| format!("line {number}: its name is not one of {}", all_names()))?;
        let value = Zeroizing::new(unquoted(value.trim()).to_owned());
        if !value.is_empty() && found.insert(known, value).is_some() {
            return Err(format!("line {number}: {known} is there twice"));
        }
    }
    Ok(found)
}

/// Whether `text` is a file of credentials.
///
/// # Errors
/// Why it is not.
#[cfg(fuzzing)]
pub fn check_credentials(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

fn all_names() -> String {
    NAMES.iter().chain(&PROOFS).copied().collect::<Vec<_>>().join(", ")
}

fn unquoted(value: &str) -> &str {
    let inside = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_names_and_values() {
        let text =
            "# who\n\nAZURE_TENANT_ID=t\n AZURE_CLIENT_ID = \"c d\" \nAZURE_CLIENT_SECRET='s=#\"'\nAKVFS_TOKEN=\n";
        let found = parse(text).expect("parses");
        let get = |name: &str| found.get(name).map(|value| value.as_str());
        assert_eq!(get("AZURE_TENANT_ID"), Some("t"));
        assert_eq!(get("AZURE_CLIENT_ID"), Some("c d"));
        assert_eq!(get("AZURE_CLIENT_SECRET"), Some("s=#\""));
        assert_eq!(get("AKVFS_TOKEN"), None, "empty is not set");
    }

    #[test]
    fn what_is_no_setting_is_refused_by_its_line_and_never_quoted() {
        for (text, why) in [
            ("AZURE_TENANT_ID=t\ncanary", "line 2 is not NAME=VALUE"),
            ("canary=x", "line 1: its name is not one of AZURE_TENANT_ID, "),
            ("azure_tenant_id=canary", "line 1: its name is not one of"),
            ("export AZURE_TENANT_ID=canary", "line 1: its name is not one of"),
            ("AZURE_CLIENT_SECRET=canary\nAZURE_CLIENT_SECRET=canary2", "line 2: AZURE_CLIENT_SECRET is there twice"),
        ] {
            let refused = parse(text).expect_err(text);
            assert!(refused.starts_with(why) && !refused.contains("canary"), "{refused}");
        }
    }

    #[test]
    fn a_file_is_found_where_it_is_named_or_where_systemd_puts_it() {
        let place = tempfile::tempdir().expect("a directory");
        let sealed = Some(place.path());
        let kept = |name: &str| Some((place.path().join(name), Rule::Sealed));
        let here = |name: &str| Some((std::path::absolute(name).expect("a directory"), Rule::Private));
        assert_eq!(find_in(None, None), None);
        assert_eq!(find_in(sealed, None), None);
        assert_eq!(find_in(sealed, Some("vault".as_ref())), here("vault"));
        std::fs::write(place.path().join("akvfs"), "").expect("written");
        std::fs::write(place.path().join("vault"), "").expect("written");
        assert_eq!(find_in(sealed, None), kept("akvfs"));
        assert_eq!(find_in(sealed, Some("vault".as_ref())), kept("vault"));
        assert_eq!(find_in(sealed, Some(&place.path().join("vault"))), kept("vault"));
        assert_eq!(find_in(sealed, Some("./x/vault".as_ref())), here("x/vault"));
        assert_eq!(find_in(sealed, Some("/etc/vault".as_ref())), here("/etc/vault"));
        assert_eq!(find_in(sealed, Some(&place.path().join("../vault"))).expect("it").1, Rule::Private);
    }

    #[test]
    fn a_local_vaults_token_stands_alone_or_by_its_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let get = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            Source::find(Some(file.path())).local_token().map(|token| token.to_string())
        };
        for (text, token) in [
            ("abc\n", "abc"),
            ("  a/b+c==\n", "a/b+c=="),
            ("AKVFS_TOKEN=abc\n", "abc"),
            ("AZURE_TENANT_ID=t\nAKVFS_TOKEN=abc", "abc"),
        ] {
            assert_eq!(get(text).as_deref(), Ok(token), "{text}");
        }
        for text in ["", "\n", "canary canary", "AZURE_TENANT_ID=canary", "x=canary\ny=canary"] {
            let why = get(text).expect_err(text);
            assert!(why.contains("it holds no token") && !why.contains("canary"), "{why}");
        }
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).expect("allowed");
        assert!(get("abc").expect_err("refused").contains("0644"));
        assert!(Source::default().local_token().is_err());
    }
}
