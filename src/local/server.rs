//! Sockets, threads and TLS around the routes. Everything asynchronous is in this file.
//!
//! A server owns its runtime and one thread that drives it; whoever starts and stops it needs neither. What waits
//! for the disk runs on the runtime's blocking threads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{self, HeaderMap, Response, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::secret::Version;

use super::challenge::Access;
use super::faults::{self, Fault, FaultKind, Faults};
use super::options::{ServeError, ServeOptions};
use super::request::{Operation, Request};
use super::routes::{self, Reply};
use super::store::Store;
use super::vault::{LocalVault, ManagedSecret};

/// Larger than any legal body but a restore's: 25,600 bytes and 15 tags, every character escaped.
const MAX_BODY: usize = 1 << 20;
/// Room for 500 versions of 25,600 bytes in base64, and then some.
const MAX_RESTORE_BODY: usize = 64 << 20;
const MAX_CONNECTIONS: usize = 1024;
/// Ends idle connections too, so it is longer than clients keep theirs (reqwest: 90 s).
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_millis(800);
/// After a failed accept (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running local vault. It stops when dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    vault: LocalVault,
    access: Access,
    faults: Faults,
    scheme: &'static str,
    latency: Duration,
    requests: AtomicU64,
    carried_out: [AtomicU64; Operation::ALL.len()],
}

impl Server {
    /// Starts a vault; it answers when this returns.
    pub fn start(options: ServeOptions, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        options.check_exposure()?;
        let policy = options.policy()?;
        let acceptor = make_acceptor(&options, &*clock)?;
        let (listener, address) = bind(options.listen).map_err(|error| ServeError::Listen(options.listen, error))?;
        let (store, contents) = open_store(&options)?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            vault: LocalVault::new(store, contents, policy, clock),
            access: Access { token: options.token, local_names_only: options.listen.ip().is_loopback() },
            faults: Faults::new(Vec::new()),
            scheme,
            latency: options.latency,
            requests: AtomicU64::new(0),
            carried_out: Default::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let thread = spawn(listener, acceptor, Arc::clone(&shared), stopped).map_err(ServeError::System)?;
        let url = url_of(scheme, address);
        Ok(Self { shared, address, url, stop: Some(stop), thread: Some(thread) })
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
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many requests for `operation` (its name, such as `get-version`) were let in, faulty ones included.
    pub fn requests_of(&self, operation: &str) -> u64 {
        let operation = operation.parse::<Operation>();
        operation.map_or(0, |operation| self.shared.carried_out[operation as usize].load(Ordering::Relaxed))
    }

    /// Makes something go wrong from now on.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Ends all faults and lets go what is stalled.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Makes a version that a certificate owns.
    pub fn add_managed(&self, secret: ManagedSecret) -> Result<Version, ServeError> {
        let made = self.shared.vault.add_managed(secret);
        made.map_err(|why| ServeError::Refused(why.parts(&self.url).message))
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

fn open_store(options: &ServeOptions) -> Result<(Store, super::store::Contents), ServeError> {
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
    shared: Arc<Shared>,
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
        .spawn(move || run(runtime, listener, acceptor, shared, stopped))
}

fn run(
    runtime: Runtime,
    listener: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        tokio::select! {
            () = accept_all(listener, acceptor, shared) => {}
            _ = stopped => {}
        }
    });
    runtime.shutdown_timeout(STOP_TIMEOUT);
}

async fn accept_all(listener: tokio::net::TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Only costs a little speed where it fails.
        let _ = stream.set_nodelay(true);
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            serve_one(stream, peer, acceptor, shared).await;
            drop(permit);
        });
    }
}

