//! Renders what is to be said in the form of one destination: Slack blocks, a mail, the body of a webhook.
//!
//! [`Renderer::build`] compiles and checks every template and says everything that is wrong with them at once.
//! After that nothing fails: a template that breaks over a report gives way to a plain message built here, which
//! says so. Escaping belongs to the destination, not to the author of the template. Pure: no I/O after `build`, no
//! clock, no knowledge of routes or deliveries. What templates see is in `view`; `docs/templates.md` tells authors.

mod build;
mod engine;
mod escape;
mod helpers;
mod library;
mod lint;
mod mail;
mod sample;
mod shape;
mod slack;
mod view;
mod webhook;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

pub use sample::sample_report;

use self::engine::Engine;
use self::escape::Dialect;
use crate::domain::notification::{Content, Kind, OperatorEvent, WebhookFormat};
use crate::domain::report::Report;
use crate::problem::Problems;
use crate::time::Timestamp;

/// How one destination is spoken to.
#[derive(Debug, Clone)]
pub struct Voice {
    /// The name of the destination.
    pub name: String,
    /// Decides form and escaping.
    pub kind: Kind,
    /// What the body of a webhook looks like; not looked at for other kinds.
    pub format: WebhookFormat,
    /// `slack/alert`; none for the default of the kind.
    pub template: Option<String>,
    /// Slack's bot mode: the channel, which goes into the body.
    pub channel: Option<String>,
    /// Slack: `<!here>`, `<@U…>`, for threats and for severity high and critical.
    pub mentions: Vec<String>,
}

/// A rendered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What is to be sent.
    pub content: Content,
    /// Why the template failed, where this is the built-in plain message instead.
    pub fallback: Option<String>,
}

/// Every voice with its compiled templates.
pub struct Renderer {
    engine: Engine,
    voices: BTreeMap<String, Voice>,
}

impl Renderer {
    /// Compiles the built-in templates and those of `dir`, and checks them and `voices`. All problems at once.
    pub fn build(dir: Option<&Path>, voices: &[Voice]) -> Result<Self, Problems> {
        build::build(dir, voices)
    }

    /// What to say of `report` to `destination`, under the notification's `id`.
    pub fn report(&self, destination: &str, report: &Report, id: Uuid, now: Timestamp) -> Rendered {
        let _ = now; // everything a message says of time is in the report
        self.say(destination, report, id, false)
    }

    /// A message that is marked as a test in every form.
    pub fn test(&self, destination: &str, id: Uuid, now: Timestamp) -> Rendered {
        self.say(destination, &sample::test_report(id, now), id, true)
    }

    /// A word about scanbell itself: the same for every template, for it must not fail.
    pub fn event(&self, destination: &str, event: &OperatorEvent, id: Uuid, now: Timestamp) -> Rendered {
        let _ = now; // the event knows its time
        let Some(voice) = self.voices.get(destination) else {
            return whole(webhook::standard_event(event));
        };
        let state = if event.resolved { "resolved" } else { "trouble" };
        let title = format!("scanbell {state}: {}", event.title);
        let lines = [event.text.clone(), format!("{} · {}", words::time(event.at), event.key)];
        whole(match voice.kind {
            Kind::Slack => slack_lines(voice, &title, &lines, false),
            Kind::Email => Content::Mail(mail::of_lines(&title, &lines, false)),
            Kind::Webhook if voice.format == WebhookFormat::CloudEvents => webhook::cloud_operator_event(event, id),
            Kind::Webhook => webhook::standard_event(event),
        })
    }

    fn say(&self, destination: &str, report: &Report, id: Uuid, test: bool) -> Rendered {
        let Some(voice) = self.voices.get(destination) else {
            return whole(webhook::standard(report, test));
        };
        match (voice.kind, voice.format) {
            (Kind::Webhook, WebhookFormat::Standard) => return whole(webhook::standard(report, test)),
            (Kind::Webhook, WebhookFormat::CloudEvents) => return whole(webhook::cloud_event(report, id, test)),
            _ => {}
        }
        match self.by_template(voice, report, test) {
            Ok(content) => whole(content),
            Err(why) => Rendered { content: plain(voice, report, &why, test), fallback: Some(why) },
        }
    }

