//! Request in, reply out: admission, api-version, the operation, the answer's headers. No sockets here.

use std::net::IpAddr;

use super::api_version::ApiVersion;
use super::challenge::{self, Access};
use super::errors::Refusal;
use super::model::{Phase, Snapshot};
use super::operations as decide;
use super::page::{self, Cut, Page, Window};
use super::request::{Call, Operation, Origin, Request};
use super::vault::{LocalVault, new_version};
use super::wire::{self, Frame, Show};

/// The newest build of the service that was recorded; clients may log it.
const SERVICE_VERSION: &str = "1.9.3449.1";

/// What goes back. It prints nowhere, for its body may be a value.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request that was let in, read as far as its body.
pub struct Admitted {
    origin: Origin,
    call: Result<(ApiVersion, Call), Refusal>,
}

impl Admitted {
    /// Which operation it asks for, if any.
    pub fn operation(&self) -> Option<Operation> {
        self.call.as_ref().ok().map(|(_, call)| call.operation())
    }
}

/// Lets a request in, or answers it at once: whoever brings no token is challenged before anything else is looked
/// at, because every SDK sends its first request without token and body.
pub fn admit(access: &Access, request: &Request) -> Result<Admitted, Reply> {
    let host = request.host.as_deref().unwrap_or_default();
    let Some(origin) = Origin::parse(request.scheme, host) else {
        return Err(refusal(&Refusal::ForeignHost, request, None));
    };
    match access.check(&origin, request) {
        Ok(()) => Ok(Admitted { call: parse(access, request), origin }),
        Err(why) => Err(refusal(&why, request, Some(&origin))),
    }
}

fn parse(access: &Access, request: &Request) -> Result<(ApiVersion, Call), Refusal> {
    let given = request.parameter("api-version").unwrap_or_default();
    let version = ApiVersion::parse(&given).ok_or(Refusal::ApiVersion(given))?;
    let call = Call::parse(&request.method, &request.path)?;
    access.check_permission(call.operation())?;
    Ok((version, call))
}

/// Carries a request out; a page is cut as `cut` has it.
pub fn answer(vault: &LocalVault, admitted: &Admitted, request: &Request, cut: Cut) -> Reply {
    let origin = &admitted.origin;
    let done = match &admitted.call {
        Ok((version, call)) => Answering { vault, origin, version: *version, request, cut }.call(call),
        Err(why) => Err(why.clone()),
    };
    match done {
        Ok(Some(body)) => reply(200, body, request),
        Ok(None) => reply(204, Vec::new(), request),
        Err(why) => refusal(&why, request, Some(&admitted.origin)),
    }
}

/// The body of a success; `None` is 204.
type Answer = Result<Option<Vec<u8>>, Refusal>;

struct Answering<'a> {
    vault: &'a LocalVault,
    origin: &'a Origin,
    version: ApiVersion,
    request: &'a Request,
    cut: Cut,
}

