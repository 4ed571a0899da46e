//! What a person sees who configures scanbell.

mod contract;
mod environment;
mod layering;
mod problems;

use std::path::PathBuf;

use super::*;

/// A configuration from text (as `app.toml`) and environment variables.
fn draft(text: &str, env: &[(&str, &str)]) -> Draft {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    std::fs::write(&file, text).unwrap();
    let mut draft = Draft::of(&options(Some(file), env)).unwrap();
    // Problems name the file by its path; the tests' folder has a new one each time.
    let folder = format!("{}/", dir.path().display());
    draft.problems = shortened(&draft.problems, &folder);
    draft
}

fn shortened(problems: &Problems, folder: &str) -> Problems {
    let mut short = Problems::new();
    for problem in problems {
        let place = problem.place.replace(folder, "");
        short.push(Problem { place, ..problem.clone() });
    }
    short
}

fn options(file: Option<PathBuf>, env: &[(&str, &str)]) -> LoadOptions {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    LoadOptions { file, env, candidates: Vec::new() }
}

/// The configuration, which must be without fault.
fn good(text: &str, env: &[(&str, &str)]) -> Config {
    let draft = draft(text, env);
    assert!(draft.problems.is_empty(), "{}", draft.problems);
    draft.config
}

/// What is said about a configuration, which must be faulty.
fn said(text: &str, env: &[(&str, &str)]) -> String {
    let problems = draft(text, env).problems;
    assert!(!problems.is_empty(), "no problem was found");
    problems.to_string()
}
