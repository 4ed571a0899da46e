//! From settings to a provider: defaults, problems, warnings.

use std::time::Duration;

use rstest::rstest;

use crate::provider::{Profiles, Provider, Settings};

fn build(name: &str, toml: &str) -> Result<Provider, String> {
    let settings: Settings = toml::from_str(toml).unwrap();
    Provider::build(name, &settings, &Profiles::load(None).unwrap()).map_err(|problems| problems.to_string())
}

#[test]
fn a_key_is_all_that_a_built_in_profile_needs() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "k\n").unwrap();
    let provider = build("sieve", &format!("api_key_file = '{}'", file.path().display())).unwrap();
    assert_eq!((provider.name(), provider.profile()), ("sieve", "sieve"));
    assert_eq!((provider.concurrency(), provider.requests_per_second()), (64, None));
    let pace = provider.pace();
    assert_eq!((pace.backoff.first, pace.backoff.max), (Duration::from_millis(1200), Duration::from_secs(30)));
    assert_eq!((pace.deadline, pace.not_found_grace), (Duration::from_secs(1800), Duration::from_secs(60)));
    assert!(provider.warnings().is_empty());
}

#[test]
fn a_key_file_that_cannot_be_read_is_a_problem_before_anything_is_started() {
    let error = build("sieve", "api_key_file = '/nowhere/sieve.key'").unwrap_err();
    assert!(error.contains("/nowhere/sieve.key"), "{error}");
}

#[test]
fn settings_come_before_the_profile() {
    let toml = "profile = 'enkrypt'\napi_key = 'k'\npoll = { first = '1m', deadline = '3d' }\nlimits = { concurrency = 2, requests_per_second = 0.5 }";
    let provider = build("mcp", toml).unwrap();
    assert_eq!((provider.name(), provider.profile()), ("mcp", "enkrypt"));
    assert_eq!((provider.concurrency(), provider.requests_per_second()), (2, Some(0.5)));
    assert_eq!(provider.pace().backoff.max, Duration::from_secs(60));
    assert_eq!(provider.pace().deadline, Duration::from_secs(3 * 86_400));
}

#[rstest]
#[case("", "set `api_key_file")]
#[case("api_key = 'hunter2'\napi_key_file = '/x'", "keep one of them")]
#[case("api_key = 'hunter2'\nbase_url = 'ftp://x'", "must begin with https://")]
#[case("api_key = 'hunter2'\nbase_url = 'not a url'", "not a URL")]
#[case("api_key = 'hunter2'\nprofile = 'seive'", "did you mean `sieve`?")]
#[case("api_key = 'hunter2'\npoll = { first = '0s' }", "`poll.first` must be more than 0")]
#[case("api_key = 'hunter2'\npoll = { first = '1m', max = '2s' }", "`poll.max` (2s) is less than `poll.first` (1m)")]
#[case("api_key = 'hunter2'\npoll = { growth = 0.5 }", "`poll.growth`")]
#[case("api_key = 'hunter2'\nlimits = { concurrency = 0 }", "`limits.concurrency`")]
#[case("api_key = 'hunter2'\nlimits = { requests_per_second = -1.0 }", "more than 0")]
fn each_mistake_is_named_with_its_table(#[case] toml: &str, #[case] expected: &str) {
    let error = build("sieve", toml).unwrap_err();
    assert!(error.contains("[providers.sieve]") && error.contains(expected), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn all_mistakes_come_at_once() {
    let error = build("sieve", "base_url = 'x'\npoll = { growth = 0 }\nlimits = { concurrency = 0 }").unwrap_err();
    assert!(error.contains("4 problems"), "{error}");
}

#[test]
fn a_key_over_plain_http_is_warned_about_except_at_home() {
    let warnings = |url: &str| {
        let provider = build("sieve", &format!("api_key = 'k'\nbase_url = '{url}'")).unwrap();
        provider.warnings().len()
    };
    assert_eq!(warnings("http://scanner.internal"), 1);
    assert_eq!(warnings("http://127.0.0.1:9000/api/"), 0);
    assert_eq!(warnings("http://localhost"), 0);
    assert_eq!(warnings("https://scanner.internal"), 0);
}

#[test]
fn debug_shows_no_key() {
    let provider = build("sieve", "api_key = 'hunter2'").unwrap();
    assert!(!format!("{provider:?}").contains("hunter2"));
}
