//! From the TOML of a profile to its [`Reading`]: verdict, severity, subject, counts, findings.

use std::collections::BTreeMap;

use super::read_rule::{condition, word_of};
use super::reader::{Item, Table};
use super::{FindingsReading, Reading, SubjectReading};
use crate::domain::report::{Severity, SubjectKind, Verdict};
use crate::provider::rule::{Condition, Pointer};

pub(super) fn reading(root: &Table<'_, '_>) -> Reading {
    Reading {
        verdict: root.get("verdict").map(|item| verdict_rules(&item)).unwrap_or_default(),
        severity: pointers(root, "severity"),
        severity_words: root.get("severity_words").map(|item| severity_words(&item)).unwrap_or_default(),
        score: pointers(root, "score"),
        confidence: pointers(root, "confidence"),
        subject: root.get("subject").map(|item| subjects(&item)).unwrap_or_default(),
        counts: root.get("counts").map(|item| counts(&item)).unwrap_or_default(),
        classes: pointers(root, "classes"),
        findings: root.get("findings").and_then(|item| findings(&item)),
        error_text: pointers(root, "error_text"),
    }
}

/// One pointer or a list of them.
fn pointers(table: &Table<'_, '_>, key: &'static str) -> Vec<Pointer> {
    let items = table.get(key).map(|item| item.list()).unwrap_or_default();
    items.iter().filter_map(|item| item.parse(Pointer::parse)).collect()
}

fn closed_list<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> Vec<(&'static str, T)> {
    all.iter().map(|value| (word(*value), *value)).collect()
}

fn verdict_rules(item: &Item<'_, '_>) -> Vec<(Condition, Verdict)> {
    let known = closed_list(Verdict::ALL, Verdict::as_str);
    let read = |item: Item<'_, '_>| {
        let table = item.table()?;
        let when = condition(&table, 0);
        let verdict = table.need("verdict").and_then(|item| item.parse(|word| word_of(word, &known)));
        table.close();
        Some((when?, verdict?))
    };
    item.list().into_iter().filter_map(read).collect()
}

/// `severity_words = { info = "low", severe = "critical" }`.
fn severity_words(item: &Item<'_, '_>) -> BTreeMap<String, Severity> {
    let known = closed_list(Severity::ALL, Severity::as_str);
    let entries = item.table().map(|table| table.entries()).unwrap_or_default();
    let read = |item: Item<'_, '_>| {
        let severity = item.parse(|word| word_of(word, &known))?;
        Some((item.key.to_lowercase(), severity))
    };
    entries.into_iter().filter_map(read).collect()
}

fn subjects(item: &Item<'_, '_>) -> Vec<SubjectReading> {
    let known = closed_list(SubjectKind::ALL, SubjectKind::as_str);
    let read = |item: Item<'_, '_>| {
        let table = item.table()?;
        let when = table.get("when").and_then(|item| item.table()).map(|table| {
            let when = condition(&table, 0);
            table.close();
            when
        });
        let reading = SubjectReading {
            when: when.flatten(),
            kind: table.need("kind").and_then(|item| item.parse(|word| word_of(word, &known))).unwrap_or_default(),
            name: pointers(&table, "name"),
            sha256: pointers(&table, "sha256"),
            size: pointers(&table, "size"),
            media_type: pointers(&table, "media_type"),
        };
        table.close();
        Some(reading)
    };
    item.list().into_iter().filter_map(read).collect()
}

fn counts(item: &Item<'_, '_>) -> BTreeMap<String, Pointer> {
    let entries = item.table().map(|table| table.entries()).unwrap_or_default();
    entries.into_iter().filter_map(|item| Some((item.key.to_owned(), item.parse(Pointer::parse)?))).collect()
}

fn findings(item: &Item<'_, '_>) -> Option<FindingsReading> {
    let table = item.table()?;
    let list = table.need("list").and_then(|item| item.parse(Pointer::parse));
    let reading = FindingsReading {
        title: pointers(&table, "title"),
        severity: pointers(&table, "severity"),
        location: pointers(&table, "location"),
        list: list?,
    };
    table.close();
    Some(reading)
}
