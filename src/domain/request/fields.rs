//! The fields of one request: wrong types and sizes are refused with the name of the field.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{
    MAX_DESTINATIONS, MAX_KEY, MAX_LABEL_NAME, MAX_LABEL_VALUE, MAX_LABELS, Refusal, RefusalReason, Request, json,
};
use crate::time::Span;

/// The known fields as they stand there: each is read by itself, so that the refusal can name it.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    scan_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "scanId")]
    scan_id_camel: Option<&'a RawValue>,
    #[serde(borrow)]
    job_id: Option<&'a RawValue>,
    #[serde(borrow)]
    provider: Option<&'a RawValue>,
    #[serde(borrow)]
    destinations: Option<&'a RawValue>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    deadline: Option<&'a RawValue>,
    #[serde(borrow)]
    force: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A request from an object. `scan_id` counts before `scanId`, and that before `job_id`.
pub(super) fn object(raw: &RawValue) -> Result<Request, Refusal> {
    let fields: Raw<'_> = read(raw)?;
    let (name, scan_id) = [("scan_id", fields.scan_id), ("scanId", fields.scan_id_camel), ("job_id", fields.job_id)]
        .into_iter()
        .find_map(|(name, value)| value.map(|value| (name, value)))
        .ok_or_else(|| Refusal::new(RefusalReason::MissingScanId, "the object has no `scan_id`"))?;
    Ok(Request {
        scan_id: not_blank(typed(name, scan_id, "a string")?, name)?,
        provider: optional("provider", fields.provider, "a string")?,
        destinations: fields.destinations.map(destinations).transpose()?,
        labels: fields.labels.map(labels).transpose()?.unwrap_or_default(),
        deadline: fields.deadline.map(deadline).transpose()?,
        force: optional("force", fields.force, "true or false")?.unwrap_or_default(),
        id: fields.id.map(id).transpose()?.flatten(),
    })
}

/// A request from a JSON string.
pub(super) fn scan_id_only(raw: &RawValue) -> Result<Request, Refusal> {
    let scan_id: String = serde_json::from_str(raw.get()).map_err(|error| json::not_json(&error))?;
    not_blank(scan_id, "scan_id").map(of_scan_id)
}

/// A request for nothing but an ID.
pub(super) fn of_scan_id(scan_id: String) -> Request {
    Request { scan_id, ..Request::default() }
}

/// The refusal of a field.
pub(super) fn invalid(field: &str, wrong: &str) -> Refusal {
    Refusal::new(RefusalReason::InvalidField, format!("`{field}` {wrong}"))
}

/// The known fields of an object. One that is given twice is refused: the sender cannot mean both.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Refusal> {
    serde_json::from_str(raw.get()).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Refusal::new(RefusalReason::InvalidField, format!("the object cannot be read: {error}"))
        }
        _ => json::not_json(&error),
    })
}

/// A field's value in the type it must have; `expected` says which in words.
pub(super) fn typed<T: DeserializeOwned>(field: &str, raw: &RawValue, expected: &str) -> Result<T, Refusal> {
    serde_json::from_str(raw.get()).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid(field, &format!("must be {expected}, not {}", json::kind(raw))),
        _ => invalid(field, &format!("cannot be read: {error}")),
    })
}

fn optional<T: DeserializeOwned>(field: &str, raw: Option<&RawValue>, expected: &str) -> Result<Option<T>, Refusal> {
    raw.map(|raw| typed(field, raw, expected)).transpose()
}

fn not_blank(scan_id: String, field: &str) -> Result<String, Refusal> {
    if scan_id.trim().is_empty() {
        return Err(Refusal::new(RefusalReason::MissingScanId, format!("`{field}` is empty")));
    }
    Ok(scan_id)
}

/// Names of destinations in the order given, each once. An empty list is allowed: tell nobody, keep the report.
fn destinations(raw: &RawValue) -> Result<Vec<String>, Refusal> {
    let given: Vec<String> = if raw.get().starts_with('[') {
        serde_json::from_str(raw.get())
            .map_err(|_| invalid("destinations", "must be a list of names: every entry must be a string"))?
    } else {
        typed("destinations", raw, "a list of names")?
    };
    if given.len() > MAX_DESTINATIONS {
        return Err(invalid("destinations", &format!("has {} names; the limit is {MAX_DESTINATIONS}", given.len())));
    }
    let mut names = Vec::with_capacity(given.len());
    for name in given {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn labels(raw: &RawValue) -> Result<BTreeMap<String, String>, Refusal> {
    if !raw.get().starts_with('{') {
        return Err(invalid("labels", &format!("must be an object of strings, not {}", json::kind(raw))));
    }
    let given: BTreeMap<String, Option<&RawValue>> = read(raw)?;
    if given.len() > MAX_LABELS {
        return Err(invalid("labels", &format!("has {} labels; the limit is {MAX_LABELS}", given.len())));
    }
    let mut labels = BTreeMap::new();
    for (name, value) in given {
        if name.len() > MAX_LABEL_NAME {
            return Err(invalid("labels", &format!("has a name longer than {MAX_LABEL_NAME} bytes")));
        }
        if let Some(value) = value {
            let value = label(&name, value)?;
            labels.insert(name, value);
        }
    }
    Ok(labels)
}

fn label(name: &str, raw: &RawValue) -> Result<String, Refusal> {
    // The name is a stranger's too: only what cannot break a header or a log line is repeated.
    let shown: String = name.chars().filter(|letter| !letter.is_control()).take(40).collect();
    let value: String = typed(&format!("labels.{shown}"), raw, "a string")?;
    if value.len() > MAX_LABEL_VALUE {
        return Err(invalid(&format!("labels.{shown}"), &format!("is longer than {MAX_LABEL_VALUE} bytes")));
    }
    Ok(value)
}

fn deadline(raw: &RawValue) -> Result<Duration, Refusal> {
    let text: String = typed("deadline", raw, "a string like \"45m\"")?;
    Span::parse(&text)
        .map(|span| span.0)
        .map_err(|_| invalid("deadline", "is not a duration; write it like \"200ms\", \"90s\", \"45m\" or \"3d\""))
}

/// The caller's key; an empty one would make all that send it one request, so it counts as absent.
fn id(raw: &RawValue) -> Result<Option<String>, Refusal> {
    let id: String = typed("id", raw, "a string")?;
    if id.len() > MAX_KEY {
        return Err(invalid("id", &format!("is longer than {MAX_KEY} bytes")));
    }
    Ok(Some(id).filter(|id| !id.is_empty()))
}
