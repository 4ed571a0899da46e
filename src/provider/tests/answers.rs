//! One request, one answer.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use crate::domain::report::Verdict;
use crate::domain::scan::{Observation, Outcome};
use crate::provider::testing::{
    ENKRYPT_BODY, ENKRYPT_ID, Reply, SIEVE_BODY, SIEVE_ID, Server, observe, provider_of, see,
};
use crate::time::from_millis;

const RUNNING: Observation = Observation::Running { retry_after: None };
const UNAVAILABLE: Observation = Observation::Unavailable { retry_after: None };
const MISSING: Observation = Observation::NotFound { retry_after: None };

fn sieve_with(status: &serde_json::Value) -> Reply {
    Reply::json(200, json!({"scanId": SIEVE_ID, "status": status, "error": "no engine"}).to_string())
}

#[tokio::test]
async fn a_scan_that_is_finished_at_the_first_look_is_completed_with_its_body_kept() {
    let server = Server::script(vec![Reply::json(200, SIEVE_BODY)]).await;
    let seen = server.provider("sieve").poll(SIEVE_ID, from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
    let extract = seen.extract.unwrap();
    assert_eq!(extract.verdict, Verdict::Clean);
    assert_eq!(extract.raw.unwrap().get(), SIEVE_BODY);
    assert_eq!(extract.link.unwrap(), format!("https://sieve.godel-labs.ai/analysis/{SIEVE_ID}"));
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, format!("GET /api/scans/{SIEVE_ID} HTTP/1.1"));
    assert_eq!(asked[0].header("x-api-key"), Some("s3cret"));
}

#[rstest]
#[case("queued", RUNNING)]
#[case("pending", RUNNING)]
#[case("extracting", RUNNING)]
#[case("processing", RUNNING)]
#[case("completed", Observation::Ended(Outcome::Completed))]
#[case("failed", Observation::Ended(Outcome::Failed))]
#[case("error", Observation::Ended(Outcome::Failed))]
#[case("unsupported", Observation::Ended(Outcome::Unsupported))]
#[case("Completed", Observation::Ended(Outcome::Completed))]
#[case("COMPLETED", Observation::Ended(Outcome::Completed))]
#[case("complete", RUNNING)]
#[case("", RUNNING)]
#[tokio::test]
async fn sieve_status(#[case] word: &str, #[case] expected: Observation) {
    let seen = see("sieve", SIEVE_ID, sieve_with(&json!(word))).await;
    assert_eq!(seen.observation, expected);
    assert_eq!(seen.status.as_deref(), Some(word));
    assert_eq!(seen.extract.unwrap().error.as_deref(), Some("no engine"));
}

#[rstest]
#[case(json!(null))]
#[case(json!(7))]
#[case(json!({"a": 1}))]
#[tokio::test]
async fn a_status_of_no_word_is_not_finished_yet(#[case] status: serde_json::Value) {
    assert_eq!(observe("sieve", SIEVE_ID, sieve_with(&status)).await, RUNNING);
}

#[tokio::test]
async fn a_missing_status_is_not_finished_yet_even_with_a_result_beside_it() {
    let body = SIEVE_BODY.replace("\"status\":\"completed\",", "");
    assert_eq!(observe("sieve", SIEVE_ID, Reply::json(200, body)).await, RUNNING);
}

#[tokio::test]
async fn a_completed_scan_whose_verdict_is_all_null_is_unknown_and_never_clean() {
    let body =
        json!({"scanId": SIEVE_ID, "status": "completed", "isThreat": null, "riskCategory": null, "severity": null});
    let seen = see("sieve", SIEVE_ID, Reply::json(200, body.to_string())).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
    assert_eq!(seen.extract.unwrap().verdict, Verdict::Unknown);
}

