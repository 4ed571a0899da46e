//! Many messages at once, and destinations that fail beside ones that are well.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::destination::slack;
use crate::destination::testing::Got;

fn slack_channel(world: &World, url: &str) -> Deliverer {
    let settings = slack::Settings { webhook_url: Some(SecretString::from(url)), ..Default::default() };
    let destination = Destination::build("channel", &Settings::Slack(settings)).unwrap();
    Deliverer::new(world.store.clone(), Arc::new(destination), world.clock.clone())
}

/// Alerts numbered from 0, all at once; a scan of their own would change nothing here.
async fn alerts(world: &World, destination: &str, count: usize) -> Vec<Uuid> {
    let at = world.clock.now();
    let key = format!("storm:{destination}");
    let event =
        OperatorEvent { key, resolved: false, title: String::new(), text: String::new(), at, about_destination: None };
    assert!(world.store.raise_event(event).await.unwrap());
    let claim = world.store.claim_unannounced(at, 1, Duration::from_secs(10)).await.unwrap().remove(0);
    let notifications: Vec<_> = (0..count)
        .map(|number| {
            let body: &'static [u8] = format!(r#"{{"text":"{number}"}}"#).leak().as_bytes();
            http_notification(destination, body)
        })
        .collect();
    let ids = notifications.iter().map(|notification| notification.id).collect();
    let record = AnnouncementRecord { id: claim.id, claim: claim.claim, notifications };
    assert_eq!(world.store.record_announcements(vec![record]).await.unwrap(), [true]);
    ids
}

fn number(got: &Got) -> usize {
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    body["text"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn five_hundred_alerts_to_one_channel_all_arrive_once_in_order_however_often_slack_asks_to_wait() {
    let world = World::still().await;
    let began = world.clock.now();
    // Every hundredth request is told to wait for half a minute.
    let throttled = |request: usize| request % 100 == 50;
    let stub = HttpStub::start(move |request| {
        if throttled(request) { answer(429, "Retry-After: 30\r\n", "slow down") } else { answer(200, "", "ok") }
    })
    .await;
    let channel = slack_channel(&world, &format!("http://{}/services/T/B/x", stub.address));
    let (other_stub, other_url) = receiver(200, "").await;
    let other = world.deliverer(&other_url, Limits::default());
    let ids = alerts(&world, "channel", 500).await;

    let mut others = 0;
    while world.store.next_delivery_due("channel").await.unwrap().is_some() {
        let tick = channel.tick().await;
        if stub.got().len() > 100 * others {
            world.deliveries("siem", 1).await;
            assert_eq!(words(&other.tick().await), ["delivered"], "another channel does not wait");
            others += 1;
        }
        world.clock.advance(tick.wait.max(Duration::from_millis(1)));
    }

    let (asked_to_wait, taken): (Vec<_>, Vec<_>) =
        stub.got().into_iter().enumerate().partition(|(request, _)| throttled(*request));
    let asked_to_wait: BTreeSet<usize> = asked_to_wait.iter().map(|(_, got)| number(got)).collect();
    let taken: Vec<usize> = taken.iter().map(|(_, got)| number(got)).collect();
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 500, "all");
    assert_eq!(taken.len(), 500, "none twice");
    let unhindered: Vec<_> = taken.iter().filter(|number| !asked_to_wait.contains(number)).collect();
    assert!(unhindered.is_sorted(), "in the order in which they were ready");
    assert_eq!(other_stub.got().len(), others);

    // One a second, and half a minute for each time that Slack asked for it; 5 or 6 times in all.
    let waits = stub.got().len() - 500;
    let took = until(began, world.clock.now()).as_secs();
    assert!(
        (5..=6).contains(&waits) && (499 + 30 * waits as u64..=520 + 30 * waits as u64).contains(&took),
        "{took} s"
    );
    for (at, id) in ids.iter().enumerate() {
        let (view, attempts) = world.store.delivery(*id).await.unwrap().unwrap();
        assert_eq!(view.state, DeliveryState::Delivered);
        assert_eq!(attempts.len() > 1, asked_to_wait.contains(&at), "{attempts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_hangs_and_one_that_fails_keep_nothing_from_one_that_is_well() {
    let world = World::new(Clock::real()).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let held = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&held);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((socket, _)) = silent.accept().await {
            kept.lock().unwrap().push(socket); // taken, and never answered
        }
    });
    let (failing, failing_url) = receiver(500, "").await;
    let (well, well_url) = receiver(200, "").await;
    let stop = CancellationToken::new();
    for name in ["silent", "failing", "well"] {
        world.deliveries(name, 50).await;
    }
    for (name, url) in [("silent", &silent_url), ("failing", &failing_url), ("well", &well_url)] {
        let settings = webhook::Settings { url: Some(SecretString::from(url.as_str())), ..Default::default() };
        let destination = Arc::new(Destination::build(name, &Settings::Webhook(settings)).unwrap());
        let deliverer = Deliverer::new(world.store.clone(), destination, world.clock.clone());
        tasks.spawn(deliverer.run(Wake::new(), stop.clone()));
    }
    eventually("all that is well arrives", || well.got().len() == 50).await;
    eventually("the failing one is tried", || failing.got().len() >= 5).await;
    assert!(!held.lock().unwrap().is_empty(), "the silent one still holds what it was sent");
    tasks.shutdown().await;
}
