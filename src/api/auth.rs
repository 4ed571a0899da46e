//! `Authorization: Bearer …`, where a token is set.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest;
use secrecy::ExposeSecret;

use super::{ApiProblem, Shared};

/// Lets through who knows the token. The token file is read again each time, so that it can be replaced.
pub async fn require_token(State(api): Shared, request: Request, next: Next) -> Response {
    let Some(source) = &api.token else { return next.run(request).await };
    match source.read() {
        Ok(token) if knows(request.headers(), token.expose_secret()) => next.run(request).await,
        Ok(_) => {
            ApiProblem::new(StatusCode::UNAUTHORIZED, "send the token of server.token as `Authorization: Bearer …`")
                .into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the API token cannot be read; every request is refused");
            ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "the API token cannot be read; see the log")
                .into_response()
        }
    }
}

fn knows(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, given)) = given.and_then(|value| value.split_once(' ')) else { return false };
    // Digests are compared, so that the time taken says nothing of the token.
    let of = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    !token.is_empty() && scheme.eq_ignore_ascii_case("bearer") && of(given.trim()).as_ref() == of(token).as_ref()
}
