//! Webhooks against a real socket, the signature checked by the library that receivers use.

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::destination::testing::{HttpStub, answer, http_notification, mutual_tls_server, tls_server};
use crate::destination::{Destination, Settings as Any};
use crate::domain::delivery::Verdict;
use crate::time::{Clock, from_millis};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &[u8] = "{ \"type\":\"scan.completed\", \"data\":{\"n\": 1.0, \"s\":\"\u{202e}<!channel>\"} }".as_bytes();

fn settings(url: &str) -> Settings {
    Settings { url: Some(SecretString::from(url)), ..Settings::default() }
}

fn build(settings: Settings) -> Destination {
    Destination::build("siem", &Any::Webhook(settings)).unwrap()
}

fn problems(settings: Settings) -> String {
    Destination::build("siem", &Any::Webhook(settings)).unwrap_err().to_string()
}

fn secrets(toml: &str) -> Secrets {
    #[derive(Deserialize)]
    struct Table {
        signing_secret: Secrets,
    }
    toml::from_str::<Table>(toml).unwrap().signing_secret
}

async fn send_to(answered: Vec<u8>) -> Sent {
    let stub = HttpStub::start(move |_| answered.clone()).await;
    let destination = build(settings(&format!("http://{}/hook", stub.address)));
    destination.send(&http_notification("siem", BODY), from_millis(0)).await
}

#[tokio::test]
async fn the_exact_bytes_arrive_signed_with_every_secret() {
    let stub = HttpStub::start(|_| answer(204, "", "")).await;
    let destination = build(Settings {
        signing_secret: Some(secrets(&format!("signing_secret = [\"{SECRET}\", \"{OTHER}\"]"))),
        headers: [("X-Team".to_owned(), SecretString::from("secops"))].into(),
        ..settings(&format!("http://{}/hook", stub.address))
    });
    let notification = http_notification("siem", BODY);
    let sent = destination.send(&notification, Clock::real().now()).await;
    assert_eq!(sent.verdict, Verdict::OK);
    let got = stub.got().remove(0);
    assert_eq!(got.line, "POST /hook HTTP/1.1\r\n");
    assert_eq!(got.body, BODY);
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!(got.headers["x-team"], "secops");
    assert_eq!(got.headers["user-agent"], concat!("scanbell/", env!("CARGO_PKG_VERSION")));
    assert_eq!(got.headers["webhook-id"], notification.id.to_string());
    let mut headers = HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, got.headers[name].parse().unwrap());
    }
    for secret in [SECRET, OTHER] {
        standardwebhooks::Webhook::new(secret).unwrap().verify(&got.body, &headers).unwrap();
    }
    assert!(standardwebhooks::Webhook::new(SECRET).unwrap().verify(b"{}", &headers).is_err());
}

#[tokio::test]
async fn without_a_secret_there_is_an_id_and_a_time_but_no_signature() {
    let stub = HttpStub::start(|_| answer(200, "", "ok")).await;
    let destination = build(settings(&format!("http://{}/", stub.address)));
    destination.send(&http_notification("siem", BODY), from_millis(1_700_000_000_999)).await;
    let got = stub.got().remove(0);
    assert_eq!(got.headers["webhook-timestamp"], "1700000000");
    assert!(!got.headers.contains_key("webhook-signature"));
}

#[rstest]
#[case(200, "delivered ok")]
#[case(202, "delivered ok")]
#[case(302, "retry redirect")]
#[case(400, "reject rejected")]
#[case(401, "retry unauthorized")]
#[case(403, "retry unauthorized")]
#[case(404, "retry client_error")]
#[case(408, "retry client_error")]
#[case(410, "reject rejected")]
#[case(413, "reject rejected")]
#[case(422, "reject rejected")]
#[case(429, "retry rate_limited")]
#[case(500, "retry server_error")]
#[case(503, "retry server_error")]
#[tokio::test]
async fn every_kind_of_status_means_what_the_contract_says(#[case] status: u16, #[case] expected: &str) {
    let sent = send_to(answer(status, "", "")).await;
    assert_eq!(format!("{} {}", sent.verdict.as_str(), sent.verdict.reason()), expected);
    assert_eq!(sent.answer.unwrap(), format!("HTTP {status}"));
}

