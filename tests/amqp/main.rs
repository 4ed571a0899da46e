//! Intake from a real broker: what is accepted, what is refused, and what is left when either side goes away.
//!
//! Needs `SCANBELL_TEST_AMQP_URL`; `scripts/rabbitmq start DIR PORT` starts a private node and prints its URL.

#![expect(clippy::unwrap_used, reason = "a test may stop where it cannot go on")]

mod accept;
mod broker;
mod raw;
mod relay;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use scanbell::intake::amqp::{self, QueueType, Settings};
use scanbell::store::AcceptedState::{Duplicate, Following};

use broker::{Running, eventually, publish_on, table, with_broker};
use relay::Relay;
use store::MemoryStore;

/// Waits until these scans, and no others, are followed.
async fn followed(store: &MemoryStore, ids: &[&str]) {
    let look = async || (store.following().len() >= ids.len()).then(|| store.following());
    assert_eq!(eventually(&format!("{ids:?} are followed"), look).await, ids);
}

#[tokio::test]
async fn every_form_ends_accepted_and_acknowledged() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        broker.publish(b" bare\n").await;
        broker.publish(br#""string""#).await;
        broker.publish(br#"{"scan_id":"object","labels":{"team":"red"},"destinations":["siem"]}"#).await;
        broker.publish(br#"{"job_id":"alias"}"#).await;
        broker.publish(br#"["array-1",{"scanId":"array-2"}]"#).await;
        let event = br#"{"specversion":"1.0","id":"1","source":"/ci","type":"t","data":{"scan_id":"structured"}}"#;
        let structured = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        broker.publish_with(event, structured).await;
        for prefix in ["cloudEvents_", "cloudEvents:", "ce-"] {
            let names = ["specversion", "id", "source", "type"].map(|name| format!("{prefix}{name}"));
            let headers = table([(&names[0], "1.0"), (&names[1], "2"), (&names[2], "/ci"), (&names[3], "t")]);
            let body = format!(r#"{{"scan_id":"binary{}"}}"#, prefix.len());
            broker.publish_with(body.as_bytes(), BasicProperties::default().with_headers(headers)).await;
        }
        let all = ["alias", "array-1", "array-2", "bare", "binary12", "binary3", "object", "string", "structured"];
        followed(&store, &all).await;
        assert_eq!(store.asked("object").labels, [("team".to_owned(), "red".to_owned())].into());
        assert_eq!(store.asked("object").destinations, Some(vec!["siem".to_owned()]));
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0, "all were acknowledged");
        assert_eq!(broker.ready(&broker.dead).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refused_message_is_kept_byte_for_byte_with_its_properties_and_the_reason() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        let mut headers = table([("team", "red"), ("CC", "nobody")]);
        headers.insert("n".into(), AMQPValue::LongLongInt(7));
        // Also a queue to which a copy would go, were the CC header obeyed again.
        headers.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString("nobody".into())].into()));
        let properties = BasicProperties::default()
            .with_headers(headers.clone())
            .with_content_type("application/json".into())
            .with_message_id("m-1".into())
            .with_correlation_id("c-1".into())
            .with_timestamp(1_700_000_000)
            .with_user_id("guest".into())
            .with_expiration("3600000".into())
            .with_delivery_mode(1);
        let body = "{\"scan_id\": 5,  \"ümlaut\" : [ ] }\n".as_bytes();
        broker.publish_with(body, properties.clone()).await;

        let dead = broker.take(&broker.dead).await;
        assert_eq!(dead.data, body);
        let kept = dead.properties.headers().clone().unwrap();
        let text = |name: &str| match kept.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(text("x-scanbell-reason"), "invalid-field");
        assert_eq!(text("x-scanbell-error"), "`scan_id` must be a string, not a number");
        assert_eq!(text("team"), "red");
        assert_eq!(kept.inner().get("n"), Some(&AMQPValue::LongLongInt(7)));
        assert_eq!(kept.inner().get("x-scanbell-cc"), headers.inner().get("CC"));
        assert_eq!(dead.properties.content_type(), properties.content_type());
        assert_eq!(dead.properties.message_id(), properties.message_id());
        assert_eq!(dead.properties.correlation_id(), properties.correlation_id());
        assert_eq!(dead.properties.timestamp(), properties.timestamp());
        assert_eq!(*dead.properties.delivery_mode(), Some(2));
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0, "it was acknowledged");
        assert_eq!(broker.ready(&broker.dead).await, 0, "and put away once");
    })
    .await;
}

