use rstest::rstest;

use super::*;

/// The smallest profile there can be.
const SMALL: &str = r#"
id = "uuid"
ready = [{ at = "/s", in = ["done"], means = "ok" }]
[request]
url = "/scans/{id}"
"#;

fn problems(text: &str) -> String {
    match Profile::parse("own", "profiles/own.toml", text) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_built_in_profiles_are_without_problems_and_have_a_verdict() {
    let profiles = Profiles::load(None).unwrap();
    assert_eq!(profiles.names().collect::<Vec<_>>(), ["enkrypt", "sieve"]);
    for name in ["enkrypt", "sieve"] {
        let profile = profiles.get(name).unwrap();
        assert!(profile.base_url.as_ref().unwrap().scheme() == "https" && profile.auth.is_some());
        assert!(!profile.reading.verdict.is_empty());
    }
}

#[test]
fn a_small_profile_is_enough() {
    assert_eq!(problems(SMALL), "");
}

#[test]
fn all_problems_are_shown_at_once_with_their_lines() {
    let text = r#"
id = "uid"
echo_ip = "/id"
status = "status"
ready = [{ at = "/s", in = ["done"], means = "okay" }, { at = "/s", means = "ok" }]
severity_words = { bad = "hi" }
[auth]
header = "X Key"
value = "Bearer"
[request]
url = "scans/{id}"
methd = "GET"
[http]
gone = [41]
[limits]
concurrency = "many"
"#;
    insta::assert_snapshot!(problems(text), @r#"
    profiles/own.toml:2: `id` is `uid`, which is no rule
        write "uuid" or { pattern = "[a-z0-9]+", max_length = 64 }
    profiles/own.toml:3: unknown key `echo_ip`
        did you mean `echo_id`? known: auth, base_url, classes, confidence, counts, echo_id, error_text, findings, headers, http, human_link, id, limits, poll, probe_id, ready, request, result, score, severity, severity_words, status, subject, verdict
    profiles/own.toml:4: `status`: `status` is not a JSON Pointer; write it like "/status"
    profiles/own.toml:5: `means`: `okay` is not known here; known: failed, ok, pending, unsupported
    profiles/own.toml:5: what is expected there? add one of: eq, in, ge, present, nonempty
    profiles/own.toml:6: `bad`: `hi` is not known here; known: critical, high, low, medium, none, unknown
    profiles/own.toml:8: `header`: `X Key` is not the name of a header
    profiles/own.toml:9: `value`: must contain `{secret}`, where the key goes
    profiles/own.toml:11: `url`: `scans/{id}` must begin with one `/`: it is a path below base_url
    profiles/own.toml:12: unknown key `methd`
        did you mean `method`? known: body, content_type, method, ready, url, url_at, when_not_found
    profiles/own.toml:14: `gone` must be a whole number from 100 to 599
    profiles/own.toml:16: `concurrency` must be a number, not a string
    12 problems. Nothing was started.
    "#);
}

#[rstest]
#[case("id = \"uuid\"", "[request] is missing")]
#[case("id = 7", "`id` must be a table, not a number")]
#[case("id = { pattern = \"(\" }", "not a regular expression")]
#[case("id = { pattern = \"a\", max_length = 0 }", "from 1 to 512")]
#[case("human_link = \"javascript:{id}\"", "a link begins with https://")]
#[case("base_url = \"ftp://x\"", "must begin with https://")]
#[case("base_url = \"https://u:hunter2@x\"", "must not contain a user or password")]
#[case("base_url = \"https://x?key=1\"", "must end before `?`")]
#[case("[request]\nurl = \"//evil.example/{id}\"", "must begin with one `/`")]
#[case("[request]\nurl = \"/{org}/{id}\"", "nothing fills `{org}`")]
#[case("[request]\nurl = \"/{id}\"\nmethod = \"DELETE\"", "known: GET, POST")]
#[case("ready = []\n[request]\nurl = \"/{id}\"", "no rules")]
#[case("verdict = [{ at = \"/v\", eq = true, verdict = \"bad\" }]", "`bad` is not known here")]
#[case("[poll]\nfirst = \"5\"", "is not a duration")]
#[case("[limits]\nrequests_per_second = 0", "more than 0")]
#[case("[limits]\nmax_body = \"lots\"", "`max_body`")]
#[case("[headers]\n\"X-A\" = \"a\\r\\nb\"", "printable ASCII")]
#[case("= broken", "own.toml:1")]
fn each_mistake_is_named(#[case] text: &str, #[case] expected: &str) {
    let found = problems(text);
    assert!(found.contains(expected), "{found}");
    assert!(!found.contains("hunter2"), "{found}");
}

#[test]
fn profiles_of_a_folder_stand_beside_the_built_in_ones_and_may_replace_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), SMALL).unwrap();
    std::fs::write(dir.path().join("sieve.toml"), SMALL).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a profile").unwrap();
    let profiles = Profiles::load(Some(dir.path())).unwrap();
    assert_eq!(profiles.names().collect::<Vec<_>>(), ["enkrypt", "mine", "sieve"]);
    assert!(profiles.get("sieve").unwrap().auth.is_none());
    assert!(profiles.get("mime").unwrap_err().contains("did you mean `mine`"));
}

#[test]
fn problems_of_all_files_come_together_and_name_their_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), "id = 1").unwrap();
    std::fs::write(dir.path().join("b.toml"), [0xff, 0xfe]).unwrap();
    let found = Profiles::load(Some(dir.path())).unwrap_err().to_string();
    assert!(found.contains("a.toml:1: `id`") && found.contains("b.toml: cannot be read"), "{found}");
    let found = Profiles::load(Some(&dir.path().join("missing"))).unwrap_err().to_string();
    assert!(found.contains("missing: cannot be read"), "{found}");
}

#[test]
fn the_example_of_the_guide_is_a_profile() {
    let guide = include_str!("../../../config/profiles/README.md");
    let example = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(problems(example), "");
}
