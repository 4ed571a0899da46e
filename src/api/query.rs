//! Query strings of lists: checked word by word, so that a typo is an answer and not an empty list.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::StatusCode;
use uuid::Uuid;

use super::problem::ApiProblem;
use crate::domain::delivery::DeliveryState;
use crate::domain::scan::Outcome;
use crate::problem::did_you_mean;
use crate::store::{DeliveryFilter, ScanFilter, ScanState};

/// Rows of a page where the caller does not say.
const DEFAULT_LIMIT: usize = 50;
/// The most rows of one page: bounds memory and time of one answer.
const MAX_LIMIT: usize = 500;

/// Reads `?state=&provider=&outcome=&scan_id=&limit=&cursor=`.
pub fn scans(query: &str) -> Result<ScanFilter, ApiProblem> {
    let mut filter = ScanFilter { limit: DEFAULT_LIMIT, ..ScanFilter::default() };
    for (name, value) in pairs(query) {
        match name.as_str() {
            "state" => filter.state = Some(scan_state(&value)?),
            "provider" => filter.provider = Some(value),
            "outcome" => filter.outcome = Some(word::<Outcome>(&name, &value)?),
            "scan_id" => filter.scan_id = Some(value),
            "limit" => filter.limit = limit(&value)?,
            "cursor" => filter.before = Some(cursor(&value)?),
            _ => return Err(unknown(&name, &["state", "provider", "outcome", "scan_id", "limit", "cursor"])),
        }
    }
    Ok(filter)
}

/// Reads `?state=&destination=&scan=&limit=&cursor=`.
pub fn deliveries(query: &str) -> Result<DeliveryFilter, ApiProblem> {
    let mut filter = DeliveryFilter { limit: DEFAULT_LIMIT, ..DeliveryFilter::default() };
    for (name, value) in pairs(query) {
        match name.as_str() {
            "state" => filter.state = Some(word::<DeliveryState>(&name, &value)?),
            "destination" => filter.destination = Some(value),
            "scan" => filter.scan = Some(word::<Uuid>(&name, &value)?),
            "limit" => filter.limit = limit(&value)?,
            "cursor" => filter.before = Some(cursor(&value)?),
            _ => return Err(unknown(&name, &["state", "destination", "scan", "limit", "cursor"])),
        }
    }
    Ok(filter)
}

/// Name and value pairs; an empty value is as if it were not there.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().filter(|(_, value)| !value.is_empty())
}

fn scan_state(value: &str) -> Result<ScanState, ApiProblem> {
    match value {
        "following" => Ok(ScanState::Following),
        "finished" => Ok(ScanState::Finished),
        _ => Err(bad("state", &"it is following or finished")),
    }
}

fn word<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, ApiProblem> {
    value.parse().map_err(|error| bad(name, &error))
}

fn limit(value: &str) -> Result<usize, ApiProblem> {
    match value.parse() {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(bad("limit", &format!("it is a number from 1 to {MAX_LIMIT}"))),
    }
}

fn cursor(value: &str) -> Result<Uuid, ApiProblem> {
    value.parse().map_err(|_| bad("cursor", &"take it from `next` of the page before"))
}

fn bad(name: &str, why: &dyn Display) -> ApiProblem {
    ApiProblem::new(StatusCode::BAD_REQUEST, format!("query parameter `{name}`: {why}"))
}

fn unknown(name: &str, known: &[&str]) -> ApiProblem {
    let hint = did_you_mean(name, known.iter().copied());
    ApiProblem::new(StatusCode::BAD_REQUEST, format!("unknown query parameter `{name}`: {hint}"))
}
