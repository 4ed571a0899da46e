//! The wire forms: which one it is, and its entries. Their fields are read in [`super::fields`].

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::event::{self, BodyKind, Data};
use super::fields;
use super::json;
use super::{Entry, Envelope, MAX_BYTES, MAX_ENTRIES, Refusal, RefusalReason, Request};

/// Reads one message: the bare ID, a JSON string, an object, an array of them, or a `CloudEvents` event that
/// carries one of these.
///
/// Text whose first character after a byte order mark and white space is `{`, `[` or `"` is JSON, anything else is a
/// bare ID without the white space around it. Without any request in it at all (unreadable, empty, too large) the
/// message is refused as a whole. Else it has one entry, or one for each of its array. Fields that are `null` count
/// as absent, unknown ones are ignored, a known one given twice is refused.
///
/// An object that has a `specversion` and no scan ID is taken for an event also without the content type.
pub fn parse(body: &Bytes, envelope: &Envelope) -> Result<Vec<Entry>, Refusal> {
    if body.len() > MAX_BYTES {
        return Err(Refusal::new(
            RefusalReason::TooLarge,
            format!("the message has {} bytes; the limit is {MAX_BYTES}", body.len()),
        ));
    }
    let kind = BodyKind::of(envelope);
    let text = text(body)?;
    if kind == BodyKind::Event && !json::looks_like_json(text) {
        return Err(Refusal::new(RefusalReason::NotJson, "the content type says that it is an event in JSON"));
    }
    let mut entries = message(body, text, kind)?;
    let message_key = envelope.message_id.as_deref().filter(|id| !id.is_empty()).map(Cow::Borrowed);
    if let Some(key) = message_key.or_else(|| event::binary_key(envelope).map(Cow::Owned)) {
        let numbered = text.starts_with('[') || entries.len() > 1;
        number_keys(&mut entries, &key, numbered);
    }
    Ok(entries)
}

/// The text to read: UTF-8 without byte order mark and white space around it.
fn text(body: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::new(RefusalReason::NotJson, "the message is neither JSON nor UTF-8 text"))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(Refusal::new(RefusalReason::MissingScanId, "the message is empty"));
    }
    Ok(text)
}

/// The entries of a message. `text` lies within `body`.
fn message(body: &Bytes, text: &str, kind: BodyKind) -> Result<Vec<Entry>, Refusal> {
    match text.as_bytes().first() {
        Some(b'[') => array(text, body, kind),
        Some(b'{') => {
            let raw = json::check(text)?;
            match event::open(raw, kind) {
                Ok(Some(event)) => event_entries(body, event),
                Ok(None) => Ok(vec![Entry::of(body.clone(), fields::object(raw))]),
                Err(refusal) => Ok(vec![Entry::of(body.clone(), Err(refusal))]),
            }
        }
        Some(b'"') => Ok(vec![Entry::of(body.clone(), fields::scan_id_only(json::check(text)?))]),
        _ => Ok(vec![Entry::of(body.clone(), Ok(fields::of_scan_id(text.to_owned())))]),
    }
}

/// The entries of an event: the event itself, or one for each of its `data` where that is an array.
fn event_entries(body: &Bytes, event: event::Event<'_>) -> Result<Vec<Entry>, Refusal> {
    let mut entries = match event.data {
        Ok(Data::Json(data)) if data.get().starts_with('[') => array(data.get(), body, BodyKind::Plain)?,
        Ok(Data::Bytes(decoded)) => decoded_entries(body, &decoded)?,
        Ok(Data::Json(data)) => vec![Entry::of(body.clone(), one(data))],
        Err(refusal) => vec![Entry::of(body.clone(), Err(refusal))],
    };
    if let Some(key) = event.key {
        let numbered = entries.len() > 1;
        number_keys(&mut entries, &key, numbered);
    }
    Ok(entries)
}

/// The entries of `data_base64`. A single one goes out as the whole event, since that is the message.
fn decoded_entries(body: &Bytes, decoded: &Bytes) -> Result<Vec<Entry>, Refusal> {
    let text = text(decoded)?;
    let mut entries = message(decoded, text, BodyKind::Data)?;
    if let ([entry], false) = (entries.as_mut_slice(), text.starts_with('[')) {
        entry.bytes = body.clone();
    }
    Ok(entries)
}

/// The entries of an array. Read without recursion; each is accepted or refused by itself.
fn array(text: &str, body: &Bytes, kind: BodyKind) -> Result<Vec<Entry>, Refusal> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| json::not_json(&error))?;
    if elements.is_empty() {
        return Err(Refusal::new(RefusalReason::MissingScanId, "the array is empty"));
    }
    if elements.len() > MAX_ENTRIES {
        return Err(Refusal::new(
            RefusalReason::TooLarge,
            format!("the array has {} entries; the limit is {MAX_ENTRIES}", elements.len()),
        ));
    }
    // Nothing but nesting is not an array of requests: it stays in one piece.
    if elements.iter().all(|element| json::too_deep(element.get())) {
        return Err(json::nested());
    }
    Ok(elements.into_iter().map(|element| element_entry(element, body, kind)).collect())
}

fn element_entry(element: &RawValue, body: &Bytes, kind: BodyKind) -> Entry {
    let bytes = body.slice_ref(element.get().as_bytes());
    if json::too_deep(element.get()) {
        return Entry::of(bytes, Err(json::nested()));
    }
    match event::open(element, kind) {
        Ok(None) => Entry::of(bytes, one(element)),
        Ok(Some(event)) => {
            let request = event.data.and_then(|data| match data {
                Data::Json(data) => one(data),
                Data::Bytes(_) => Err(fields::invalid("data_base64", "must be `data` where events come in an array")),
            });
            Entry { envelope_key: event.key, ..Entry::of(bytes, request) }
        }
        Err(refusal) => Entry::of(bytes, Err(refusal)),
    }
}

/// One request: a JSON string or an object.
fn one(raw: &RawValue) -> Result<Request, Refusal> {
    match raw.get().as_bytes().first() {
        Some(b'{') => fields::object(raw),
        Some(b'"') => fields::scan_id_only(raw),
        Some(b'n') => Err(Refusal::new(RefusalReason::MissingScanId, "the entry is null")),
        _ => Err(Refusal::new(
            RefusalReason::InvalidField,
            format!("an entry must be a string or an object, not {}", json::kind(raw)),
        )),
    }
}

/// Gives each entry the key of the message, told apart by index in an array.
fn number_keys(entries: &mut [Entry], key: &str, numbered: bool) {
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.envelope_key = Some(if numbered { format!("{key}#{index}") } else { key.to_owned() });
    }
}

impl Entry {
    fn of(bytes: Bytes, request: Result<Request, Refusal>) -> Self {
        Self { bytes, request, envelope_key: None }
    }
}

#[cfg(test)]
mod tests;
