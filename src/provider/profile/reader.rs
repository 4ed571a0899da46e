//! Reads a TOML file key by key and collects every problem with its line.
//!
//! Serde would stop at the first one. Each table remembers which keys it was asked for; what is left over when it
//! is [closed](Table::close) is an unknown key. Knows nothing of profiles.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Problems, did_you_mean};

/// A file that is being read, and what is wrong with it so far.
pub(super) struct File<'s> {
    name: &'s str,
    text: &'s str,
    /// With where they begin, so that they can be told in the order of the file.
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'s> File<'s> {
    pub(super) fn new(name: &'s str, text: &'s str) -> Self {
        Self { name, text, problems: RefCell::default() }
    }

    /// The root table; a file that is not TOML has every syntax error as a problem, and no root.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'s>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let fact = error.message().lines().collect::<Vec<_>>().join(", ");
            self.push(error.span().unwrap_or_default(), fact, None);
        }
        errors.is_empty().then_some(table)
    }

    fn push(&self, at: Range<usize>, fact: impl Into<String>, hint: Option<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let problem = Problem::new(format!("{}:{line}", self.name), fact);
        let problem = match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        };
        self.problems.borrow_mut().push((at.start, problem));
    }

    /// All that was found, in the order of the file.
    pub(super) fn into_problems(self) -> Problems {
        let mut found = self.problems.into_inner();
        found.sort_by_key(|(start, _)| *start);
        let mut problems = Problems::new();
        for (_, problem) in found {
            problems.push(problem);
        }
        problems
    }
}

/// A table and the keys it was asked for.
pub(super) struct Table<'a, 's> {
    file: &'a File<'s>,
    entries: &'a DeTable<'s>,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a, 's> Table<'a, 's> {
    pub(super) fn root(file: &'a File<'s>, table: &'a Spanned<DeTable<'s>>) -> Self {
        Self { file, entries: table.get_ref(), span: table.span(), asked: RefCell::default() }
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'a, 's>> {
        self.asked.borrow_mut().push(key);
        let (key, value) = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Item { file: self.file, key: key.get_ref(), value })
    }

    /// Like [`Table::get`]; its absence is a problem.
    pub(super) fn need(&self, key: &'static str) -> Option<Item<'a, 's>> {
        let item = self.get(key);
        if item.is_none() {
            self.problem(format!("`{key}` is missing"), None);
        }
        item
    }

    /// Every key with its value, for tables whose keys are free.
    pub(super) fn entries(&self) -> Vec<Item<'a, 's>> {
        self.entries.iter().map(|(key, value)| Item { file: self.file, key: key.get_ref(), value }).collect()
    }

    /// Whether one of `keys` is there.
    pub(super) fn has(&self, keys: &[&str]) -> bool {
        self.entries.keys().any(|key| keys.contains(&key.get_ref().as_ref()))
    }

    /// A problem of the table as a whole.
    pub(super) fn problem(&self, fact: impl Into<String>, hint: Option<String>) {
        self.file.push(self.span.clone(), fact, hint);
    }

    /// Says which keys nobody asked for.
    pub(super) fn close(self) {
        let asked = self.asked.into_inner();
        for (key, _) in self.entries {
            let name = key.get_ref().as_ref();
            if !asked.contains(&name) {
                let hint = did_you_mean(name, asked.iter().copied());
                self.file.push(key.span(), format!("unknown key `{name}`"), Some(hint));
            }
        }
    }
}

/// A value with its place.
#[derive(Clone, Copy)]
pub(super) struct Item<'a, 's> {
    file: &'a File<'s>,
    pub(super) key: &'a str,
    value: &'a Spanned<DeValue<'s>>,
}

impl<'a, 's> Item<'a, 's> {
    /// A problem of this value.
    pub(super) fn problem(&self, fact: impl Into<String>, hint: Option<String>) {
        self.file.push(self.value.span(), fact, hint);
    }

    fn wrong(&self, wanted: &str) {
        let found = match self.value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::String(_) => "a string",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("`{}` must be {wanted}, not {found}", self.key), None);
    }

    pub(super) fn value(&self) -> &'a DeValue<'s> {
        self.value.get_ref()
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong("a string");
        }
        text
    }

    /// A string, read by `parse`, whose error becomes the problem.
    pub(super) fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(format!("`{}`: {error}", self.key), None);
                None
            }
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.value.get_ref().as_bool();
        if value.is_none() {
            self.wrong("true or false");
        }
        value
    }

    pub(super) fn number(&self) -> Option<f64> {
        let value = as_number(self.value.get_ref());
        if value.is_none() {
            self.wrong("a number");
        }
        value
    }

    /// A whole number in `from..=to`.
    pub(super) fn whole(&self, from: u32, to: u32) -> Option<u32> {
        let number = self.number()?;
        let fits = number.fract() == 0.0 && number >= f64::from(from) && number <= f64::from(to);
        if !fits {
            self.problem(format!("`{}` must be a whole number from {from} to {to}", self.key), None);
        }
        fits.then_some(number as u32)
    }

    /// The entries of a list; anything else is taken for a list of one.
    pub(super) fn list(&self) -> Vec<Item<'a, 's>> {
        match self.value.get_ref() {
            DeValue::Array(array) => array.iter().map(|value| Item { file: self.file, key: self.key, value }).collect(),
            _ => vec![*self],
        }
    }

    pub(super) fn table(&self) -> Option<Table<'a, 's>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong("a table");
            return None;
        };
        Some(Table { file: self.file, entries: table, span: self.value.span(), asked: RefCell::default() })
    }
}

/// A TOML number as a float; profiles need no more than 53 bits.
pub(super) fn as_number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix()).ok().map(|whole| whole as f64),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    }
}