#[rstest]
#[case(202, RUNNING)]
#[case(404, MISSING)]
#[case(410, Observation::Ended(Outcome::NotFound))]
#[case(401, Observation::Unauthorized)]
#[case(403, Observation::Unauthorized)]
#[case(400, UNAVAILABLE)]
#[case(408, UNAVAILABLE)]
#[case(429, UNAVAILABLE)]
#[case(500, UNAVAILABLE)]
#[case(502, UNAVAILABLE)]
#[case(503, UNAVAILABLE)]
#[case(529, UNAVAILABLE)]
#[tokio::test]
async fn a_status_decides_whatever_the_body_is(
    #[case] status: u16,
    #[case] expected: Observation,
    #[values("", "{\"error\":\"text\"}", "<html><body>Attention</body></html>", "{\"error\":{\"message\":\"x\"}")] body: &str,
) {
    assert_eq!(observe("sieve", SIEVE_ID, Reply::http(status, &[("Content-Type", "text/html")], body)).await, expected);
}

#[rstest]
#[case("30", Some(30))]
#[case("0", Some(0))]
#[case("315360000", Some(315_360_000))]
#[case("Thu, 01 Jan 1970 00:01:40 GMT", Some(100))]
#[case("soon", None)]
#[case("-5", None)]
#[tokio::test]
async fn retry_after_is_read_in_both_forms_and_nonsense_is_none(#[case] value: &str, #[case] expected: Option<u64>) {
    let retry_after = expected.map(Duration::from_secs);
    for (status, observation) in [
        (429, Observation::Unavailable { retry_after }),
        (503, Observation::Unavailable { retry_after }),
        (404, Observation::NotFound { retry_after }),
        (202, Observation::Running { retry_after }),
    ] {
        let reply = Reply::http(status, &[("Retry-After", value)], "");
        assert_eq!(observe("sieve", SIEVE_ID, reply).await, observation, "{status}");
    }
    let body = json!({"scanId": SIEVE_ID, "status": "processing"}).to_string();
    let seen = observe("sieve", SIEVE_ID, Reply::http(200, &[("Retry-After", value)], body)).await;
    assert_eq!(seen, Observation::Running { retry_after });
}

#[rstest]
#[case(200, Observation::Unavailable { retry_after: Some(Duration::from_secs(7)) })]
#[case(503, Observation::Unavailable { retry_after: Some(Duration::from_secs(7)) })]
#[case(404, Observation::NotFound { retry_after: Some(Duration::from_secs(7)) })]
#[tokio::test]
async fn retry_after_counts_also_where_the_body_never_comes(#[case] status: u16, #[case] expected: Observation) {
    let torn = format!("HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\n{{");
    assert_eq!(observe("sieve", SIEVE_ID, Reply::Bytes(torn.into_bytes())).await, expected);
}

#[tokio::test]
async fn only_429_and_503_with_a_wait_are_a_wish_to_slow_down() {
    for (reply, expected) in [
        (Reply::http(429, &[], ""), true),
        (Reply::http(503, &[("Retry-After", "1")], ""), true),
        (Reply::http(503, &[], ""), false),
        (Reply::http(500, &[("Retry-After", "1")], ""), false),
    ] {
        assert_eq!(see("sieve", SIEVE_ID, reply).await.throttled, expected);
    }
}

#[rstest]
#[case("", "empty")]
#[case("<html>maintenance</html>", "HTML")]
#[case(&SIEVE_BODY[..300], "in the middle")]
#[case("OK", "not JSON")]
#[tokio::test]
async fn a_200_that_cannot_be_read_says_nothing_about_the_scan(#[case] body: &str, #[case] why: &str) {
    let seen = see("sieve", SIEVE_ID, Reply::json(200, body)).await;
    assert_eq!(seen.observation, UNAVAILABLE);
    assert!(seen.detail.contains(why), "{}", seen.detail);
}