impl Answering<'_> {
    fn call(&self, call: &Call) -> Answer {
        let vault = self.vault;
        match call {
            Call::Set(name) => {
                let (value, attributes) = wire::parse_set(&self.request.body)?;
                let version = new_version()?;
                let set = vault.change(|state, now| decide::set(state, name, version, value, attributes, now))?;
                self.bundle(&set, Show::Value)
            }
            Call::Get(name, version) => {
                let found = vault.read(|state, now| decide::get(state, name, version.as_deref(), now))?;
                self.check_transformation(&found)?;
                self.bundle(&found, Show::Value)
            }
            Call::Update(name, version) => {
                let patch = wire::parse_update(&self.request.body)?;
                let updated = vault.change(|state, now| decide::update(state, name, version.as_deref(), patch, now))?;
                self.bundle(&updated, Show::Properties)
            }
            Call::Delete(name) => {
                self.bundle(&vault.change(|state, now| decide::delete(state, name, now))?, Show::Properties)
            }
            Call::GetDeleted(name) => {
                self.bundle(&vault.read(|state, now| decide::get_deleted(state, name, now))?, Show::Properties)
            }
            Call::Recover(name) => {
                self.bundle(&vault.change(|state, now| decide::recover(state, name, now))?, Show::Properties)
            }
            Call::Purge(name) => {
                vault.change(|state, now| decide::purge(state, name, now))?;
                Ok(None)
            }
            Call::Backup(name) => {
                let secret = vault.read(|state, now| decide::back_up(state, name, now).cloned())?;
                Ok(Some(wire::blob(vault.key().seal(&secret)?)))
            }
            Call::Restore => {
                let secret = vault.key().open(&wire::parse_blob(&self.request.body)?)?;
                self.bundle(&vault.change(|state, now| decide::restore(state, secret, now))?, Show::Properties)
            }
            Call::List => {
                let window = self.window()?;
                self.page(vault.read(|state, now| page::secrets(state, Phase::Live, &window, now))?, Show::Item)
            }
            Call::ListDeleted => {
                let window = self.window()?;
                self.page(vault.read(|state, now| page::secrets(state, Phase::Deleted, &window, now))?, Show::Item)
            }
            Call::ListVersions(name) => {
                let window = self.window()?;
                self.page(vault.read(|state, now| page::versions(state, name, &window, now))?, Show::Version)
            }
        }
    }

    fn frame(&self) -> Frame {
        let policy = self.vault.read(|state, _| state.policy());
        Frame::new(self.origin.url(), self.version, policy)
    }

    fn bundle(&self, snapshot: &Snapshot, show: Show) -> Answer {
        Ok(Some(wire::bundle(snapshot, show, &self.frame())))
    }

    fn page(&self, page: Page, show: Show) -> Answer {
        let next = page.next.map(|token| self.next_link(&token));
        Ok(Some(wire::page(&page.items, show, next, &self.frame())))
    }

    fn window(&self) -> Result<Window, Refusal> {
        let token = self.request.parameter("$skiptoken");
        Window::parse(token.as_deref(), self.request.parameter("maxresults").as_deref(), self.cut)
    }

    /// Absolute, with the port in any case, `$` unescaped, in the service's order.
    fn next_link(&self, token: &str) -> String {
        let version = self.request.parameter("api-version").unwrap_or_default();
        let path = format!("/{}", self.request.path.trim_matches('/'));
        let link = format!("{}{path}?api-version={version}&$skiptoken={token}", self.origin.url_with_port());
        match self.request.parameter("maxresults") {
            Some(most) => format!("{link}&maxresults={most}"),
            None => link,
        }
    }

    /// `outContentType`: PEM can be asked of PKCS#12 only.
    fn check_transformation(&self, found: &Snapshot) -> Result<(), Refusal> {
        let Some(wanted) = self.request.parameter("outContentType").filter(|_| self.version >= ApiVersion::Transform)
        else {
            return Ok(());
        };
        match found.revision.attributes.content_type.as_deref() {
            Some("application/x-pkcs12") if wanted == "application/x-pkcs12" => Ok(()),
            Some("application/x-pkcs12") => Err(Refusal::Conversion),
            _ => Err(Refusal::Transformation),
        }
    }
}

fn refusal(why: &Refusal, request: &Request, origin: Option<&Origin>) -> Reply {
    let parts = why.parts(&origin.map(Origin::url).unwrap_or_default());
    let mut reply = reply(parts.status, wire::error(&parts), request);
    if let Some(origin) = origin.filter(|_| parts.status == 401) {
        reply.headers.push(("www-authenticate".into(), challenge::header(origin)));
    }
    reply
}

/// The reply to a request that nobody looked into: too large to be read, or one too many.
pub fn refuse(why: &Refusal, request: &Request) -> Reply {
    refusal(why, request, None)
}

/// A reply with the service's headers.
pub fn reply(status: u16, body: Vec<u8>, request: &Request) -> Reply {
    let mut headers: Vec<(String, String)> = [
        ("cache-control", "no-cache"),
        ("expires", "-1"),
        ("pragma", "no-cache"),
        ("strict-transport-security", "max-age=31536000;includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-ms-keyvault-region", wire::REGION),
        ("x-ms-keyvault-service-version", SERVICE_VERSION),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    headers.push(("x-ms-keyvault-network-info".into(), network_info(request.peer)));
    headers.push(("x-ms-request-id".into(), request_id()));
    if let Some(id) = &request.client_request_id {
        headers.push(("x-ms-client-request-id".into(), id.clone()));
    }
    if status != 204 {
        headers.push(("content-type".into(), "application/json; charset=utf-8".into()));
    }
    Reply { status, headers, body }
}

fn network_info(peer: IpAddr) -> String {
    let (kind, family) = if peer.is_ipv4() { ("Ipv4", "InterNetwork") } else { ("Ipv6", "InterNetworkV6") };
    format!("conn_type={kind};addr={peer};act_addr_fam={family};")
}

/// A random GUID; the nil one should the system have no random numbers, for it only labels an answer.
fn request_id() -> String {
    let digits = new_version().map_or_else(|_| "0".repeat(32), |version| version.to_string());
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}