#[tokio::test]
async fn each_reason_has_its_word_and_hostile_bodies_stop_nothing() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes();
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"{nope".to_vec(), "not-json"),
            (b"\xff\xfe\0a".to_vec(), "not-json"),
            (deep, "not-json"),
            (Vec::new(), "missing-scan-id"),
            (b"../../etc/passwd".to_vec(), "invalid-scan-id"),
            (vec![b'a'; 10_000], "invalid-scan-id"),
            (br#"{"scan_id":"a","provider":"siev"}"#.to_vec(), "unknown-provider"),
            (br#"{"scan_id":"a","destinations":["siam"]}"#.to_vec(), "unknown-destination"),
            (vec![b'a'; 5 * 1024 * 1024], "too-large"),
            (br#"{"scan_id":"a","force":"yes"}"#.to_vec(), "invalid-field"),
        ];
        for (body, _) in &cases {
            broker.publish(body).await;
        }
        broker.publish(b"good").await;
        for (body, reason) in &cases {
            let dead = broker.take(&broker.dead).await;
            let headers = dead.properties.headers().clone().unwrap();
            let said = headers.inner().get("x-scanbell-reason").cloned();
            assert_eq!(said, Some(AMQPValue::LongString((*reason).into())));
            assert!(dead.data == *body, "{reason}: the body was changed");
        }
        followed(&store, &["good"]).await;
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0);
    })
    .await;
}

#[tokio::test]
async fn properties_that_no_client_can_read_stop_nothing() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        let nested = (0..20_000).fold(Vec::new(), |inner, _| [vec![b'A'], raw::long(&inner)].concat());
        let deep = raw::long(&[raw::short(b"deep"), nested].concat());
        let huge = raw::long(&[raw::short(b"huge"), vec![b'S'], raw::long(&vec![b'x'; 130_000])].concat());
        let no_text = raw::short(b"\xff\xfe");
        let (content_type, headers) = (1 << 15, 1 << 13);
        for (n, (flags, properties)) in [(headers, deep), (headers, huge), (content_type, no_text)].iter().enumerate() {
            let id = format!("odd-{n}");
            raw::publish(broker.address(), &broker.queue, *flags, properties, id.as_bytes());
            raw::publish(broker.address(), &broker.queue, *flags, properties, b"{bad");
            assert_eq!(broker.take(&broker.dead).await.data, b"{bad");
        }
        followed(&store, &["odd-0", "odd-1", "odd-2"]).await;
        assert!(running.health.now().ready());
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0);
        assert!(store.accepted().iter().all(|(_, state)| *state == Following), "the connection never broke");
    })
    .await;
}

