//! Lays the sources over one another, key by key: built-in defaults, file, environment. Later wins.
//!
//! A secret's two spellings are one setting: where a later layer gives `token`, an earlier `token_file` is gone.

use std::path::{Path as FilePath, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::document::{self, Document};
use super::environment::Environment;
use super::places::Places;
use crate::problem::{Problem, Problems};

/// The configuration that is compiled in, and the reference of all keys.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Name of the layer of the environment.
pub(super) const ENVIRONMENT: &str = "environment";

/// The layers, merged.
#[derive(Debug)]
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
    let below = Value::from(merged(&layer_of("built-in defaults", &defaults).merge(layer("file", &written.table)))?);
    let environment = Environment::new(env, &below);
    let above = (&environment).data().map_err(|error| broken(&error))?.remove(&Profile::Default).unwrap_or_default();
    drop_twins(&mut defaults, &above);
    drop_twins(&mut written.table, &above);

    let figment = layer_of("built-in defaults", &defaults).merge(layer("file", &written.table)).merge(&environment);
    let tree = Value::from(merged(&figment)?);
    let tag = environment.variables.keys().find_map(|path| super::section::find(&tree, path).map(Value::tag));
    let places = Places::new(file.map(|(path, _)| path.to_owned()), written, environment);
    Ok(Layers { tree, environment: tag, places })
}

fn layer(name: &'static str, table: &Dict) -> Layer {
    Layer { name, table: table.clone() }
}

fn layer_of(name: &'static str, table: &Dict) -> Figment {
    Figment::from(layer(name, table))
}

fn merged(figment: &Figment) -> Result<Dict, Problems> {
    let value = figment.find_value("").map_err(|error| broken(&error))?;
    Ok(value.into_dict().unwrap_or_default())
}

/// Our providers cannot fail; should figment ever say otherwise, it is said without the values.
fn broken(error: &figment::Error) -> Problems {
    let _ = error;
    Problem::new("configuration", "its layers cannot be merged").into()
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