    fn by_template(&self, voice: &Voice, report: &Report, test: bool) -> Result<Content, String> {
        let name = voice.template_name();
        let dialects = voice.dialects();
        let data = self.engine.data(dialects, name, report)?;
        let render = |dialect| self.engine.render(dialect, name, &data);
        let title = words::title(report);
        Ok(match voice.kind {
            Kind::Slack => {
                let Value::Object(message) = engine::json(name, &render(Dialect::Slack)?)? else {
                    return Err(format!("`{name}` did not make a JSON object"));
                };
                webhook::json_body(&slack::finish(message, &voice.around(&title, voice.mentions_for(report), test)))
            }
            Kind::Email => {
                let (subject, plain) = (render(Dialect::Subject)?, render(Dialect::Text)?);
                Content::Mail(mail::finish(&subject, plain, render(Dialect::Html)?, &title, test))
            }
            Kind::Webhook => {
                let body = render(Dialect::Json)?;
                engine::json(name, &body)?;
                webhook::rendered(body)
            }
        })
    }
}

impl Voice {
    /// The template's name: the configured one or the default of the kind.
    fn template_name(&self) -> &str {
        self.template.as_deref().unwrap_or(match self.kind {
            Kind::Slack => "slack/alert",
            Kind::Email => "email/alert",
            Kind::Webhook => "",
        })
    }

    /// The dialects of the templates it needs; none where no template is used.
    fn dialects(&self) -> &'static [Dialect] {
        match (self.kind, self.format) {
            (Kind::Slack, _) => &[Dialect::Slack],
            (Kind::Email, _) => &[Dialect::Subject, Dialect::Text, Dialect::Html],
            (Kind::Webhook, WebhookFormat::Template) => &[Dialect::Json],
            (Kind::Webhook, _) => &[],
        }
    }

    /// Nobody is called for what can wait.
    fn mentions_for(&self, report: &Report) -> &[String] {
        if words::urgent(report) { &self.mentions } else { &[] }
    }

    fn around<'a>(&'a self, title: &'a str, mentions: &'a [String], test: bool) -> slack::Around<'a> {
        slack::Around { title, channel: self.channel.as_deref(), mentions, test }
    }
}

fn whole(content: Content) -> Rendered {
    Rendered { content, fallback: None }
}

/// The built-in plain message: everything that matters, and that and why it is plain.
fn plain(voice: &Voice, report: &Report, why: &str, test: bool) -> Content {
    let title = words::title(report);
    let lines = plain_lines(report, why);
    match voice.kind {
        Kind::Slack => {
            let message = slack::of_lines(&title, &lines);
            webhook::json_body(&slack::finish(message, &voice.around(&title, voice.mentions_for(report), test)))
        }
        Kind::Email => Content::Mail(mail::of_lines(&title, &lines, test)),
        Kind::Webhook => webhook::plain(report, &[&[title], lines.as_slice()].concat(), why),
    }
}

fn plain_lines(report: &Report, why: &str) -> Vec<String> {
    let mut lines = vec![
        words::summary(report),
        format!("Provider {} · scan {} · outcome {}", report.provider, report.scan_id, report.outcome),
    ];
    lines.push(format!("Verdict {} · severity {}", report.verdict, report.severity));
    lines.extend(report.error.as_ref().map(|error| format!("Error: {error}")));
    lines.extend(report.link.as_deref().and_then(words::safe_link).map(|link| format!("Link: {link}")));
    lines.push(format!("This is scanbell's plain message, because its template failed: {why}"));
    lines
}

/// What hostile-input tests reach into: not part of the library's face, and may change with any version.
#[doc(hidden)]
pub mod fuzzing {
    use serde_json::{Map, Value};

    use super::slack;

    /// The message a template made, as it goes to Slack.
    pub fn slack_message(
        message: Map<String, Value>,
        title: &str,
        channel: Option<&str>,
        mentions: &[String],
        test: bool,
    ) -> Map<String, Value> {
        slack::finish(message, &slack::Around { title, channel, mentions, test })
    }
}

fn slack_lines(voice: &Voice, title: &str, lines: &[String], test: bool) -> Content {
    webhook::json_body(&slack::finish(slack::of_lines(title, lines), &voice.around(title, &[], test)))
}
