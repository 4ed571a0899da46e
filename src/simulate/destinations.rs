//! The receivers that speak HTTP: Slack's incoming webhook and web API, and webhooks that check signatures.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::blocks;
use super::bodies::Reference;
use super::inner::Inner;
use super::ledger::{Kind, Received};
use super::plug::Plug;
use super::reply::{self, play};
use super::script::Step;
use crate::time::Timestamp;

/// A signature may be this old or early, in seconds (Standard Webhooks).
const TOLERANCE: i64 = 300;

/// `/services/…`, `/slack/api/…`, `/hooks/…`.
pub(super) fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/services/{*path}", post(slack_webhook))
        .route("/slack/api/chat.postMessage", post(post_message))
        .route("/slack/api/auth.test", any(auth_test))
        .route("/hooks/{name}", any(hook))
}

/// A request on its way to a destination.
struct Incoming {
    kind: Kind,
    name: String,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    verified: Option<bool>,
}

type Call = (State<Arc<Inner>>, ConnectInfo<Plug>, Method, HeaderMap);

/// Answers as scripted, else with `normal`; keeps what came.
async fn answer(inner: &Inner, plug: &Plug, incoming: Incoming, normal: Response) -> Response {
    let fault = inner.destination_fault(&incoming.name);
    let answered = fault.as_ref().map_or(normal.status().as_u16(), |step| step.answered(200));
    keep(inner, incoming, answered);
    match fault {
        Some(step) => fail(inner, plug, step).await,
        None => normal,
    }
}

async fn fail(inner: &Inner, plug: &Plug, step: Step) -> Response {
    let nothing = |_| Reference { status: 200, headers: Vec::new(), body: Value::Null };
    play(step, plug, &inner.stopping, &inner.elsewhere, nothing).await
}

fn keep(inner: &Inner, incoming: Incoming, answered: u16) {
    let arrival = (incoming.kind == Kind::Webhook).then(|| arrival(&incoming)).flatten();
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = if inner.keeps_messages() {
        incoming.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
    } else {
        Vec::new()
    };
    let received = Received {
        number: 0,
        kind: incoming.kind,
        name: incoming.name,
        at: inner.now(),
        method: incoming.method.to_string(),
        headers,
        body: inner.kept(&incoming.body),
        verified: incoming.verified,
        answered,
        envelope: None,
    };
    inner.record(received, arrival);
}

/// The two places where a body says which scan it is about: `standard` and `cloudevents`.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow, default)]
    data: Option<AboutData<'a>>,
}

#[derive(Deserialize)]
struct AboutData<'a> {
    #[serde(borrow, default)]
    scan_id: Option<std::borrow::Cow<'a, str>>,
}

fn arrival(incoming: &Incoming) -> Option<(Box<str>, Option<Box<str>>)> {
    let id = incoming.headers.get("webhook-id")?.to_str().ok()?;
    let about: Option<About<'_>> = serde_json::from_slice(&incoming.body).ok();
    let scan_id = about.and_then(|about| about.data).and_then(|data| data.scan_id);
    Some((id.into(), scan_id.map(|id| id.into_owned().into_boxed_str())))
}

// ---- Slack

async fn slack_webhook(
    (State(inner), ConnectInfo(plug), method, headers): Call,
    Path(path): Path<String>,
    body: Bytes,
) -> Response {
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("slack").to_owned();
    let message: Option<Value> = serde_json::from_slice(&body).ok();
    let normal = match message.as_ref().map(blocks::check) {
        Some(Ok(())) => "ok".into_response(),
        Some(Err(objection)) => bad_request(objection.word),
        None => bad_request("invalid_payload"),
    };
    let incoming = Incoming { kind: Kind::Slack, name, method, headers, body, verified: None };
    answer(&inner, &plug, incoming, normal).await
}

fn bad_request(word: &'static str) -> Response {
    (axum::http::StatusCode::BAD_REQUEST, word).into_response()
}

async fn post_message((State(inner), ConnectInfo(plug), method, headers): Call, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let channel = message.get("channel").and_then(Value::as_str).unwrap_or_default();
    let verdict = posted(&inner, &headers, channel, &message);
    let name = channel.trim_start_matches('#').to_owned();
    let normal = reply::json(200, &[], &verdict);
    let fault = inner.destination_fault(&name);
    // Slack's web API says no in the body: what it refused is not kept as taken.
    let taken = verdict.get("ok") == Some(&Value::Bool(true));
    let answered = fault.as_ref().map_or(if taken { 200 } else { 400 }, |step| step.answered(200));
    keep(&inner, Incoming { kind: Kind::Slack, name, method, headers, body, verified: None }, answered);
    match fault {
        Some(step) => fail(&inner, &plug, step).await,
        None => normal,
    }
}

fn posted(inner: &Inner, headers: &HeaderMap, channel: &str, message: &Value) -> Value {
    if let Some(refused) = unauthorised(inner, headers) {
        return refused;
    }
    if channel.is_empty() {
        return json!({ "ok": false, "error": "channel_not_found" });
    }
    match blocks::check(message) {
        Ok(()) => {
            let now = inner.now();
            json!({ "ok": true, "channel": channel, "ts": slack_time(now), "message": { "text": message["text"] } })
        }
        Err(objection) => json!({ "ok": false, "error": objection.word, "errors": [objection.detail] }),
    }
}

async fn auth_test(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let said = unauthorised(&inner, &headers).unwrap_or_else(|| {
        json!({
            "ok": true, "url": "https://simulated.slack.com/", "team": "Simulated", "user": "scanbell",
            "team_id": "T00000000", "user_id": "U00000000", "bot_id": "B00000000",
        })
    });
    reply::json(200, &[], &said)
}

fn unauthorised(inner: &Inner, headers: &HeaderMap) -> Option<Value> {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    match token.and_then(|token| token.strip_prefix("Bearer ")) {
        Some(token) if token == inner.slack_token => None,
        Some(_) => Some(json!({ "ok": false, "error": "invalid_auth" })),
        None => Some(json!({ "ok": false, "error": "not_authed" })),
    }
}

fn slack_time(now: Timestamp) -> String {
    format!("{}.{:06}", now.as_second(), now.subsec_microsecond())
}

// ---- webhooks

async fn hook(
    (State(inner), ConnectInfo(plug), method, headers): Call,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let verified = inner.secrets(&name).map(|secrets| verify(&secrets, &headers, &body, inner.now()));
    let normal = match verified {
        Some(false) => (axum::http::StatusCode::UNAUTHORIZED, "the signature does not match").into_response(),
        _ => axum::http::StatusCode::NO_CONTENT.into_response(),
    };
    answer(&inner, &plug, Incoming { kind: Kind::Webhook, name, method, headers, body, verified }, normal).await
}

/// Standard Webhooks: one of the signatures is right for one of the secrets, and the time is about now.
fn verify(secrets: &[String], headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(time), Some(signatures)) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
    else {
        return false;
    };
    let Ok(time) = time.parse::<i64>() else { return false };
    let right = |secret: &String| {
        let signed = standardwebhooks::Webhook::new(secret).and_then(|webhook| webhook.sign(id, time, body));
        signed.is_ok_and(|signed| signatures.split(' ').any(|signature| signature == signed))
    };
    time.abs_diff(now.as_second()) <= TOLERANCE.unsigned_abs() && secrets.iter().any(right)
}
