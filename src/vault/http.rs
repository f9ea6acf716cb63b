//! One send. The only file that knows reqwest.
//!
//! Knows one vault, and sends to no other origin; knows nothing of operations, challenges or retries. Redirects are
//! not followed, bodies are neither compressed nor longer than asked for, and a try ends with its limit however
//! slowly the bytes come: `RequestBuilder::timeout` covers the body too, where `Client::timeout` would start anew with
//! every read.

use std::error::Error as _;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Client, ClientBuilder, RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use url::Url;
use zeroize::Zeroizing;

use super::address::Vault;
use super::auth::Token;
use super::options::{ClientOptions, Proxy};
use super::reply::Reply;
use crate::private::{self, Rule};

/// Header lines of one answer; the service sends 17.
const MAX_HEADERS: usize = 64;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// What names under `localhost` mean, whatever a resolver says (RFC 6761, 6.3): plain HTTP is allowed to them. The port
/// is the URL's.
const LOOPBACK: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// The service's verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Patch,
    Post,
    Delete,
}

/// A request's body: wiped when the last copy of the pointer goes. It does not print.
#[derive(Clone)]
pub(super) struct Payload(Arc<Zeroizing<Vec<u8>>>);

impl Payload {
    pub(super) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// One request, as it goes out.
pub(super) struct Outgoing<'a> {
    pub verb: Verb,
    pub url: &'a Url,
    pub token: Option<&'a Token>,
    pub payload: Option<&'a Payload>,
    /// The most that is read of the answer's body, in bytes.
    pub limit: usize,
    /// From now to the last byte of the answer.
    pub time: Duration,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection; nothing was sent.
    Unreachable,
    /// The server's certificate or its TLS was refused; nothing was sent.
    Tls,
    /// The connection broke after sending, or what came is no HTTP.
    Cut,
    /// The time was up.
    TimedOut,
    /// A body beyond the limit.
    TooLarge,
    /// The URL is not the vault's; nothing was sent.
    NotOurs,
}

/// [`Trouble`], and in words.
#[derive(Clone, Debug)]
pub(super) struct NoReply {
    pub trouble: Trouble,
    pub message: String,
}

/// Why a client could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of authorities cannot be read or has no certificate.
    #[error("cannot use the authorities in {0}: {1}")]
    CaFile(String, String),
    /// The HTTP client refuses its settings.
    #[error("cannot set up HTTPS: {0}")]
    Http(String),
}

/// The pooled client of one vault.
pub(super) struct Http {
    client: Client,
    vault: Vault,
}

impl Http {
    pub(super) fn new(vault: &Vault, options: &ClientOptions) -> Result<Self, SetupError> {
        let mut builder = base_client(options);
        if vault.is_loopback() || options.proxy == Proxy::Direct {
            builder = builder.no_proxy();
        }
        if vault.is_loopback() {
            builder = builder.resolve_to_addrs(vault.host(), &LOOPBACK);
        }
        if let Some(file) = &options.ca_file {
            builder = trust(builder, file)?;
        } else if vault.is_plain() {
            // Nothing is encrypted, so a machine without any authority will do.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| SetupError::Http(with_remedy(chain(&error))))?;
        Ok(Self { client, vault: vault.clone() })
    }

    /// Sends one request, once.
    pub(super) fn send(&self, outgoing: &Outgoing<'_>) -> Result<Reply, NoReply> {
        if !self.vault.owns(outgoing.url) {
            return Err(NoReply { trouble: Trouble::NotOurs, message: "a request to another host".to_owned() });
        }
        let response = self.request(outgoing).send().map_err(no_reply)?;
        read(response, outgoing.limit)
    }

    fn request(&self, outgoing: &Outgoing<'_>) -> RequestBuilder {
        let request = self.client.request(method(outgoing.verb), outgoing.url.clone()).timeout(outgoing.time);
        let request = match outgoing.payload {
            Some(payload) => {
                request.header(CONTENT_TYPE, "application/json").body(bytes::Bytes::from_owner(payload.clone()))
            }
            None if outgoing.verb == Verb::Get || outgoing.verb == Verb::Delete => request,
            None => request.header(CONTENT_LENGTH, 0),
        };
        match outgoing.token {
            Some(token) => request.header(AUTHORIZATION, bearer(token)),
            None => request,
        }
    }
}

/// What the library says of a machine that trusts nobody is not what to do about it.
fn with_remedy(reason: String) -> String {
    match reason.contains("No CA certificates were loaded") {
        true => format!("{reason}; apt-get install ca-certificates, or name a file of authorities in SSL_CERT_FILE"),
        false => reason,
    }
}

fn base_client(options: &ClientOptions) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("akvfs/", env!("CARGO_PKG_VERSION")))
        .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_gzip()
        .no_deflate()
        .no_brotli()
        .no_zstd()
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(IDLE)
        .timeout(None) // each request brings its own
}

