//! `akvfs serve`: the local vault as a program of its own.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use zeroize::Zeroizing;

use crate::clock::SystemClock;
use crate::local::{Fault, Operation, Rate, RecoveryLevel, ServeError, ServeOptions, Server};
use crate::private::{self, Rule};

/// The name that SDKs are pointed at: they want a label in front of the challenge's resource.
const SDK_HOST: &str = "akv.localhost";

/// Serve a local vault that speaks Key Vault's secrets API, for development and tests.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address and port to listen on; port 0 takes any free one. Other addresses than loopback need --token
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,
    /// Keep the vault in this file (made readable by its owner only); in memory without it
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Serve HTTPS with an own certificate authority kept in this directory; DIR/ca.pem is the file to trust
    #[arg(long, value_name = "DIR")]
    pub tls: Option<PathBuf>,
    /// Take only the bearer token in this file, which nobody else may read or write (mode 0600); without it, on
    /// loopback, any token is taken
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
    /// How long a deletion, a recovery and the release of a purged name take, such as 10s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub soft_delete_delay: Duration,
    /// How long every request waits before it is looked at, such as 20ms
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub latency: Duration,
    /// What deletion means, in the service's words, such as Recoverable+Purgeable
    #[arg(long, value_name = "LEVEL")]
    pub recovery_level: Option<RecoveryLevel>,
    /// Days between deletion and the vault's own purge, 7 to 90
    #[arg(long, value_name = "N")]
    pub retention_days: Option<u32>,
    /// Refuse to purge
    #[arg(long)]
    pub purge_protection: bool,
    /// Refuse what needs these permissions, such as get,list; of get, list, set, delete, recover, purge, backup, restore
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub deny: Vec<Operation>,
    /// Give an empty page with a nextLink before every page of a listing, as the service often does
    #[arg(long)]
    pub empty_pages: bool,
    /// Answer so many requests in a time, such as 50/s or the service's own 4000/10s, and the others with 429
    #[arg(long, value_name = "N/TIME", value_parser = parse_rate)]
    pub throttle: Option<Rate>,
    /// Make the first N requests (1 if not given) go wrong; may be given more than once. KIND is lose-reply,
    /// close-before, stall, truncate, html, redirect, foreign-next-link, or a status from 400 to 599
    #[arg(long, value_name = "KIND[:N]")]
    pub fault: Vec<Fault>,
}

/// Why `akvfs serve` ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeCommandError {
    /// The vault did not start.
    #[error(transparent)]
    Start(#[from] ServeError),
    /// The token's file.
    #[error("the token file {0}: {1}")]
    Token(String, String),
    /// Waiting for signals, or telling the address.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Serves until SIGTERM or SIGINT. The first line on standard output is `listening on URL`.
pub fn run(args: ServeArgs) -> Result<(), ServeCommandError> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| ServeCommandError::System("signals", error))?;
    let tls = args.tls.clone();
    let faults = args.fault.clone();
    let server = Server::start(options(args)?, SystemClock::shared())?;
    faults.into_iter().for_each(|fault| server.inject(fault));
    announce(&server).map_err(|error| ServeCommandError::System("standard output", error))?;
    eprint!("{}", advice(&server, tls.as_deref(), resolves(SDK_HOST)));
    signals.forever().next();
    server.stop();
    Ok(())
}

fn options(args: ServeArgs) -> Result<ServeOptions, ServeCommandError> {
    Ok(ServeOptions {
        listen: args.listen,
        store: args.store,
        tls: args.tls,
        token: args.token.as_deref().map(read_token).transpose()?,
        soft_delete_delay: args.soft_delete_delay,
        latency: args.latency,
        recovery_level: args.recovery_level,
        retention_days: args.retention_days,
        purge_protection: args.purge_protection,
        deny: args.deny,
        empty_pages: args.empty_pages,
        throttle: args.throttle,
    })
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    let wanted = || "a number of requests in a time, such as 50/s or 4000/10s".to_owned();
    let (requests, time) = text.split_once('/').ok_or_else(wanted)?;
    let time =
        if time == "s" { Duration::from_secs(1) } else { humantime::parse_duration(time).map_err(|_| wanted())? };
    match requests.parse() {
        Ok(requests) if !time.is_zero() => Ok(Rate { requests, time }),
        _ => Err(wanted()),
    }
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, ServeCommandError> {
    let rule = Rule::of(path, private::credentials_directory().as_deref());
    let refused = |why: String| ServeCommandError::Token(path.display().to_string(), why);
    let bytes = private::read(path, rule).map_err(refused)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn announce(server: &Server) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {}", server.url())?;
    out.flush()
}

fn resolves(host: &str) -> bool {
    (host, 0).to_socket_addrs().is_ok()
}

/// What goes to standard error at the start.
fn advice(server: &Server, tls: Option<&Path>, resolves: bool) -> String {
    let mut text = "akvfs serve is for development and tests; do not keep real secrets in it\n".to_owned();
    let Some(dir) = tls else { return text };
    let port = server.addr().port();
    text += &format!("certificate authority to trust: {}\n", dir.join("ca.pem").display());
    text += &format!("for Azure SDKs: https://{SDK_HOST}:{port}\n");
    if !resolves {
        text += &format!("{SDK_HOST} does not resolve here; add this line to /etc/hosts: 127.0.0.1 {SDK_HOST}\n");
    }
    text
}
