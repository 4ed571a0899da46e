//! `GET /v1/destinations`, `POST /v1/destinations/{name}/test`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{ApiProblem, Shared, WholeList, json};
use crate::deliver::HealthView;
use crate::domain::delivery::Verdict;
use crate::domain::notification::{Kind, Notification};
use crate::problem::did_you_mean;

#[derive(Serialize)]
struct DestinationView {
    name: String,
    kind: Kind,
    failing: bool,
    health: HealthView,
}

/// Every configured destination and whether it is failing.
pub async fn list(State(api): Shared) -> Response {
    let views = api.destinations.iter().map(|entry| {
        let health = entry.health.view(api.clock.now());
        DestinationView {
            name: entry.destination.name().to_owned(),
            kind: entry.destination.kind(),
            failing: health.state == "failing",
            health,
        }
    });
    json(StatusCode::OK, &WholeList::of(views.collect()))
}

/// Sends one marked test message now, once; 200 if it was delivered, else 502 with what the receiver said.
pub async fn test(State(api): Shared, Path(name): Path<String>) -> Result<Response, ApiProblem> {
    let entry = api.destinations.iter().find(|entry| entry.destination.name() == name).ok_or_else(|| {
        let known = api.destinations.iter().map(|entry| entry.destination.name());
        ApiProblem::not_found(format!("there is no such destination: {}", did_you_mean(&name, known)))
    })?;
    let (id, now) = (Uuid::now_v7(), api.clock.wall());
    let content = api.renderer.test(&name, id, now).content;
    let notification = Notification { id, scan: None, destination: name.clone(), created_at: now, content };
    let sent = entry.destination.send(&notification, now).await;
    let said = [
        ("destination", json!(name)),
        ("id", json!(id)),
        ("delivered", json!(matches!(sent.verdict, Verdict::Delivered { .. }))),
        ("verdict", json!(sent.verdict.as_str())),
        ("reason", json!(sent.verdict.reason())),
        ("answer", json!(sent.answer)),
    ];
    if let Verdict::Delivered { .. } = sent.verdict {
        let body: serde_json::Map<_, _> = said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        return Ok(json(StatusCode::OK, &body));
    }
    let problem =
        ApiProblem::new(StatusCode::BAD_GATEWAY, format!("`{name}` did not take it: {}", sent.verdict.reason()));
    Err(said.into_iter().fold(problem, |problem, (key, value)| problem.with(key, value)))
}
