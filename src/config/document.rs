//! Reads TOML: its values, and the line on which each key stands.
//!
//! A document with a syntax error is one problem that shows the place and never what is written there: it may be a
//! secret that lacks its closing quote.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use figment::value::{Dict, Tag, Value};
use toml::de::{DeTable, DeValue};

use super::fault::{Path, Step};
use crate::problem::Problem;

/// A parsed document.
#[derive(Default)]
pub(super) struct Document {
    /// Its values, ready to be layered.
    pub(super) table: Dict,
    /// The line of every key and list element, counted from 1.
    pub(super) lines: BTreeMap<Path, usize>,
}

/// Reads the text of `file`.
pub(super) fn parse(file: &FilePath, text: &str) -> Result<Document, Problem> {
    // A byte order mark is no error of the author's.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = DeTable::parse(text).map_err(|error| syntax_problem(file, text, &error))?;
    let starts = line_starts(text);
    let mut lines = BTreeMap::new();
    let table = table_value(root.get_ref(), &mut Vec::new(), &mut |path, offset| {
        lines.insert(path.clone(), line_at(&starts, offset));
    });
    Ok(Document { table, lines })
}

/// One TOML value out of a variable of the environment, marked with its tag; `None` if it is none.
pub(super) fn literal(text: &str, tag: Tag) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(retagged(value(parsed.get_ref(), &mut Vec::new(), &mut |_, _| ()), tag))
}

fn retagged(value: Value, tag: Tag) -> Value {
    match value {
        Value::String(_, text) => Value::String(tag, text),
        Value::Array(_, list) => Value::Array(tag, list.into_iter().map(|value| retagged(value, tag)).collect()),
        Value::Dict(_, table) => {
            Value::Dict(tag, table.into_iter().map(|(key, value)| (key, retagged(value, tag))).collect())
        }
        other => other,
    }
}

fn table_value(table: &DeTable<'_>, path: &mut Path, note: &mut impl FnMut(&Path, usize)) -> Dict {
    let mut values = Dict::new();
    for (key, inner) in table {
        let name = key.get_ref().to_string();
        path.push(Step::Key(name.clone()));
        note(path, key.span().start);
        values.insert(name, value(inner.get_ref(), path, note));
        path.pop();
    }
    values
}

fn value(parsed: &DeValue<'_>, path: &mut Path, note: &mut impl FnMut(&Path, usize)) -> Value {
    match parsed {
        DeValue::String(text) => Value::from(text.to_string()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(f64::INFINITY),
        },
        DeValue::Float(number) => Value::from(number.as_str().parse::<f64>().unwrap_or(f64::NAN)),
        // No setting is a date; as text it gets the same answer as any other wrong text.
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Table(inner) => Value::from(table_value(inner, path, note)),
        DeValue::Array(list) => {
            let mut elements = Vec::new();
            for (index, inner) in list.iter().enumerate() {
                path.push(Step::Index(index));
                note(path, inner.span().start);
                elements.push(value(inner.get_ref(), path, note));
                path.pop();
            }
            Value::from(elements)
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

fn line_at(starts: &[usize], offset: usize) -> usize {
    starts.partition_point(|start| *start <= offset)
}

/// File, line, column, the parser's reason, and the line with everything hidden that could be a value.
fn syntax_problem(file: &FilePath, text: &str, error: &toml::de::Error) -> Problem {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let starts = line_starts(text);
    let number = line_at(&starts, offset);
    let start = starts.get(number.saturating_sub(1)).copied().unwrap_or(0);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let column = text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
    let shown = if in_multiline_text(text.get(..start).unwrap_or_default()) { hidden(line) } else { keys_only(line) };
    let caret = format!("{}^", " ".repeat(column - 1));
    Problem::new(
        format!("{}:{number}:{column}", file.display()),
        format!("this is not TOML: {}", error.message().replace('\n', ", ")),
    )
    .hint(format!("{shown}\n    {caret} (values are hidden)"))
}

/// Whether a text that was opened with three quotes is still open.
fn in_multiline_text(before: &str) -> bool {
    ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1)
}

/// The line with what stands after its `=` hidden; a line that is no `key = value` and no `[table]` is hidden whole.
fn keys_only(line: &str) -> String {
    let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_-. \t".contains(c));
    match line.split_once('=') {
        Some((key, value)) if is_name(key) => format!("{key}={}", hidden(value)),
        None if line.trim_start().starts_with('[') && is_name(line.trim_matches([' ', '\t', '[', ']'])) => {
            line.to_owned()
        }
        None if is_name(line) => line.to_owned(),
        _ => hidden(line),
    }
}

/// The same line with only its punctuation readable.
fn hidden(text: &str) -> String {
    text.chars().map(|c| if " \t\"'[]{}=,#".contains(c) { c } else { '·' }).collect()
}
