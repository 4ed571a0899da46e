//! The step against the embedded store and receivers on real sockets; the clock is turned by hand where time matters.

use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::destination::testing::{HttpStub, answer, eventually, http_notification};
use crate::destination::{Settings, webhook};
use crate::domain::delivery::DeliveryState;
use crate::egress::Limits;
use crate::secret::SecretString;
use crate::store::sqlite::SqliteStore;
use crate::store::*;
use crate::time::{Span, from_millis};

struct World {
    store: SharedStore,
    clock: Clock,
    _folder: TempDir,
}

impl World {
    async fn new(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("test.db")).await.unwrap());
        Self { store, clock, _folder: folder }
    }

    /// With a clock that stands still.
    async fn still() -> Self {
        Self::new(Clock::manual(from_millis(1_771_072_496_000))).await
    }

    /// Makes `count` deliveries to a destination, due now.
    async fn deliveries(&self, destination: &str, count: usize) -> Vec<Uuid> {
        let at = self.clock.now();
        let key = format!("test:{}", Uuid::now_v7());
        let event = OperatorEvent {
            key,
            resolved: false,
            title: String::new(),
            text: String::new(),
            at,
            about_destination: None,
        };
        assert!(self.store.raise_event(event).await.unwrap());
        let open = self.store.claim_unannounced(at, 10, Duration::from_secs(10)).await.unwrap();
        let mut ids = Vec::new();
        for announcement in open {
            let notifications: Vec<_> = (0..count).map(|_| http_notification(destination, b"{}")).collect();
            ids.extend(notifications.iter().map(|notification| notification.id));
            let record = AnnouncementRecord { id: announcement.id, claim: announcement.claim, notifications };
            assert_eq!(self.store.record_announcements(vec![record]).await.unwrap(), [true]);
        }
        ids
    }

    async fn states(&self, state: DeliveryState) -> usize {
        let filter = DeliveryFilter { state: Some(state), limit: 1000, ..DeliveryFilter::default() };
        self.store.deliveries(filter).await.unwrap().items.len()
    }

    fn deliverer(&self, url: &str, limits: Limits) -> Deliverer {
        deliverer(self.store.clone(), &self.clock, url, limits)
    }

    /// What the operator would be told, oldest first.
    async fn told(&self) -> Vec<(String, bool)> {
        let open = self.store.claim_unannounced(self.clock.now(), 10, Duration::from_secs(1)).await.unwrap();
        let event = |subject| match subject {
            Subject::Event(event) => (event.key, event.resolved),
            Subject::Report { .. } => panic!("no report was made"),
        };
        open.into_iter().map(|announcement| event(announcement.subject)).collect()
    }
}

fn deliverer(store: SharedStore, clock: &Clock, url: &str, limits: Limits) -> Deliverer {
    let retry = crate::destination::Retry { give_up_after: Span::secs(600), ..Default::default() };
    let settings = webhook::Settings { url: Some(SecretString::from(url)), limits, retry, ..Default::default() };
    let destination = Destination::build("siem", &Settings::Webhook(settings)).unwrap();
    Deliverer::new(store, Arc::new(destination), clock.clone())
}

async fn receiver(status: u16, headers: &'static str) -> (HttpStub, String) {
    let stub = HttpStub::start(move |_| answer(status, headers, "said")).await;
    let url = format!("http://{}/", stub.address);
    (stub, url)
}

fn words(tick: &Tick) -> Vec<&'static str> {
    tick.verdicts.iter().map(|verdict| verdict.as_str()).collect()
}

#[tokio::test]
async fn what_is_due_is_sent_once_and_its_attempt_is_kept() {
    let world = World::still().await;
    let ids = world.deliveries("siem", 1).await;
    let (stub, url) = receiver(200, "").await;
    let deliverer = world.deliverer(&url, Limits::default());
    assert_eq!(words(&deliverer.tick().await), ["delivered"]);
    assert_eq!(words(&deliverer.tick().await), [""; 0]);
    assert_eq!(stub.got().len(), 1);
    let (view, attempts) = world.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((view.state, attempts.len()), (DeliveryState::Delivered, 1));
    assert_eq!((attempts[0].number, attempts[0].verdict.as_str(), attempts[0].reason), (1, "delivered", Reason::Ok));
    assert_eq!(attempts[0].answer.as_deref(), Some("HTTP 200: said"));
}

