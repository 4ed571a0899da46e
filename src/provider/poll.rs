//! One poll: one request, or two where the profile fetches the result separately.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::look::{Look, Meaning};
use super::profile::{Means, ResultStep, Step, StepUrl};
use super::{Provider, Seen};
use crate::domain::report::Extract;
use crate::domain::scan::{Observation, Outcome};
use crate::egress::{Answer, Request};
use crate::time::Timestamp;

/// RFC 3986 "unreserved" stays, everything else is encoded.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An ID as it stands in a URL.
pub(super) fn encoded(scan_id: &str) -> String {
    utf8_percent_encode(scan_id, UNRESERVED).to_string()
}

impl Provider {
    /// Asks once how a scan stands. `now` is for `Retry-After` dates. Takes at most [`Provider::longest_poll`].
    pub async fn poll(&self, scan_id: &str, now: Timestamp) -> Seen {
        // Only after a profile became stricter than it was when the scan was accepted.
        if let Err(error) = self.check_id(scan_id) {
            let extract = Extract { error: Some(error.clone()), ..Extract::default() };
            return seen(Look { extract: Some(extract), ..Look::new(Meaning::Said(Means::Failed), error) }, 0);
        }
        let mut requests = 0;
        let first = self.ask(&self.profile.request, None, scan_id, now, &mut requests).await;
        let last = match &self.profile.result {
            Some(result) if is_wanted(result, first.meaning) => {
                let captured = first.captured.as_deref();
                let second = self.ask(&result.step, captured, scan_id, now, &mut requests).await;
                combine(first, second)
            }
            _ => first,
        };
        seen(last, requests)
    }

    /// What an answer with this HTTP status and body says about the scan, without asking anybody: the answer that
    /// carries the result, so that of the second request where the profile makes two.
    ///
    /// No headers come with it, so nothing is asked to wait. A body longer than the profile allows counts as cut.
    pub fn read(&self, scan_id: &str, status: u16, body: Bytes) -> Seen {
        let step = self.profile.result.as_ref().map_or(&self.profile.request, |result| &result.step);
        let cut = body.len() > self.profile.max_body;
        let answer = Answer { status, headers: HeaderMap::new(), body, cut };
        // The time is for dates in headers.
        seen(self.judge(step, scan_id, Ok(answer), Timestamp::UNIX_EPOCH), 0)
    }

    /// Makes one request; once more with the new key where the old one was refused and has been replaced.
    async fn ask(
        &self,
        step: &Step,
        captured: Option<&str>,
        scan_id: &str,
        now: Timestamp,
        requests: &mut u32,
    ) -> Look {
        for again in [false, true] {
            let (request, sent) = match self.request(step, captured, scan_id) {
                Ok(request) => request,
                Err((meaning, why)) => return Look::new(meaning, why),
            };
            *requests += 1;
            let mut answer = self.client.send(request).await;
            if let (Ok(answer), Some(key)) = (&mut answer, &self.key) {
                answer.body = key.hidden_in(std::mem::take(&mut answer.body));
            }
            let look = self.judge(step, scan_id, answer, now);
            let replaced = || self.key.as_ref().zip(sent).is_some_and(|(key, sent)| key.replaced(&sent));
            if again || look.meaning != Meaning::Unauthorized || !replaced() {
                return look;
            }
        }
        Look::new(Meaning::Unauthorized, "the key is refused")
    }

