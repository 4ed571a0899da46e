//! `CloudEvents` 1.0 around a request: structured (a JSON object) and binary (attributes in headers).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Envelope, MAX_KEY, Refusal, RefusalReason, fields};

/// What the message says its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// An event, or an array of events, in JSON.
    Event,
    /// Nothing special: an object without a scan ID may still be an event.
    Plain,
    /// The data of an event: not an event again.
    Data,
}

impl BodyKind {
    /// By content type. Binary mode says it in headers: then the body is the data.
    pub(super) fn of(envelope: &Envelope) -> Self {
        let content_type = envelope.content_type.as_deref().unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/cloudevents+json" | "application/cloudevents-batch+json" => Self::Event,
            _ if attribute(envelope, "specversion").is_some() => Self::Data,
            _ => Self::Plain,
        }
    }
}

/// An event that was opened.
pub(super) struct Event<'a> {
    /// Source and ID, which together name the event (`CloudEvents` 1.0, 3.1).
    pub(super) key: Option<String>,
    /// What it carries, or why that cannot be had.
    pub(super) data: Result<Data<'a>, Refusal>,
}

/// What an event carries.
pub(super) enum Data<'a> {
    /// `data`.
    Json(&'a RawValue),
    /// `data_base64`, decoded.
    Bytes(Bytes),
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<&'a RawValue>,
    #[serde(borrow)]
    scan_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "scanId")]
    scan_id_camel: Option<&'a RawValue>,
    #[serde(borrow)]
    job_id: Option<&'a RawValue>,
}

/// Opens an event; `None` if the value is a request and not an event.
///
/// An object without `specversion` but with a scan ID is a request even where the content type says event: such a
/// one is what an array leaves on the dead-letter queue, and it must be readable when it is sent again.
pub(super) fn open(raw: &RawValue, kind: BodyKind) -> Result<Option<Event<'_>>, Refusal> {
    if kind == BodyKind::Data || !raw.get().starts_with('{') {
        return Ok(None);
    }
    let event: Raw<'_> = fields::read(raw)?;
    let asks = event.scan_id.or(event.scan_id_camel).or(event.job_id).is_some();
    let is_event = match kind {
        BodyKind::Event => event.specversion.is_some() || !asks,
        BodyKind::Plain => event.specversion.is_some() && !asks,
        BodyKind::Data => false,
    };
    if !is_event {
        return Ok(None);
    }
    let version =
        event.specversion.ok_or_else(|| fields::invalid("specversion", "is missing: an event must say 1.0"))?;
    let version: String = fields::typed("specversion", version, "a string")?;
    if version != "1.0" && !version.starts_with("1.0.") {
        return Err(fields::invalid("specversion", "must be 1.0"));
    }
    let id = event.id.map(|id| fields::typed("id", id, "a string")).transpose()?;
    let source = event.source.map(|source| fields::typed("source", source, "a string")).transpose()?;
    Ok(Some(Event { key: key(source, id), data: data(event.data, event.data_base64) }))
}

fn data<'a>(data: Option<&'a RawValue>, base64: Option<&'a RawValue>) -> Result<Data<'a>, Refusal> {
    match (data, base64) {
        (Some(data), None) => Ok(Data::Json(data)),
        (None, Some(text)) => {
            let text: String = fields::typed("data_base64", text, "a string")?;
            let bytes = STANDARD.decode(text).map_err(|_| fields::invalid("data_base64", "is not base64"))?;
            Ok(Data::Bytes(Bytes::from(bytes)))
        }
        (Some(_), Some(_)) => Err(fields::invalid("data_base64", "cannot stand beside `data`")),
        (None, None) => Err(Refusal::new(RefusalReason::MissingScanId, "the event has no `data`")),
    }
}

/// Source and ID of an event in binary mode.
pub(super) fn binary_key(envelope: &Envelope) -> Option<String> {
    attribute(envelope, "specversion")?;
    key(attribute(envelope, "source").map(str::to_owned), attribute(envelope, "id").map(str::to_owned))
}

/// Both are needed to name an event; a name too long to keep is none.
fn key(source: Option<String>, id: Option<String>) -> Option<String> {
    let (source, id) = (source?, id.filter(|id| !id.is_empty())?);
    Some(format!("{source} {id}")).filter(|key| key.len() <= MAX_KEY)
}

/// An attribute of an event in binary mode: `cloudEvents_NAME`, `cloudEvents:NAME` or `ce-NAME`, in any case.
fn attribute<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
    envelope.headers.iter().find_map(|(header, value)| {
        let header = header.to_ascii_lowercase();
        let attribute =
            ["cloudevents_", "cloudevents:", "ce-"].iter().find_map(|prefix| header.strip_prefix(prefix))?;
        (attribute == name).then_some(value.as_str())
    })
}
