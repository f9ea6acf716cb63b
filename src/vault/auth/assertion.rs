//! What an application with a certificate shows to the identity service instead of a secret: a JWT signed with RS256
//! ("Microsoft identity platform application authentication certificate credentials"). Made anew for each request.

use std::fmt;
use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use url::Url;

use super::certificate::Certificate;
use crate::clock::{Clock, unix_seconds};

/// How long one holds, in seconds. The service takes ten minutes at most for a good one.
const LIFETIME: i64 = 600;
/// How far the clock of the service may be behind ours, in seconds.
const SKEW: i64 = 60;

/// Makes assertions.
pub(super) struct Assertion {
    certificate: Certificate,
    /// The token endpoint, and nobody else, is to take it.
    audience: Url,
    client_id: String,
    clock: Arc<dyn Clock>,
}

impl Assertion {
    /// # Errors
    /// If the authority is no URL, or an identifier has letters that none has.
    pub(super) fn new(
        certificate: Certificate,
        authority: &str,
        tenant: &str,
        client_id: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, &'static str> {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !is_plain(tenant) || !is_plain(client_id) {
            return Err("a tenant or client id has letters that none has"); // they become part of JSON and of a URL
        }
        let authority = Url::parse(authority).map_err(|_| "AZURE_AUTHORITY_HOST is no URL")?;
        let audience = authority.join(&format!("/{tenant}/oauth2/v2.0/token"));
        let audience = audience.map_err(|_| "AZURE_AUTHORITY_HOST is no URL")?;
        Ok(Self { certificate, audience, client_id: client_id.to_owned(), clock })
    }

    fn signed(&self) -> Option<String> {
        let (now, audience, client_id) = (unix_seconds(&*self.clock), &self.audience, &self.client_id);
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(self.certificate.thumbprint());
        let head = format!(r#"{{"alg":"RS256","typ":"JWT","x5t":"{thumbprint}"}}"#);
        let claims = format!(
            r#"{{"aud":"{audience}","iss":"{client_id}","sub":"{client_id}","jti":"{:032x}","iat":{now},"nbf":{},"exp":{}}}"#,
            number_once()?,
            now - SKEW,
            now + LIFETIME - SKEW,
        );
        let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(head), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = self.certificate.sign(message.as_bytes())?;
        Some(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn number_once() -> Option<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(u128::from_be_bytes(bytes))
}

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let message = "the certificate's key could not sign";
        self.signed().ok_or_else(|| azure_core::Error::with_message(ErrorKind::Credential, message))
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an assertion of {}", self.client_id)
    }
}