#[tokio::test]
async fn retry_after_is_honoured_and_overrides_a_rejection() {
    let sent = send_to(answer(413, "Retry-After: 120\r\n", "later")).await;
    assert_eq!(sent.verdict, Verdict::Retry { reason: Reason::ClientError, after: Some(Duration::from_secs(120)) });
}

#[tokio::test]
async fn a_taken_message_is_delivered_though_the_rest_of_the_answer_never_comes() {
    let sent =
        send_to(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Encoding: gzip\r\n\r\nnonsense..".to_vec()).await;
    assert_eq!(sent.verdict, Verdict::OK);
}

#[tokio::test]
async fn an_answer_is_kept_short_and_without_what_is_secret() {
    let stub = HttpStub::start(|_| {
        answer(500, "", &format!("{} at /hook/t0k3nvalue for X-Key hunter2secret\r\n\x07{}", "e", "x".repeat(100_000)))
    })
    .await;
    let destination = build(Settings {
        headers: [("X-Key".to_owned(), SecretString::from("hunter2secret"))].into(),
        ..settings(&format!("http://{}/hook/t0k3nvalue", stub.address))
    });
    let kept = destination.send(&http_notification("siem", BODY), from_millis(0)).await.answer.unwrap();
    assert!(kept.starts_with("HTTP 500: e at … for X-Key …   xxx"), "{kept}");
    assert!(kept.len() < 520);
}

#[tokio::test]
async fn private_addresses_are_refused_unless_listed_and_a_written_loopback_is_allowed() {
    let refused = build(settings("http://10.0.0.1:9/")).send(&http_notification("siem", BODY), from_millis(0)).await;
    assert_eq!(refused.verdict, Verdict::retry(Reason::BlockedAddress));
    let stub = HttpStub::start(|_| answer(200, "", "")).await;
    let by_name = build(settings(&format!("http://localhost:{}/", stub.address.port())));
    assert_eq!(by_name.send(&http_notification("siem", BODY), from_millis(0)).await.verdict, Verdict::OK);
    // A name that only resolves to loopback was not written as loopback.
    let elsewhere = build(settings(&format!("http://ip6-localhost.localhost:{}/", stub.address.port())));
    assert_ne!(elsewhere.send(&http_notification("siem", BODY), from_millis(0)).await.verdict, Verdict::OK);
}

#[tokio::test]
async fn a_url_in_a_file_is_read_for_each_attempt_and_a_bad_one_is_tried_again() {
    let stub = HttpStub::start(|_| answer(200, "", "")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "https://example.com/").unwrap();
    let destination = build(Settings { url_file: Some(file.path().to_owned()), ..Settings::default() });
    std::fs::write(file.path(), "no url at all").unwrap();
    let sent = destination.send(&http_notification("siem", BODY), from_millis(0)).await;
    assert_eq!(sent.verdict, Verdict::retry(Reason::Secret));
    assert!(!sent.answer.unwrap().contains("at all"));
    std::fs::write(file.path(), format!("http://{}/new\n", stub.address)).unwrap();
    assert_eq!(destination.send(&http_notification("siem", BODY), from_millis(0)).await.verdict, Verdict::OK);
    assert_eq!(stub.got().remove(0).line, "POST /new HTTP/1.1\r\n");
}

#[tokio::test]
async fn a_signing_secret_that_was_replaced_in_its_file_signs_the_next_attempt() {
    let stub = HttpStub::start(|_| answer(401, "", "bad signature")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("http://{}/", stub.address);
    std::fs::write(file.path(), SECRET).unwrap();
    let destination = build(Settings { signing_secret_file: Some(file.path().to_owned()), ..settings(&url) });
    for secret in [SECRET, OTHER] {
        std::fs::write(file.path(), format!("{secret}\n")).unwrap();
        let now = Clock::real().now();
        let sent = destination.send(&http_notification("siem", BODY), now).await;
        assert_eq!(sent.verdict, Verdict::retry(Reason::Unauthorized));
        let got = stub.got().pop().unwrap();
        let signed = standardwebhooks::Webhook::new(secret).unwrap();
        let signature = signed.sign(&got.headers["webhook-id"], now.as_second(), BODY).unwrap();
        assert_eq!(got.headers["webhook-signature"], signature);
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let said = problems(Settings {
        url: Some(SecretString::from("ftp://user:hunter2@example.com")),
        signing_secret: Some(secrets("signing_secret = \"hunter2 is not base64!\"")),
        headers: [
            ("Webhook-Signature".to_owned(), SecretString::from("x")),
            ("Host".to_owned(), SecretString::from("x")),
            ("X-A\r\nX-B".to_owned(), SecretString::from("x")),
            ("X-C".to_owned(), SecretString::from("hunter2\r\nX-D: 1")),
        ]
        .into(),
        cert_file: Some("/nonexistent.pem".into()),
        limits: Limits { concurrency: Some(0), requests_per_second: Some(f64::NAN) },
        ..Settings::default()
    });
    assert!(said.ends_with("9 problems. Nothing was started."), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(problems(Settings::default()).contains("neither `url` nor `url_file`"));
}

#[test]
fn settings_read_from_toml_and_refuse_what_they_do_not_know() {
    let read: Settings = toml::from_str(
        "url = 'https://example.com'\nsigning_secret = ['whsec_a', 'whsec_b']\nformat = 'cloudevents'\n\
         allow_cidrs = ['10.2.0.0/16']\nretry = { give_up_after = '1h' }\nlimits = { concurrency = 3 }",
    )
    .unwrap();
    assert_eq!((read.format, read.retry.growth), (WebhookFormat::CloudEvents, 2.0));
    assert!(!format!("{read:?}").contains("whsec_a"));
    assert!(toml::from_str::<Settings>("uri = 'x'").is_err());
    assert!(serde_json::to_string(&schemars::schema_for!(Settings)).unwrap().contains("signing_secret"));
}

#[tokio::test]
async fn a_probe_connects_and_sends_nothing() {
    let stub = HttpStub::start(|_| answer(200, "", "")).await;
    assert!(build(settings(&format!("http://{}/", stub.address))).probe().await.is_ok());
    assert!(stub.got().is_empty());
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(build(settings(&format!("http://{closed}/"))).probe().await.unwrap_err().contains("no connection"));
}

#[tokio::test]
async fn a_private_ca_is_trusted_where_it_is_named_and_nowhere_else() {
    let (tls, ca) = tls_server();
    let stub = HttpStub::start_tls(tls, |_| answer(200, "", "")).await;
    let url = format!("https://localhost:{}/", stub.address.port());
    let trusting = build(Settings { ca_file: Some(ca.path().to_owned()), ..settings(&url) });
    assert_eq!(trusting.send(&http_notification("siem", BODY), from_millis(0)).await.verdict, Verdict::OK);
    assert!(trusting.probe().await.is_ok());
    let stranger = build(settings(&url));
    let sent = stranger.send(&http_notification("siem", BODY), from_millis(0)).await;
    assert_eq!(sent.verdict, Verdict::retry(Reason::Tls), "{sent:?}");
    assert!(sent.answer.unwrap().contains("`ca_file`"), "the way out is kept with the attempt");
    assert!(stranger.probe().await.unwrap_err().contains("certificate"));
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let (tls, [ca, cert, key]) = mutual_tls_server();
    let stub = HttpStub::start_tls(tls, |_| answer(200, "", "")).await;
    let nameless = Settings {
        ca_file: Some(ca.path().to_owned()),
        ..settings(&format!("https://localhost:{}/", stub.address.port()))
    };
    let known =
        Settings { cert_file: Some(cert.path().to_owned()), key_file: Some(key.path().to_owned()), ..nameless.clone() };
    assert_eq!(build(known).send(&http_notification("siem", BODY), from_millis(0)).await.verdict, Verdict::OK);
    assert!(build(nameless.clone()).probe().await.unwrap_err().contains("set `cert_file` and `key_file`"));
    let sent = build(nameless).send(&http_notification("siem", BODY), from_millis(0)).await;
    assert_eq!(sent.verdict, Verdict::retry(Reason::Tls), "{sent:?}");
    assert!(sent.answer.unwrap().contains("set `cert_file` and `key_file`"));
    assert_eq!(stub.got().len(), 1);
}