fn trust(builder: ClientBuilder, file: &Path) -> Result<ClientBuilder, SetupError> {
    let refuse = |why: String| SetupError::CaFile(file.display().to_string(), why);
    // Who can write it can be anybody's vault.
    let pem = private::read(file, Rule::Readable).map_err(refuse)?;
    let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| refuse(chain(&error)))?;
    if authorities.is_empty() {
        return Err(refuse("no certificate in it".to_owned()));
    }
    Ok(builder.tls_certs_merge(authorities))
}

/// The one place where a token becomes a header. Marked so that no layer below prints it.
fn bearer(token: &Token) -> HeaderValue {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get => Method::GET,
        Verb::Put => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Post => Method::POST,
        Verb::Delete => Method::DELETE,
    }
}

fn read(response: Response, limit: usize) -> Result<Reply, NoReply> {
    let status = response.status().as_u16();
    let headers = response.headers().iter().map(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), text)
    });
    let headers = headers.collect();
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(limit.min(16 * 1024))));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    response.take(most).read_to_end(&mut body).map_err(cut)?;
    if body.len() > limit {
        return Err(too_large(limit));
    }
    Ok(Reply { status, headers, body })
}

fn too_large(limit: usize) -> NoReply {
    NoReply { trouble: Trouble::TooLarge, message: format!("an answer of more than {limit} bytes") }
}

fn cut(error: std::io::Error) -> NoReply {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => no_reply(error),
        Err(error) => NoReply { trouble: Trouble::Cut, message: error.to_string() },
    }
}

fn no_reply(error: reqwest::Error) -> NoReply {
    let error = error.without_url(); // its query may hold a place in a listing
    let trouble = if error.is_connect() && has_tls_error(&error) {
        Trouble::Tls
    } else if error.is_connect() {
        Trouble::Unreachable
    } else if error.is_timeout() {
        Trouble::TimedOut
    } else {
        Trouble::Cut
    };
    NoReply { trouble, message: chain(&error) }
}

/// Whether the peer's TLS, not the network, is the cause. An I/O error hides its cause from `source`.
fn has_tls_error(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = inner.map(|inner| inner as _).or_else(|| error.source());
    }
    false
}

/// An error with its causes, without repeating what a cause says again.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = text + ": " + &words;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody above asks for it; this is what holds if somebody some day does.
    #[test]
    fn another_origin_is_not_even_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        listener.set_nonblocking(true).expect("allowed");
        let vault = Vault::parse("http://127.0.0.1:1").expect("loopback");
        let http = Http::new(&vault, &ClientOptions::default()).expect("no file needed");
        let token = Token::new("t".to_owned());
        for url in [format!("http://127.0.0.1:{port}/"), format!("http://user@127.0.0.1:{port}/")] {
            let (url, time) = (Url::parse(&url).expect("a URL"), Duration::from_secs(5));
            let outgoing =
                Outgoing { verb: Verb::Get, url: &url, token: Some(&token), payload: None, limit: 1_000, time };
            assert_eq!(http.send(&outgoing).err().map(|refused| refused.trouble), Some(Trouble::NotOurs));
        }
        assert_eq!(listener.accept().expect_err("nobody").kind(), std::io::ErrorKind::WouldBlock);
    }
}
