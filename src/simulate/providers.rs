//! The two scan APIs as their clients see them: keys, 404s, reference bodies, and what scripts make of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::bodies::{Reference, Subject, enkrypt, sieve};
use super::inner::Inner;
use super::plug::Plug;
use super::preset;
use super::reply::{self, play};
use super::scans::Provider;

/// An ID longer than this, in bytes, is nobody's.
const LONGEST_ID: usize = 128;

/// Which answer about a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    SieveScan,
    EnkryptStatus,
    EnkryptResults,
}

impl Endpoint {
    const fn provider(self) -> Provider {
        match self {
            Self::SieveScan => Provider::Sieve,
            Self::EnkryptStatus | Self::EnkryptResults => Provider::Enkrypt,
        }
    }

    fn body(self, state: preset::State, subject: Subject<'_>) -> Reference {
        match self {
            Self::SieveScan => sieve::scan(state, subject),
            Self::EnkryptStatus => enkrypt::status(state, subject),
            Self::EnkryptResults => enkrypt::results(state, subject),
        }
    }
}

/// `/api/…` and `/mcp-hub/…`.
pub(super) fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/api/scans/{id}", get(sieve_scan))
        .route("/api/keys/status", get(sieve_key))
        .route("/mcp-hub/scan/{id}/status", get(enkrypt_status))
        .route("/mcp-hub/scan/{id}/results", get(enkrypt_results))
}

type Call = (State<Arc<Inner>>, ConnectInfo<Plug>, Path<String>, HeaderMap);

async fn sieve_scan((State(inner), ConnectInfo(plug), Path(id), headers): Call) -> Response {
    poll(&inner, &plug, Endpoint::SieveScan, &id, &headers).await
}

async fn enkrypt_status((State(inner), ConnectInfo(plug), Path(id), headers): Call) -> Response {
    poll(&inner, &plug, Endpoint::EnkryptStatus, &id, &headers).await
}

async fn enkrypt_results((State(inner), ConnectInfo(plug), Path(id), headers): Call) -> Response {
    poll(&inner, &plug, Endpoint::EnkryptResults, &id, &headers).await
}

async fn poll(inner: &Inner, plug: &Plug, endpoint: Endpoint, id: &str, headers: &HeaderMap) -> Response {
    let (provider, now) = (endpoint.provider(), inner.now());
    let elsewhere = inner.elsewhere.as_str();
    let subject = |created| Subject { scan_id: id, created, now };
    if let Some(step) = inner.provider_fault(provider) {
        return play(step, plug, &inner.stopping, elsewhere, |state| endpoint.body(state, subject(now))).await;
    }
    if let Some(refusal) = refusal(inner, provider, headers) {
        return refusal;
    }
    if id.len() > LONGEST_ID {
        return reply::json(400, &[], &json!({ "error": "Invalid scan id" }));
    }
    let turn = inner.scans().poll(provider, id, endpoint == Endpoint::EnkryptResults, now);
    inner.changed.notify_waiters();
    match turn {
        Some(turn) => {
            let body = |state| endpoint.body(state, subject(turn.created));
            play(turn.step, plug, &inner.stopping, elsewhere, body).await
        }
        None => reply::json(404, &[], &json!({ "error": "Scan not found" })),
    }
}

/// What somebody without the right key is told.
fn refusal(inner: &Inner, provider: Provider, headers: &HeaderMap) -> Option<Response> {
    let name = match provider {
        Provider::Sieve => "x-api-key",
        Provider::Enkrypt => "apikey",
    };
    let key = headers.get(name).and_then(|value| value.to_str().ok());
    let keys = inner.keys();
    let error = if key.is_none() { "API key is missing" } else { "Invalid API key" };
    (!keys.accepts(provider, key)).then(|| reply::json(keys.refuse_with, &[], &json!({ "error": error })))
}

/// `GET /api/keys/status`: the cheap check at start-up.
async fn sieve_key(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    refusal(&inner, Provider::Sieve, &headers).unwrap_or_else(|| {
        let key = json!({
            "hasKey": true, "keyPrefix": "gds_simu", "name": "simulated",
            "lastUsed": "2026-02-14 12:34:56", "createdAt": "2026-01-01 00:00:00",
        });
        reply::json(200, &[], &key)
    })
}
