//! Lays the sources over one another, key by key: built-in defaults, file, environment. Later wins.
//!
//! A secret's two spellings are one setting: where a later layer gives `token`, an earlier `token_file` is gone.

use std::path::{Path as FilePath, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::document::{self, Document};
use super::environment;
use super::places::Places;
use super::section::find;
use crate::problem::{Problem, Problems};

/// The configuration that is compiled in, and the reference of all keys.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The layers, merged.
pub(super) struct Layers {
    /// One tree of all settings.
    pub(super) tree: Value,
    /// What marks the values that came from the environment.
    pub(super) environment: Option<Tag>,
    /// Where each setting was written.
    pub(super) places: Places,
}

struct Layer {
    name: &'static str,
    table: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.table.clone()))
    }
}

/// Merges the built-in defaults, the text of a file, and the environment.
pub(super) fn merge(file: Option<(&FilePath, &str)>, env: &[(String, String)]) -> Result<Layers, Problems> {
    let mut defaults = document::parse(FilePath::new("the built-in defaults"), DEFAULTS)?.table;
    let mut written = match file {
        Some((path, text)) => document::parse(path, text)?,
        None => Document::default(),
    };
    drop_twins(&mut defaults, &written.table);
    let below = merged(&[("built-in defaults", &defaults), ("file", &written.table)])?;
    let (above, variables) = environment::settings(env, &below);
    drop_twins(&mut defaults, &above);
    drop_twins(&mut written.table, &above);
    let layers = [("built-in defaults", &defaults), ("file", &written.table), ("environment", &above)];
    let tree = merged(&layers)?;
    let environment = variables.paths().find_map(|path| match find(&tree, path) {
        Some(Value::String(tag, _)) => Some(*tag),
        _ => None,
    });
    let places = Places::new(file.map(|(path, _)| path.to_owned()), written, variables);
    Ok(Layers { tree, environment, places })
}

/// Figment lays the tables over one another and marks each value with the layer it came from.
fn merged(layers: &[(&'static str, &Dict)]) -> Result<Value, Problems> {
    let layer = |(name, table): &(&'static str, &Dict)| Layer { name, table: (*table).clone() };
    let figment = layers.iter().map(layer).fold(Figment::new(), Figment::merge);
    // Our layers cannot fail; should figment ever say otherwise, it would print values.
    figment.find_value("").map_err(|_| Problem::new("configuration", "its layers cannot be merged").into())
}

/// Takes out of `lower` what `upper` gives in the other spelling: `x` for `x_file` and the reverse.
fn drop_twins(lower: &mut Dict, upper: &Dict) {
    for (key, value) in upper {
        if let (Some(Value::Dict(_, below)), Value::Dict(_, above)) = (lower.get_mut(key), value) {
            drop_twins(below, above);
            continue;
        }
        let twin = key.strip_suffix("_file").map_or_else(|| format!("{key}_file"), str::to_owned);
        if !upper.contains_key(&twin) {
            lower.remove(&twin);
        }
    }
}

/// Where a configuration is looked for when nobody names one.
pub fn usual_places() -> Vec<PathBuf> {
    vec![PathBuf::from("config/scanbell.toml"), PathBuf::from("/etc/scanbell/scanbell.toml")]
}

/// The file to read and its text: the named one, or the first of `candidates` that exists.
pub(super) fn find_file(
    named: Option<&FilePath>,
    candidates: &[PathBuf],
) -> Result<Option<(PathBuf, String)>, Problem> {
    if let Some(path) = named {
        return read(path).map(|text| Some((path.to_owned(), text))).map_err(|error| unreadable(path, &error));
    }
    for path in candidates {
        match read(path) {
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    Ok(None)
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn read(path: &FilePath) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

fn unreadable(path: &FilePath, error: &std::io::Error) -> Problem {
    let hint = if is_absent(error) {
        "check the path; relative paths begin at the working directory"
    } else {
        "check that it is a text file and that this user may read it"
    };
    Problem::new(path.display().to_string(), format!("the configuration file cannot be read: {error}")).hint(hint)
}
