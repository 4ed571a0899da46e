//! Gives the problems of other rooms their file and line.
//!
//! A room knows the table that it was given, and says `[destinations.siem]`; where that was written is known here.

use super::fault::{Path, Step, keys};
use super::places::{NAMED, Places};
use crate::problem::{Problem, Problems};

impl Places {
    /// `[destinations.siem]` becomes `app.toml:31: [destinations.siem]`; a fact that begins with a `` `key` ``, or a
    /// place that ends in one, gets the line of that key. Other places stay as they are.
    pub fn located(&self, problems: &Problems) -> Problems {
        let mut located = Problems::new();
        for problem in problems {
            located.push(self.located_one(problem.clone()));
        }
        located
    }

    /// [`Places::located`] for one, which may be a warning.
    pub fn located_one(&self, problem: Problem) -> Problem {
        let Some((table, rest)) = self.table_of(&problem.place) else { return problem };
        let path = self.with_key(table, key_of(rest, &problem.fact));
        let Some(source) = self.source(&path) else { return problem };
        Problem { place: format!("{source}: {}", problem.place), ..problem }
    }

    /// The path of the table at the beginning of a place, and what follows it.
    fn table_of<'a>(&self, place: &'a str) -> Option<(Path, &'a str)> {
        if let Some(route) = place.strip_prefix("[[routes]] ") {
            let (index, rest) = self.route_called(route)?;
            return Some((vec![Step::Key("routes".to_owned()), Step::Index(index)], rest));
        }
        let (table, rest) = place.strip_prefix('[')?.split_once(']')?;
        let named = table.split_once('.').filter(|(map, _)| NAMED.contains(map));
        Some((named.map_or_else(|| keys(&[table]), |(map, name)| keys(&[map, name])), rest))
    }

    /// The table's path, lengthened by as much of `key` as was written.
    fn with_key(&self, table: Path, key: &str) -> Path {
        let depth = table.len();
        let mut path = table;
        path.extend(key.split('.').filter(|step| !step.is_empty()).map(|step| Step::Key(step.to_owned())));
        while path.len() > depth && !self.is_written(&path) {
            path.pop();
        }
        path
    }

    /// File and line, or the variable.
    fn source(&self, path: &[Step]) -> Option<String> {
        if let Some(variable) = self.variable(path) {
            return Some(format!("environment {variable}"));
        }
        let file = self.file.as_ref()?.display();
        let line = path.get(..self.deepest(path)).and_then(|known| self.lines.get(known));
        Some(line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}")))
    }
}

/// The key in question: `: when` after the table, or `` `url` `` at the beginning of the fact.
fn key_of<'a>(rest: &'a str, fact: &'a str) -> &'a str {
    let after = rest.trim_start_matches([':', ' ']);
    let quoted = || fact.strip_prefix('`').and_then(|fact| fact.split_once('`')).map_or("", |(key, _)| key);
    if after.is_empty() { quoted() } else { after }
}
