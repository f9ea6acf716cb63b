//! A credential that returns some token.

use std::sync::Arc;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::{Duration, OffsetDateTime};

/// Any token will do.
#[derive(Debug)]
pub struct MockCredential;

impl MockCredential {
    /// One of them.
    pub fn new() -> azure_core::Result<Arc<Self>> {
        Ok(Arc::new(Self))
    }
}

#[async_trait::async_trait]
impl TokenCredential for MockCredential {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new("any-token", OffsetDateTime::now_utc() + Duration::hours(1)))
    }
}
