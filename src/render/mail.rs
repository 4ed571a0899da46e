//! What a mail must be, whatever a template made: one line of subject, a text part, an HTML part.

use crate::domain::notification::Mail;

use super::escape::{clean, html, shorten};

/// The longest subject, in characters; longer ones are cut by mail clients anyway.
const SUBJECT: usize = 200;

const TEST: &str = "This is a test message from scanbell. Nothing was scanned.";

/// The three parts as they go out. `title` stands in for an empty subject.
pub(super) fn finish(subject: &str, text: String, html: String, title: &str, marked: bool) -> Mail {
    let subject = one_line(subject);
    let subject = if subject.is_empty() { one_line(title) } else { subject };
    if !marked {
        return Mail { subject: shorten(&subject, SUBJECT), text, html };
    }
    Mail {
        subject: shorten(&format!("[Test] {subject}"), SUBJECT),
        text: format!("{TEST}\n\n{text}"),
        html: mark_html(&html),
    }
}

/// One line without control characters.
fn one_line(subject: &str) -> String {
    clean(&subject.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The banner stands first in the body: where the template opens one, else before everything.
fn mark_html(html: &str) -> String {
    let banner = format!(
        "<div style=\"padding:12px 16px;background:#fef0c7;color:#7a2e0e;font:14px sans-serif;text-align:center\">🧪 {TEST}</div>"
    );
    let lower = html.to_ascii_lowercase();
    let body = lower.find("<body").and_then(|start| Some(start + lower.get(start..)?.find('>')? + 1));
    let (before, after) = html.split_at_checked(body.unwrap_or(0)).unwrap_or(("", html));
    format!("{before}{banner}{after}")
}

/// A mail of lines, for people, without a template.
pub(super) fn of_lines(subject: &str, lines: &[String], marked: bool) -> Mail {
    let text = lines.iter().map(|line| visible_lines(line)).collect::<Vec<_>>().join("\n\n");
    let paragraphs: String = lines.iter().map(|line| paragraph(line)).collect();
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\"></head>\n\
         <body style=\"margin:0;padding:24px;font:16px/1.5 -apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif\">\
         <h1 style=\"font-size:20px;margin:0 0 16px\">{}</h1>{paragraphs}</body></html>\n",
        html(&clean(subject))
    );
    finish(subject, format!("{}\n\n{text}\n", clean(subject)), body, subject, marked)
}

fn paragraph(line: &str) -> String {
    format!("<p style=\"margin:0 0 12px\">{}</p>\n", html(&visible_lines(line)).replace('\n', "<br>\n"))
}

/// Our own sentences may have line breaks; everything else in them is made visible.
fn visible_lines(text: &str) -> String {
    text.lines().map(|line| shorten(&clean(line), 4_000)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_line_of_at_most_two_hundred_characters() {
        let mail = finish(" a\r\nBcc: x@example.com\n\u{0}b ", String::new(), String::new(), "t", false);
        assert_eq!(mail.subject, "a Bcc: x@example.com \u{fffd}b");
        let mail = finish(&"é".repeat(500), String::new(), String::new(), "t", false);
        assert_eq!(mail.subject.chars().count(), 200);
        assert!(mail.subject.ends_with('…'));
        assert_eq!(finish(" \n", String::new(), String::new(), "the title", false).subject, "the title");
    }

    #[test]
    fn a_test_is_marked_in_every_part() {
        let mail = finish("s", "t".into(), "<html><BODY class=x><p>h</p></BODY></html>".into(), "t", true);
        assert_eq!(mail.subject, "[Test] s");
        assert!(mail.text.starts_with("This is a test message"));
        assert!(mail.html.starts_with("<html><BODY class=x><div"));
        assert!(finish("s", String::new(), "plain".into(), "t", true).html.starts_with("<div"));
    }
}
