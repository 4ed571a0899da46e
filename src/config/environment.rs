//! Settings from the environment: `SCANBELL_DESTINATIONS__SECOPS__WEBHOOK_URL=…`.
//!
//! Two underscores separate tables and keys; so a variable without them is no setting (Kubernetes sets
//! `SCANBELL_PORT` and its like by itself). Everything is text here; see [`super::setting`]. An empty variable
//! counts as not set.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use super::fault::{Path, Step};
use crate::problem::Problem;

/// What every variable of ours begins with.
const PREFIX: &str = "SCANBELL_";

/// What stands between the names of a path.
const SEPARATOR: &str = "__";

/// Which variable gives which setting; the values are not kept here.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<Path, String>);

/// Picks out the settings; `existing` is what the layers below hold, whose spelling of names is taken over.
pub(super) fn settings(all: &[(String, String)], existing: &Value) -> (Dict, Variables) {
    let mut table = Dict::new();
    let mut variables = Variables::default();
    for (variable, value) in all {
        let Some(names) = names_of(variable).filter(|_| !value.is_empty()) else { continue };
        let names = as_written(&names, existing);
        insert(&mut table, &names, value);
        variables.0.insert(names.into_iter().map(Step::Key).collect(), variable.clone());
    }
    (table, variables)
}

impl Variables {
    /// Every setting that a variable gives.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys()
    }

    /// Whether a variable gives exactly this setting.
    pub(super) fn gives(&self, path: &[Step]) -> bool {
        self.0.contains_key(path)
    }

    /// The variable that gives `path`, something in it, or the table around it.
    pub(super) fn related(&self, path: &[Step]) -> Option<&str> {
        let related = |key: &Path| key.starts_with(path) || path.starts_with(key);
        self.0.iter().find(|(key, _)| related(key)).map(|(_, name)| name.as_str())
    }
}

/// The lower-case path of a variable, if it is one of ours.
fn names_of(variable: &str) -> Option<Vec<String>> {
    let names: Vec<String> = variable.strip_prefix(PREFIX)?.split(SEPARATOR).map(str::to_lowercase).collect();
    (names.len() > 1 && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// The path in the spelling of the tables that exist: a shell cannot write `my-SIEM`, but `MY_SIEM`.
fn as_written(names: &[String], existing: &Value) -> Vec<String> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let mut below = Some(existing);
    let mut written = Vec::new();
    for name in names {
        let table = below.and_then(super::setting::table);
        let exact = table.and_then(|table| table.get_key_value(name));
        let found = exact.or_else(|| table?.iter().find(|(key, _)| plain(key) == plain(name)));
        written.push(found.map_or_else(|| name.clone(), |(key, _)| key.clone()));
        below = found.map(|(_, value)| value);
    }
    written
}

/// Puts a value at its path; what is in the way gives way, so that the outcome does not depend on luck.
fn insert(table: &mut Dict, names: &[String], value: &str) {
    match names {
        [] => {}
        [name] => {
            table.insert(name.clone(), Value::from(value));
        }
        [name, rest @ ..] => {
            let inner = table.entry(name.clone()).or_insert_with(|| Value::from(Dict::new()));
            if !matches!(inner, Value::Dict(..)) {
                *inner = Value::from(Dict::new());
            }
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Variables that look as if a setting was meant: `SCANBELL_STORE_URL`.
pub(super) fn near_misses(all: &[(String, String)], tables: &[&str]) -> Vec<Problem> {
    let mut found = Vec::new();
    for (variable, _) in all {
        let Some(rest) = variable.strip_prefix(PREFIX).filter(|rest| !rest.contains(SEPARATOR)) else { continue };
        let meant = tables.iter().find_map(|table| {
            let key = rest.strip_prefix(table.to_uppercase().as_str())?.strip_prefix('_')?;
            (!key.is_empty()).then(|| format!("{PREFIX}{}{SEPARATOR}{key}", table.to_uppercase()))
        });
        if let Some(meant) = meant {
            let fact = "this variable is not a setting and was not read";
            let hint = format!("two underscores separate a table from its key: did you mean `{meant}`?");
            found.push(Problem::new(format!("environment {variable}"), fact).hint(hint));
        }
    }
    found
}
