//! What tests say of telemetry: taken, and not looked at.

use std::borrow::Cow;
use std::sync::Arc;

use azure_core::Result;
use azure_core::http::{Context, Method, Request, StatusCode};
use azure_core::tracing::{
    AsAny, Attribute, AttributeValue, Span, SpanGuard, SpanKind, SpanStatus, Tracer, TracerProvider,
};

/// What is expected of all calls.
#[derive(Default)]
pub struct ExpectedInstrumentation {
    /// The client's package.
    pub package_name: String,
    /// Its version.
    pub package_version: String,
    /// The service's name.
    pub package_namespace: Option<&'static str>,
    /// One by one.
    pub api_calls: Vec<ExpectedApiInformation>,
}

/// What is expected of one call.
#[derive(Default)]
pub struct ExpectedApiInformation {
    /// Its name.
    pub api_name: Option<&'static str>,
    /// Its requests.
    pub api_children: Vec<ExpectedRestApiSpan>,
}

/// What is expected of one request.
pub struct ExpectedRestApiSpan {
    /// Its method.
    pub api_verb: Method,
    /// Its answer.
    pub expected_status_code: StatusCode,
    /// Whether there may be many.
    pub is_wildcard: bool,
}

impl Default for ExpectedRestApiSpan {
    fn default() -> Self {
        Self { api_verb: Method::Get, expected_status_code: StatusCode::Ok, is_wildcard: false }
    }
}

/// Makes the client and runs the test.
pub async fn assert_instrumentation_information<C>(
    make: impl FnOnce(Arc<dyn TracerProvider>) -> Result<C>,
    test: impl AsyncFnOnce(C) -> Result<()>,
    _: ExpectedInstrumentation,
) -> Result<()> {
    test(make(Arc::new(Silent))?).await
}

/// Notes nothing.
#[derive(Debug)]
struct Silent;

impl TracerProvider for Silent {
    fn get_tracer(&self, _: Option<&'static str>, _: &'static str, _: Option<&'static str>) -> Arc<dyn Tracer> {
        Arc::new(Self)
    }
}

impl Tracer for Silent {
    fn start_span(&self, _: Cow<'static, str>, _: SpanKind, _: Vec<Attribute>) -> Arc<dyn Span> {
        Arc::new(Self)
    }

    fn start_span_with_parent(
        &self,
        _: Cow<'static, str>,
        _: SpanKind,
        _: Vec<Attribute>,
        _: Arc<dyn Span>,
    ) -> Arc<dyn Span> {
        Arc::new(Self)
    }

    fn namespace(&self) -> Option<&'static str> {
        None
    }
}

impl AsAny for Silent {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl SpanGuard for Silent {
    fn end(self) {}
}

impl Span for Silent {
    fn is_recording(&self) -> bool {
        false
    }

    fn span_id(&self) -> [u8; 8] {
        [0; 8]
    }

    fn end(&self) {}

    fn set_status(&self, _: SpanStatus) {}

    fn set_attribute(&self, _: &'static str, _: AttributeValue) {}

    fn record_error(&self, _: &dyn std::error::Error) {}

    fn set_current(&self, _: &Context) -> Box<dyn SpanGuard> {
        Box::new(Self)
    }

    fn propagate_headers(&self, _: &mut Request) {}
}
