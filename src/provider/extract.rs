//! From a body to what the report says of it.
//!
//! Whatever is missing, `null` or of another type than documented is `None`, `unknown` or empty: never a guess and
//! never an error. Everything is bounded, nothing is escaped: that is the destinations' work.

use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation;

use super::profile::{FindingsReading, Reading, SubjectReading};
use super::rule::{Pointer, scalar};
use crate::domain::report::{Extract, Finding, Severity, Subject};

/// Names, errors and locations are cut here, in bytes: far above any real one, far below what would hurt.
const LONGEST_TEXT: usize = 16 * 1024;
/// Words are cut here, in bytes: status, hash, media type, a class.
const LONGEST_WORD: usize = 1024;
/// More classes than this are left out.
const MOST_CLASSES: usize = 100;
/// More findings than this are left out; `counts` and `raw` still tell of them.
const MOST_FINDINGS: usize = 100;

impl Reading {
    /// Reads everything but `raw` and `link`. `http` and `status` belong to the answer the body came with.
    pub fn extract(&self, http: u16, status: Option<&Pointer>, body: &Value) -> Extract {
        let verdict = self.verdict.iter().find(|(when, _)| when.holds(http, Some(body)));
        let status = status.and_then(|at| at.find(body)).and_then(scalar);
        Extract {
            status: status.map(|word| cut(&word, LONGEST_WORD)),
            verdict: verdict.map(|(_, verdict)| *verdict).unwrap_or_default(),
            severity: self.severity(&self.severity, body),
            score: first(&self.score, body, Value::as_f64),
            confidence: first(&self.confidence, body, Value::as_f64),
            subject: self.subject(http, body),
            counts: self.counts(body),
            classes: self.classes(body),
            findings: self.findings.as_ref().map(|reading| self.findings(reading, body)).unwrap_or_default(),
            error: text(&self.error_text, body, LONGEST_TEXT),
            link: None,
            raw: None,
        }
    }

    fn severity(&self, at: &[Pointer], body: &Value) -> Severity {
        let word = first(at, body, |value| Some(value.as_str()?.trim().to_lowercase()));
        let known = |word: String| self.severity_words.get(&word).copied().or_else(|| word.parse().ok());
        word.and_then(known).unwrap_or(Severity::Unknown)
    }

    fn subject(&self, http: u16, body: &Value) -> Subject {
        let meant = |reading: &&SubjectReading| reading.when.as_ref().is_none_or(|when| when.holds(http, Some(body)));
        let Some(reading) = self.subject.iter().find(meant) else { return Subject::default() };
        Subject {
            name: text(&reading.name, body, LONGEST_TEXT),
            kind: reading.kind,
            sha256: text(&reading.sha256, body, LONGEST_WORD),
            size: first(&reading.size, body, Value::as_u64),
            media_type: text(&reading.media_type, body, LONGEST_WORD),
        }
    }

    fn counts(&self, body: &Value) -> std::collections::BTreeMap<String, u64> {
        let said = |(name, at): (&String, &Pointer)| Some((name.clone(), at.find(body)?.as_u64()?));
        self.counts.iter().filter_map(said).collect()
    }

    fn classes(&self, body: &Value) -> Vec<String> {
        let lists = self.classes.iter().filter_map(|at| at.find(body)?.as_array());
        let words = lists.flatten().filter_map(Value::as_str).filter(|word| !word.trim().is_empty());
        words.take(MOST_CLASSES).map(|word| cut(word, LONGEST_WORD)).collect()
    }

    fn findings(&self, reading: &FindingsReading, body: &Value) -> Vec<Finding> {
        let list = reading.list.find(body).and_then(Value::as_array);
        let read = |entry: &Value| {
            let finding = Finding {
                title: entry
                    .as_str()
                    .filter(|title| !title.trim().is_empty())
                    .map(|title| cut(title, LONGEST_WORD))
                    .or_else(|| text(&reading.title, entry, LONGEST_WORD)),
                severity: self.severity(&reading.severity, entry),
                location: text(&reading.location, entry, LONGEST_WORD),
            };
            // An entry of which nothing is understood tells nobody anything.
            (finding != Finding::default()).then_some(finding)
        };
        list.into_iter().flatten().filter_map(read).take(MOST_FINDINGS).collect()
    }
}

/// The first pointer at which `read` finds something.
fn first<T>(at: &[Pointer], body: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    at.iter().find_map(|at| at.find(body).and_then(&read))
}

/// The first non-empty string.
fn text(at: &[Pointer], body: &Value, longest: usize) -> Option<String> {
    first(at, body, |value| value.as_str().filter(|text| !text.trim().is_empty()).map(|text| cut(text, longest)))
}

/// At most `longest` bytes, cut between graphemes and marked.
pub fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let room = longest.saturating_sub('…'.len_utf8());
    let end = text.grapheme_indices(true).map(|(start, _)| start).take_while(|start| *start <= room).last();
    // One grapheme can be as long as its writer likes: then a code point must do.
    let boundary = || (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let end = end.filter(|end| *end > 0).unwrap_or_else(boundary);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests;
