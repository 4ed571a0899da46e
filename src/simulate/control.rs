//! `/_sim/…`: how somebody outside this process writes scripts and reads what happened.
//!
//! The same as the methods of `World`, as JSON. What cannot be read is answered 400 with one sentence.
//!
//! | request | what it does |
//! |---|---|
//! | `PUT /_sim/scans/{provider}/{id}` | a script for one scan; `?endpoint=results` for Enkrypt's `/results` alone |
//! | `PUT /_sim/scans` | a script for all scans that have none |
//! | `PUT /_sim/providers/{provider}` | answers of a whole provider, then normal again |
//! | `PUT /_sim/destinations/{name}` | answers of a destination, then normal again |
//! | `PUT /_sim/hooks/{name}` | `{"secrets":["whsec_…"]}`: signatures are checked with these |
//! | `PUT /_sim/keys` | `{"sieve":["…"],"enkrypt":["…"],"refuse_with":403}`: accepted from now on |
//! | `GET /_sim/received` | kept messages; `?kind=slack\|webhook\|email&name=…` |
//! | `DELETE /_sim/received` | forgets them |
//! | `GET /_sim/polls` | polls of each scan, with the last status |
//! | `GET /_sim/arrivals` | when which `webhook-id` arrived |
//! | `GET /_sim/summary` | counts |
//!
//! A script is `{"preset":"threat","after_ms":1500}`, `{"steps":[…]}` (also `answers`), or both. A step is one of
//! `{"status":503,"headers":{…},"body":{…}}`, `{"status":…,"body_text":"…","content_type":"…"}`,
//! `{"state":"clean","set":{"severity":"weird"},"unset":["isThreat"]}` (a reference body, edited), `{"hang_ms":…}`, or
//! `{"special":"reset"}` (`drop`, `reset`, `reset-mid-body`, `truncated`, `garbage`, `drip`, `huge`, `huge-chunked`,
//! `gzip-bomb`, `redirect`, with `bytes`, `every_ms`, `to`); each with `repeat`, `delay_ms` and, for SMTP, `at`
//! (`connect`, `ehlo`, `auth`, `mail`, `rcpt`, `data`, `dot`).
//!
//! A destination's name: the last part of a Slack webhook's path, a Slack channel without `#`, a hook's name, a mail
//! recipient's address, or `smtp` for the whole mail server.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::inner::Inner;
use super::ledger::Kind;
use super::reply;
use super::scans::{Provider, Usual};
use super::script::ScriptForm;

/// `/_sim/…`.
pub(super) fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/_sim/scans", put(script_all))
        .route("/_sim/scans/{provider}/{id}", put(script_one))
        .route("/_sim/providers/{provider}", put(script_provider))
        .route("/_sim/destinations/{name}", put(script_destination))
        .route("/_sim/hooks/{name}", put(secrets))
        .route("/_sim/keys", put(keys))
        .route("/_sim/received", get(received).delete(forget))
        .route("/_sim/arrivals", get(arrivals))
        .route("/_sim/polls", get(polls))
        .route("/_sim/summary", get(summary))
}

type World = State<Arc<Inner>>;
type Answer = Result<Response, Refused>;

/// One sentence and 400.
struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        reply::json(400, &[], &json!({ "error": self.0 }))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(error.to_string()))
}

fn done(room: bool) -> Answer {
    let full = || Refused("too many: the simulator's memory is bounded".to_owned());
    room.then(|| StatusCode::NO_CONTENT.into_response()).ok_or_else(full)
}

async fn script_all(State(inner): World, body: Bytes) -> Answer {
    let script = read::<ScriptForm>(&body)?.for_scan(inner.usual_time());
    inner.scans().set_usual(Usual::Same(script));
    done(true)
}

async fn script_one(
    State(inner): World,
    Path((provider, id)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Answer {
    let provider: Provider = provider.parse().map_err(Refused)?;
    let script = read::<ScriptForm>(&body)?.for_scan(inner.usual_time());
    let now = inner.now();
    match (provider, query.get("endpoint").map(String::as_str)) {
        (_, None) => done(inner.scans().script(provider, &id, script, now)),
        (Provider::Enkrypt, Some("results")) => done(inner.scans().script_results(&id, script, now)),
        _ => Err(Refused("endpoint is `results`, of enkrypt, or left out".to_owned())),
    }
}

async fn script_provider(State(inner): World, Path(provider): Path<String>, body: Bytes) -> Answer {
    let provider: Provider = provider.parse().map_err(Refused)?;
    inner.set_provider(provider, read::<ScriptForm>(&body)?.for_destination());
    done(true)
}

async fn script_destination(State(inner): World, Path(name): Path<String>, body: Bytes) -> Answer {
    done(inner.set_destination(&name, read::<ScriptForm>(&body)?.for_destination()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsForm {
    secrets: Vec<String>,
}

async fn secrets(State(inner): World, Path(name): Path<String>, body: Bytes) -> Answer {
    done(inner.set_secrets(&name, read::<SecretsForm>(&body)?.secrets))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysForm {
    sieve: Option<Vec<String>>,
    enkrypt: Option<Vec<String>>,
    refuse_with: Option<u16>,
}

async fn keys(State(inner): World, body: Bytes) -> Answer {
    let form: KeysForm = read(&body)?;
    let mut keys = inner.keys();
    keys.sieve = form.sieve.unwrap_or_else(|| keys.sieve.clone());
    keys.enkrypt = form.enkrypt.unwrap_or_else(|| keys.enkrypt.clone());
    keys.refuse_with = form.refuse_with.unwrap_or(keys.refuse_with);
    done(true)
}

async fn received(State(inner): World, Query(query): Query<HashMap<String, String>>) -> Answer {
    let kind: Option<Kind> = query.get("kind").map(|kind| kind.parse()).transpose().map_err(Refused)?;
    let name = query.get("name").map(String::as_str);
    let messages: Vec<_> = inner.ledger().received(kind, name).cloned().collect();
    Ok(json_response(&messages))
}

async fn forget(State(inner): World) -> StatusCode {
    inner.ledger().clear();
    StatusCode::NO_CONTENT
}

async fn arrivals(State(inner): World) -> Response {
    let arrivals: Vec<_> = inner.ledger().arrivals().cloned().collect();
    json_response(&arrivals)
}

async fn polls(State(inner): World) -> Response {
    let mut polls = inner.scans().polls();
    polls.sort_by(|a, b| (a.first_ms, &a.scan_id).cmp(&(b.first_ms, &b.scan_id)));
    json_response(&polls)
}

async fn summary(State(inner): World) -> Response {
    let polls = inner.scans().total();
    let ledger = inner.ledger();
    let destinations: Vec<Value> = ledger
        .counts()
        .iter()
        .map(|((kind, name), count)| {
            json!({
                "kind": kind, "name": name, "received": count.received, "accepted": count.accepted,
                "first_ms": count.first.as_millisecond(), "last_ms": count.last.as_millisecond(),
            })
        })
        .collect();
    let arrivals = ledger.arrivals().count();
    reply::json(
        200,
        &[],
        &json!({
            "polls": polls, "received": ledger.numbered(), "arrivals": arrivals, "destinations": destinations,
        }),
    )
}

fn json_response<T: serde::Serialize>(value: &T) -> Response {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    ([(axum::http::header::CONTENT_TYPE, "application/json")], bytes).into_response()
}
