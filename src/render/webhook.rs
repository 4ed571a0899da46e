//! The bodies of webhooks that no template makes: Standard Webhooks, `CloudEvents`, and the plain form of last resort.
//!
//! These carry data exactly as it is: a machine reads them, and JSON says where a string ends.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::notification::{Content, OperatorEvent};
use crate::domain::report::Report;
use crate::time::Timestamp;

/// The media type of every body but a `CloudEvent`.
const JSON: &str = "application/json";
/// The media type of a `CloudEvent` in structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json";
/// What may stand in a path unescaped.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Serialize)]
struct Standard<'a, D> {
    r#type: String,
    timestamp: Timestamp,
    data: &'a D,
    #[serde(flatten)]
    apology: Option<Apology<'a>>,
}

/// What the plain form adds: a text that chat systems show, and why it is plain.
#[derive(Serialize)]
struct Apology<'a> {
    text: String,
    template_error: &'a str,
}

#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    data: &'a D,
}

/// A report that says of itself that it is a test.
#[derive(Serialize)]
struct Marked<'a> {
    #[serde(flatten)]
    report: &'a Report,
    test: bool,
}

/// A word about scanbell itself, as machines see it.
#[derive(Serialize)]
struct EventData<'a> {
    key: &'a str,
    resolved: bool,
    title: &'a str,
    text: &'a str,
    at: Timestamp,
}

impl<'a> EventData<'a> {
    fn new(event: &'a OperatorEvent) -> Self {
        Self { key: &event.key, resolved: event.resolved, title: &event.title, text: &event.text, at: event.at }
    }
}

/// `{"type": "scan.completed", "timestamp": …, "data": {report}}`; a test has `"test": true` in its data.
pub(super) fn standard(report: &Report, test: bool) -> Content {
    let kind = format!("scan.{}", report.outcome);
    if test {
        return standard_body(kind, report.finished_at, &Marked { report, test }, None);
    }
    standard_body(kind, report.finished_at, report, None)
}

/// The standard form with a text for people and why there is one: where a template failed.
pub(super) fn plain(report: &Report, lines: &[String], why: &str) -> Content {
    let apology = Apology { text: lines.join("\n"), template_error: why };
    standard_body(format!("scan.{}", report.outcome), report.finished_at, report, Some(apology))
}

/// `{"type": "scanbell.operator", …}`.
pub(super) fn standard_event(event: &OperatorEvent) -> Content {
    standard_body("scanbell.operator".to_owned(), event.at, &EventData::new(event), None)
}

fn standard_body<D: Serialize>(kind: String, timestamp: Timestamp, data: &D, apology: Option<Apology>) -> Content {
    http(JSON, &Standard { r#type: kind, timestamp, data, apology })
}

/// `CloudEvents` 1.0, structured mode.
pub(super) fn cloud_event(report: &Report, id: Uuid, test: bool) -> Content {
    let source = format!("/scanbell/{}", utf8_percent_encode(&report.provider, PATH));
    let kind = format!("dev.scanbell.scan.{}", report.outcome);
    if test {
        return cloud_body(id, source, kind, &report.scan_id, report.finished_at, &Marked { report, test });
    }
    cloud_body(id, source, kind, &report.scan_id, report.finished_at, report)
}

/// `{"type": "dev.scanbell.operator", …}`.
pub(super) fn cloud_operator_event(event: &OperatorEvent, id: Uuid) -> Content {
    let kind = "dev.scanbell.operator".to_owned();
    cloud_body(id, "/scanbell".to_owned(), kind, &event.key, event.at, &EventData::new(event))
}

fn cloud_body<D: Serialize>(
    id: Uuid,
    source: String,
    kind: String,
    subject: &str,
    time: Timestamp,
    data: &D,
) -> Content {
    let event = CloudEvent {
        specversion: "1.0",
        id: id.to_string(),
        source,
        r#type: kind,
        subject,
        time,
        datacontenttype: JSON,
        data,
    };
    http(CLOUD_EVENT, &event)
}

/// The body a webhook template made.
pub(super) fn rendered(body: String) -> Content {
    Content::Http { content_type: JSON.to_owned(), body: body.into() }
}

/// A Slack message.
pub(super) fn json_body(message: &serde_json::Map<String, serde_json::Value>) -> Content {
    http(JSON, message)
}

fn http<B: Serialize>(content_type: &str, body: &B) -> Content {
    // Names, strings and finite numbers: nothing in these types can fail to serialise.
    let body: Bytes = serde_json::to_vec(body).unwrap_or_default().into();
    Content::Http { content_type: content_type.to_owned(), body }
}
