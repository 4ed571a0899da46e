//! Where a setting was written, in the words in which a person would look for it:
//! `config/scanbell.toml:12: [amqp] prefetch`, or `environment SCANBELL_AMQP__PREFETCH`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::Environment;
use super::fault::{Path, Step, keys};
use crate::problem::{Problem, Problems};

/// The tables whose keys are names that people choose.
const NAMED: [&str; 2] = ["providers", "destinations"];

/// Where every setting was written.
#[derive(Debug, Default)]
pub struct Places {
    file: Option<PathBuf>,
    lines: BTreeMap<Path, usize>,
    environment: Environment,
}

impl Places {
    pub(super) fn new(file: Option<PathBuf>, lines: BTreeMap<Path, usize>, environment: Environment) -> Self {
        Self { file, lines, environment }
    }

    /// The place of a table, or of a key in it: `places.of(&["destinations", "siem"], Some("url"))`.
    ///
    /// A key that is not written is looked for in its table.
    pub fn of(&self, table: &[&str], key: Option<&str>) -> String {
        let mut path = keys(table);
        path.extend(key.map(|key| Step::Key(key.to_owned())));
        self.place(&path)
    }

    /// The place of a route, counted from 0.
    pub fn of_route(&self, index: usize, key: Option<&str>) -> String {
        let mut path = keys(&["routes"]);
        path.push(Step::Index(index));
        path.extend(key.map(|key| Step::Key(key.to_owned())));
        self.place(&path)
    }

    /// Whether somebody wrote this setting, in the file or the environment.
    pub(super) fn is_written(&self, path: &[Step]) -> bool {
        self.lines.contains_key(path) || self.environment.variables.contains_key(path)
    }

    /// Whether the environment has the last word about this setting.
    pub(super) fn is_from_environment(&self, path: &[Step]) -> bool {
        self.environment.variables.keys().any(|key| path.starts_with(key))
    }

    pub(super) fn place(&self, path: &[Step]) -> String {
        if let Some(variable) = self.variable(path) {
            let exact = self.environment.variables.contains_key(path);
            let inside = if exact || path.is_empty() { String::new() } else { format!(": {}", spelled(path)) };
            return format!("environment {variable}{inside}");
        }
        let line = path.get(..self.deepest(path)).and_then(|known| self.lines.get(known));
        let source = match (&self.file, line) {
            (Some(file), Some(line)) => format!("{}:{line}", file.display()),
            (Some(file), None) => file.display().to_string(),
            (None, _) => "configuration".to_owned(),
        };
        if path.is_empty() { source } else { format!("{source}: {}", spelled(path)) }
    }

    /// The problems of another room, which knows its table but not where that was written: `[destinations.siem]`
    /// becomes `app.toml:31: [destinations.siem]`; a fact that begins with a `` `key` `` gets the line of that key.
    pub fn located(&self, problems: &Problems) -> Problems {
        let mut located = Problems::new();
        for problem in problems {
            located.push(self.located_one(problem.clone()));
        }
        located
    }

    /// [`Places::located`] for one, which may be a warning.
    pub fn located_one(&self, problem: Problem) -> Problem {
        let Some((mut path, rest)) = table_of(&problem.place) else { return problem };
        let table = spelled(&path);
        let key = problem.fact.strip_prefix('`').and_then(|fact| fact.split_once('`')).map_or("", |(key, _)| key);
        let depth = path.len();
        path.extend(key.split('.').filter(|step| !step.is_empty()).map(|step| Step::Key(step.to_owned())));
        path.truncate(self.deepest(&path).max(depth));
        let place = match (
            self.variable(&path),
            &self.file,
            self.lines.get(path.get(..self.deepest(&path)).unwrap_or_default()),
        ) {
            (Some(variable), ..) => format!("environment {variable}: {table}{rest}"),
            (None, Some(file), Some(line)) => format!("{}:{line}: {table}{rest}", file.display()),
            (None, Some(file), None) => format!("{}: {table}{rest}", file.display()),
            (None, None, _) => return problem,
        };
        Problem { place, ..problem }
    }

    /// In the order of the file; what is not in it comes last.
    pub(super) fn in_order(&self, problems: Problems) -> Problems {
        let mut all: Vec<Problem> = problems.iter().cloned().collect();
        all.sort_by_key(|problem| self.line_of(problem).unwrap_or(usize::MAX));
        let mut sorted = Problems::new();
        all.into_iter().for_each(|problem| sorted.push(problem));
        sorted
    }

    fn line_of(&self, problem: &Problem) -> Option<usize> {
        let file = self.file.as_ref()?.display().to_string();
        let rest = problem.place.strip_prefix(&file)?.strip_prefix(':')?;
        rest.split(':').next()?.parse().ok()
    }

    /// The place of a key that its table does not know: the table, on the line of the key.
    pub(super) fn place_of_stranger(&self, path: &[Step]) -> String {
        let table = path.split_last().map_or(path, |(_, table)| table);
        match (self.variable(path), &self.file, self.lines.get(path)) {
            (None, Some(file), Some(line)) if table.is_empty() => format!("{}:{line}", file.display()),
            (None, Some(file), Some(line)) => format!("{}:{line}: {}", file.display(), spelled(table)),
            _ => self.place(path),
        }
    }

    /// The variable to point at: it sets this, or the table around it; or this is a table that the file lacks.
    fn variable(&self, path: &[Step]) -> Option<&str> {
        let variable = self.environment.variable(path)?;
        (self.is_from_environment(path) || !self.lines.contains_key(path)).then_some(variable)
    }

    /// How many steps of the path are written in the file.
    fn deepest(&self, path: &[Step]) -> usize {
        (1..=path.len()).rev().find(|len| path.get(..*len).is_some_and(|p| self.lines.contains_key(p))).unwrap_or(0)
    }
}

/// `[amqp] prefetch`, `[destinations.siem] retry.first`, `[[routes]] 2 when`.
fn spelled(path: &[Step]) -> String {
    let names: Vec<String> = path.iter().map(step_text).collect();
    let (table, depth) = match (path, names.as_slice()) {
        ([_, Step::Index(_), ..], [list, number, ..]) => (format!("[[{list}]] {number}"), 2),
        (_, [map, name, ..]) if NAMED.contains(&map.as_str()) => (format!("[{map}.{name}]"), 2),
        (_, [table, ..]) => (format!("[{table}]"), 1),
        (_, []) => return String::new(),
    };
    match names.get(depth..) {
        Some(rest) if !rest.is_empty() => format!("{table} {}", rest.join(".")),
        _ => table,
    }
}

/// `[destinations.siem] rest` or `[[routes]] 2 rest` as a path and the rest.
fn table_of(place: &str) -> Option<(Path, &str)> {
    if let Some(rest) = place.strip_prefix("[[") {
        let (list, rest) = rest.split_once("]]")?;
        let number = rest.trim_start();
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (number, rest) = number.split_at(digits);
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        return Some((vec![Step::Key(list.to_owned()), Step::Index(index)], rest));
    }
    let (table, rest) = place.strip_prefix('[')?.split_once(']')?;
    let named = table.split_once('.').filter(|(map, _)| NAMED.contains(map));
    Some((named.map_or_else(|| keys(&[table]), |(map, name)| keys(&[map, name])), rest))
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => (index + 1).to_string(),
    }
}