#[tokio::test]
async fn a_failure_is_tried_again_later_until_it_is_given_up_and_a_replay_starts_anew() {
    let world = World::still().await;
    let ids = world.deliveries("siem", 1).await;
    let (stub, url) = receiver(500, "").await;
    let deliverer = world.deliverer(&url, Limits::default());
    assert_eq!(words(&deliverer.tick().await), ["retry"]);
    assert_eq!(words(&deliverer.tick().await), [""; 0], "not before its time");
    for _ in 0..200 {
        world.clock.advance(Duration::from_secs(10));
        deliverer.tick().await;
    }
    let (view, attempts) = world.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((view.state, view.reason), (DeliveryState::Dead, Some(Reason::GaveUp)));
    assert_eq!(attempts.len(), stub.got().len());
    assert!(attempts.len() > 5, "{}", attempts.len());
    assert_eq!(world.store.replay_one(ids[0], world.clock.now()).await.unwrap(), Some(true));
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(words(&deliverer.tick().await), ["retry"]);
}

#[tokio::test]
async fn a_rejection_is_dead_at_once_and_does_not_count_against_the_destination() {
    let world = World::still().await;
    world.deliveries("siem", 6).await;
    let (_stub, url) = receiver(410, "").await;
    let deliverer = world.deliverer(&url, Limits::default());
    assert_eq!(words(&deliverer.tick().await), ["reject"; 6]);
    assert_eq!(world.states(DeliveryState::Dead).await, 6);
    assert_eq!(deliverer.health().view(world.clock.now()).state, "ok");
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_pauses_the_whole_destination_and_is_not_charged() {
    let world = World::still().await;
    world.deliveries("siem", 20).await;
    let (stub, url) = receiver(429, "Retry-After: 60\r\n").await;
    let deliverer = world.deliverer(&url, Limits { concurrency: Some(1), requests_per_second: None });
    assert_eq!(words(&deliverer.tick().await), ["retry"]);
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(words(&deliverer.tick().await), [""; 0]);
    }
    let view = deliverer.health().view(world.clock.now());
    assert_eq!((view.state, stub.got().len()), ("paused", 1));
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(words(&deliverer.tick().await), ["retry"]);
    assert_eq!(world.states(DeliveryState::Pending).await, 20);
    assert_eq!(world.told().await, [], "being asked to wait is no failure");
}

#[tokio::test]
async fn a_failing_destination_is_probed_with_one_and_the_operator_hears_of_it_once_and_of_its_end_once() {
    let world = World::still().await;
    world.deliveries("siem", 30).await;
    let well = Arc::new(AtomicBool::new(false));
    let switch = well.clone();
    let stub = HttpStub::start(move |_| answer(if switch.load(Ordering::SeqCst) { 200 } else { 503 }, "", "")).await;
    let deliverer = world.deliverer(&format!("http://{}/", stub.address), Limits::default());
    assert_eq!(deliverer.tick().await.verdicts.len(), 8);
    assert_eq!(deliverer.health().view(world.clock.now()).state, "failing");
    assert_eq!(deliverer.tick().await.verdicts.len(), 0, "nothing while it is open");
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(40));
        assert_eq!(deliverer.tick().await.verdicts.len(), 1, "one to see");
    }
    well.store(true, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(40));
    assert_eq!(words(&deliverer.tick().await), ["delivered"]);
    for _ in 0..10 {
        deliverer.tick().await;
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(world.states(DeliveryState::Delivered).await, 30, "postponed, not dropped");
    let key = "destination-failing:siem".to_owned();
    assert_eq!(world.told().await, [(key.clone(), false), (key, true)]);
    assert_eq!(deliverer.health().view(world.clock.now()).state, "ok");
}

