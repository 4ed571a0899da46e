//! The templates there are: the built-in ones, and a folder whose files replace and add.
//!
//! Reads files, knows nothing of what is in them. `slack/alert.json.hbs`, `email/alert.{subject,txt,html}.hbs`,
//! `webhook/NAME.json.hbs`; a template is known by its dialect and its name, `slack/alert`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::escape::Dialect;
use crate::problem::{Problem, Problems};

/// A template larger than this is a mistake.
const LARGEST: u64 = 128 * 1024;

/// What a template is known by.
pub(super) type Key = (Dialect, String);

/// The text of a template, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// File name as a person would look for it.
    pub(super) place: String,
    /// The template.
    pub(super) text: String,
}

/// Compiled in: they work without any file.
const BUILT_IN: [(Dialect, &str, &str); 6] = [
    (Dialect::Slack, "slack/alert", include_str!("../../templates/slack/alert.json.hbs")),
    (Dialect::Subject, "email/alert", include_str!("../../templates/email/alert.subject.hbs")),
    (Dialect::Text, "email/alert", include_str!("../../templates/email/alert.txt.hbs")),
    (Dialect::Html, "email/alert", include_str!("../../templates/email/alert.html.hbs")),
    (Dialect::Html, "email/row", include_str!("../../templates/email/row.html.hbs")),
    (Dialect::Json, "webhook/example", include_str!("../../templates/webhook/example.json.hbs")),
];

/// The built-in templates with those of `dir` over them.
pub(super) fn gather(dir: Option<&Path>, problems: &mut Problems) -> BTreeMap<Key, Source> {
    let mut sources: BTreeMap<Key, Source> = BUILT_IN
        .into_iter()
        .map(|(dialect, name, text)| {
            let place = format!("built-in {name}{}", dialect.extension());
            ((dialect, name.to_owned()), Source { place, text: text.to_owned() })
        })
        .collect();
    if let Some(dir) = dir {
        if dir.is_dir() {
            for folder in ["slack", "email", "webhook"] {
                read_folder(dir, folder, &mut sources, problems);
            }
        } else {
            problems.push(
                Problem::new("[templates] dir", format!("{} is not a folder", dir.display()))
                    .hint("make it, or leave `dir` out to use the built-in templates"),
            );
        }
    }
    sources
}

fn read_folder(dir: &Path, folder: &str, sources: &mut BTreeMap<Key, Source>, problems: &mut Problems) {
    let path = dir.join(folder);
    if !path.is_dir() {
        return;
    }
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) => {
            return problems.push(Problem::new(path.display().to_string(), format!("cannot be read: {error}")));
        }
    };
    let mut files: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let template = file.extension().is_some_and(|extension| extension == "hbs");
        if !template || name.starts_with('.') {
            continue;
        }
        match read_file(folder, &file, &name) {
            Ok((key, source)) => drop(sources.insert(key, source)),
            Err(problem) => problems.push(problem),
        }
    }
}

fn read_file(folder: &str, file: &Path, name: &str) -> Result<(Key, Source), Problem> {
    let place = file.display().to_string();
    let found = Dialect::ALL
        .into_iter()
        .filter(|dialect| dialect.folder() == folder)
        .find_map(|dialect| name.strip_suffix(dialect.extension()).map(|stem| (dialect, stem)));
    let Some((dialect, stem)) = found.filter(|(_, stem)| !stem.is_empty()) else {
        return Err(Problem::new(place, "is not named like a template").hint(format!("expected {}", expected(folder))));
    };
    let text = read_bounded(file).map_err(|error| Problem::new(&place, error))?;
    Ok(((dialect, format!("{folder}/{stem}")), Source { place, text }))
}

/// What the files of a folder are called.
fn expected(folder: &str) -> String {
    let names = Dialect::ALL.into_iter().filter(|dialect| dialect.folder() == folder);
    names.map(|dialect| format!("{folder}/NAME{}", dialect.extension())).collect::<Vec<_>>().join(", ")
}

fn read_bounded(file: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let size = fs::metadata(file).map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(format!("is {size} bytes large; a template may have {LARGEST}"));
    }
    fs::read_to_string(file).map_err(unreadable)
}
