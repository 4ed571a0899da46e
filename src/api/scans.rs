//! `GET /v1/scans`, `GET /v1/scans/{id}`.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use uuid::Uuid;

use super::{ApiProblem, Shared, json, query};

/// Newest first; reports without `raw`.
pub async fn list(State(api): Shared, RawQuery(query): RawQuery) -> Result<Response, ApiProblem> {
    let filter = query::scans(&query.unwrap_or_default())?;
    Ok(json(StatusCode::OK, &api.store.scans(filter).await?))
}

/// One scan with its whole report.
pub async fn show(State(api): Shared, Path(id): Path<String>) -> Result<Response, ApiProblem> {
    let none = || {
        ApiProblem::not_found("there is no scan with this id; GET /v1/scans?scan_id=… finds it by the provider's ID")
    };
    let id: Uuid = id.parse().map_err(|_| none())?;
    let scan = api.store.scan(id).await?.ok_or_else(none)?;
    Ok(json(StatusCode::OK, &scan))
}
