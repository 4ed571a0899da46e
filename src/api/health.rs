//! Alive, ready, metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::{Api, Shared};
use crate::intake::amqp::Health;

/// Longer than any disk that is merely busy, shorter than whoever asks is willing to wait.
const STORE_WITHIN: Duration = Duration::from_secs(3);

/// One reason why scanbell is not ready.
#[derive(Debug, Clone, Serialize)]
pub struct NotReady {
    /// `store`, `broker` or `provider`.
    pub what: &'static str,
    /// Which one, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One sentence.
    pub reason: String,
}

/// `GET /healthz`: the process answers.
pub async fn alive() -> Response {
    super::json(StatusCode::OK, &json!({"status": "alive"}))
}

/// `GET /readyz`: 200, or 503 with every reason.
pub async fn ready(State(api): Shared) -> Response {
    let reasons = reasons(&api).await;
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    super::json(status, &json!({"ready": reasons.is_empty(), "reasons": reasons}))
}

async fn reasons(api: &Api) -> Vec<NotReady> {
    let mut reasons = Vec::new();
    let trouble = match tokio::time::timeout(STORE_WITHIN, api.store.ping()).await {
        Ok(answer) => answer.err().map(|error| error.to_string()),
        Err(_) => Some(format!("the store has not answered for {} s; is its disk slow?", STORE_WITHIN.as_secs())),
    };
    reasons.extend(trouble.map(|reason| NotReady { what: "store", name: None, reason }));
    if let Some(condition) = api.broker.as_ref().map(Health::now).filter(|condition| !condition.ready()) {
        let reason = condition.reason.unwrap_or_else(|| "not connected".to_owned());
        reasons.push(NotReady { what: "broker", name: None, reason });
    }
    for entry in &api.providers {
        if let Some(paused) = entry.health.paused() {
            let name = Some(entry.provider.name().to_owned());
            reasons.push(NotReady { what: "provider", name, reason: paused.reason });
        }
    }
    reasons
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(State(api): Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.metrics.render()).into_response()
}