    /// The request, and the key that it carries.
    fn request(
        &self,
        step: &Step,
        captured: Option<&str>,
        scan_id: &str,
    ) -> Result<(Request, Option<HeaderValue>), (Meaning, String)> {
        let unsendable = |what: &str| (Meaning::Unavailable, format!("{what} has characters that no header can carry"));
        let url = self.step_url(step, captured, scan_id).map_err(|why| (Meaning::Unavailable, why))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.profile.headers {
            let value = HeaderValue::try_from(value.replace("{id}", scan_id)).map_err(|_| unsendable("the ID"))?;
            headers.insert(name, value);
        }
        let mut body = Bytes::new();
        if let Some((text, content_type)) = &step.body {
            body = Bytes::from(text.replace("{id}", &in_body(scan_id, content_type)));
            let media = HeaderValue::try_from(content_type.as_str()).map_err(|_| unsendable("content_type"))?;
            headers.insert(CONTENT_TYPE, media);
        }
        let mut sent = None;
        if let Some(key) = &self.key {
            let (name, value) = key.header().map_err(|why| (Meaning::Unauthorized, why))?;
            sent = Some(value.clone());
            headers.insert(name, value);
        }
        Ok((Request { method: step.method.clone(), url, headers, body, max_body: self.profile.max_body }, sent))
    }

    /// Never leaves the origin of the base URL: the key goes there and nowhere else.
    fn step_url(&self, step: &Step, captured: Option<&str>, scan_id: &str) -> Result<Url, String> {
        let url = match (&step.url, captured) {
            (StepUrl::Path(path), _) => self.below_base(&path.replace("{id}", &encoded(scan_id)))?,
            (StepUrl::Captured(_), Some(text)) => {
                self.base.join(text).map_err(|_| "the URL of the result is not a URL".to_owned())?
            }
            (StepUrl::Captured(_), None) => return Err("the answer does not say where the result is".to_owned()),
        };
        let ours = url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none();
        ours.then_some(url).ok_or_else(|| "the result is at another host; the key is not sent there".to_owned())
    }

    /// The base URL with `path` behind it.
    pub(super) fn below_base(&self, path: &str) -> Result<Url, String> {
        let text = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|error| format!("the URL of the poll is not a URL: {error}"))
    }
}

/// An ID inside a body: it must not end the string it stands in.
fn in_body(scan_id: &str, content_type: &str) -> String {
    if content_type.starts_with("application/x-www-form-urlencoded") {
        return encoded(scan_id);
    }
    let quoted = serde_json::Value::from(scan_id).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

fn is_wanted(result: &ResultStep, first: Meaning) -> bool {
    first == Meaning::Said(Means::Ok) || (result.when_not_found && first == Meaning::NotFound)
}

/// What both requests together say.
fn combine(first: Look, second: Look) -> Look {
    // The first request has just said that the scan is there: only its result is not, yet.
    let known = first.meaning == Meaning::Said(Means::Ok);
    let meaning = match second.meaning {
        Meaning::NotFound if known => Meaning::Said(Means::Pending),
        meaning => meaning,
    };
    let status = first.extract.as_ref().and_then(|extract| extract.status.clone());
    let mut extract = second.extract.or(first.extract);
    if let Some(extract) = extract.as_mut() {
        extract.status = extract.status.take().or(status);
    }
    let retry_after = second.retry_after.or(first.retry_after);
    let detail = format!("{}; result: {}", first.detail, second.detail);
    Look { meaning, retry_after, detail, extract, ..second }
}

fn seen(look: Look, requests: u32) -> Seen {
    let retry_after = look.retry_after;
    let observation = match look.meaning {
        Meaning::Said(Means::Ok) => Observation::Ended(Outcome::Completed),
        Meaning::Said(Means::Failed) => Observation::Ended(Outcome::Failed),
        Meaning::Said(Means::Unsupported) => Observation::Ended(Outcome::Unsupported),
        Meaning::Said(Means::Pending) => Observation::Running { retry_after },
        Meaning::Gone => Observation::Ended(Outcome::NotFound),
        Meaning::NotFound => Observation::NotFound { retry_after },
        Meaning::Unavailable => Observation::Unavailable { retry_after },
        Meaning::Unauthorized => Observation::Unauthorized,
    };
    let status = look.extract.as_ref().and_then(|extract| extract.status.clone());
    Seen { observation, extract: look.extract, status, detail: look.detail, throttled: look.throttled, requests }
}
