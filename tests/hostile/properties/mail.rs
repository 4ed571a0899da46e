//! Mails: as another parser reads them, the headers are ours, each once, and the parts are what was rendered.
//!
//! An input is the subject, the text and the HTML, with `\0` between them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mail_parser::MessageParser;
use scanbell::destination::{Destination, Settings};
use scanbell::domain::notification::{Content, Mail, Notification};
use scanbell::time::from_millis;
use uuid::Uuid;

static DESTINATION: LazyLock<Destination> = LazyLock::new(|| {
    built("\"Scänbell, the bell\" <scanbell@example.com>").unwrap_or_else(|problems| panic!("{problems}"))
});

fn built(from: &str) -> Result<Destination, String> {
    scanbell::egress::install_tls();
    let settings = serde_json::json!({
        "smtp": "smtp://127.0.0.1:25", "tls": "none", "from": from,
        "to": ["oncall@example.com", "Second Person <second@example.com>"],
    });
    let settings = serde_json::from_value(settings).expect("settings");
    Destination::build("oncall", &Settings::Email(settings)).map_err(|problems| problems.to_string())
}

pub fn headers_are_ours(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let mail = Mail { subject: part(), text: part(), html: part() };
    check(&DESTINATION, &mail);
}

fn check(destination: &Destination, mail: &Mail) {
    let notification = Notification {
        id: Uuid::from_u128(1),
        scan: None,
        destination: "oncall".to_owned(),
        created_at: from_millis(1_800_000_000_000),
        content: Content::Mail(mail.clone()),
    };
    let bytes = destination.bytes(&notification).unwrap_or_else(|why| panic!("{why}"));
    on_the_wire(&bytes);
    let message = MessageParser::default().parse(&bytes[..]).expect("a mail");
    let mut seen = BTreeMap::<String, usize>::new();
    for header in message.headers() {
        *seen.entry(header.name().to_ascii_lowercase()).or_default() += 1;
    }
    let ours = ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"];
    assert_eq!(seen, ours.map(|name| (name.to_owned(), 1)).into(), "{}", String::from_utf8_lossy(&bytes));
    let to: Vec<_> = message.to().expect("recipients").iter().filter_map(|to| to.address()).collect();
    assert_eq!(to, ["oncall@example.com", "second@example.com"]);
    let from: Vec<_> = message.from().expect("a sender").iter().map(|from| (from.name(), from.address())).collect();
    assert_eq!(from, [(Some("Scänbell, the bell"), Some("scanbell@example.com"))]);
    assert_eq!(folded(message.subject().unwrap_or_default()), folded(&mail.subject), "the subject");
    assert_eq!(message.text_body_count(), 1);
    assert_eq!(message.html_body_count(), 1);
    assert_eq!(message.attachment_count(), 0);
    assert_eq!(lines(&message.body_text(0).unwrap_or_default()), lines(&mail.text), "the text");
    assert_eq!(lines(&message.body_html(0).unwrap_or_default()), lines(&mail.html), "the HTML");
}

/// RFC 5321 and 5322: lines of at most 998 bytes that end with CR LF, and neither of them alone.
fn on_the_wire(bytes: &[u8]) {
    assert!(bytes.is_ascii());
    let text = std::str::from_utf8(bytes).expect("ASCII");
    for line in text.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("an end without an end of line: {line:?}"));
        assert!(line.len() <= 998, "a line of {} bytes", line.len());
        assert!(!line.contains(['\r', '\n']), "a CR or LF alone in {line:?}");
    }
}

/// A subject without what no header can carry or keep: controls, and how many blanks there are.
fn folded(subject: &str) -> String {
    let visible = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let subject: String = subject.chars().map(visible).collect();
    subject.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A text without what is left out of it on purpose.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let kept = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect::<String>();
    kept.trim_end_matches('\n').split('\n').map(str::to_owned).collect()
}
