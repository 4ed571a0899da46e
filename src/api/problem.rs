//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::store::StoreError;

/// The media type of every error.
const PROBLEM: &str = "application/problem+json";

/// An error answer: status, one sentence, and members of its own where they help.
#[derive(Debug, Clone)]
pub struct ApiProblem {
    status: StatusCode,
    detail: String,
    more: Map<String, Value>,
}

impl ApiProblem {
    /// With one sentence for a person.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), more: Map::new() }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Adds a member of its own.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }
}

/// What the libraries below answer by themselves (a path that is no UTF-8, a body that is too large, no answer in
/// time) in the form of every other error.
pub async fn instead_of_plain_errors(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    // Ours are JSON: problems, and the reasons of `/readyz`.
    let ours = |kind: &HeaderValue| kind == PROBLEM || kind == "application/json";
    if !is_error || response.headers().get(header::CONTENT_TYPE).is_some_and(ours) {
        return response;
    }
    let detail = match status {
        StatusCode::GATEWAY_TIMEOUT => "no answer in time: the request came too slowly, or the store is too slow",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
        _ => "the request cannot be read",
    };
    ApiProblem::new(status, detail).into_response()
}

impl From<StoreError> for ApiProblem {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.more);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
