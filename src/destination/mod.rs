//! Where to say it: Slack, e-mail, webhooks. A closed set with the same verbs.
//!
//! Sends what was rendered, once, and says what came of it. Knows nothing of stores, retries over time or
//! templates. A secret that comes from a file is read again for each attempt.

mod answer;
pub mod email;
mod http;
mod settings;
pub mod slack;
pub mod webhook;

use std::time::Duration;

use crate::domain::delivery::{RetryPolicy, Verdict};
use crate::domain::notification::{Content, Kind, Notification};
use crate::problem::{Problem, Problems};
use crate::time::Timestamp;
use bytes::Bytes;

pub use settings::Retry;
use settings::{Common, Defaults};

/// The settings of one destination; the `kind` of the configuration picks the variant.
#[derive(Debug, Clone)]
pub enum Settings {
    /// `kind = "slack"`.
    Slack(slack::Settings),
    /// `kind = "email"`.
    Email(email::Settings),
    /// `kind = "webhook"`.
    Webhook(webhook::Settings),
}

/// A configured destination, ready to send.
#[derive(Debug)]
pub enum Destination {
    /// Incoming webhook or `chat.postMessage`.
    Slack(slack::Slack),
    /// Mail by SMTP.
    Email(Box<email::Email>),
    /// An HTTP POST.
    Webhook(webhook::Webhook),
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Delivered, to be tried again, or rejected.
    pub verdict: Verdict,
    /// What the receiver said, shortened; or our sentence where nothing came. No secret, no address.
    pub answer: Option<String>,
}

impl Sent {
    /// With a sentence of our own.
    fn ours(verdict: Verdict, sentence: impl Into<String>) -> Self {
        Self { verdict, answer: Some(sentence.into()) }
    }
}

impl Settings {
    /// What kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Slack(_) => Kind::Slack,
            Self::Email(_) => Kind::Email,
            Self::Webhook(_) => Kind::Webhook,
        }
    }

    /// The template it asks for.
    pub fn template(&self) -> Option<&str> {
        match self {
            Self::Slack(settings) => settings.template.as_deref(),
            Self::Email(settings) => settings.template.as_deref(),
            Self::Webhook(settings) => settings.template.as_deref(),
        }
    }
}

impl Destination {
    /// Checks the settings, all problems at once, without connecting to anything. Reads secret and PEM files.
    pub fn build(name: &str, settings: &Settings) -> Result<Self, Problems> {
        let place = format!("[destinations.{name}]");
        match settings {
            Settings::Slack(settings) => slack::Slack::build(name, &place, settings).map(Self::Slack),
            Settings::Email(settings) => email::Email::build(name, &place, settings).map(Box::new).map(Self::Email),
            Settings::Webhook(settings) => webhook::Webhook::build(name, &place, settings).map(Self::Webhook),
        }
    }

    fn common(&self) -> &Common {
        match self {
            Self::Slack(slack) => &slack.common,
            Self::Email(email) => &email.common,
            Self::Webhook(webhook) => &webhook.common,
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.common().name
    }

    /// What kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Slack(_) => Kind::Slack,
            Self::Email(_) => Kind::Email,
            Self::Webhook(_) => Kind::Webhook,
        }
    }

    /// When to try again, and for how long.
    pub fn policy(&self) -> RetryPolicy {
        self.common().policy
    }

    /// How many sends at once, at least 1.
    pub fn concurrency(&self) -> usize {
        self.common().concurrency
    }

    /// How many sends each second, if that is limited.
    pub fn requests_per_second(&self) -> Option<f64> {
        self.common().requests_per_second
    }

    /// The longest that one [`Destination::send`] takes.
    pub const fn longest_send(&self) -> Duration {
        match self {
            Self::Slack(_) | Self::Webhook(_) => http::TOTAL,
            Self::Email(_) => email::LONGEST_SEND,
        }
    }

    /// What works but is better done otherwise.
    pub fn warnings(&self) -> &[Problem] {
        &self.common().warnings
    }

    /// Sends the notification once. Never panics, and ends within [`Destination::longest_send`].
    pub async fn send(&self, notification: &Notification, now: Timestamp) -> Sent {
        match self {
            Self::Slack(slack) => slack.send(notification, now).await,
            Self::Email(email) => email.send(notification).await,
            Self::Webhook(webhook) => webhook.send(notification, now).await,
        }
    }

    /// The bytes that [`Destination::send`] would send: the body of a POST, the whole mail. An error is a sentence.
    pub fn bytes(&self, notification: &Notification) -> Result<Bytes, String> {
        match (self, &notification.content) {
            (Self::Email(email), Content::Mail(mail)) => email.bytes(notification, mail).map(Bytes::from),
            (Self::Slack(_) | Self::Webhook(_), Content::Http { body, .. }) => Ok(body.clone()),
            _ => Err("the message was rendered for another kind of destination".to_owned()),
        }
    }

    /// Whether it can be reached: connection, TLS, and sign-in where that can be tried without sending anything.
    ///
    /// Answers with a sentence either way.
    pub async fn probe(&self) -> Result<String, String> {
        match self {
            Self::Slack(slack) => slack.probe().await,
            Self::Email(email) => email.probe().await,
            Self::Webhook(webhook) => webhook.probe().await,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
