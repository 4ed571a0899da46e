//! What the two destinations that speak HTTP have in common.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::Sent;
use super::answer::Redactor;
use crate::domain::delivery::{Reason, Verdict, verdict_of_http};
use crate::domain::notification::Content;
use crate::egress::{ClientOptions, Failure, Guard, Request, SendError, TlsFiles, retry_after};
use crate::time::Timestamp;

/// Until the connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Until the answer is read. The lease of a delivery is longer, so this also bounds how long a crash delays one.
pub(super) const TOTAL: Duration = Duration::from_secs(15);

/// The client's options of both.
pub(super) fn options(guard: Option<Guard>, tls: TlsFiles) -> ClientOptions {
    ClientOptions { connect_timeout: CONNECT, total_timeout: TOTAL, guard, tls }
}

/// A POST of exactly the notification's bytes; `None` if it was rendered for mail.
pub(super) fn post(url: Url, content: &Content, max_body: usize) -> Option<Request> {
    let Content::Http { content_type, body } = content else { return None };
    let mut headers = HeaderMap::new();
    let media = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, media);
    Some(Request { method: Method::POST, url, headers, body: Bytes::clone(body), max_body })
}

/// A notification of the wrong form: a fault of ours that no retry mends.
pub(super) fn wrong_form() -> Sent {
    Sent::ours(Verdict::Reject { reason: Reason::Internal }, "the notification was not rendered for this destination")
}

/// No answer, or none that arrived whole: what its head said counts if it came.
pub(super) fn verdict_of_failure(error: &SendError, now: Timestamp) -> Verdict {
    match &error.head {
        Some(head) => verdict_of_http(head.status, retry_after(&head.headers, now)),
        None => Verdict::retry(reason_of(error.failure)),
    }
}

/// A failure and its sentence as the end of an attempt.
pub(super) fn failed(error: &SendError, now: Timestamp, redactor: &Redactor) -> Sent {
    let status = error.head.as_ref().map(|head| format!("HTTP {}; ", head.status)).unwrap_or_default();
    let said = format!("{status}{}", error.detail);
    Sent { verdict: verdict_of_failure(error, now), answer: redactor.clean(said.as_bytes()) }
}

/// `HTTP 503: body`.
pub(super) fn said(status: u16, body: &[u8], redactor: &Redactor) -> Option<String> {
    let mut line = format!("HTTP {status}: ").into_bytes();
    line.extend_from_slice(body);
    redactor.clean(&line).map(|line| line.trim_end_matches([':', ' ']).to_owned())
}

const fn reason_of(failure: Failure) -> Reason {
    match failure {
        Failure::Connect => Reason::Connect,
        Failure::Tls => Reason::Tls,
        Failure::Timeout => Reason::Timeout,
        Failure::Interrupted => Reason::Interrupted,
        Failure::BlockedAddress => Reason::BlockedAddress,
        Failure::BadAnswer => Reason::BadAnswer,
    }
}

/// A URL from the configuration; the error says what is wrong and not what was read.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("it is not a URL: {error}"))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) if !host.is_empty() => Ok(url),
        _ => Err("it must begin with http:// or https://".to_owned()),
    }
}
