//! Plays one scripted step as an HTTP answer, or as the failure to give one.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::bodies::{Reference, edit};
use super::gzip;
use super::plug::{Fate, Plug};
use super::preset::State;
use super::script::{Answer, Body, Http, Step};

/// What half an answer is cut from: JSON, so that the beginning looks well.
const WHOLE: &str = r#"{"scanId":"00000000-0000-0000-0000-000000000000","status":"completed","results":{}}"#;
/// Long enough for what was written to leave before the connection is broken.
const FLUSH: Duration = Duration::from_millis(20);
const CHUNK: usize = 64 * 1024;

/// Plays `step` on the connection that `plug` holds. Ends early when `stopping`.
///
/// `reference` makes the provider's body for a state; a destination has none and makes an empty one.
pub(super) async fn play(
    step: Step,
    plug: &Plug,
    stopping: &CancellationToken,
    elsewhere: &str,
    reference: impl FnOnce(State) -> Reference,
) -> Response {
    wait(step.delay, stopping).await;
    match step.answer {
        Answer::Http(http) => proper(http, reference),
        Answer::Redirect(to) => redirect(to.as_deref().unwrap_or(elsewhere)),
        Answer::Hang(time) => {
            wait(time, stopping).await;
            broken(plug, Fate::Dropped)
        }
        Answer::Drop => broken(plug, Fate::Dropped),
        Answer::Reset => broken(plug, Fate::Reset),
        Answer::Garbage => broken(plug, Fate::Garbage),
        Answer::ResetMidBody => half(plug.clone(), Fate::Reset),
        Answer::Truncated => half(plug.clone(), Fate::Dropped),
        Answer::Drip { bytes, every } => streamed(drip(bytes, every, stopping.clone()), Some(bytes)),
        Answer::Huge { bytes, declared } => streamed(huge(bytes), declared.then_some(bytes)),
        Answer::GzipBomb { bytes } => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")];
            (headers, gzip::zeros(bytes)).into_response()
        }
    }
}

/// JSON with this status; headers that are not headers are left out.
pub(super) fn json(status: u16, headers: &[(String, String)], body: &Value) -> Response {
    with(status, headers, "application/json", body.to_string())
}

/// Waits, or less when the world ends.
pub(super) async fn wait(time: Duration, stopping: &CancellationToken) {
    if !time.is_zero() {
        let _ = tokio::time::timeout(time, stopping.cancelled()).await;
    }
}

fn proper(http: Http, reference: impl FnOnce(State) -> Reference) -> Response {
    match http.body {
        Body::Json(body) => json(http.status.unwrap_or(200), &http.headers, &body),
        Body::Text { text, content_type } => with(http.status.unwrap_or(200), &http.headers, &content_type, text),
        Body::Default => plain(http.status.unwrap_or(200), &http.headers),
        Body::Reference { state, set, unset } => {
            let said = edited(reference(state), &set, &unset);
            let headers = [said.headers, http.headers].concat();
            json(http.status.unwrap_or(said.status), &headers, &said.body)
        }
    }
}

fn edited(mut reference: Reference, set: &Map<String, Value>, unset: &[String]) -> Reference {
    edit(&mut reference.body, set, unset);
    reference
}

fn plain(status: u16, headers: &[(String, String)]) -> Response {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    match status {
        400.. => json(status, headers, &json!({ "error": reason.unwrap_or("Simulated error") })),
        _ => with(status, headers, "text/plain; charset=utf-8", String::new()),
    }
}

fn with(status: u16, headers: &[(String, String)], content_type: &str, body: String) -> Response {
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = [(header::CONTENT_TYPE.as_str(), content_type)];
    let rest = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in content_type.into_iter().chain(rest) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn redirect(to: &str) -> Response {
    with(302, &[("location".to_owned(), to.to_owned())], "text/plain", String::new())
}

/// The response is never seen: the connection breaks when its first byte is written.
fn broken(plug: &Plug, fate: Fate) -> Response {
    plug.pull(fate);
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Half a body under the length of the whole; then the connection has this fate.
fn half(plug: Plug, fate: Fate) -> Response {
    let (first, _) = WHOLE.split_at(WHOLE.len() / 2);
    let rest = stream::once(async move {
        tokio::time::sleep(FLUSH).await;
        plug.pull(fate);
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    let body = stream::once(async move { Ok(Bytes::from_static(first.as_bytes())) }).chain(rest);
    streamed(body, Some(WHOLE.len()))
}

fn drip(
    bytes: usize,
    every: Duration,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::iter(0..bytes).then(move |_| {
        let stopping = stopping.clone();
        async move {
            wait(every, &stopping).await;
            Ok(Bytes::from_static(b" "))
        }
    })
}

/// A JSON string that is `bytes` long with its quotes.
fn huge(bytes: usize) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let filler = Bytes::from(vec![b'a'; CHUNK.min(bytes)]);
    let inside = bytes.saturating_sub(2);
    let chunks = (0..inside.div_ceil(CHUNK)).map(move |chunk| filler.slice(..CHUNK.min(inside - chunk * CHUNK)));
    let quote = || std::iter::once(Bytes::from_static(b"\""));
    stream::iter(quote().chain(chunks).chain(quote()).map(Ok))
}

fn streamed<E: Into<axum::BoxError>>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    length: Option<usize>,
) -> Response {
    let mut response = Response::new(HttpBody::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
