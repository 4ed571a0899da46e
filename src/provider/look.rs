//! One request of a poll and what its answer means: HTTP class first, then the echoed ID, then the rules.

use std::time::Duration;

use reqwest::header::HeaderMap;

use super::Provider;
use super::body::Body;
use super::extract::cut;
use super::profile::{Means, Step};
use super::rule::scalar;
use crate::domain::report::Extract;
use crate::egress::{Answer, Head, SendError, retry_after};
use crate::time::Timestamp;

/// What one request learned.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) meaning: Meaning,
    pub(super) retry_after: Option<Duration>,
    pub(super) throttled: bool,
    pub(super) detail: String,
    pub(super) extract: Option<Extract>,
    /// The URL of the second step, where the first answer names it.
    pub(super) captured: Option<String>,
}

/// What an answer, or its absence, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The body, or a rule over the status, says this of the scan.
    Said(Means),
    /// Not known, perhaps not yet.
    NotFound,
    /// Not known any more.
    Gone,
    /// Says nothing about the scan.
    Unavailable,
    /// Our key is refused.
    Unauthorized,
}

/// What an HTTP status means before the body is looked at.
enum Class {
    Read,
    Decided(Meaning, &'static str),
}

impl Look {
    pub(super) fn new(meaning: Meaning, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { meaning, retry_after: None, throttled: false, detail, extract: None, captured: None }
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Meaning::Unavailable, detail)
    }
}

impl Provider {
    /// Judges what came back from `step` when it was asked for `scan_id`.
    pub(super) fn judge(&self, step: &Step, scan_id: &str, answer: Result<Answer, SendError>, now: Timestamp) -> Look {
        match answer {
            Ok(answer) => {
                let look = self.judge_answer(step, scan_id, &answer);
                asked_to_wait(look, answer.status, &answer.headers, now)
            }
            Err(SendError { head: Some(head), detail, .. }) => {
                asked_to_wait(self.judge_head(step, &head, detail), head.status, &head.headers, now)
            }
            Err(error) => Look::unavailable(error.detail),
        }
    }

    /// The head came and the body did not: the status may decide all the same.
    fn judge_head(&self, step: &Step, head: &Head, detail: String) -> Look {
        match self.class(step, head.status) {
            Class::Decided(meaning, words) => Look::new(meaning, format!("HTTP {}{words}", head.status)),
            Class::Read => Look::unavailable(detail),
        }
    }

    fn judge_answer(&self, step: &Step, scan_id: &str, answer: &Answer) -> Look {
        let status = answer.status;
        if let Class::Decided(meaning, words) = self.class(step, status) {
            return Look::new(meaning, format!("HTTP {status}{words}"));
        }
        let body = if answer.cut {
            Err(format!("the body is larger than {} bytes", self.profile.max_body))
        } else {
            Body::read(&answer.body)
        };
        match body {
            Ok(body) => self.judge_body(step, scan_id, status, body),
            Err(error) => {
                let means = rule(step, status, None).filter(|means| *means != Means::Ok);
                let meaning = means.map_or(Meaning::Unavailable, Meaning::Said);
                Look::new(meaning, format!("HTTP {status}, but {error}"))
            }
        }
    }

    fn judge_body(&self, step: &Step, scan_id: &str, http: u16, body: Body) -> Look {
        let word = self.profile.status.as_ref().and_then(|at| at.find(&body.value)).and_then(scalar);
        let shown = word.as_ref().map_or_else(|| "no status".to_owned(), |word| format!("status {:?}", cut(word, 60)));
        let decided = rule(step, http, Some(&body.value));
        if let (None, Some(word)) = (decided, &word) {
            self.note_unknown(word);
        }
        let means = decided.unwrap_or(Means::Pending);
        if let Err(error) = self.check_echo(scan_id, &body, means) {
            return Look::unavailable(format!("HTTP {http}, {shown}, but {error}"));
        }
        let mut extract = self.profile.reading.extract(http, self.profile.status.as_ref(), &body.value);
        extract.link = self.link(scan_id);
        extract.raw = Some(body.raw);
        Look {
            captured: self.captured(&body.value),
            extract: Some(extract),
            ..Look::new(Meaning::Said(means), format!("HTTP {http}, {shown}"))
        }
    }

    /// An echoed ID must be the one that was asked for. While nothing is decided it may be left out.
    fn check_echo(&self, scan_id: &str, body: &Body, means: Means) -> Result<(), &'static str> {
        let Some(at) = &self.profile.echo_id else { return Ok(()) };
        match at.find(&body.value).and_then(scalar) {
            Some(echoed) if self.profile.id.same(scan_id, &echoed) => Ok(()),
            Some(_) => Err("it is about another scan than was asked for"),
            None if means == Means::Pending => Ok(()),
            None => Err("it does not say which scan it is about"),
        }
    }

    fn captured(&self, body: &serde_json::Value) -> Option<String> {
        match &self.profile.result.as_ref()?.step.url {
            super::profile::StepUrl::Captured(at) => at.find(body)?.as_str().map(str::to_owned),
            super::profile::StepUrl::Path(_) => None,
        }
    }

    /// A rule that names the status comes before the lists; the lists before reading what is 2xx.
    fn class(&self, step: &Step, status: u16) -> Class {
        let http = &self.profile.http;
        if step.ready.iter().any(|rule| rule.when.http.contains(&status)) {
            Class::Read
        } else if http.auth.contains(&status) {
            Class::Decided(Meaning::Unauthorized, ": the key is refused")
        } else if http.pending.contains(&status) {
            Class::Decided(Meaning::Said(Means::Pending), ": not finished yet")
        } else if http.gone.contains(&status) {
            Class::Decided(Meaning::Gone, ": the provider does not have this scan any more")
        } else if http.not_found.contains(&status) {
            Class::Decided(Meaning::NotFound, ": the provider does not know this scan")
        } else {
            match status {
                200..=299 => Class::Read,
                300..=399 => Class::Decided(Meaning::Unavailable, ": redirects are not followed; check base_url"),
                _ => Class::Decided(Meaning::Unavailable, ""),
            }
        }
    }
}

/// What the head says besides: any answer may ask to wait.
fn asked_to_wait(look: Look, status: u16, headers: &HeaderMap, now: Timestamp) -> Look {
    let retry_after = retry_after(headers, now);
    Look { retry_after, throttled: status == 429 || (status == 503 && retry_after.is_some()), ..look }
}

/// What the first rule that holds says.
fn rule(step: &Step, http: u16, body: Option<&serde_json::Value>) -> Option<Means> {
    step.ready.iter().find(|rule| rule.when.holds(http, body)).map(|rule| rule.means)
}