#[tokio::test]
async fn a_rate_is_kept_without_holding_leases() {
    let world = World::still().await;
    world.deliveries("siem", 5).await;
    let (stub, url) = receiver(200, "").await;
    let deliverer = world.deliverer(&url, Limits { concurrency: Some(5), requests_per_second: Some(1.0) });
    for second in 1..=5 {
        let tick = deliverer.tick().await;
        assert_eq!(words(&tick), ["delivered"], "{second}");
        let tick = deliverer.tick().await;
        assert!(tick.verdicts.is_empty() && tick.wait <= Duration::from_secs(1), "{tick:?}");
        let free =
            world.store.claim_due_deliveries("siem", world.clock.now(), 10, Duration::from_millis(1)).await.unwrap();
        assert_eq!(free.len(), 5 - second);
        world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(stub.got().len(), 5);
}

#[tokio::test]
async fn running_it_keeps_the_slots_full_and_stopping_it_hands_back_what_was_not_sent() {
    let world = World::new(Clock::real()).await;
    world.deliveries("siem", 100).await;
    let (stub, url) = receiver(200, "").await;
    let (wake, stop) = (Wake::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(world.deliverer(&url, Limits::default()).run(wake.clone(), stop.clone()));
    eventually("100 posts", || stub.got().len() == 100).await;
    world.deliveries("siem", 1).await;
    wake.wake();
    eventually("a post after the wake-up", || stub.got().len() == 101).await;
    stop.cancel();
    tasks.join_all().await;
    assert_eq!(world.states(DeliveryState::Delivered).await, 101);
}

#[tokio::test]
async fn what_comes_while_the_slots_are_full_and_more_is_held_does_not_wait_for_the_next_look_around() {
    let world = World::new(Clock::real()).await;
    // One is being sent, one is held: fewer than were asked for, so nobody knows of more.
    world.deliveries("siem", 2).await;
    let stub = HttpStub::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        answer(200, "", "")
    })
    .await;
    let (wake, stop) = (Wake::new(), CancellationToken::new());
    let limits = Limits { concurrency: Some(1), requests_per_second: None };
    let mut tasks = JoinSet::new();
    let url = format!("http://{}/", stub.address);
    tasks.spawn(world.deliverer(&url, limits).run(wake.clone(), stop.clone()));
    eventually("the first post begins", || !stub.got().is_empty()).await;
    world.deliveries("siem", 1).await;
    wake.wake();
    let third = eventually("the third post", || stub.got().len() == 3);
    assert!(tokio::time::timeout(LOOK_ANYWAY / 2, third).await.is_ok(), "it waited for the look-around");
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn stopping_finishes_what_is_being_sent_and_hands_back_the_rest_at_once() {
    let world = World::new(Clock::real()).await;
    world.deliveries("siem", 10).await;
    let stub = HttpStub::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        answer(200, "", "")
    })
    .await;
    let (wake, stop) = (Wake::new(), CancellationToken::new());
    let limits = Limits { concurrency: Some(1), requests_per_second: None };
    let mut tasks = JoinSet::new();
    tasks.spawn(world.deliverer(&format!("http://{}/", stub.address), limits).run(wake, stop.clone()));
    eventually("the first post", || !stub.got().is_empty()).await;
    stop.cancel();
    tasks.join_all().await;
    let delivered = world.states(DeliveryState::Delivered).await;
    assert_eq!(delivered, stub.got().len());
    let free = world.store.claim_due_deliveries("siem", world.clock.now(), 100, Duration::from_secs(1)).await.unwrap();
    assert_eq!(free.len(), 10 - delivered, "no lease is left behind");
}

