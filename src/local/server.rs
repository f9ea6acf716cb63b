//! Sockets, threads and TLS: how a vault is started, listens, and stops.
//!
//! A server owns its runtime and one thread that drives it; whoever starts and stops it needs neither. What waits
//! for the disk runs on the runtime's blocking threads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::secret::{SecretAttributes, SecretName, Version};

use super::challenge::Access;
use super::errors::Refusal;
use super::faults::Fault;
use super::http::Exchanges;
use super::options::{ServeError, ServeOptions};
use super::request::Operation;
use super::store::{Contents, Store};
use super::vault::{LocalVault, ManagedSecret};

const MAX_CONNECTIONS: usize = 1024;
/// Ends idle connections too, so it is longer than clients keep theirs (reqwest: 90 s).
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_millis(800);
/// After a failed accept (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running local vault. It stops when dropped.
pub struct Server {
    exchanges: Arc<Exchanges>,
    address: SocketAddr,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a vault; it answers when this returns.
    pub fn start(options: ServeOptions, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        options.check()?;
        let policy = options.policy()?;
        let acceptor = make_acceptor(&options, &*clock)?;
        let (listener, address) = bind(options.listen).map_err(|error| ServeError::Listen(options.listen, error))?;
        let (store, contents) = open_store(&options)?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let vault = LocalVault::new(store, contents, policy, clock);
        let access = Access {
            token: options.token.clone(),
            local_names_only: options.listen.ip().is_loopback(),
            denied: options.deny.clone(),
        };
        let exchanges = Arc::new(Exchanges::new(vault, access, scheme, &options));
        let (stop, stopped) = oneshot::channel();
        let thread = spawn(listener, acceptor, Arc::clone(&exchanges), stopped).map_err(ServeError::System)?;
        let url = url_of(scheme, address);
        Ok(Self { exchanges, address, url, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`; without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came, challenged ones included.
    pub fn request_count(&self) -> u64 {
        self.exchanges.request_count()
    }

    /// How many requests for `operation` (its name, such as `get-version`) were let in, faulty ones included.
    pub fn requests_of(&self, operation: &str) -> u64 {
        operation.parse::<Operation>().map_or(0, |operation| self.exchanges.count_of(operation))
    }

    /// Makes something go wrong from now on.
    pub fn inject(&self, fault: Fault) {
        self.exchanges.faults().add(fault);
    }

    /// Ends all faults and lets go what is stalled.
    pub fn clear_faults(&self) {
        self.exchanges.faults().clear();
    }

    /// Makes every step of a deletion or recovery that begins from now on take so long.
    pub fn set_soft_delete_delay(&self, delay: Duration) {
        self.exchanges.vault().set_delay(super::options::delay_ms(delay));
    }

    /// Makes a version that a certificate owns.
    pub fn add_managed(&self, secret: ManagedSecret) -> Result<Version, ServeError> {
        self.exchanges.vault().add_managed(secret).map_err(|why| self.refused(&why))
    }

    /// Changes the current version of what a certificate owns, as only the certificate can.
    pub fn update_managed(&self, name: &SecretName, change: SecretAttributes) -> Result<(), ServeError> {
        self.exchanges.vault().update_managed(name, change).map_err(|why| self.refused(&why))
    }

    /// Removes what a certificate owns for good, as deleting and purging the certificate does.
    pub fn remove_managed(&self, name: &SecretName) -> Result<(), ServeError> {
        self.exchanges.vault().remove_managed(name).map_err(|why| self.refused(&why))
    }

    fn refused(&self, why: &Refusal) -> ServeError {
        ServeError::Refused(why.parts(&self.url).message)
    }

    /// Ends it within a second, open connections included.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Server({})", self.url)
    }
}

fn make_acceptor(options: &ServeOptions, clock: &dyn Clock) -> Result<Option<TlsAcceptor>, ServeError> {
    let Some(dir) = &options.tls else { return Ok(None) };
    let config = super::tls::configure(dir, OffsetDateTime::from(clock.now()));
    let config = config.map_err(|error| ServeError::Tls(dir.display().to_string(), error.to_string()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn open_store(options: &ServeOptions) -> Result<(Store, Contents), ServeError> {
    let path = options.store.clone().unwrap_or_default();
    let opened = if options.store.is_some() { Store::open(&path) } else { Store::in_memory() };
    opened.map_err(|error| ServeError::Store { path: path.display().to_string(), error })
}

fn url_of(scheme: &str, address: SocketAddr) -> String {
    let reachable = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    if scheme == "https" && reachable.is_loopback() {
        return format!("https://localhost:{}", address.port());
    }
    format!("{scheme}://{}", SocketAddr::new(reachable, address.port()))
}

fn spawn(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    exchanges: Arc<Exchanges>,
    stopped: oneshot::Receiver<()>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("akvfs-local")
        .enable_all()
        .build()?;
    let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) })?;
    std::thread::Builder::new()
        .name("akvfs-local".into())
        .spawn(move || run(runtime, listener, acceptor, exchanges, stopped))
}

fn run(
    runtime: Runtime,
    listener: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    exchanges: Arc<Exchanges>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        tokio::select! {
            () = accept_all(listener, acceptor, exchanges) => {}
            _ = stopped => {}
        }
    });
    runtime.shutdown_timeout(STOP_TIMEOUT);
}

async fn accept_all(listener: tokio::net::TcpListener, acceptor: Option<TlsAcceptor>, exchanges: Arc<Exchanges>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Only costs a little speed where it fails.
        let _ = stream.set_nodelay(true);
        let (acceptor, exchanges) = (acceptor.clone(), Arc::clone(&exchanges));
        tokio::spawn(async move {
            serve_one(stream, peer, acceptor, exchanges).await;
            drop(permit);
        });
    }
}

async fn serve_one(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    exchanges: Arc<Exchanges>,
) {
    match acceptor {
        None => serve_stream(stream, peer, exchanges).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(stream, peer, exchanges).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve_stream<Stream>(stream: Stream, peer: SocketAddr, exchanges: Arc<Exchanges>)
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| Arc::clone(&exchanges).exchange(peer.ip(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 << 10);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
