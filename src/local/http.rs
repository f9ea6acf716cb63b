//! One HTTP exchange: from the library's request to ours, through the faults and the routes, and back.
//!
//! What waits for the disk runs on the runtime's blocking threads.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{self, HeaderName, Response, StatusCode, header};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use zeroize::Zeroizing;

use super::challenge::Access;
use super::errors::Refusal;
use super::faults::{self, FaultKind, Faults};
use super::options::ServeOptions;
use super::page::Cut;
use super::request::{Operation, Request};
use super::routes::{self, Admitted, Reply};
use super::throttle::Throttle;
use super::vault::LocalVault;

/// Larger than any legal body but a restore's: 25,600 bytes and 15 tags, every character escaped.
const MAX_BODY: usize = 1 << 20;
/// Room for 500 versions of 25,600 bytes in base64, and then some.
const MAX_RESTORE_BODY: usize = 64 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What all exchanges with one vault share.
pub struct Exchanges {
    vault: LocalVault,
    access: Access,
    faults: Faults,
    scheme: &'static str,
    latency: Duration,
    cut: Cut,
    throttle: Option<Throttle>,
    requests: AtomicU64,
    admitted: [AtomicU64; Operation::ALL.len()],
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub struct HungUp;

type Outcome = Result<Response<Body>, HungUp>;

impl Exchanges {
    /// For `vault`, over `scheme`, with the manners that `options` ask for.
    pub fn new(vault: LocalVault, access: Access, scheme: &'static str, options: &ServeOptions) -> Self {
        let (faults, requests, admitted) = (Faults::new(Vec::new()), AtomicU64::new(0), Default::default());
        let cut = if options.empty_pages { Cut::EmptyFirst } else { Cut::Full };
        let throttle = options.throttle.map(Throttle::new);
        Self { vault, access, faults, scheme, latency: options.latency, cut, throttle, requests, admitted }
    }

    /// The vault behind them.
    pub fn vault(&self) -> &LocalVault {
        &self.vault
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many requests came.
    pub fn request_count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests for `operation` were let in.
    pub fn count_of(&self, operation: Operation) -> u64 {
        self.admitted[operation as usize].load(Ordering::Relaxed)
    }

    /// One exchange.
    pub async fn exchange(self: Arc<Self>, peer: IpAddr, incoming: http::Request<Incoming>) -> Outcome {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let (head, body) = incoming.into_parts();
        let mut request = read_head(self.scheme, peer, &head);
        let admitted = routes::admit(&self.access, &request);
        // Of what a stranger sends nothing is kept.
        let limit = if admitted.is_ok() { body_limit(&request) } else { 0 };
        let body = match tokio::time::timeout(BODY_TIMEOUT, read_body(body, limit)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => return Err(HungUp),
        };
        match (admitted, body) {
            (Err(reply), _) => Ok(respond(reply)),
            (Ok(_), None) => Ok(respond(routes::refuse(&Refusal::TooLarge, &request))),
            (Ok(_), Some(_)) if self.is_too_much() => Ok(respond(routes::refuse(&Refusal::Throttled, &request))),
            (Ok(admitted), Some(body)) => {
                request.body = body;
                self.answer(admitted, request).await
            }
        }
    }

    fn is_too_much(&self) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| !throttle.take(self.vault.moment()))
    }

    async fn answer(self: Arc<Self>, admitted: Admitted, request: Request) -> Outcome {
        if let Some(operation) = admitted.operation() {
            self.admitted[operation as usize].fetch_add(1, Ordering::Relaxed);
        }
        let (fault, mut cleared) = self.faults.take(admitted.operation());
        if fault == Some(FaultKind::Stall) {
            // Both outcomes, cleared and gone, end the wait.
            let _ = cleared.changed().await;
            return Err(HungUp);
        }
        if let Some(instead) = fault.as_ref().and_then(|fault| instead(fault, &request)) {
            return instead;
        }
        let cut = match fault {
            Some(FaultKind::ShortPage(items)) => Cut::After(items),
            _ => self.cut,
        };
        let work = tokio::task::spawn_blocking(move || routes::answer(&self.vault, &admitted, &request, cut));
        // It fails only when the runtime is shutting down, or after a panic that was printed where it happened.
        let reply = work.await.map_err(|_| HungUp)?;
        afterwards(fault, reply)
    }
}

/// What a fault answers in place of carrying the request out; `None` if it is carried out.
fn instead(fault: &FaultKind, request: &Request) -> Option<Outcome> {
    let made_up = |status: u16, headers: &[(String, String)], body: &str| {
        let mut reply = routes::reply(status, body.as_bytes().to_vec(), request);
        faults::replace_headers(&mut reply, headers);
        Some(Ok(respond(reply)))
    };
    match fault {
        FaultKind::Status { status, headers, body } => made_up(*status, headers, body),
        FaultKind::Challenge(header) => made_up(401, &[("www-authenticate".into(), header.clone())], ""),
        FaultKind::CloseBefore | FaultKind::Stall => Some(Err(HungUp)),
        FaultKind::LoseReply | FaultKind::ForeignNextLink(_) | FaultKind::Truncate | FaultKind::ShortPage(_) => None,
    }
}

/// What a fault makes of the reply to a request that was carried out.
fn afterwards(fault: Option<FaultKind>, mut reply: Reply) -> Outcome {
    match fault {
        Some(FaultKind::LoseReply) => return Err(HungUp),
        Some(FaultKind::Truncate) => return Ok(truncate(reply)),
        Some(FaultKind::ForeignNextLink(origin)) => faults::bend_next_link(&mut reply, &origin),
        _ => {}
    }
    Ok(respond(reply))
}

fn read_head(scheme: &'static str, peer: IpAddr, head: &Parts) -> Request {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let verb = header("x-http-method").filter(|_| head.method == http::Method::POST);
    Request {
        method: verb.unwrap_or_else(|| head.method.to_string()),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        scheme,
        host: head.uri.authority().map(ToString::to_string).or_else(|| header("host")),
        page: header("origin"),
        authorization: header("authorization").map(Zeroizing::new),
        client_request_id: header("x-ms-client-request-id"),
        peer,
        body: Zeroizing::default(),
    }
}

fn body_limit(request: &Request) -> usize {
    let restores = request.path.ends_with("/restore");
    if restores { MAX_RESTORE_BODY } else { MAX_BODY }
}

/// The body; `None` if it is longer than `limit`. The rest of it is read all the same: a client that is cut off while
/// it sends may never see the answer.
async fn read_body(mut body: Incoming, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, hyper::Error> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(limit)));
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let data = frame?.into_data().unwrap_or_default();
        length += data.len();
        match length {
            _ if length <= limit => bytes.extend_from_slice(&data),
            _ if length <= MAX_RESTORE_BODY => {}
            _ => break,
        }
    }
    Ok((length <= limit).then_some(bytes))
}

fn respond(reply: Reply) -> Response<Body> {
    let length = reply.body.len();
    let body = if reply.status == 204 { Body::empty() } else { Body::from(reply.body) };
    assemble(reply.status, &reply.headers, length, body)
}

/// A header that is none (out of an injected fault) is left out.
fn assemble(status: u16, headers: &[(String, String)], length: usize, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
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
