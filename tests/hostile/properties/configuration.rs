//! What people write for scanbell: any text is a configuration or problems, each with a place and a fact.
//!
//! The text of a configuration may be followed by a line `---` and environment variables, one `NAME=value` a line.

use std::path::PathBuf;
use std::sync::LazyLock;

use scanbell::config::{Draft, LoadOptions};
use scanbell::problem::Problems;
use scanbell::provider::Profile;
use scanbell::render::sample_report;
use scanbell::routing::{RouteSettings, Router};
use tempfile::TempDir;

/// One file for the process, written anew for each input.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

pub fn problems_have_a_place(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, variables) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let env = variables.lines().filter_map(|line| line.split_once('='));
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let file = written(text);
    let options = LoadOptions { file: Some(file), env, candidates: Vec::new() };
    match Draft::of(&options) {
        Err(problems) => placed(&problems),
        Ok(draft) => {
            placed(&draft.problems);
            if let Err(problems) = Router::build(&draft.config.routes, &draft.destination_names) {
                placed(&draft.all_problems(&problems));
            }
        }
    }
}

/// Its name differs for each thread, for tests run side by side.
fn written(text: &str) -> PathBuf {
    let file = FOLDER.path().join(format!("{:?}.toml", std::thread::current().id()));
    std::fs::write(&file, text).expect("a file");
    file
}

pub fn profiles_have_a_place_for_each_problem(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(problems) = Profile::parse("own", "profiles/own.toml", &text) {
        placed(&problems);
        assert!(problems.iter().all(|problem| problem.place.starts_with("profiles/own.toml")), "{problems}");
    }
}

/// A rule is refused, or answers over a report; what it costs is bounded.
pub fn rules_never_panic(data: &[u8]) {
    let when = String::from_utf8_lossy(data).into_owned();
    let route: RouteSettings =
        serde_json::from_value(serde_json::json!({"when": when, "to": ["siem"]})).expect("settings");
    match Router::build(&[route], &["siem".to_owned()]) {
        Err(problems) => placed(&problems),
        Ok(router) => {
            let routing = router.route(&sample_report());
            assert!(routing.destinations.len() <= 1);
        }
    }
}

fn placed(problems: &Problems) {
    for problem in problems {
        assert!(!problem.place.trim().is_empty(), "no place: {problem:?}");
        assert!(!problem.fact.trim().is_empty(), "no fact: {problem:?}");
    }
    assert!(problems.to_string().len() < 10_000_000);
}