#[tokio::test]
async fn ten_thousand_levels_of_json_say_nothing_about_the_scan() {
    let body = format!(
        "{{\"scanId\":\"{SIEVE_ID}\",\"status\":\"completed\",\"results\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let seen = see("sieve", SIEVE_ID, Reply::json(200, body)).await;
    assert_eq!(seen.observation, UNAVAILABLE);
    assert!(seen.detail.contains("nested too deeply"), "{}", seen.detail);
}

#[rstest]
#[case("[]", RUNNING)]
#[case("\"created\"", RUNNING)]
#[case("\"completed\"", RUNNING)]
#[case("null", RUNNING)]
#[tokio::test]
async fn a_body_of_another_shape_is_not_finished_yet(#[case] body: &str, #[case] expected: Observation) {
    assert_eq!(observe("sieve", SIEVE_ID, Reply::json(200, body)).await, expected);
}

#[tokio::test]
async fn a_body_over_the_limit_is_an_error_whether_it_announces_its_length_or_not() {
    let large =
        format!("{{\"scanId\":\"{SIEVE_ID}\",\"status\":\"completed\",\"x\":\"{}\"}}", "x".repeat(5 * 1024 * 1024));
    let unannounced = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{large}");
    for reply in [Reply::json(200, &large), Reply::Bytes(unannounced.into_bytes())] {
        let seen = see("sieve", SIEVE_ID, reply).await;
        assert_eq!(seen.observation, UNAVAILABLE);
        assert!(seen.detail.contains("larger than 2097152 bytes"), "{}", seen.detail);
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_stopped_at_the_limit() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..50 {
        std::io::Write::write_all(&mut bomb, &vec![b' '; 1024 * 1024]).unwrap();
    }
    let reply = Reply::http(200, &[("Content-Encoding", "gzip")], bomb.finish().unwrap());
    let seen = see("sieve", SIEVE_ID, reply).await;
    assert_eq!(seen.observation, UNAVAILABLE);
    assert!(seen.detail.contains("larger than"), "{}", seen.detail);
}

#[tokio::test]
async fn a_connection_that_ends_in_the_body_says_nothing_unless_the_status_does() {
    let half = |status: u16| format!("HTTP/1.1 {status} X\r\nContent-Length: 500\r\n\r\n{{\"scanId\":").into_bytes();
    assert_eq!(observe("sieve", SIEVE_ID, Reply::Bytes(half(200))).await, UNAVAILABLE);
    assert_eq!(observe("sieve", SIEVE_ID, Reply::Bytes(half(401))).await, Observation::Unauthorized);
    assert_eq!(observe("sieve", SIEVE_ID, Reply::Bytes(Vec::new())).await, UNAVAILABLE);
    assert_eq!(observe("sieve", SIEVE_ID, Reply::Bytes(b"220 mail.example.com ESMTP\r\n".to_vec())).await, UNAVAILABLE);
}

#[tokio::test]
async fn a_provider_that_is_not_there_says_nothing() {
    let server = Server::script(vec![Reply::json(200, "")]).await;
    let provider = server.provider("sieve");
    drop(server);
    // The listener goes with its task, which ends at the next turn of the runtime.
    tokio::task::yield_now().await;
    let seen = provider.poll(SIEVE_ID, from_millis(0)).await;
    assert_eq!(seen.observation, UNAVAILABLE);
    assert!(!seen.detail.contains("127.0.0.1/") && !seen.detail.contains(SIEVE_ID), "{}", seen.detail);
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_total_timeout() {
    let body = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{".to_vec();
    let server = Server::script(vec![Reply::Drip(body, Duration::from_millis(20))]).await;
    let provider = provider_of(&own("[limits]\ntotal_timeout = \"200ms\""), &server);
    let started = std::time::Instant::now();
    assert_eq!(provider.poll("a", from_millis(0)).await.observation, UNAVAILABLE);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[rstest]
#[case(301)]
#[case(302)]
#[case(307)]
#[case(308)]
#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_does_not_arrive_elsewhere(#[case] status: u16) {
    let elsewhere = Server::script(vec![Reply::json(200, SIEVE_BODY)]).await;
    let seen = see("sieve", SIEVE_ID, Reply::http(status, &[("Location", &elsewhere.base)], "")).await;
    assert_eq!(seen.observation, UNAVAILABLE);
    assert!(seen.detail.contains("redirects are not followed"), "{}", seen.detail);
    assert!(elsewhere.asked().is_empty());
}

#[rstest]
#[case(json!("00000000-7f2c-4b2d-9a5f-5c0c4c3c9d4e"), UNAVAILABLE)]
#[case(json!(7), UNAVAILABLE)]
#[case(json!(null), UNAVAILABLE)]
#[case(json!("2B2F7B8B-7F2C-4B2D-9A5F-5C0C4C3C9D4E"), Observation::Ended(Outcome::Completed))]
#[tokio::test]
async fn a_report_must_be_about_the_scan_that_was_asked_for(
    #[case] echoed: serde_json::Value,
    #[case] expected: Observation,
) {
    let mut body: serde_json::Value = serde_json::from_str(SIEVE_BODY).unwrap();
    body["scanId"] = echoed;
    assert_eq!(observe("sieve", SIEVE_ID, Reply::json(200, body.to_string())).await, expected);
}

#[tokio::test]
async fn an_id_that_the_profile_does_not_allow_is_never_asked_for() {
    let server = Server::script(vec![Reply::json(200, SIEVE_BODY)]).await;
    let seen = server.provider("sieve").poll("../../admin", from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Failed));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_id_is_percent_encoded_wherever_it_stands() {
    let server = Server::script(vec![Reply::json(200, r#"{"s":"done"}"#)]).await;
    let profile = r#"
id = { pattern = ".+" }
ready = [{ at = "/s", in = ["done"], means = "ok" }]
human_link = "https://example.com/{id}"
[headers]
X-Task = "task-{id}"
[request]
method = "POST"
url = "/scans/{id}/info?id={id}"
body = '{"id":"{id}","all":true}'
"#;
    let seen = provider_of(profile, &server).poll("a/b&c=\"d\"=+é", from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
    let encoded = "a%2Fb%26c%3D%22d%22%3D%2B%C3%A9";
    assert_eq!(seen.extract.unwrap().link.unwrap(), format!("https://example.com/{encoded}"));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, format!("POST /scans/{encoded}/info?id={encoded} HTTP/1.1"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&asked.body).unwrap()["id"], "a/b&c=\"d\"=+é");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("x-api-key"), None);
}

/// A profile without a key, finished at `/p` of 100 or more, for the traps that neither built-in one has.
fn own(more: &str) -> String {
    format!(
        "id = {{ pattern = \"[a-z]+\" }}\nready = [{{ at = \"/p\", ge = 100, means = \"ok\" }}, \
         {{ http = [404, 206], means = \"pending\" }}, {{ http = [406], means = \"failed\" }}]\n\
         [request]\nurl = \"/view?scanId={{id}}\"\n{more}"
    )
}

#[rstest]
#[case(200, r#"{"p":"100"}"#, Observation::Ended(Outcome::Completed))]
#[case(200, r#"{"p":"99"}"#, RUNNING)]
#[case(404, "not yet", RUNNING)]
#[case(206, r#"{"p":"100"}"#, Observation::Ended(Outcome::Completed))]
#[case(406, "{ Status: \"FOUND\" }", Observation::Ended(Outcome::Failed))]
#[case(404, r#"{"p":100}"#, Observation::Ended(Outcome::Completed))]
#[tokio::test]
async fn rules_over_status_and_percentage_decide(
    #[case] status: u16,
    #[case] body: &str,
    #[case] expected: Observation,
) {
    let server = Server::script(vec![Reply::json(status, body)]).await;
    assert_eq!(provider_of(&own(""), &server).poll("a", from_millis(0)).await.observation, expected);
}

#[tokio::test]
async fn a_threat_with_a_broken_file_name_is_still_a_threat() {
    let body = SIEVE_BODY.replace("suspicious.pdf", "x\\ud800").replace("\"isThreat\":false", "\"isThreat\":true");
    let seen = see("sieve", SIEVE_ID, Reply::json(200, body)).await;
    assert_eq!(seen.extract.unwrap().verdict, Verdict::Threat);
}

#[tokio::test]
async fn the_detail_names_status_and_word_but_no_url_key_or_body() {
    let seen = see("enkrypt", ENKRYPT_ID, Reply::json(200, ENKRYPT_BODY)).await;
    assert_eq!(seen.detail, r#"HTTP 200, status "completed"; result: HTTP 200, status "completed""#);
    assert_eq!(seen.requests, 2);
}
