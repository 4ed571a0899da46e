//! `POST /v1/requests`: the forms of the contract (section 2), answered after they are durable.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{Api, ApiProblem, Shared, json};
use crate::domain::request::{Envelope, MAX_BYTES, Refusal, RefusalReason, parse};
use crate::intake::{Asked, Outcome, Source};
use crate::store::AcceptedState;

#[derive(Serialize)]
struct AcceptedEntry {
    id: Uuid,
    provider: String,
    scan_id: String,
    state: AcceptedState,
}

#[derive(Serialize)]
struct RefusedEntry {
    index: usize,
    reason: &'static str,
    error: String,
}

/// Takes one message. 202 if at least one entry was accepted, else 400 (not readable) or 422.
pub async fn accept(State(api): Shared, request: Request) -> Result<Response, ApiProblem> {
    let envelope = envelope(request.headers());
    let body = Bytes::from_request(request, &()).await.map_err(|error| unreadable(&api, &not_received(&error)))?;
    let entries = parse(&body, &envelope).map_err(|refusal| unreadable(&api, &refusal))?;
    answer(&api, entries).await
}

async fn answer(api: &Arc<Api>, entries: Vec<crate::domain::request::Entry>) -> Result<Response, ApiProblem> {
    let asked: Vec<Asked> = entries.into_iter().map(Asked::from).collect();
    let outcomes = api.intake.submit(Source::Http, &asked).await?;
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Accepted { scan: id, provider, scan_id, state } => {
                accepted.push(AcceptedEntry { id, provider, scan_id, state });
            }
            Outcome::Refused(refusal) => refused.push(entry(index, &refusal)),
        }
    }
    if accepted.is_empty() {
        return Err(ApiProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing in this message can be accepted")
            .with("refused", json!(refused)));
    }
    Ok(json(StatusCode::ACCEPTED, &json!({"accepted": accepted, "refused": refused})))
}

/// Why there is no body: more than allowed, or broken off on its way.
fn not_received(error: &BytesRejection) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Refusal::new(RefusalReason::TooLarge, format!("the body is larger than {MAX_BYTES} bytes"));
    }
    Refusal::new(RefusalReason::NotJson, "the body did not arrive whole".to_owned())
}

/// The whole message is refused: 400 if it cannot be read, 422 if it can and asks for nothing.
fn unreadable(api: &Api, refusal: &Refusal) -> ApiProblem {
    api.intake.refused(Source::Http, refusal);
    let status = match refusal.reason {
        RefusalReason::NotJson | RefusalReason::TooLarge => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    ApiProblem::new(status, refusal.error.clone()).with("refused", json!([entry(0, refusal)]))
}

fn entry(index: usize, refusal: &Refusal) -> RefusedEntry {
    RefusedEntry { index, reason: refusal.reason.as_str(), error: refusal.error.clone() }
}

/// `Idempotency-Key` serves where the request has no `id`, as `message_id` does for AMQP.
fn envelope(headers: &HeaderMap) -> Envelope {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let attributes = headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-"));
    Envelope {
        content_type: text(header::CONTENT_TYPE.as_str()),
        headers: attributes
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect(),
        message_id: text("idempotency-key"),
    }
}
