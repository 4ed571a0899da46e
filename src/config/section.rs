//! Reads one section of the tree into its type and finds every fault in it, not only the first.
//!
//! On a fault the offending key is noted and taken out, and the section is read again, until it passes. What comes
//! out is the section with its faulty keys at their defaults: good enough to go on checking, never to run.

use figment::value::{Empty, Tag, Value};
use serde::de::DeserializeOwned;

use super::fault::{Fault, Kind, Path, Step};
use super::places::Places;
use super::scrub::scrubbed;
use super::setting::Setting;
use crate::problem::{Problem, Problems, did_you_mean};

/// More faults than this in one section are not about the section any more.
const MOST: usize = 200;

/// Reads sections and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a Value,
    pub(super) environment: Option<Tag>,
    pub(super) places: &'a Places,
    pub(super) problems: Problems,
}

impl Reader<'_> {
    /// The section at `path`; `None` if it is not there, or if what it cannot do without is missing or faulty.
    pub(super) fn read<T: DeserializeOwned>(&mut self, path: &[Step]) -> Option<T> {
        self.read_value(find(self.tree, path)?.clone(), path)
    }

    /// The table at `path` without one of its keys, which was read before.
    pub(super) fn read_without<T: DeserializeOwned>(&mut self, path: &[Step], key: &str) -> Option<T> {
        let mut section = find(self.tree, path)?.clone();
        if let Value::Dict(_, table) = &mut section {
            table.remove(key);
        }
        self.read_value(section, path)
    }

    fn read_value<T: DeserializeOwned>(&mut self, mut section: Value, path: &[Step]) -> Option<T> {
        let mut removed: Vec<Path> = Vec::new();
        for _ in 0..MOST {
            let fault = match T::deserialize(Setting::new(&section, self.environment)) {
                Ok(value) => return Some(value),
                Err(fault) => fault,
            };
            let at = fault.path(path);
            if !follows_from(&fault, &at, &removed) {
                let problem = self.problem(&fault, &at);
                self.problems.push(problem);
            }
            let inside = at.get(path.len()..).unwrap_or_default();
            if !remove(&mut section, inside) {
                return None;
            }
            removed.push(at);
        }
        None
    }

    /// The section at `path`, or its default.
    pub(super) fn read_or_default<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.read(&[Step::Key(name.to_owned())]).unwrap_or_default()
    }

    fn missing(&self, key: &str, table: &[Step]) -> Problem {
        Problem::new(self.places.place(table), format!("`{key}` is missing"))
            .hint(format!("add `{key} = …` to this table"))
    }

    fn problem(&self, fault: &Fault, at: &[Step]) -> Problem {
        match &fault.kind {
            Kind::UnknownKey { known } => self.unknown_key(at, known),
            Kind::Missing { key } => self.missing(key, at),
            Kind::WrongType { wanted, found } => {
                let place = self.places.place(at);
                let hidden = self.places.is_from_environment(at);
                let found_words = if hidden { String::new() } else { format!(", this is {found}") };
                let problem = Problem::new(place, format!("must be {}{found_words}", wanted.name));
                // A variable has no quotes to lose.
                match wanted.example.filter(|_| !wanted.needs_no_quotes || (*found == "text" && !hidden)) {
                    Some(example) => problem.hint(example),
                    None => problem,
                }
            }
            Kind::UnknownWord { word, known } => {
                let hidden = self.places.is_from_environment(at);
                let fact = if hidden { "unknown word".to_owned() } else { format!("unknown word `{word}`") };
                Problem::new(self.places.place(at), fact).hint(did_you_mean(word, known.iter().copied()))
            }
            Kind::Said(text) => self.said(text, at),
        }
    }

    /// A key that does not exist; its place is the table, or its variable.
    pub(super) fn unknown_key(&self, at: &[Step], known: &[&str]) -> Problem {
        let name = at.last().and_then(Step::key).unwrap_or_default();
        let place = self.places.place_of_stranger(at);
        Problem::new(place, format!("unknown key `{name}`")).hint(did_you_mean(name, known.iter().copied()))
    }

    /// What a type says about its value: `fact; way out`, without the value where that may be secret.
    fn said(&self, text: &str, at: &[Step]) -> Problem {
        let value = nearest(self.tree, at);
        let text = scrubbed(text, value, at, self.places.is_from_environment(at));
        let place = self.places.place(at);
        match text.split_once("; ") {
            Some((fact, hint)) => Problem::new(place, fact).hint(hint),
            None => Problem::new(place, text).hint(match at.iter().rev().find_map(Step::key) {
                Some(key) => format!("config/default.toml shows how `{key}` is written"),
                None => "config/default.toml shows how it is written".to_owned(),
            }),
        }
    }
}

/// Whether the fault is only there because a faulty key was taken out before.
fn follows_from(fault: &Fault, at: &[Step], removed: &[Path]) -> bool {
    matches!(fault.kind, Kind::Missing { key } if was_removed(key, at, removed))
}

/// Whether a key of the table, or something in it, was taken out before.
fn was_removed(key: &str, table: &[Step], removed: &[Path]) -> bool {
    let key = Step::Key(key.to_owned());
    removed.iter().any(|path| path.strip_prefix(table).and_then(<[Step]>::first) == Some(&key))
}

/// The value at `path`.
pub(super) fn find<'a>(tree: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |value, step| match (value, step) {
        (Value::Dict(_, table), Step::Key(key)) => table.get(key),
        (Value::Array(_, list), Step::Index(index)) => list.get(*index),
        _ => None,
    })
}

/// The value at `path`, or at the deepest step of it that exists.
fn nearest<'a>(tree: &'a Value, path: &[Step]) -> Option<&'a Value> {
    (0..=path.len()).rev().find_map(|len| find(tree, path.get(..len)?))
}

/// Takes out what is at `path`, or the nearest thing around it; false if that is all there is.
fn remove(value: &mut Value, path: &[Step]) -> bool {
    let Some((step, rest)) = path.split_first() else { return false };
    let inner = match (&mut *value, step) {
        (Value::Dict(_, table), Step::Key(key)) => table.get_mut(key),
        (Value::Array(_, list), Step::Index(index)) => list.get_mut(*index),
        _ => return false,
    };
    if inner.is_some_and(|inner| remove(inner, rest)) {
        return true;
    }
    match (value, step) {
        (Value::Dict(_, table), Step::Key(key)) => table.remove(key).is_some(),
        // The elements after it keep their numbers: see `Setting`, which skips what is empty.
        (Value::Array(_, list), Step::Index(index)) => list.get_mut(*index).is_some_and(|element| {
            let gap = Value::from(Empty::None);
            !matches!(std::mem::replace(element, gap), Value::Empty(..))
        }),
        _ => false,
    }
}
