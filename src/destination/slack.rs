//! Slack: incoming webhooks and `chat.postMessage`.

use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::answer::Redactor;
use super::http::{failed, options, parse_url, post, said, wrong_form};
use super::settings::{secret, tls_files};
use super::{Common, Defaults, Retry, Sent};
use crate::domain::delivery::{Reason, Verdict};
use crate::domain::notification::Notification;
use crate::egress::{Client, Limits, Request};
use crate::problem::{Problem, Problems};
use crate::secret::{ExposeSecret, SecretSource, SecretString};
use crate::time::Timestamp;

mod verdict;

use verdict::{Said, bot_verdict, said_by_api, webhook_verdict};

/// `kind = "slack"`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// URL of an incoming webhook; it is a credential.
    #[schemars(with = "Option<String>")]
    pub webhook_url: Option<SecretString>,
    /// File that holds it.
    pub webhook_url_file: Option<PathBuf>,
    /// Token of a bot (`xoxb-…`), instead of a webhook; needs `channel`.
    #[schemars(with = "Option<String>")]
    pub bot_token: Option<SecretString>,
    /// File that holds it.
    pub bot_token_file: Option<PathBuf>,
    /// Channel the bot posts to, best its ID (`C0123456789`).
    pub channel: Option<String>,
    /// Base of the Web API for bots; default `https://slack.com/api`.
    pub api_url: Option<String>,
    /// Who is mentioned: `here`, `channel`, `everyone`, or the ID of a user (`U…`) or user group (`S…`).
    pub mentions: Vec<String>,
    /// Template; default `slack/alert`.
    pub template: Option<String>,
    /// Pace of the retries.
    pub retry: Retry,
    /// Default: one after the other, one a second.
    pub limits: Limits,
    /// Certificates to trust beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Client certificate (PEM).
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

impl Settings {
    /// The mentions in the form that goes into a message: `here` as `<!here>`. A word that is none is left out.
    pub fn mentions_as_slack_writes(&self) -> Vec<String> {
        self.mentions.iter().filter_map(|word| as_slack_writes(word)).collect()
    }
}

/// Slack's own pace: one message a second and channel, in order.
const DEFAULTS: Defaults = Defaults { concurrency: 1, requests_per_second: Some(1.0) };
const API: &str = "https://slack.com/api";
/// `chat.postMessage` answers with the whole message.
const MAX_BODY: usize = 1024 * 1024;

/// A Slack destination, ready to send.
#[derive(Debug)]
pub struct Slack {
    pub(super) common: Common,
    client: Client,
    way: Way,
}

/// The two ways to post.
#[derive(Debug)]
enum Way {
    Webhook(SecretSource),
    Bot { token: SecretSource, api: Url },
}

impl Slack {
    pub(super) fn build(name: &str, place: &str, settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let common = problems.collect(Common::check(name, place, settings.retry, settings.limits, &DEFAULTS));
        let tls = tls_files(settings.ca_file.as_ref(), settings.cert_file.as_ref(), settings.key_file.as_ref());
        let client = problems.collect(Client::build(place, &options(None, tls)));
        let way = problems.collect(way(place, settings));
        for mention in settings.mentions.iter().filter(|mention| !is_mention(mention)) {
            let fact = format!("`mentions`: `{}` is nobody Slack knows", mention.escape_debug());
            problems.push(
                Problem::new(place, fact).hint("here, channel, everyone, or an ID like U0123456789 or S0123456789"),
            );
        }
        match (common, client, way) {
            (Some(common), Some(client), Some(way)) if problems.is_empty() => Ok(Self { common, client, way }),
            _ => Err(problems),
        }
    }

    pub(super) async fn send(&self, notification: &Notification, now: Timestamp) -> Sent {
        let mut redactor = Redactor::new();
        let target = match self.target("chat.postMessage", &mut redactor) {
            Ok(target) => target,
            Err(sentence) => return Sent::ours(Verdict::retry(Reason::Secret), sentence),
        };
        let Some(mut request) = post(target.url, &notification.content, MAX_BODY) else { return wrong_form() };
        request.headers.extend(target.authorization.map(|value| (AUTHORIZATION, value)));
        match self.client.send(request).await {
            Err(error) => failed(&error, now, &redactor),
            Ok(answer) => {
                let verdict = match self.way {
                    Way::Webhook(_) => webhook_verdict(&answer, now),
                    Way::Bot { .. } => bot_verdict(&answer, now),
                };
                // The answer to a post that was taken repeats the message: nothing to keep.
                let body: &[u8] = if matches!(verdict, Verdict::Delivered { .. }) { b"ok" } else { &answer.body };
                Sent { verdict, answer: said(answer.status, body, &redactor) }
            }
        }
    }

