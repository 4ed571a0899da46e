//! The message itself: the same bytes at each attempt, whatever the strings in it.

use std::time::SystemTime;

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};

use crate::domain::notification::{Mail, Notification};

/// RFC 3834: no vacation replies, please.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }
    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The bytes after DATA. Everything random about a mail (boundary, Message-ID, date) comes from the notification.
pub(super) fn format(
    notification: &Notification,
    mail: &Mail,
    from: &Mailbox,
    to: &[Mailbox],
) -> Result<Vec<u8>, String> {
    let id = notification.id;
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(one_line(&mail.subject))
        .message_id(Some(format!("<scanbell-{id}@{}>", from.email.domain())))
        .date(SystemTime::from(notification.created_at))
        .header(AutoSubmitted);
    for recipient in to {
        builder = builder.to(recipient.clone());
    }
    let body = MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(format!("scanbell-{}", id.simple()))
        .singlepart(part(ContentType::TEXT_PLAIN, &mail.text))
        .singlepart(part(ContentType::TEXT_HTML, &mail.html));
    let message = builder.multipart(body).map_err(|error| format!("the mail cannot be put together: {error}"))?;
    Ok(message.formatted())
}

/// Quoted-printable always: ASCII on the wire, short lines, and no line of the text can be one of the dialogue.
fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).header(ContentTransferEncoding::QuotedPrintable).body(clean(text))
}

/// Line ends as one, no other control characters.
fn clean(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    lines.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}
