//! A transport that answers what a test says.

use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures::future::BoxFuture;

/// Answers with a function.
pub struct MockHttpClient<F>(F);

impl<F> MockHttpClient<F>
where
    F: Fn(&Request) -> BoxFuture<'_, azure_core::Result<AsyncRawResponse>> + Send + Sync,
{
    /// With this one.
    pub fn new(answer: F) -> Self {
        Self(answer)
    }
}

impl<F> std::fmt::Debug for MockHttpClient<F> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("MockHttpClient")
    }
}

#[async_trait::async_trait]
impl<F> HttpClient for MockHttpClient<F>
where
    F: Fn(&Request) -> BoxFuture<'_, azure_core::Result<AsyncRawResponse>> + Send + Sync,
{
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        (self.0)(request).await
    }
}