#[tokio::test]
async fn deliveries_to_a_destination_that_is_gone_are_dead_with_that_reason_and_others_are_not() {
    let world = World::still().await;
    let gone = world.deliveries("gone", 3).await;
    world.deliveries("siem", 2).await;
    let configured = ["siem".to_owned()];
    assert_eq!(bury_orphans(&*world.store, &configured, &world.clock).await.unwrap(), 3);
    assert_eq!(bury_orphans(&*world.store, &configured, &world.clock).await.unwrap(), 0);
    let (view, attempts) = world.store.delivery(gone[0]).await.unwrap().unwrap();
    assert_eq!((view.state, view.reason), (DeliveryState::Dead, Some(Reason::DestinationGone)));
    assert_eq!((attempts[0].verdict.as_str(), attempts[0].reason), ("reject", Reason::DestinationGone));
    assert_eq!(world.states(DeliveryState::Pending).await, 2);
    assert_eq!(world.store.replay_one(gone[0], world.clock.now()).await.unwrap(), Some(true));
}

/// A store whose `record_attempts` fails a number of times.
struct Hiccups {
    store: SharedStore,
    left: AtomicUsize,
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for Hiccups {
            $(async fn $name(&self, $($arg: $kind),*) -> $answer { self.store.$name($($arg),*).await })*

            async fn record_attempts(&self, records: Vec<AttemptRecord>) -> Result<Vec<bool>> {
                if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    return Err(StoreError::Unavailable("hiccup".into()));
                }
                self.store.record_attempts(records).await
            }
        }
    };
}

pass_on! {
    take_over() -> Result<()>;
    accept(requests: Vec<NewRequest>) -> Result<Vec<Accepted>>;
    claim_due_scans(provider: &str, now: Timestamp, limit: usize, lease: Duration) -> Result<Vec<ScanClaim>>;
    record_observations(records: Vec<ObservationRecord>) -> Result<Vec<bool>>;
    next_scan_due(provider: &str) -> Result<Option<Timestamp>>;
    claim_unannounced(now: Timestamp, limit: usize, lease: Duration) -> Result<Vec<Announcement>>;
    record_announcements(records: Vec<AnnouncementRecord>) -> Result<Vec<bool>>;
    claim_due_deliveries(destination: &str, now: Timestamp, limit: usize, lease: Duration) -> Result<Vec<DeliveryClaim>>;
    next_delivery_due(destination: &str) -> Result<Option<Timestamp>>;
    release(releases: Vec<Release>) -> Result<()>;
    raise_event(event: OperatorEvent) -> Result<bool>;
    destinations_with_pending() -> Result<Vec<String>>;
    scans(filter: ScanFilter) -> Result<Page<ScanView>>;
    scan(id: Uuid) -> Result<Option<ScanView>>;
    deliveries(filter: DeliveryFilter) -> Result<Page<DeliveryView>>;
    delivery(id: Uuid) -> Result<Option<(DeliveryView, Vec<Attempt>)>>;
    replay(filter: DeliveryFilter, now: Timestamp) -> Result<u64>;
    replay_one(id: Uuid, now: Timestamp) -> Result<Option<bool>>;
    tallies() -> Result<Tallies>;
    purge(before: Timestamp, limit: usize) -> Result<u64>;
    ping() -> Result<()>;
    close() -> ();
}

#[tokio::test]
async fn a_hiccup_of_the_store_after_a_send_doubles_no_message_even_when_the_lease_ends_meanwhile() {
    let world = World::still().await;
    let ids = world.deliveries("siem", 1).await;
    let (stub, url) = receiver(200, "").await;
    let store = Arc::new(Hiccups { store: world.store.clone(), left: AtomicUsize::new(2) });
    let deliverer = Arc::new(deliverer(store, &world.clock, &url, Limits::default()));
    let mut tasks = JoinSet::new();
    let first = deliverer.clone();
    tasks.spawn(async move { first.tick().await });
    eventually("the post", || !stub.got().is_empty()).await;
    // The lease ends before the store is well, and the same process claims the delivery again.
    eventually("the attempt is kept for later", || deliverer.unrecorded.holds(ids[0])).await;
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(words(&deliverer.tick().await), [""; 0], "nothing was sent, something was written down");
    tasks.join_all().await;
    assert_eq!(stub.got().len(), 1);
    let (view, attempts) = world.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((view.state, attempts.len()), (DeliveryState::Delivered, 1));
    assert!(!deliverer.unrecorded.holds(ids[0]));
}

mod crowd;
