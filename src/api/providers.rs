//! `GET /v1/providers`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::{Shared, WholeList, json};
use crate::time::Timestamp;

#[derive(Serialize)]
struct ProviderView {
    name: String,
    paused: bool,
    paused_since: Option<Timestamp>,
    reason: Option<String>,
}

/// Every configured provider and whether it is paused.
pub async fn list(State(api): Shared) -> Response {
    let views = api.providers.iter().map(|entry| {
        let paused = entry.health.paused();
        ProviderView {
            name: entry.provider.name().to_owned(),
            paused: paused.is_some(),
            paused_since: paused.as_ref().map(|paused| paused.since),
            reason: paused.map(|paused| paused.reason),
        }
    });
    json(StatusCode::OK, &WholeList::of(views.collect()))
}
