//! Files and network: landlock(7).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
    make_bitflags, path_beneath_rules,
};

/// The newest landlock whose restrictions we know to fit.
const KNOWN: ABI = ABI::V6;

/// What every daemon reads later: how names are resolved and by which libraries, certificate authorities, time zones, and
/// what everybody may see of processes. Directories, for a file that is replaced is another one.
const ALWAYS_READ: [&str; 13] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/proc",
    "/dev/urandom",
    "/dev/random",
];

/// What a mount with its options needs beyond that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files, or directories with all that is in them, to read.
    pub reads: Vec<PathBuf>,
    /// Directories in which files are made and written.
    pub writes: Vec<PathBuf>,
    /// TCP ports to connect to.
    pub ports: BTreeSet<u16>,
    /// Whether a socket without a file, of another process, is spoken to.
    pub abstract_sockets: bool,
}

/// What may be reached, for the threads to enter. `None` where the kernel has no landlock; the error is a line.
pub(super) fn ruleset(needs: &Needs) -> Result<Option<OwnedFd>, String> {
    let made = make(needs).map_err(|error| format!("files and network are not restricted: {error}"))?;
    match made {
        Some(ruleset) => Ok(Some(ruleset)),
        None => Err("files and network are not restricted: this kernel has no landlock".to_owned()),
    }
}

fn make(needs: &Needs) -> Result<Option<OwnedFd>, RulesetError> {
    let read: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let append: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | MakeReg});
    let scope = if needs.abstract_sockets { BitFlags::EMPTY } else { Scope::AbstractUnixSocket.into() };
    let always = ALWAYS_READ.iter().map(PathBuf::from);
    let ports = needs.ports.iter().map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scope)?
        .create()?
        .add_rules(path_beneath_rules(always.chain(needs.reads.iter().cloned()), read))?
        .add_rules(path_beneath_rules(["/dev/null"], read | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&needs.writes, append))?
        .add_rules(ports.collect::<Vec<Result<NetPort, RulesetError>>>())?;
    Ok(ruleset.into())
}