async fn serve_one(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    match acceptor {
        None => serve_stream(stream, peer, shared).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(stream, peer, shared).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve_stream<Stream>(stream: Stream, peer: SocketAddr, shared: Arc<Shared>)
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| handle(Arc::clone(&shared), peer.ip(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 << 10);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct HungUp;

async fn handle(
    shared: Arc<Shared>,
    peer: IpAddr,
    incoming: http::Request<Incoming>,
) -> Result<Response<Body>, HungUp> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(shared.latency).await;
    let (head, body) = incoming.into_parts();
    let mut request = read_head(shared.scheme, peer, &head);
    let limit = if head.uri.path().ends_with("/restore") { MAX_RESTORE_BODY } else { MAX_BODY };
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(Body::new(body), limit)).await {
        Ok(Ok(bytes)) => request.body = Zeroizing::new(bytes.into()),
        Ok(Err(_)) => return Ok(respond(routes::too_large(&request))),
        Err(_) => return Err(HungUp),
    }
    answer(shared, request).await
}

async fn answer(shared: Arc<Shared>, request: Request) -> Result<Response<Body>, HungUp> {
    let admitted = match routes::admit(&shared.access, &request) {
        Ok(admitted) => admitted,
        Err(reply) => return Ok(respond(reply)),
    };
    if let Some(operation) = admitted.operation() {
        shared.carried_out[operation as usize].fetch_add(1, Ordering::Relaxed);
    }
    let (fault, mut cleared) = shared.faults.take(admitted.operation());
    match fault {
        Some(FaultKind::CloseBefore) => return Err(HungUp),
        Some(FaultKind::Stall) => {
            let _ = cleared.changed().await;
            return Err(HungUp);
        }
        Some(FaultKind::Status { status, headers, body }) => {
            let mut reply = routes::reply(status, body.into_bytes(), &request);
            faults::replace_headers(&mut reply, &headers);
            return Ok(respond(reply));
        }
        Some(FaultKind::Challenge(header)) => {
            let mut reply = routes::reply(401, Vec::new(), &request);
            faults::replace_headers(&mut reply, &[("www-authenticate".into(), header)]);
            return Ok(respond(reply));
        }
        _ => {}
    }
    let work = tokio::task::spawn_blocking(move || routes::answer(&shared.vault, &admitted, &request));
    // It fails only when the runtime is shutting down, or after a panic that was printed where it happened.
    let mut reply = work.await.map_err(|_| HungUp)?;
    match fault {
        Some(FaultKind::LoseReply) => Err(HungUp),
        Some(FaultKind::Truncate) => Ok(truncate(reply)),
        Some(FaultKind::ForeignNextLink(origin)) => {
            faults::bend_next_link(&mut reply, &origin);
            Ok(respond(reply))
        }
        _ => Ok(respond(reply)),
    }
}

fn read_head(scheme: &'static str, peer: IpAddr, head: &http::request::Parts) -> Request {
    let header = |name: &str| text(&head.headers, name);
    let verb = header("x-http-method").filter(|_| head.method == http::Method::POST);
    Request {
        method: verb.unwrap_or_else(|| head.method.to_string()),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        scheme,
        host: head.uri.authority().map(ToString::to_string).or_else(|| header("host")),
        authorization: header("authorization").map(Zeroizing::new),
        client_request_id: header("x-ms-client-request-id"),
        peer,
        body: Zeroizing::default(),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn respond(reply: Reply) -> Response<Body> {
    let length = reply.body.len();
    let body = if reply.status == 204 { Body::empty() } else { Body::from(reply.body) };
    assemble(reply.status, &reply.headers, length, body)
}

/// A header that is none (out of an injected fault) is left out.
fn assemble(status: u16, headers: &[(String, String)], length: usize, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            response.headers_mut().append(name, value);
        }
    }
    if status != 204 {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// The reply with a body that breaks off in the middle.
fn truncate(reply: Reply) -> Response<Body> {
    let (length, half) = (reply.body.len(), reply.body[..reply.body.len() / 2].to_vec());
    assemble(reply.status, &reply.headers, length, Body::new(HalfBody { half: Some(half.into()), length }))
}

struct HalfBody {
    half: Option<Bytes>,
    length: usize,
}

impl hyper::body::Body for HalfBody {
    type Data = Bytes;
    type Error = HungUp;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HungUp>>> {
        let next = self.get_mut().half.take().map(Frame::data).ok_or(HungUp);
        Poll::Ready(Some(next))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length as u64)
    }
}
