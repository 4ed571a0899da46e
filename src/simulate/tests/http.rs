//! Scan APIs, Slack, webhooks, control, and the broken connections.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Answer, put, raw, send};
use super::*;

const ID: &str = "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d00";
const KEY: &[(&str, &str)] = &[("X-API-Key", "simulated")];

async fn scan(world: &World, id: &str) -> Answer {
    send(world.api_address(), "GET", &format!("/api/scans/{id}"), KEY, b"").await.unwrap()
}

async fn get(world: &World, path: &str) -> Value {
    send(world.api_address(), "GET", path, &[], b"").await.unwrap().json()
}

#[tokio::test]
async fn a_scan_that_nobody_scripted_lives_as_its_id_says() {
    let world = World::start(Options { scans_take: Duration::from_millis(1), ..Options::default() }).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen.push(scan(&world, ID).await.json()["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["queued", "processing", "completed"]);
    let body = scan(&world, ID).await.json();
    assert_eq!((body["scanId"].as_str(), body["isThreat"].as_bool()), (Some(ID), Some(true)));
    assert_eq!(world.polls(Provider::Sieve, ID).unwrap().polls, 4);
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_until_it_is_mended() {
    let world = world().await;
    put(world.api_address(), "/_sim/keys", r#"{"sieve":["new"]}"#).await;
    let refused = scan(&world, ID).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("Invalid API key")));
    assert!(world.polls(Provider::Sieve, ID).is_none(), "a refused poll is not a poll");
    world.set_keys(Provider::Sieve, ["new".to_owned(), "simulated".to_owned()]);
    assert_eq!(scan(&world, ID).await.status, 200);
    let status = send(world.api_address(), "GET", "/api/keys/status", KEY, b"").await.unwrap();
    assert_eq!(status.json()["hasKey"], true);
    world.refuse_keys_with(403);
    let missing = send(world.api_address(), "GET", "/mcp-hub/scan/x/results", &[], b"").await.unwrap();
    assert_eq!(missing.status, 403);
    world.stop().await;
}

#[tokio::test]
async fn enkrypt_shows_the_same_job_at_both_endpoints_and_results_can_be_scripted_apart() {
    let world = world().await;
    let api = world.api_address();
    put(api, "/_sim/scans/enkrypt/job", r#"{"preset":"threat","after_ms":0}"#).await;
    let get = async |what: &str| {
        send(api, "GET", &format!("/mcp-hub/scan/job/{what}"), &[("apikey", "simulated")], b"").await.unwrap()
    };
    assert_eq!(get("status").await.json()["job_status"], "completed");
    let results = get("results").await;
    assert!(results.head.contains("x-enkrypt-is-official: "));
    assert!(results.json()["complete_result"]["scan_metadata"]["total_vulnerabilities"].as_u64() > Some(0));
    put(api, "/_sim/scans/enkrypt/job?endpoint=results", r#"{"steps":[{"status":409},{"state":"clean"}]}"#).await;
    assert_eq!([get("results").await.status, get("results").await.status, get("status").await.status], [409, 200, 200]);
    world.stop().await;
}

#[tokio::test]
async fn scripts_over_http_answer_step_by_step_with_headers_and_edited_bodies() {
    let world = world().await;
    put(
        world.api_address(),
        &format!("/_sim/scans/sieve/{ID}"),
        r#"{"steps":[{"status":429,"headers":{"Retry-After":"2"}},
            {"status":503,"body_text":"<html>","content_type":"text/html"},
            {"state":"clean","set":{"severity":"weird","scanId":"other"},"unset":["isThreat"]}]}"#,
    )
    .await;
    let limited = scan(&world, ID).await;
    assert!(limited.status == 429 && limited.head.contains("retry-after: 2"), "{}", limited.head);
    let html = scan(&world, ID).await;
    assert!(html.status == 503 && html.head.contains("content-type: text/html") && html.text() == "<html>");
    let body = scan(&world, ID).await.json();
    assert_eq!((&body["severity"], &body["scanId"], body.get("isThreat")), (&json!("weird"), &json!("other"), None));
    let wrong = send(world.api_address(), "PUT", "/_sim/scans/sieve/x", &[], br#"{"preset":"cleen"}"#).await.unwrap();
    assert!(wrong.status == 400 && wrong.text().contains("cleen"), "{}", wrong.text());
    world.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_down_for_every_scan() {
    let world = world().await;
    put(world.api_address(), "/_sim/providers/sieve", r#"{"answers":[{"status":503,"repeat":2}]}"#).await;
    assert_eq!(
        [scan(&world, "a").await.status, scan(&world, "b").await.status, scan(&world, "a").await.status],
        [503, 503, 200]
    );
    world.stop().await;
}

#[tokio::test]
async fn connections_break_in_every_way_that_was_asked_for() {
    let world = world().await;
    let request = format!("GET /api/scans/{ID} HTTP/1.1\r\nhost: x\r\nx-api-key: simulated\r\n\r\n");
    let play = async |answer| {
        world.script(Provider::Sieve, ID, Script::steps([Step::new(answer)]));
        tokio::time::timeout(SOON, raw(world.api_address(), request.as_bytes())).await.unwrap()
    };
    assert_eq!(play(super::super::Answer::Drop).await.unwrap(), b"");
    assert_eq!(play(super::super::Answer::Hang(Duration::from_millis(1))).await.unwrap(), b"");
    let reset = play(super::super::Answer::Reset).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    let reset = play(super::super::Answer::ResetMidBody).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    let garbage = play(super::super::Answer::Garbage).await.unwrap();
    assert!(garbage.starts_with(b"\x00\xff") && !String::from_utf8_lossy(&garbage).contains("HTTP/1.1"));
    let truncated = String::from_utf8(play(super::super::Answer::Truncated).await.unwrap()).unwrap();
    let (head, body) = truncated.split_once("\r\n\r\n").unwrap();
    let promised: usize = head.split_once("content-length: ").unwrap().1.split('\r').next().unwrap().parse().unwrap();
    assert!(!body.is_empty() && body.len() < promised, "{body} of {promised}");
    world.stop().await;
}

#[tokio::test]
async fn bodies_can_be_huge_slow_or_bombs() {
    let world = world().await;
    let play = async |answer| {
        world.script(Provider::Sieve, ID, Script::steps([Step::new(answer)]));
        scan(&world, ID).await
    };
    let huge = play(super::super::Answer::Huge { bytes: 3_000_000, declared: true }).await;
    assert_eq!(huge.body.len(), 3_000_000);
    assert_eq!(huge.json().as_str().unwrap().len(), 2_999_998);
    let chunked = play(super::super::Answer::Huge { bytes: 3_000_000, declared: false }).await;
    assert!(chunked.head.contains("transfer-encoding: chunked") && chunked.body.len() > 3_000_000);
    let drip = play(super::super::Answer::Drip { bytes: 5, every: Duration::from_millis(1) }).await;
    assert_eq!(drip.body, b"     ");
    let bomb = play(super::super::Answer::GzipBomb { bytes: 50_000_000 }).await;
    assert!(bomb.head.contains("content-encoding: gzip") && bomb.body.len() < 400_000);
    world.stop().await;
}

#[tokio::test]
async fn a_redirect_points_to_another_host_where_a_key_would_be_seen() {
    let world = world().await;
    world.script(Provider::Sieve, ID, Script::steps([Step::new(super::super::Answer::Redirect(None))]));
    let answer = scan(&world, ID).await;
    assert!(answer.status == 302 && answer.head.contains("location: http://localhost:"), "{}", answer.head);
    send(world.api_address(), "GET", "/hooks/redirected", KEY, b"").await.unwrap();
    let followed = world.received(Kind::Webhook, Some("redirected"));
    assert_eq!(followed[0].header("x-api-key"), Some("simulated"));
    world.stop().await;
}

#[tokio::test]
async fn slack_takes_what_it_would_take_and_names_what_it_would_not() {
    let world = world().await;
    let post = async |body: &str| {
        let path = "/services/T00000000/B00000000/secops";
        let answer = send(world.api_address(), "POST", path, &[], body.as_bytes()).await.unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(post(r#"{"text":"hi"}"#).await, (200, "ok".to_owned()));
    assert_eq!(post("{").await, (400, "invalid_payload".to_owned()));
    assert_eq!(post("{}").await, (400, "no_text".to_owned()));
    assert_eq!(post(r#"{"text":"t","blocks":[{"type":"section"}]}"#).await, (400, "invalid_blocks".to_owned()));
    let answered: Vec<u16> =
        world.received(Kind::Slack, Some("secops")).iter().map(|message| message.answered).collect();
    assert_eq!(answered, [200, 400, 400, 400]);
    assert_eq!(world.count(Kind::Slack, "secops").unwrap().accepted, 1);
    world.stop().await;
}

#[tokio::test]
async fn the_web_api_of_slack_says_no_in_its_body() {
    let world = world().await;
    let post = async |token: &str, body: &str| {
        let headers = [("authorization", token), ("content-type", "application/json; charset=utf-8")];
        let path = "/slack/api/chat.postMessage";
        send(world.api_address(), "POST", path, &headers, body.as_bytes()).await.unwrap().json()
    };
    let said = post("Bearer simulated", r##"{"channel":"#alerts","text":"hi"}"##).await;
    assert!(said["ok"] == true && said["ts"].is_string(), "{said}");
    assert_eq!(post("Bearer wrong", r#"{"channel":"C1","text":"hi"}"#).await["error"], "invalid_auth");
    assert_eq!(post("", r#"{"channel":"C1","text":"hi"}"#).await["error"], "not_authed");
    assert_eq!(post("Bearer simulated", r#"{"text":"hi"}"#).await["error"], "channel_not_found");
    assert_eq!(post("Bearer simulated", r#"{"channel":"C1"}"#).await["error"], "no_text");
    assert_eq!(world.received(Kind::Slack, Some("alerts")).len(), 1);
    let test = send(world.api_address(), "POST", "/slack/api/auth.test", &[("authorization", "Bearer simulated")], b"");
    assert_eq!(test.await.unwrap().json()["ok"], true);
    world.stop().await;
}

fn signed(body: &str, secret: &str, time: i64) -> Vec<(&'static str, String)> {
    let signature = standardwebhooks::Webhook::new(secret).unwrap().sign("msg_1", time, body.as_bytes()).unwrap();
    vec![
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", time.to_string()),
        ("webhook-signature", format!("v1,bm90IHRoaXMgb25l {signature}")),
    ]
}

#[tokio::test]
async fn a_hook_with_a_secret_takes_only_what_is_signed_with_it_about_now() {
    let world = world().await;
    let body = r#"{"type":"scan.completed","data":{"scan_id":"s-1"}}"#;
    let post = async |headers: Vec<(&'static str, String)>| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        send(world.api_address(), "POST", "/hooks/siem", &headers, body.as_bytes()).await.unwrap().status
    };
    let now = Clock::real().now().as_second();
    let other = "whsec_b3RoZXItc2VjcmV0LW5vYm9keS1uZWVkcy1oZXJl";
    assert_eq!(post(signed(body, HOOK_SECRET, now)).await, 204);
    assert_eq!(post(signed(body, other, now)).await, 401);
    assert_eq!(post(signed(body, HOOK_SECRET, now - 3600)).await, 401);
    assert_eq!(post(Vec::new()).await, 401);
    let verified: Vec<Option<bool>> = world.received(Kind::Webhook, None).iter().map(|got| got.verified).collect();
    assert_eq!(verified, [Some(true), Some(false), Some(false), Some(false)]);
    let arrivals = world.arrivals();
    assert_eq!((arrivals.len(), arrivals[0].count, arrivals[0].scan_id.as_deref()), (1, 1, Some("s-1")));
    put(world.api_address(), "/_sim/hooks/siem", &json!({ "secrets": [HOOK_SECRET, other] }).to_string()).await;
    assert_eq!(post(signed(body, other, now)).await, 204);
    world.stop().await;
}

#[tokio::test]
async fn a_destination_fails_as_often_as_scripted_and_is_well_again() {
    let world = world().await;
    put(
        world.api_address(),
        "/_sim/destinations/hurt",
        r#"{"answers":[{"status":429,"headers":{"Retry-After":"2"}},{"hang_ms":1},{"special":"reset"}]}"#,
    )
    .await;
    let post = async |name: &str| {
        send(world.api_address(), "POST", &format!("/hooks/{name}"), &[], b"{}").await.map(|answer| answer.status)
    };
    assert_eq!(post("hurt").await.unwrap(), 429);
    assert_eq!(post("well").await.unwrap(), 204);
    assert!(post("hurt").await.is_err());
    assert!(post("hurt").await.is_err());
    assert_eq!(post("hurt").await.unwrap(), 204);
    let answered = get(&world, "/_sim/received?kind=webhook&name=hurt").await;
    let answered: Vec<u64> = answered.as_array().unwrap().iter().map(|got| got["answered"].as_u64().unwrap()).collect();
    assert_eq!(answered, [429, 0, 0, 204]);
    world.stop().await;
}

#[tokio::test]
async fn what_happened_can_be_read_and_forgotten_over_http() {
    let world = world().await;
    scan(&world, ID).await;
    send(world.api_address(), "POST", "/hooks/x", &[("X-Team", "é")], b"{\"a\":1}").await.unwrap();
    let got = get(&world, "/_sim/received?kind=webhook&name=x").await;
    assert_eq!((&got[0]["body"], &got[0]["headers"]["x-team"]), (&json!("{\"a\":1}"), &json!("é")));
    let polls = get(&world, "/_sim/polls").await;
    assert_eq!(
        (&polls[0]["scan_id"], &polls[0]["polls"], &polls[0]["last_status"]),
        (&json!(ID), &json!(1), &json!(200))
    );
    assert_eq!(get(&world, "/_sim/summary").await["destinations"][0]["accepted"], 1);
    assert_eq!(send(world.api_address(), "DELETE", "/_sim/received", &[], b"").await.unwrap().status, 204);
    assert_eq!(get(&world, "/_sim/received").await, json!([]));
    let wrong = send(world.api_address(), "GET", "/_sim/received?kind=fax", &[], b"").await.unwrap();
    assert_eq!(wrong.status, 400);
    world.stop().await;
}

#[tokio::test]
async fn a_load_run_counts_and_keeps_no_bodies() {
    let usual = Some(Script::steps([Step::state(State::Processing), Step::state(State::Clean)]));
    let world = World::start(Options { record: Record::CountOnly, usual, ..Options::default() }).await.unwrap();
    assert_eq!(scan(&world, ID).await.json()["status"], "processing");
    assert_eq!(scan(&world, ID).await.json()["status"], "completed");
    assert!(world.polls(Provider::Sieve, ID).unwrap().ended_ms.is_some());
    let headers = [("webhook-id", "msg_9")];
    send(world.api_address(), "POST", "/hooks/x", &headers, br#"{"data":{"scan_id":"s"}}"#).await.unwrap();
    assert!(world.received(None, None).is_empty());
    assert_eq!(world.arrivals()[0].id.as_ref(), "msg_9");
    world.stop().await;
}

#[tokio::test]
async fn waiting_ends_when_it_happens_and_says_what_came_when_it_does_not() {
    let world = world().await;
    let api = world.api_address();
    let posting = async { send(api, "POST", "/hooks/x", &[], b"{}").await.unwrap() };
    let waiting = world.wait_for(|world| world.count(Kind::Webhook, "x").is_some(), SOON);
    let (waited, _) = tokio::join!(waiting, posting);
    waited.unwrap();
    let error = world.wait_for(|_| false, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "not within 1ms; 0 polls and 1 messages came");
    world.stop().await;
}

#[tokio::test]
async fn stopping_ends_hangs_idle_connections_and_half_sent_requests() {
    let world = world().await;
    let api = world.api_address();
    let hang = || Step::new(super::super::Answer::Hang(Duration::from_secs(600)));
    world.script(Provider::Sieve, ID, Script::steps([hang()]));
    let hanging = tokio::net::TcpStream::connect(api).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(api).await.unwrap();
    half.write_all(b"GET /api/sc").await.unwrap();
    let mut hanging = hanging;
    let request = format!("GET /api/scans/{ID} HTTP/1.1\r\nhost: x\r\nx-api-key: simulated\r\n\r\n");
    hanging.write_all(request.as_bytes()).await.unwrap();
    world.wait_for(|world| world.polls(Provider::Sieve, ID).is_some(), SOON).await.unwrap();
    let started = Instant::now();
    tokio::time::timeout(SOON, world.stop()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let mut rest = Vec::new();
    let _ = hanging.read_to_end(&mut rest).await;
    let _ = half.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert!(tokio::net::TcpStream::connect(api).await.is_err());
}
