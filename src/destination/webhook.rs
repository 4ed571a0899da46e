//! Webhooks: a signed POST of the rendered bytes, to addresses that may be called.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use url::{Host, Url};

use super::answer::Redactor;
use super::http::{failed, options, parse_url, post, said, wrong_form};
use super::settings::{secret, tls_files};
use super::{Common, Defaults, Retry, Sent};
use crate::domain::delivery::{Reason, Verdict, verdict_of_http};
use crate::domain::notification::{Notification, WebhookFormat};
use crate::egress::{Client, Guard, Limits, TlsFiles, retry_after};
use crate::problem::{Problem, Problems};
use crate::secret::{ExposeSecret, SecretSource, SecretString};
use crate::time::Timestamp;

mod signing;

pub use signing::Secrets;

/// `kind = "webhook"`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to post; it can be a credential.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// File that holds it.
    pub url_file: Option<PathBuf>,
    /// Signs each message (Standard Webhooks, `whsec_…`); a list signs with each, so that secrets can be rotated.
    pub signing_secret: Option<Secrets>,
    /// File that holds it; one to a line.
    pub signing_secret_file: Option<PathBuf>,
    /// What the body looks like: `standard`, `cloudevents` or `template`.
    pub format: WebhookFormat,
    /// Further headers; their values are secrets.
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, SecretString>,
    /// Private, loopback and link-local addresses may be called.
    pub allow_private: bool,
    /// These ranges may be called too, like `10.2.0.0/16`.
    #[schemars(with = "Vec<String>")]
    pub allow_cidrs: Vec<IpNet>,
    /// Template of the body for `format = "template"`.
    pub template: Option<String>,
    /// Pace of the retries.
    pub retry: Retry,
    /// Default: 8 at once, no rate.
    pub limits: Limits,
    /// Certificates to trust beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Client certificate (PEM).
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

static WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
static WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
static WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

const DEFAULTS: Defaults = Defaults { concurrency: 8, requests_per_second: None };
/// Enough of an answer to keep a word of it.
const MAX_BODY: usize = 4096;

/// A webhook, ready to send.
#[derive(Debug)]
pub struct Webhook {
    pub(super) common: Common,
    clients: Box<Clients>,
    url: SecretSource,
    /// Where to, if no file can change it: working it out for every message is dear.
    fixed: Option<Target>,
    signing: Option<SecretSource>,
    headers: HeaderMap,
}

/// Where to post, and what must not be kept of the answer.
#[derive(Debug, Clone)]
struct Target {
    url: Url,
    redactor: Arc<Redactor>,
}

impl Target {
    fn new(url: Url, headers: &HeaderMap) -> Self {
        let mut redactor = Redactor::new();
        redactor.hide_url(&url);
        headers.values().filter_map(|value| value.to_str().ok()).for_each(|value| redactor.hide(value));
        Self { url, redactor: Arc::new(redactor) }
    }
}

/// A URL in a file may become one that names loopback itself, which is then allowed.
#[derive(Debug)]
struct Clients {
    usual: Client,
    loopback: Client,
}

impl Webhook {
    pub(super) fn build(name: &str, place: &str, settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let common = problems.collect(Common::check(name, place, settings.retry, settings.limits, &DEFAULTS));
        let clients = problems.collect(clients(place, settings));
        let url = problems.collect(url(place, settings));
        let signing = problems.collect(signing(place, settings));
        let headers = problems.collect(headers(place, &settings.headers));
        match (common, clients, url, signing, headers) {
            (Some(mut common), Some(clients), Some((source, url)), Some(signing), Some(headers))
                if problems.is_empty() =>
            {
                common.warnings = warnings(place, &url, signing.as_ref());
                let fixed = matches!(source, SecretSource::Value(_)).then(|| Target::new(url, &headers));
                let clients = Box::new(clients);
                Ok(Self { common, clients, url: source, fixed, signing: signing.map(|(source, _)| source), headers })
            }
            _ => Err(problems),
        }
    }

    pub(super) async fn send(&self, notification: &Notification, now: Timestamp) -> Sent {
        let unreadable = |sentence| Sent::ours(Verdict::retry(Reason::Secret), sentence);
        let Target { url, redactor } = match self.target() {
            Ok(target) => target,
            Err(sentence) => return unreadable(sentence),
        };
        let client = self.clients.of(&url);
        let Some(mut request) = post(url, &notification.content, MAX_BODY) else { return wrong_form() };
        request.headers.extend(self.headers.clone());
        match self.stamp(notification, &request.body, now) {
            Ok(stamp) => request.headers.extend(stamp),
            Err(sentence) => return unreadable(sentence),
        }
        match client.send(request).await {
            Err(error) => failed(&error, now, &redactor),
            Ok(answer) => {
                let verdict = verdict_of_http(answer.status, retry_after(&answer.headers, now));
                Sent { verdict, answer: said(answer.status, &answer.body, &redactor) }
            }
        }
    }

