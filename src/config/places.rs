//! Where a setting was written, in the words in which a person would look for it:
//! `config/scanbell.toml:12: [amqp] prefetch`, or `environment SCANBELL_AMQP__PREFETCH`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::Value;

use super::document::Document;
use super::environment::Variables;
use super::fault::{Path, Step, keys};
use crate::problem::{Problem, Problems};

/// The tables whose keys are names that people choose.
pub(super) const NAMED: [&str; 2] = ["providers", "destinations"];

/// Where every setting was written.
#[derive(Debug, Default)]
pub struct Places {
    pub(super) file: Option<PathBuf>,
    pub(super) lines: BTreeMap<Path, usize>,
    variables: Variables,
    /// The names of the routes, where they have one.
    route_names: Vec<Option<String>>,
}

impl Places {
    pub(super) fn new(file: Option<PathBuf>, document: Document, variables: Variables) -> Self {
        let routes = document.table.get("routes").and_then(Value::as_array).unwrap_or_default();
        let name_of = |route: &Value| Some(route.as_dict()?.get("name")?.as_str()?.to_owned());
        let route_names = routes.iter().map(name_of).collect();
        Self { file, lines: document.lines, variables, route_names }
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
        self.lines.contains_key(path) || self.variables.gives(path)
    }

    /// Whether the environment has the last word about this setting.
    pub(super) fn is_from_environment(&self, path: &[Step]) -> bool {
        self.variables.paths().any(|key| path.starts_with(key))
    }

    pub(super) fn place(&self, path: &[Step]) -> String {
        if let Some(variable) = self.variable(path) {
            let exact = self.variables.gives(path);
            let inside = if exact || path.is_empty() { String::new() } else { format!(": {}", self.spelled(path)) };
            return format!("environment {variable}{inside}");
        }
        let line = path.get(..self.deepest(path)).and_then(|known| self.lines.get(known));
        let source = match (&self.file, line) {
            (Some(file), Some(line)) => format!("{}:{line}", file.display()),
            (Some(file), None) => file.display().to_string(),
            (None, _) => "configuration".to_owned(),
        };
        if path.is_empty() { source } else { format!("{source}: {}", self.spelled(path)) }
    }

    /// In the order of the file; what is not in it comes last.
    pub(super) fn in_order(&self, problems: &Problems) -> Problems {
        let mut all: Vec<Problem> = problems.iter().cloned().collect();
        all.sort_by_key(|problem| self.line_of(problem).unwrap_or(usize::MAX));
        let mut sorted = Problems::new();
        for problem in all {
            sorted.push(problem);
        }
        sorted
    }

    fn line_of(&self, problem: &Problem) -> Option<usize> {
        let file = self.file.as_ref()?.display().to_string();
        let rest = problem.place.strip_prefix(&file)?.strip_prefix(':')?;
        rest.split(':').next()?.parse().ok()
    }

    /// `[amqp] prefetch`, `[destinations.siem] retry.first`, `[[routes]] threats to people: when`.
    pub(super) fn spelled(&self, path: &[Step]) -> String {
        let names: Vec<String> = path.iter().map(step_text).collect();
        let (table, separator, depth) = match (path, names.as_slice()) {
            ([_, Step::Index(index), ..], [list, ..]) => (format!("[[{list}]] {}", self.route_name(*index)), ": ", 2),
            (_, [map, name, ..]) if NAMED.contains(&map.as_str()) => (format!("[{map}.{name}]"), " ", 2),
            (_, [table, ..]) => (format!("[{table}]"), " ", 1),
            (_, []) => return String::new(),
        };
        match names.get(depth..) {
            Some(rest) if !rest.is_empty() => format!("{table}{separator}{}", rest.join(".")),
            _ => table,
        }
    }

    /// What the routing calls a route: its name, or its number.
    fn route_name(&self, index: usize) -> String {
        let given = self.route_names.get(index).cloned().flatten();
        given.unwrap_or_else(|| format!("route {}", index + 1))
    }

    /// Which route is meant by a text that begins with its name, and what follows the name.
    pub(super) fn route_called<'a>(&self, text: &'a str) -> Option<(usize, &'a str)> {
        let called = |index: usize| {
            let rest = text.strip_prefix(self.route_name(index).as_str())?;
            (rest.is_empty() || rest.starts_with(':')).then_some((index, rest))
        };
        (0..self.route_names.len()).filter_map(called).min_by_key(|(_, rest)| rest.len())
    }

    /// The place of a key that its table does not know: the table, on the line of the key.
    pub(super) fn place_of_stranger(&self, path: &[Step]) -> String {
        let table = path.split_last().map_or(path, |(_, table)| table);
        match (self.variable(path), &self.file, self.lines.get(path)) {
            (None, Some(file), Some(line)) if table.is_empty() => format!("{}:{line}", file.display()),
            (None, Some(file), Some(line)) => format!("{}:{line}: {}", file.display(), self.spelled(table)),
            _ => self.place(path),
        }
    }

    /// The variable to point at: it sets this, or the table around it; or this is a table that the file lacks.
    pub(super) fn variable(&self, path: &[Step]) -> Option<&str> {
        let variable = self.variables.related(path)?;
        (self.is_from_environment(path) || !self.lines.contains_key(path)).then_some(variable)
    }

    /// How many steps of the path are written in the file.
    pub(super) fn deepest(&self, path: &[Step]) -> usize {
        (1..=path.len()).rev().find(|len| path.get(..*len).is_some_and(|p| self.lines.contains_key(p))).unwrap_or(0)
    }
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => (index + 1).to_string(),
    }
}
