//! A notification: *what* to say to one destination. Made once, never changed.

use std::fmt;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// What is said, ready to be sent: every attempt and every replay sends these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its id; also that of its delivery, and the `webhook-id`.
    pub id: Uuid,
    /// The scan it speaks of; none for a word about scanbell itself.
    pub scan: Option<Uuid>,
    /// The name of the destination.
    pub destination: String,
    /// When it was rendered: the `Date` of a mail.
    pub created_at: Timestamp,
    /// The rendered message.
    pub content: Content,
}

/// A rendered message in the destination's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The body of an HTTP POST.
    Http {
        /// `application/json`, `application/cloudevents+json` …
        content_type: String,
        /// The exact bytes.
        body: Bytes,
    },
    /// The parts of a mail.
    Mail(Mail),
}

/// The rendered parts of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// One line, no control characters.
    pub subject: String,
    /// `text/plain`.
    pub text: String,
    /// `text/html`.
    pub html: String,
}

/// What kind of destination is spoken to: decides form, dialect and escaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Slack: incoming webhook or `chat.postMessage`.
    Slack,
    /// A mail by SMTP.
    Email,
    /// An HTTP POST.
    Webhook,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slack, Self::Email, Self::Webhook];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the body of a webhook looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// Standard Webhooks: `{"type", "timestamp", "data"}`.
    #[default]
    Standard,
    /// `CloudEvents` 1.0, structured mode.
    CloudEvents,
    /// A template of the user's.
    Template,
}

/// Trouble of scanbell's own, or its end: told to `[operator]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEvent {
    /// What it is about, stable: `provider-paused:sieve`. While one is open, a second is not told.
    pub key: String,
    /// True when the trouble is over.
    pub resolved: bool,
    /// One line.
    pub title: String,
    /// What happened and what to do, plain text. No secret.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// A destination that must not be told: the one it is about.
    pub about_destination: Option<String>,
}

/// How the store keeps a [`Content::Mail`].
const MAIL_MEDIA: &str = "application/vnd.scanbell.mail+json";

impl Content {
    /// As a pair of media type and bytes, for the store.
    pub fn to_stored(&self) -> (String, Bytes) {
        match self {
            Self::Http { content_type, body } => (content_type.clone(), body.clone()),
            Self::Mail(mail) => {
                let json = serde_json::to_vec(mail).unwrap_or_default(); // three strings always serialise
                (MAIL_MEDIA.to_owned(), json.into())
            }
        }
    }

    /// Back from [`Content::to_stored`].
    pub fn from_stored(media: String, body: Bytes) -> Result<Self, serde_json::Error> {
        if media == MAIL_MEDIA {
            serde_json::from_slice(&body).map(Self::Mail)
        } else {
            Ok(Self::Http { content_type: media, body })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rendered_comes_back_from_the_store_byte_for_byte() {
        let mail =
            Content::Mail(Mail { subject: "a\u{202e}b".into(), text: "t\r\n".into(), html: "<p>&amp;</p>".into() });
        let http =
            Content::Http { content_type: "application/json".into(), body: Bytes::from_static(b"{ \"a\" : 1.0 }") };
        for content in [mail, http] {
            let (media, body) = content.to_stored();
            assert_eq!(Content::from_stored(media, body).unwrap(), content);
        }
    }
}
