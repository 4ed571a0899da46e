//! `GET /v1/deliveries…` and their replay.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ApiProblem, Shared, json, query};
use crate::domain::delivery::DeliveryState;
use crate::store::{Attempt, DeliveryFilter, DeliveryView};

/// A delivery with everything that was tried.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    delivery: DeliveryView,
    attempts: Vec<Attempt>,
}

#[derive(Serialize)]
struct Replayed {
    replayed: u64,
}

/// Newest first.
pub async fn list(State(api): Shared, RawQuery(query): RawQuery) -> Result<Response, ApiProblem> {
    let filter = query::deliveries(&query.unwrap_or_default())?;
    Ok(json(StatusCode::OK, &api.store.deliveries(filter).await?))
}

/// One delivery with its attempts.
pub async fn show(State(api): Shared, Path(id): Path<String>) -> Result<Response, ApiProblem> {
    let id: Uuid = id.parse().map_err(|_| none())?;
    let (delivery, attempts) = api.store.delivery(id).await?.ok_or_else(none)?;
    Ok(json(StatusCode::OK, &Detail { delivery, attempts }))
}

/// Sends one again: the same bytes under the same `webhook-id`.
pub async fn replay_one(State(api): Shared, Path(id): Path<String>) -> Result<Response, ApiProblem> {
    let id: Uuid = id.parse().map_err(|_| none())?;
    match api.store.replay_one(id, api.clock.now()).await? {
        None => Err(none()),
        Some(false) => Err(ApiProblem::new(StatusCode::CONFLICT, "this delivery is pending: it will be tried anyway")),
        Some(true) => {
            (api.wake_delivery)(None);
            Ok(json(StatusCode::ACCEPTED, &Replayed { replayed: 1 }))
        }
    }
}

/// The body of `POST /v1/deliveries/replay`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReplayBody {
    state: Option<DeliveryState>,
    destination: Option<String>,
    scan: Option<Uuid>,
}

/// An object: a derived struct would also read a list, and `[]` would replay everything.
fn replay_body(body: &[u8]) -> serde_json::Result<ReplayBody> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
    serde_json::from_value(object.into())
}

/// Sends all again that match; dead ones if no state is given.
pub async fn replay_many(State(api): Shared, body: Bytes) -> Result<Response, ApiProblem> {
    let wanted: ReplayBody = if body.trim_ascii().is_empty() {
        ReplayBody::default()
    } else {
        replay_body(&body).map_err(|error| {
            let detail = format!("the body is not {{\"state\", \"destination\", \"scan\"}}: {error}");
            ApiProblem::new(StatusCode::BAD_REQUEST, detail)
        })?
    };
    let state = wanted.state.or(Some(DeliveryState::Dead));
    let filter = DeliveryFilter {
        state,
        destination: wanted.destination.clone(),
        scan: wanted.scan,
        ..DeliveryFilter::default()
    };
    let replayed = api.store.replay(filter, api.clock.now()).await?;
    (api.wake_delivery)(wanted.destination.as_deref());
    Ok(json(StatusCode::ACCEPTED, &Replayed { replayed }))
}

fn none() -> ApiProblem {
    ApiProblem::not_found("there is no delivery with this id")
}
