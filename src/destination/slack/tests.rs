//! Slack's answers, each from a real socket.

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::destination::testing::{HttpStub, answer, http_notification, mutual_tls_server};
use crate::destination::{Destination, Settings as Any};
use crate::time::from_millis;

const BODY: &[u8] = br#"{"channel":"C1","text":"a &lt;!channel&gt;"}"#;

async fn stub(status: u16, headers: &'static str, body: &'static str) -> HttpStub {
    HttpStub::start(move |_| answer(status, headers, body)).await
}

fn hook(stub: &HttpStub) -> Destination {
    let url = format!("http://{}/services/T0000/B0000/s3cr3ttoken", stub.address);
    let settings = Settings { webhook_url: Some(SecretString::from(url)), ..Settings::default() };
    Destination::build("secops", &Any::Slack(settings)).unwrap()
}

fn bot(stub: &HttpStub) -> Destination {
    let settings = Settings {
        bot_token: Some(SecretString::from("xoxb-s3cr3ttoken")),
        channel: Some("C1".to_owned()),
        api_url: Some(format!("http://{}/api/", stub.address)),
        ..Settings::default()
    };
    Destination::build("secops", &Any::Slack(settings)).unwrap()
}

async fn send(destination: &Destination) -> Sent {
    destination.send(&http_notification("secops", BODY), from_millis(0)).await
}

fn in_short(sent: &Sent) -> String {
    format!("{} {}", sent.verdict.as_str(), sent.verdict.reason())
}

#[rstest]
#[case(200, "ok", "delivered ok")]
#[case(400, "invalid_payload", "reject rejected")]
#[case(400, "no_text", "reject rejected")]
#[case(404, "channel_not_found", "reject rejected")]
#[case(410, "channel_is_archived", "reject rejected")]
#[case(404, "no_service", "reject rejected")]
#[case(404, "no_active_hooks", "reject rejected")]
#[case(403, "invalid_token", "retry unauthorized")]
#[case(403, "action_prohibited", "retry unauthorized")]
#[case(403, "posting_to_general_channel_denied", "retry unauthorized")]
#[case(404, "who knows", "retry client_error")]
#[case(500, "rollup_error", "retry server_error")]
#[tokio::test]
async fn an_incoming_webhook_is_judged_by_its_word_and_then_by_its_status(
    #[case] status: u16,
    #[case] word: &'static str,
    #[case] expected: &str,
) {
    let stub = stub(status, "", word).await;
    assert_eq!(in_short(&send(&hook(&stub)).await), expected);
    assert_eq!(stub.got().remove(0).body, BODY, "exactly what was rendered");
}

#[rstest]
#[case(r#"{"ok":true,"ts":"1.2","message":{"text":"@@@"}}"#, "delivered ok")]
#[case(r#"{"ok":false,"error":"channel_not_found"}"#, "reject rejected")]
#[case(r#"{"ok":false,"error":"is_archived"}"#, "reject rejected")]
#[case(r#"{"ok":false,"error":"invalid_blocks"}"#, "reject rejected")]
#[case(r#"{"ok":false,"error":"not_in_channel"}"#, "retry client_error")]
#[case(r#"{"ok":false,"error":"invalid_auth"}"#, "retry unauthorized")]
#[case(r#"{"ok":false,"error":"token_revoked"}"#, "retry unauthorized")]
#[case(r#"{"ok":false,"error":"ratelimited"}"#, "retry rate_limited")]
#[case(r#"{"ok":false,"error":"internal_error"}"#, "retry server_error")]
#[case(r#"{"ok":false}"#, "retry client_error")]
#[case(r#"{"ok":"maybe","error":7}"#, "retry bad_answer")]
#[case("<html>", "retry bad_answer")]
#[tokio::test]
async fn a_bot_is_judged_by_the_json_because_the_status_is_always_200(
    #[case] body: &'static str,
    #[case] expected: &str,
) {
    let stub = stub(200, "", body).await;
    assert_eq!(in_short(&send(&bot(&stub)).await), expected);
    let got = stub.got().remove(0);
    assert_eq!((got.line.as_str(), got.body.as_slice()), ("POST /api/chat.postMessage HTTP/1.1\r\n", BODY));
    assert_eq!(got.headers["authorization"], "Bearer xoxb-s3cr3ttoken");
}

