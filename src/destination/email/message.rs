//! The message itself: the same bytes at each attempt, whatever the strings in it.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
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

/// The subject, encoded here: lettre leaves `=?utf-8?…?=` in it as it is, so that a file name of that form would be
/// read as what is inside, and loses blanks between words that it encodes.
#[derive(Clone)]
struct Subject(String);

impl Header for Subject {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Subject")
    }
    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }
    fn display(&self) -> HeaderValue {
        let encoded = plain_words(&self.0).unwrap_or_else(|| encoded_words(&self.0));
        HeaderValue::dangerous_new_pre_encoded(Self::name(), self.0.clone(), encoded)
    }
}

/// ASCII words with one blank between them, folded; nothing where a reader could take it for anything else.
fn plain_words(subject: &str) -> Option<String> {
    let mut lines = String::new();
    let mut width = "Subject:".len();
    for word in subject.split(' ') {
        let plain =
            (1..=900).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic()) && !word.contains("=?");
        if !plain {
            return None;
        }
        let fits = width + 1 + word.len() <= LINE;
        match (lines.is_empty(), fits) {
            (true, _) => {}
            (false, true) => lines.push(' '),
            (false, false) => lines.push_str("\r\n "),
        }
        width = if fits { width + 1 + word.len() } else { 1 + word.len() };
        lines.push_str(word);
    }
    Some(lines)
}

/// RFC 2047: base64 of whole characters, a line for each piece. What is between two of them does not count.
fn encoded_words(subject: &str) -> String {
    let mut pieces = vec![String::new()];
    for character in subject.chars() {
        if pieces.last().is_some_and(|piece| piece.len() + character.len_utf8() > PIECE) {
            pieces.push(String::new());
        }
        pieces.iter_mut().last().into_iter().for_each(|piece| piece.push(character));
    }
    let word = |piece: &String| format!("=?utf-8?b?{}?=", BASE64.encode(piece));
    pieces.iter().filter(|piece| !piece.is_empty()).map(word).collect::<Vec<_>>().join("\r\n ")
}

/// RFC 5322: lines should not be longer; RFC 2047: nor lines with encoded words than 76.
const LINE: usize = 76;
/// So many bytes become 52 characters, 64 with what is around them.
const PIECE: usize = 39;

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
        .header(Subject(one_line(&mail.subject)))
        .message_id(Some(format!("<scanbell-{id}@{}>", from.email.domain())))
        .date(SystemTime::from(notification.created_at))
        .header(AutoSubmitted);
    for recipient in to {
        builder = builder.to(recipient.clone());
    }
    let body = MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        // `=_` cannot stand in quoted-printable text, so no text can end its part, even if it knew the id.
        .boundary(format!("=_scanbell-{}", id.simple()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_that_looks_like_an_encoded_subject_is_shown_as_it_is() {
        let name = "Threat found: =?utf-8?q?All_clear=E2=80=AE?=";
        assert_eq!(plain_words(name), None);
        let encoded = encoded_words(name);
        let words = encoded.split("\r\n ").map(|word| &word["=?utf-8?b?".len()..word.len() - 2]);
        let decoded = words.flat_map(|word| BASE64.decode(word).unwrap()).collect::<Vec<u8>>();
        assert_eq!(decoded, name.as_bytes());
        assert!(encoded.lines().all(|line| line.len() <= LINE - "Subject:".len()));
    }

    #[test]
    fn a_plain_subject_stays_readable_and_is_folded_between_words() {
        let subject = ["suspicious.pdf"; 9].join(" ");
        let folded = plain_words(&subject).unwrap();
        assert_eq!(folded.replace("\r\n", ""), subject);
        assert!(folded.lines().all(|line| line.len() <= LINE - "Subject:".len() + 8), "{folded}");
        assert_eq!(plain_words("two  blanks"), None, "a reader may make one of them");
    }
}
