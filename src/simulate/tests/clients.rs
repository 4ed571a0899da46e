//! The world as scanbell's own clients meet it: what is broken on purpose must look as it would outside.

use reqwest::header::HeaderMap;
use uuid::Uuid;

use super::*;
use crate::destination::{self, Destination};
use crate::domain::delivery::Verdict;
use crate::domain::notification::{Content, Mail, Notification};
use crate::egress::{Client, ClientOptions, Failure, Request, SendError, TlsFiles};
use crate::time::from_millis;

const ID: &str = "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d00";

async fn played(world: &World, answer: super::super::Answer) -> Result<crate::egress::Answer, SendError> {
    let options = ClientOptions { connect_timeout: SOON, total_timeout: SOON, guard: None, tls: TlsFiles::default() };
    let client = Client::build("test", &options).unwrap();
    world.script(Provider::Sieve, ID, Script::steps([Step::new(answer)]));
    let url = format!("{}/api/scans/{ID}", world.url()).parse().unwrap();
    let headers = HeaderMap::from_iter([("x-api-key".parse().unwrap(), "simulated".parse().unwrap())]);
    client
        .send(Request { method: reqwest::Method::GET, url, headers, body: bytes::Bytes::new(), max_body: 1_000_000 })
        .await
}

#[tokio::test]
async fn a_broken_connection_looks_to_a_client_as_it_was_meant() {
    use super::super::Answer::{Drop, Garbage, Reset, ResetMidBody, Truncated};
    let world = world().await;
    for broken in [Drop, Reset, ResetMidBody, Truncated] {
        let failure = played(&world, broken.clone()).await.unwrap_err().failure;
        assert_eq!(failure, Failure::Interrupted, "{broken:?}");
    }
    assert_eq!(played(&world, Garbage).await.unwrap_err().failure, Failure::BadAnswer);
    world.stop().await;
}

#[tokio::test]
async fn a_bomb_is_real_gzip_and_unpacks_to_what_it_says() {
    use super::super::Answer::GzipBomb;
    let world = world().await;
    let cut = played(&world, GzipBomb { bytes: 50_000_000 }).await.unwrap();
    assert!(cut.cut && cut.body.len() == 1_000_000 && cut.body.iter().all(|byte| *byte == 0));
    world.stop().await;
}

/// The destination of this name, as the printed configuration describes it.
fn configured(world: &World, name: &str) -> Destination {
    let configuration: toml::Table = configuration(world).parse().unwrap();
    let mut table = configuration["destinations"][name].as_table().unwrap().clone();
    let kind = table.remove("kind").unwrap();
    let settings = match kind.as_str().unwrap() {
        "slack" => destination::Settings::Slack(table.try_into().unwrap()),
        "email" => destination::Settings::Email(table.try_into().unwrap()),
        "webhook" => destination::Settings::Webhook(table.try_into().unwrap()),
        other => panic!("{other}"),
    };
    Destination::build(name, &settings).unwrap()
}

fn notification(destination: &str, content: Content) -> Notification {
    let created_at = from_millis(0);
    Notification { id: Uuid::now_v7(), scan: None, destination: destination.to_owned(), created_at, content }
}

fn http(body: &'static str) -> Content {
    Content::Http { content_type: "application/json".to_owned(), body: body.into() }
}

#[tokio::test]
async fn the_printed_configuration_reaches_every_destination() {
    let world = world().await;
    let mail = Mail { subject: "s".to_owned(), text: "t".to_owned(), html: "<p>h</p>".to_owned() };
    let messages = [
        notification("secops", http(r#"{"text":"hi"}"#)),
        notification("siem", http(r#"{"type":"scan.completed","data":{"scan_id":"s-1"}}"#)),
        notification("oncall", Content::Mail(mail)),
    ];
    for message in &messages {
        let sent = configured(&world, &message.destination).send(message, Clock::real().now()).await;
        assert!(matches!(sent.verdict, Verdict::Delivered { .. }), "{}: {sent:?}", message.destination);
    }
    assert_eq!(world.received(Kind::Slack, Some("secops")).len(), 1);
    assert_eq!(world.received(Kind::Webhook, Some("siem"))[0].verified, Some(true));
    assert_eq!(world.received(Kind::Email, Some(MAIL_TO)).len(), 1);
    let arrivals = world.arrivals();
    assert_eq!(
        (arrivals[0].id.as_ref(), arrivals[0].scan_id.as_deref()),
        (messages[1].id.to_string().as_str(), Some("s-1"))
    );
    world.stop().await;
}

#[tokio::test]
async fn the_guide_and_the_configuration_name_what_a_person_needs() {
    let world = world().await;
    let guide = guide(&world);
    for word in [world.url(), "00 threat", "0c no-verdict", "/_sim/received"] {
        assert!(guide.contains(word), "{word} is not in {guide}");
    }
    world.set_keys(Provider::Sieve, ["a\"b".to_owned()]);
    let table: toml::Table = configuration(&world).parse().unwrap();
    assert_eq!(table["providers"]["sieve"]["api_key"].as_str(), Some("a\"b"));
    assert_eq!(table["routes"].as_array().unwrap().len(), 2);
    world.stop().await;
}