#[tokio::test]
async fn a_429_carries_how_long_slack_wants_peace() {
    let limited = stub(429, "Retry-After: 30\r\n", r#"{"ok":false,"error":"ratelimited"}"#).await;
    let expected = Verdict::Retry { reason: Reason::RateLimited, after: Some(Duration::from_secs(30)) };
    assert_eq!(send(&hook(&limited)).await.verdict, expected);
    assert_eq!(send(&bot(&limited)).await.verdict, expected);
}

#[tokio::test]
async fn what_is_kept_of_an_answer_shows_neither_url_nor_token() {
    let stub = stub(404, "", "no route /services/T0000/B0000/s3cr3ttoken, xoxb-s3cr3ttoken").await;
    for destination in [hook(&stub), bot(&stub)] {
        let kept = send(&destination).await.answer.unwrap();
        assert!(kept.starts_with("HTTP 404: no route") && !kept.contains("xoxb-s3cr3t"), "{kept}");
        assert!(destination.kind() == crate::domain::notification::Kind::Slack);
    }
    assert!(!send(&hook(&stub)).await.answer.unwrap().contains("s3cr3t"));
    assert!(!format!("{:?}", hook(&stub)).contains("s3cr3t"));
}

#[tokio::test]
async fn a_probe_tries_the_token_of_a_bot() {
    let good = stub(200, "", r#"{"ok":true}"#).await;
    assert_eq!(bot(&good).probe().await.unwrap(), "signed in");
    assert_eq!(good.got().remove(0).line, "POST /api/auth.test HTTP/1.1\r\n");
    let bad = stub(200, "", r#"{"ok":false,"error":"invalid_auth"}"#).await;
    assert!(bot(&bad).probe().await.unwrap_err().contains("invalid_auth"));
}

#[tokio::test]
async fn a_url_or_token_that_was_replaced_in_its_file_is_used_by_the_next_attempt() {
    let stub = stub(403, "", "invalid_token").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let (api, path) = (format!("http://{}/api", stub.address), Some(file.path().to_owned()));
    std::fs::write(file.path(), format!("http://{}/services/old", stub.address)).unwrap();
    let by_hook = Settings { webhook_url_file: path.clone(), ..Settings::default() };
    let (bot_token_file, channel) = (path, Some("C1".to_owned()));
    let by_bot = Settings { bot_token_file, channel, api_url: Some(api), ..Settings::default() };
    let hook = Destination::build("secops", &Any::Slack(by_hook)).unwrap();
    assert_eq!(in_short(&send(&hook).await), "retry unauthorized");
    std::fs::write(file.path(), format!("http://{}/services/new\n", stub.address)).unwrap();
    send(&hook).await;
    assert_eq!(stub.got().pop().unwrap().line, "POST /services/new HTTP/1.1\r\n");
    std::fs::write(file.path(), "xoxb-old").unwrap();
    let bot = Destination::build("secops", &Any::Slack(by_bot)).unwrap();
    send(&bot).await;
    std::fs::write(file.path(), "xoxb-new\n").unwrap();
    send(&bot).await;
    assert_eq!(stub.got().pop().unwrap().headers["authorization"], "Bearer xoxb-new");
}

#[tokio::test]
async fn a_private_ca_and_a_client_certificate_are_used_for_hooks_and_bots() {
    let (tls, [ca, cert, key]) = mutual_tls_server();
    let stub = HttpStub::start_tls(tls, |_| answer(200, "", r#"{"ok":true}"#)).await;
    let base = format!("https://localhost:{}", stub.address.port());
    let file = |file: &tempfile::NamedTempFile| Some(file.path().to_owned());
    let known = Settings { ca_file: file(&ca), cert_file: file(&cert), key_file: file(&key), ..Settings::default() };
    let hook = Settings { webhook_url: Some(SecretString::from(format!("{base}/services/T/B/x"))), ..known.clone() };
    let bot = Settings {
        bot_token: Some(SecretString::from("xoxb-1")),
        channel: Some("C1".to_owned()),
        api_url: Some(format!("{base}/api")),
        ..known
    };
    for settings in [hook, bot] {
        let nameless = Settings { cert_file: None, key_file: None, ..settings.clone() };
        let stranger = Settings { ca_file: None, ..nameless.clone() };
        assert_eq!(in_short(&send(&build(stranger)).await), "retry tls");
        let sent = send(&build(nameless)).await;
        assert_eq!(in_short(&sent), "retry tls", "{sent:?}");
        let known = build(settings);
        known.probe().await.unwrap();
        assert_eq!(in_short(&send(&known).await), "delivered ok");
    }
}

fn build(settings: Settings) -> Destination {
    Destination::build("secops", &Any::Slack(settings)).unwrap()
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let said = |settings| Destination::build("secops", &Any::Slack(settings)).unwrap_err().to_string();
    assert!(said(Settings::default()).contains("neither `webhook_url` nor `bot_token`"));
    let token = Some(SecretString::from("xoxb-1"));
    assert!(said(Settings { bot_token: token.clone(), ..Settings::default() }).contains("needs `channel`"));
    let (api_url, channel) = (Some("https://u:hunter2@slack.com/api".to_owned()), Some("C1".to_owned()));
    let signed_in = said(Settings { bot_token: token.clone(), channel, api_url, ..Settings::default() });
    assert!(signed_in.contains("must not contain a user") && !signed_in.contains("hunter2"), "{signed_in}");
    let both = Settings { bot_token: token, webhook_url: Some(SecretString::from("https://x")), ..Settings::default() };
    assert!(said(both).contains("keep one of them"));
    let wrong = Settings {
        webhook_url: Some(SecretString::from("https://hooks.slack.com/x")),
        mentions: vec!["here".into(), "U123".into(), "<!channel>".into(), "@joe".into()],
        ..Settings::default()
    };
    assert!(said(wrong).ends_with("2 problems. Nothing was started."));
}

#[test]
fn slack_has_one_message_a_second_and_one_at_a_time_unless_told_otherwise() {
    let settings = Settings { webhook_url: Some(SecretString::from("https://x.example/")), ..Settings::default() };
    let destination = Destination::build("secops", &Any::Slack(settings)).unwrap();
    assert_eq!((destination.concurrency(), destination.requests_per_second()), (1, Some(1.0)));
}
