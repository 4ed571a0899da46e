//! From the TOML of a profile to its rules: readiness, and the conditions that every kind of rule shares.

use toml::de::DeValue;

use super::reader::{Item, Table, as_number};
use super::{Means, ReadyRule};
use crate::problem::did_you_mean;
use crate::provider::rule::{Condition, Literal, Pointer};

/// Conditions below `and` go no deeper than this.
const DEEPEST: usize = 4;

pub(super) fn statuses(item: &Item<'_, '_>) -> Vec<u16> {
    item.list().iter().filter_map(|item| item.whole(100, 599)).map(|status| status as u16).collect()
}

pub(super) fn ready_rules(item: &Item<'_, '_>) -> Vec<ReadyRule> {
    let read = |item: Item<'_, '_>| {
        let table = item.table()?;
        let when = condition(&table, 0);
        let means = table.need("means").and_then(|item| item.parse(means));
        table.close();
        Some(ReadyRule { when: when?, means: means? })
    };
    item.list().into_iter().filter_map(read).collect()
}

fn means(word: &str) -> Result<Means, String> {
    let known = [
        ("ok", Means::Ok),
        ("failed", Means::Failed),
        ("unsupported", Means::Unsupported),
        ("pending", Means::Pending),
    ];
    word_of(word, &known)
}

/// One of a closed list of words.
pub(super) fn word_of<T: Copy>(word: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let hint = did_you_mean(word, known.iter().map(|(name, _)| *name));
        format!("`{word}` is not known here; {hint}")
    })
}

/// The condition in a rule's table; the caller asks for its own keys and closes the table.
pub(super) fn condition(table: &Table<'_, '_>, depth: usize) -> Option<Condition> {
    if !table.has(&["at", "http"]) {
        table.problem("a rule needs `at` (a JSON Pointer) or `http` (a list of statuses)", None);
    }
    if table.has(&["at"]) && !table.has(&["eq", "in", "ge", "present", "nonempty"]) {
        table.problem("what is expected there? add one of: eq, in, ge, present, nonempty", None);
    }
    let mut one_of: Vec<Literal> = table.get("in").map(|item| literals(&item)).unwrap_or_default();
    one_of.extend(table.get("eq").and_then(|item| literal(&item)));
    let at = table.get("at").and_then(|item| item.parse(Pointer::parse));
    let condition = Condition {
        http: table.get("http").map(|item| statuses(&item)).unwrap_or_default(),
        one_of,
        at_least: table.get("ge").and_then(|item| item.number()),
        present: table.get("present").and_then(|item| item.boolean()),
        nonempty: table.get("nonempty").and_then(|item| item.boolean()),
        and: table.get("and").map(|item| conditions(&item, depth + 1)).unwrap_or_default(),
        at,
    };
    // A pointer that could not be read must not become a rule that always holds.
    (condition.at.is_some() || !condition.http.is_empty()).then_some(condition)
}

fn conditions(item: &Item<'_, '_>, depth: usize) -> Vec<Condition> {
    if depth > DEEPEST {
        item.problem("`and` goes too deep", None);
        return Vec::new();
    }
    let read = |item: Item<'_, '_>| {
        let table = item.table()?;
        let condition = condition(&table, depth);
        table.close();
        condition
    };
    item.list().into_iter().filter_map(read).collect()
}

fn literals(item: &Item<'_, '_>) -> Vec<Literal> {
    let literals: Vec<_> = item.list().iter().filter_map(literal).collect();
    if literals.is_empty() {
        item.problem("`in` is empty: the rule never holds", None);
    }
    literals
}

fn literal(item: &Item<'_, '_>) -> Option<Literal> {
    match item.value() {
        DeValue::String(text) => Some(Literal::Text(text.as_ref().to_owned())),
        DeValue::Boolean(flag) => Some(Literal::Bool(*flag)),
        value => as_number(value).map(Literal::Number).or_else(|| {
            item.problem("compared are strings, numbers and true or false", None);
            None
        }),
    }
}
