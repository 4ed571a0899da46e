//! Two requests: Enkrypt's status and results, and a result whose URL stands in the first answer.

use rstest::rstest;

use crate::domain::report::Verdict;
use crate::domain::scan::{Observation, Outcome};
use crate::provider::testing::{ENKRYPT_BODY, ENKRYPT_ID, Reply, Server, provider_of, provider_with};
use crate::provider::{Seen, Settings};
use crate::time::from_millis;

const RUNNING: Observation = Observation::Running { retry_after: None };

/// The status body while the job has that word.
fn status(word: &str) -> (u16, String) {
    (
        200,
        format!(r#"{{"job_id":"{ENKRYPT_ID}","job_status":"{word}","error_message":null,"source_url":"https://x/y"}}"#),
    )
}

async fn enkrypt(status: (u16, String), results: (u16, String)) -> (Seen, Vec<String>) {
    let server = Server::start(move |_, asked| match asked.path().rsplit('/').next() {
        Some("status") => Reply::json(status.0, &status.1),
        _ => Reply::json(results.0, &results.1),
    })
    .await;
    let seen = server.provider("enkrypt").poll(ENKRYPT_ID, from_millis(0)).await;
    (seen, server.asked().iter().map(|asked| asked.path().to_owned()).collect())
}

fn results() -> (u16, String) {
    (200, ENKRYPT_BODY.to_owned())
}

#[test]
fn an_answer_that_is_already_there_is_read_as_that_of_the_request_for_the_result() {
    let settings = Settings { api_key: Some("s3cret".into()), ..Settings::default() };
    let provider = provider_with("enkrypt", &settings);
    let seen = provider.read(ENKRYPT_ID, 200, ENKRYPT_BODY.into());
    assert_eq!((seen.observation, seen.requests), (Observation::Ended(Outcome::Completed), 0));
    assert_eq!(seen.extract.unwrap().verdict, Verdict::Threat);
    // What the status endpoint answers has no result in it.
    let (http, body) = status("completed");
    assert_eq!(provider.read(ENKRYPT_ID, http, body.into()).observation, RUNNING);
    let throttled = provider.read(ENKRYPT_ID, 429, "".into());
    assert!(throttled.throttled);
    assert_eq!(throttled.observation, Observation::Unavailable { retry_after: None });
}

#[tokio::test]
async fn the_status_is_asked_first_and_the_result_once_it_is_there() {
    let (seen, paths) = enkrypt(status("completed"), results()).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
    let root = format!("/mcp-hub/scan/{ENKRYPT_ID}");
    assert_eq!(paths, [format!("{root}/status"), format!("{root}/results")]);
    let extract = seen.extract.unwrap();
    assert_eq!(extract.verdict, Verdict::Threat);
    assert_eq!(extract.raw.unwrap().get(), ENKRYPT_BODY);
}

#[tokio::test]
async fn a_retry_after_beside_the_status_counts_while_the_result_is_not_there() {
    let body = status("completed").1;
    let server = Server::start(move |_, asked| match asked.path().rsplit('/').next() {
        Some("status") => Reply::http(200, &[("Retry-After", "9")], &body),
        _ => Reply::http(202, &[], ""),
    })
    .await;
    let seen = server.provider("enkrypt").poll(ENKRYPT_ID, from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Running { retry_after: Some(std::time::Duration::from_secs(9)) });
}

#[rstest]
#[case("initializing")]
#[case("scanning_tools")]
#[case("Queued")]
#[case("something_new")]
#[tokio::test]
async fn an_unfinished_job_seen_through_status_costs_one_request(#[case] word: &str) {
    let (seen, paths) = enkrypt(status(word), results()).await;
    assert_eq!((seen.observation, paths.len()), (RUNNING, 1));
    assert_eq!(seen.status.as_deref(), Some(word));
}

#[rstest]
#[case::says_so(status("scanning_tools"))]
#[case::no_result_yet(status("completed"))]
#[case::null_result((200, format!(r#"{{"job_id":"{ENKRYPT_ID}","job_status":"completed","complete_result":null}}"#)))]
#[case::accepted((202, String::new()))]
#[case::conflict((409, r#"{"error":"not ready"}"#.to_owned()))]
#[case::too_early((425, String::new()))]
#[tokio::test]
async fn an_unfinished_job_seen_through_results_is_not_finished_yet(#[case] results: (u16, String)) {
    let (seen, _) = enkrypt((404, "{}".to_owned()), results.clone()).await;
    assert_eq!(seen.observation, RUNNING, "without /status");
    let (seen, _) = enkrypt(status("completed"), results).await;
    assert_eq!(seen.observation, RUNNING, "after /status");
}

#[tokio::test]
async fn a_job_that_only_results_knows_is_completed() {
    let (seen, paths) = enkrypt((404, String::new()), results()).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
    assert_eq!(paths.len(), 2);
}

#[tokio::test]
async fn a_404_is_not_found_only_where_status_does_not_know_the_job() {
    let nowhere = (404, "{}".to_owned());
    let (seen, _) = enkrypt(nowhere.clone(), nowhere.clone()).await;
    assert_eq!(seen.observation, Observation::NotFound { retry_after: None });
    let (seen, _) = enkrypt(status("completed"), nowhere).await;
    assert_eq!(seen.observation, RUNNING);
    assert_eq!(seen.status.as_deref(), Some("completed"));
}

#[rstest]
#[case("failed", "null")]
#[case("scanning_tools", "\"no tools found\"")]
#[case("initializing", "\"clone failed\"")]
#[tokio::test]
async fn a_word_of_failure_or_an_error_message_is_failed(#[case] word: &str, #[case] message: &str) {
    let body = format!(r#"{{"job_id":"{ENKRYPT_ID}","job_status":"{word}","error_message":{message}}}"#);
    for (first, second) in [((200, body.clone()), results()), ((404, String::new()), (200, body.clone()))] {
        let (seen, _) = enkrypt(first, second).await;
        assert_eq!(seen.observation, Observation::Ended(Outcome::Failed));
        assert_eq!(seen.extract.unwrap().error, serde_json::from_str(message).unwrap());
    }
}

#[rstest]
#[case("\"\"")]
#[case("null")]
#[case("\"  \"")]
#[tokio::test]
async fn an_empty_error_message_is_none(#[case] message: &str) {
    let body = format!(r#"{{"job_id":"{ENKRYPT_ID}","job_status":"running","error_message":{message}}}"#);
    assert_eq!(enkrypt((200, body), results()).await.0.observation, RUNNING);
}

#[tokio::test]
async fn a_refused_licence_is_the_keys_trouble_on_either_step() {
    let refused = (403, "<html>".to_owned());
    assert_eq!(enkrypt(refused.clone(), results()).await.0.observation, Observation::Unauthorized);
    assert_eq!(enkrypt(status("completed"), refused).await.0.observation, Observation::Unauthorized);
}

#[tokio::test]
async fn a_result_about_another_job_is_not_taken() {
    let other = ENKRYPT_BODY.replace("123e4567", "00000000");
    let (seen, _) = enkrypt(status("completed"), (200, other)).await;
    assert_eq!(seen.observation, Observation::Unavailable { retry_after: None });
}

const CAPTURED: &str = r#"
id = { pattern = "[0-9]+" }
ready = [{ at = "/state", in = ["complete"], means = "ok" }]
verdict = [{ at = "/0/count", ge = 1, verdict = "threat" }]
[auth]
header = "Authorization"
value = "Token {secret}"
[request]
url = "/sarifs/{id}"
[result]
url_at = "/analyses_url"
ready = [{ http = [200], means = "ok" }]
"#;

#[tokio::test]
async fn a_captured_url_is_followed_only_at_the_same_origin() {
    let elsewhere = Server::script(vec![Reply::json(200, r#"[{"count":3}]"#)]).await;
    for (url, expected) in [
        ("/analyses?sarif=7".to_owned(), Observation::Ended(Outcome::Completed)),
        (format!("{}/analyses", elsewhere.base), Observation::Unavailable { retry_after: None }),
        ("//127.0.0.2/analyses".to_owned(), Observation::Unavailable { retry_after: None }),
        ("https://[".to_owned(), Observation::Unavailable { retry_after: None }),
    ] {
        let server = Server::start(move |number, _| match number {
            0 => Reply::json(200, serde_json::json!({"state": "complete", "analyses_url": url}).to_string()),
            _ => Reply::json(200, r#"[{"count":3}]"#),
        })
        .await;
        let seen = provider_of(CAPTURED, &server).poll("7", from_millis(0)).await;
        assert_eq!(seen.observation, expected, "{}", seen.detail);
        if seen.requests == 2 {
            assert_eq!(seen.extract.unwrap().verdict, Verdict::Threat);
            assert_eq!(server.asked()[1].header("authorization"), Some("Token s3cret"));
        }
    }
    assert!(elsewhere.asked().is_empty(), "the key must not arrive elsewhere");
}