#[tokio::test]
async fn an_array_is_accepted_and_refused_entry_by_entry() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        let properties = BasicProperties::default().with_correlation_id("c-9".into());
        broker.publish_with(br#"["one", {"scan_id" : "no/slash"}, 5, "two"]"#, properties).await;
        for body in [&br#"{"scan_id" : "no/slash"}"#[..], b"5"] {
            let dead = broker.take(&broker.dead).await;
            assert_eq!(dead.data, body);
            assert_eq!(dead.properties.correlation_id().as_ref().unwrap().as_str(), "c-9");
        }
        followed(&store, &["one", "two"]).await;
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0);
        assert_eq!(broker.ready(&broker.dead).await, 0);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_commit() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        store.fail(u32::MAX);
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        broker.publish(b"early").await;
        broker.publish(b"{bad").await;
        eventually("the store is asked again", async || (store.calls() >= 3).then_some(())).await;
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 2, "both were handed back");
        assert_eq!(broker.ready(&broker.dead).await, 0, "nothing is refused before its batch is committed");

        store.fail(2);
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        followed(&store, &["early"]).await;
        broker.take(&broker.dead).await;
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_was_committed_before_the_connection_broke_is_recognised_when_it_comes_again() {
    with_broker(|broker| async move {
        let relay = Relay::to(broker.address(), true).await;
        let store = Arc::new(MemoryStore::new());
        store.hold();
        let mut running = Running::start(broker.settings_through(&relay), &store);
        running.connected().await;
        broker.publish(br#"{"scan_id":"forced","force":true}"#).await;
        eventually("the store has committed it", async || (store.accepted().len() == 1).then_some(())).await;
        relay.cut();
        store.answer();
        eventually("it came again", async || (store.accepted().len() == 2).then_some(())).await;
        assert_eq!(store.accepted(), [("forced".to_owned(), Following), ("forced".to_owned(), Duplicate)]);

        broker.publish(br#"{"scan_id":"forced","force":true}"#).await;
        eventually("an equal message", async || (store.accepted().len() == 3).then_some(())).await;
        assert_ne!(store.accepted()[2].1, Duplicate, "published twice on purpose counts twice");
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_message_id_is_an_idempotency_key() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        for _ in 0..2 {
            let properties = BasicProperties::default().with_message_id("m-7".into());
            broker.publish_with(br#"{"scan_id":"a","force":true}"#, properties).await;
        }
        eventually("both came", async || (store.accepted().len() == 2).then_some(())).await;
        assert_eq!(store.accepted()[1].1, Duplicate);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_and_nothing_is_lost_when_it_goes_away_again() {
    with_broker(|broker| async move {
        let relay = Relay::to(broker.address(), false).await;
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings_through(&relay), &store);
        let said = running.trouble("cannot connect to the broker").await;
        assert!(!said.contains("guest"), "{said}");
        relay.up();
        running.connected().await;
        let channel = broker.channel().await;
        let mut ids: Vec<String> = (0..600).map(|n| format!("scan-{n:04}")).collect();
        for (n, id) in ids.iter().enumerate() {
            publish_on(&channel, &broker.queue, id.as_bytes(), BasicProperties::default()).await;
            if n % 200 == 100 {
                relay.cut();
            }
        }
        ids.sort();
        followed(&store, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        running.connected().await;
        eventually("the queue is empty", async || (broker.ready(&broker.queue).await == 0).then_some(())).await;
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0, "none came back");
    })
    .await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_a_clear_error_that_goes_away_with_it() {
    with_broker(|broker| async move {
        let channel = broker.channel().await;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(broker.queue.as_str().into(), durable, FieldTable::default()).await.unwrap();
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        let said = running.trouble("exists with other arguments").await;
        for part in [
            &broker.queue,
            "x-queue-type=\"quorum\"",
            "x-dead-letter-exchange=\"\"",
            "inequivalent arg",
            "declare = false",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let channel = broker.channel().await;
        channel.queue_delete(broker.queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        running.connected().await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_somebody_else_made_without_a_dead_letter_target_is_used() {
    with_broker(|broker| async move {
        let channel = broker.channel().await;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let quorum = table([("x-queue-type", "quorum")]);
        for (queue_type, arguments) in [(QueueType::Quorum, quorum), (QueueType::Classic, FieldTable::default())] {
            channel.queue_declare(broker.queue.as_str().into(), durable, arguments).await.unwrap();
            broker.publish(b"scan-1").await;
            let store = Arc::new(MemoryStore::new());
            let mut running = Running::start(Settings { queue_type, ..broker.settings() }, &store);
            running.connected().await;
            followed(&store, &["scan-1"]).await;
            running.stop().await;
            for queue in [&broker.queue, &broker.dead] {
                channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_declaring_the_queues_must_be_there_and_are_used_as_they_are() {
    with_broker(|broker| async move {
        let settings = Settings { declare: false, ..broker.settings() };
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(settings, &store);
        running.trouble("does not exist").await;
        let channel = broker.channel().await;
        for queue in [&broker.queue, &broker.dead] {
            let options = QueueDeclareOptions::default();
            channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
        }
        running.connected().await;
        broker.publish(b"a").await;
        followed(&store, &["a"]).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn classic_queues_do_too_and_a_deleted_queue_is_declared_again() {
    with_broker(|broker| async move {
        let settings = Settings { queue_type: QueueType::Classic, ..broker.settings() };
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(settings, &store);
        running.connected().await;
        broker.publish(b"a").await;
        followed(&store, &["a"]).await;
        let channel = broker.channel().await;
        channel.queue_delete(broker.queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        running.trouble("ended the consumer").await;
        running.connected().await;
        broker.publish(b"b").await;
        followed(&store, &["a", "b"]).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_dead_letter_queue_keeps_the_bad_ones_waiting_and_the_good_ones_going() {
    with_broker(|broker| async move {
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings(), &store);
        running.connected().await;
        let channel = broker.channel().await;
        channel.queue_delete(broker.dead.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        broker.publish(b"{bad").await;
        broker.publish(b"good-1").await;
        let said = running.trouble("so they wait").await;
        assert!(said.contains(&broker.dead), "{said}");
        broker.publish(b"good-2").await;
        followed(&store, &["good-1", "good-2"]).await;
        assert!(running.health.now().connected);

        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let quorum = table([("x-queue-type", "quorum")]);
        channel.queue_declare(broker.dead.as_str().into(), durable, quorum).await.unwrap();
        assert_eq!(broker.take(&broker.dead).await.data, b"{bad");
        let well = running.health.until(scanbell::intake::amqp::Condition::ready);
        tokio::time::timeout(broker::LIMIT, well).await.unwrap();
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0, "the good ones were acknowledged around the bad one");
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_the_broker_has_forgotten_is_noticed_and_replaced() {
    with_broker(|broker| async move {
        let relay = Relay::forgetful(broker.address()).await;
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(broker.settings_through(&relay), &store);
        running.connected().await;
        broker.publish(b"waiting").await;
        running.trouble("has forgotten").await;
        running.connected().await;
        followed(&store, &["waiting"]).await;
        running.stop().await;
        assert_eq!(broker.ready(&broker.queue).await, 0);
    })
    .await;
}

#[tokio::test]
async fn requests_that_wait_and_are_not_delivered_are_noticed_and_taken_once_they_can_be() {
    with_broker(|broker| async move {
        let channel = broker.channel().await;
        let mut alone = table([("x-queue-type", "quorum")]);
        alone.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        for queue in [&broker.queue, &broker.dead] {
            channel.queue_declare(queue.as_str().into(), durable, alone.clone()).await.unwrap();
        }
        channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let hog = channel.basic_consume(
            broker.queue.as_str().into(),
            "hog".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let hog = hog.await.unwrap();
        broker.publish(br#"["one"]"#).await;
        broker.publish(br#"["two"]"#).await;
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(Settings { declare: false, ..broker.settings() }, &store);
        running.connected().await;
        let said = running.trouble("delivers none of them").await;
        assert!(said.contains(&broker.queue) && said.contains("single active"), "{said}");
        running.connected().await;
        channel.close(200, "done".into()).await.unwrap();
        drop(hog);
        followed(&store, &["one", "two"]).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_queue_that_is_not_ours_to_declare_is_reported_until_it_is_back() {
    with_broker(|broker| async move {
        let channel = broker.channel().await;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let quorum = || table([("x-queue-type", "quorum")]);
        for queue in [&broker.queue, &broker.dead] {
            channel.queue_declare(queue.as_str().into(), durable, quorum()).await.unwrap();
        }
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(Settings { declare: false, ..broker.settings() }, &store);
        running.connected().await;
        channel.queue_delete(broker.queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        let said = running.trouble("does not exist").await;
        assert!(said.contains(&broker.queue) && said.contains("declare = true"), "{said}");
        channel.queue_declare(broker.queue.as_str().into(), durable, quorum()).await.unwrap();
        broker.publish(b"later").await;
        followed(&store, &["later"]).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_url_that_was_replaced_in_its_file_is_used_by_the_next_connect() {
    with_broker(|broker| async move {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut refused = url::Url::parse(&broker.url).unwrap();
        refused.set_password(Some("the-old-password")).unwrap();
        std::fs::write(file.path(), refused.as_str()).unwrap();
        let settings = Settings { url: None, url_file: Some(file.path().to_owned()), ..broker.settings() };
        let store = Arc::new(MemoryStore::new());
        let mut running = Running::start(settings, &store);
        let said = running.trouble("ACCESS_REFUSED").await;
        assert!(!said.contains("the-old-password"), "{said}");
        std::fs::write(file.path(), format!("{}\n", broker.url)).unwrap();
        running.connected().await;
        broker.publish(b"a").await;
        followed(&store, &["a"]).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_never_finishes_the_handshake_is_left_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqps://guest:hunter2@localhost:{}/%2f", silent.local_addr().unwrap().port());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), made.cert.pem()).unwrap();
    let ca_file = Some(ca.path().to_owned());
    let settings = Settings { url: Some(url.as_str().into()), ca_file, ..Settings::default() };
    let mut running = Running::start(settings, &Arc::new(MemoryStore::new()));
    let (_held, _) = silent.accept().await.unwrap();
    let said = running.trouble("no answer in time").await;
    assert!(!said.contains("hunter2"), "{said}");
    running.stop().await;
}

#[tokio::test]
async fn requests_are_published_confirmed_and_the_broker_can_be_probed() {
    with_broker(|broker| async move {
        let settings = broker.settings();
        assert_eq!(amqp::probe(&settings).await.unwrap(), 0, "a queue that is missing would be declared");
        let undeclared = Settings { declare: false, ..settings.clone() };
        assert!(amqp::probe(&undeclared).await.unwrap_err().to_string().contains("does not exist"));
        let lost = amqp::publish_requests(&undeclared, vec![Bytes::from_static(b"a")]).await.unwrap_err();
        assert!(lost.to_string().contains("does not exist"), "{lost}");
        let many: Vec<Bytes> = (0..1000).map(|n| Bytes::from(format!("scan-{n}"))).collect();
        amqp::publish_requests(&settings, many).await.unwrap();
        assert_eq!(amqp::probe(&undeclared).await.unwrap(), 1000);
        assert_eq!(*broker.take(&broker.queue).await.properties.delivery_mode(), Some(2));
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_never_speaks_is_given_up_and_stopping_does_not_wait_for_it() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", silent.local_addr().unwrap());
    let settings = Settings { url: Some(url.as_str().into()), ..Settings::default() };
    let running = Running::start(settings, &Arc::new(MemoryStore::new()));
    let (_held, _) = silent.accept().await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), running.stop()).await.expect("it must not wait for the peer");
}