    /// The three headers of Standard Webhooks; without a secret there is no signature.
    fn stamp(&self, notification: &Notification, body: &[u8], now: Timestamp) -> Result<HeaderMap, String> {
        let (id, at) = (notification.id.to_string(), now.as_second());
        let mut stamp = HeaderMap::new();
        stamp.insert(&WEBHOOK_TIMESTAMP, HeaderValue::from(at));
        if let Some(source) = &self.signing {
            let secrets = source.read().map_err(|error| error.to_string())?;
            let signature = signing::sign(secrets.expose_secret(), &id, at, body)?;
            stamp.insert(&WEBHOOK_SIGNATURE, HeaderValue::from_str(&signature).map_err(|error| error.to_string())?);
        }
        stamp.insert(&WEBHOOK_ID, HeaderValue::from_str(&id).map_err(|error| error.to_string())?);
        Ok(stamp)
    }

    fn target(&self) -> Result<Target, String> {
        if let Some(target) = &self.fixed {
            return Ok(target.clone());
        }
        let text = self.url.read().map_err(|error| error.to_string())?;
        let url = parse_url(text.expose_secret()).map_err(|error| format!("`url`: {error}"))?;
        Ok(Target::new(url, &self.headers))
    }

    pub(super) async fn probe(&self) -> Result<String, String> {
        let Target { url, .. } = self.target()?;
        self.clients.of(&url).probe(&url).await.map_err(|error| error.detail)?;
        Ok("connected; nothing was sent".to_owned())
    }
}

impl Clients {
    fn of(&self, url: &Url) -> &Client {
        if names_loopback(url) { &self.loopback } else { &self.usual }
    }
}

fn clients(place: &str, settings: &Settings) -> Result<Clients, Problems> {
    let tls: TlsFiles = tls_files(settings.ca_file.as_ref(), settings.cert_file.as_ref(), settings.key_file.as_ref());
    let client = |allow_loopback| {
        let (allow_private, allow_cidrs) = (settings.allow_private, settings.allow_cidrs.clone());
        Client::build(place, &options(Some(Guard { allow_private, allow_cidrs, allow_loopback }), tls.clone()))
    };
    Ok(Clients { usual: client(false)?, loopback: client(true)? })
}

/// A loopback address or `localhost`, written as such.
fn names_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

fn url(place: &str, settings: &Settings) -> Result<(SecretSource, Url), Problems> {
    let found = secret(place, "url", settings.url.as_ref(), settings.url_file.as_deref())?;
    let (source, now) = found.ok_or_else(|| Problem::new(place, "neither `url` nor `url_file` is set"))?;
    let url = parse_url(now.expose_secret()).map_err(|error| Problem::new(place, format!("`url`: {error}")))?;
    Ok((source, url))
}

fn signing(place: &str, settings: &Settings) -> Result<Option<(SecretSource, SecretString)>, Problems> {
    let inline = settings.signing_secret.as_ref().map(Secrets::joined);
    let found = secret(place, "signing_secret", inline.as_ref(), settings.signing_secret_file.as_deref())?;
    if let Some((_, now)) = &found {
        signing::sign(now.expose_secret(), "check", 0, b"").map_err(|error| {
            Problem::new(place, error).hint("make one with: printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\"")
        })?;
    }
    Ok(found)
}

/// Headers that are not the user's to set.
fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("webhook-")
        || matches!(
            name.as_str(),
            "host" | "content-length" | "transfer-encoding" | "connection" | "upgrade" | "te" | "trailer"
        )
}

fn headers(place: &str, settings: &BTreeMap<String, SecretString>) -> Result<HeaderMap, Problems> {
    let mut problems = Problems::new();
    let mut headers = HeaderMap::new();
    for (name, value) in settings {
        let shown = name.escape_debug();
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.expose_secret())) {
            (Ok(name), _) if is_ours(&name) => {
                problems.push(
                    Problem::new(place, format!("`headers`: `{shown}` is set by scanbell itself")).hint("take it out"),
                );
            }
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) => {
                let fact = format!("`headers`: `{shown}` cannot be the name of a header");
                problems.push(Problem::new(place, fact));
            }
            (_, Err(_)) => {
                let fact = format!("`headers`: the value of `{shown}` holds characters no header can carry");
                problems.push(Problem::new(place, fact));
            }
        }
    }
    problems.into_result(headers)
}

fn warnings(place: &str, url: &Url, signing: Option<&(SecretSource, SecretString)>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if url.scheme() == "http" && !names_loopback(url) {
        let fact = "`url` is http://: anybody on the way can read the reports";
        warnings.push(Problem::new(place, fact).hint("use https://"));
    }
    if signing.is_some_and(|(_, now)| signing::is_short(now.expose_secret())) {
        let fact = "`signing_secret` is shorter than the 24 bytes that Standard Webhooks asks for";
        warnings.push(Problem::new(place, fact));
    }
    warnings
}

#[cfg(test)]
mod tests;