    /// Where to post and with what; the error is a sentence without the secret.
    fn target(&self, method: &str, redactor: &mut Redactor) -> Result<Target, String> {
        match &self.way {
            Way::Webhook(source) => {
                let secret = source.read().map_err(|error| error.to_string())?;
                let url = parse_url(secret.expose_secret()).map_err(|error| format!("`webhook_url`: {error}"))?;
                redactor.hide_url(&url);
                Ok(Target { url, authorization: None })
            }
            Way::Bot { token, api } => {
                let secret = token.read().map_err(|error| error.to_string())?;
                redactor.hide(secret.expose_secret());
                let authorization = bearer(&secret)?;
                Ok(Target { url: api_method(api, method), authorization: Some(authorization) })
            }
        }
    }

    pub(super) async fn probe(&self) -> Result<String, String> {
        let mut redactor = Redactor::new();
        let target = self.target("auth.test", &mut redactor)?;
        let Some(authorization) = target.authorization else {
            self.client.probe(&target.url).await.map_err(|error| error.detail)?;
            return Ok("connected; an incoming webhook can only be tried by sending".to_owned());
        };
        let mut request = Request {
            method: reqwest::Method::POST,
            url: target.url,
            headers: reqwest::header::HeaderMap::new(),
            body: bytes::Bytes::new(),
            max_body: MAX_BODY,
        };
        request.headers.insert(AUTHORIZATION, authorization);
        let answer = self.client.send(request).await.map_err(|error| error.detail)?;
        match said_by_api(&answer) {
            Some(Said { ok: true, .. }) => Ok("signed in".to_owned()),
            Some(Said { error, .. }) => {
                Err(format!("Slack refuses the token: {}", redactor.clean(error.as_bytes()).unwrap_or_default()))
            }
            None if answer.status == 404 => Ok("connected; it has no auth.test to try the token with".to_owned()),
            None => Err(said(answer.status, &answer.body, &redactor).unwrap_or_default()),
        }
    }
}

struct Target {
    url: Url,
    authorization: Option<HeaderValue>,
}

fn way(place: &str, settings: &Settings) -> Result<Way, Problems> {
    let mut problems = Problems::new();
    let webhook = problems.collect(secret(
        place,
        "webhook_url",
        settings.webhook_url.as_ref(),
        settings.webhook_url_file.as_deref(),
    ));
    let token =
        problems.collect(secret(place, "bot_token", settings.bot_token.as_ref(), settings.bot_token_file.as_deref()));
    let (Some(webhook), Some(token)) = (webhook, token) else { return Err(problems) };
    let way = match (webhook, token) {
        (Some((source, url)), None) => parse_url(url.expose_secret())
            .map(|_| Way::Webhook(source))
            .map_err(|error| Problem::new(place, format!("`webhook_url`: {error}"))),
        (None, Some((token, now))) => bot(place, settings, token, &now),
        (Some(_), Some(_)) => {
            Err(Problem::new(place, "both `webhook_url` and `bot_token` are set").hint("keep one of them"))
        }
        (None, None) => Err(Problem::new(place, "neither `webhook_url` nor `bot_token` is set")
            .hint("set `webhook_url_file`, or `bot_token_file` and `channel`")),
    };
    Ok(way?)
}

fn bot(place: &str, settings: &Settings, token: SecretSource, now: &SecretString) -> Result<Way, Problem> {
    if settings.channel.as_deref().is_none_or(|channel| channel.trim().is_empty()) {
        return Err(Problem::new(place, "`bot_token` needs `channel`").hint("the channel's ID, like C0123456789"));
    }
    bearer(now).map_err(|error| Problem::new(place, error))?;
    let api = parse_url(settings.api_url.as_deref().unwrap_or(API));
    let api = api.map_err(|error| Problem::new(place, format!("`api_url`: {error}")))?;
    if !api.username().is_empty() || api.password().is_some() {
        let fact = "`api_url` must not contain a user or password";
        return Err(Problem::new(place, fact).hint("the token belongs into `bot_token_file`"));
    }
    Ok(Way::Bot { token, api })
}

fn bearer(token: &SecretString) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| "`bot_token` holds characters that no token has".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn api_method(api: &Url, method: &str) -> Url {
    let mut url = api.clone();
    url.set_path(&format!("{}/{method}", api.path().trim_end_matches('/')));
    url
}

/// `here`, `channel`, `everyone`, or an ID of a user, bot user or user group.
fn is_mention(word: &str) -> bool {
    as_slack_writes(word).is_some()
}

/// `here` becomes `<!here>`, `U…` `<@U…>`, `S…` `<!subteam^S…>`; anything else is nobody.
fn as_slack_writes(word: &str) -> Option<String> {
    let is_id = word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    match word {
        "here" | "channel" | "everyone" => Some(format!("<!{word}>")),
        _ if is_id && word.starts_with(['U', 'W']) => Some(format!("<@{word}>")),
        _ if is_id && word.starts_with('S') => Some(format!("<!subteam^{word}>")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
