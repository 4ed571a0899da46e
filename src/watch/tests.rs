use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::report::{Report, Verdict};
use crate::domain::scan::{Outcome, ScanKey};
use crate::provider::Settings;
use crate::provider::testing::{Asked, Reply, SIEVE_BODY, SIEVE_ID, Server, provider_with};
use crate::store::{NewRequest, ScanFilter, ScanView, Subject};
use crate::time::{from_millis, until};

/// A store, a provider and a clock that stands still.
struct World {
    store: SharedStore,
    clock: Clock,
    server: Server,
    announce: Wake,
    dir: tempfile::TempDir,
}

impl World {
    async fn new(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("test.db").display());
        let store = crate::store::open(&url).await.unwrap();
        let clock = Clock::manual(from_millis(1_000_000));
        Self { store, clock, server: Server::start(answer).await, announce: Wake::new(), dir }
    }

    fn watcher(&self, change: impl FnOnce(&mut Settings)) -> Watcher {
        let mut settings = self.server.settings("sieve");
        change(&mut settings);
        let provider = Arc::new(provider_with("sieve", &settings));
        Watcher::new(Arc::clone(&self.store), provider, self.clock.clone(), self.announce.clone(), 1 << 20)
    }

    /// Follows scans with these IDs, each for half an hour.
    async fn follow(&self, ids: impl IntoIterator<Item = String>) {
        let now = self.clock.now();
        let request = |scan_id| NewRequest {
            first_sight: false,
            redelivered: false,
            key: ScanKey { provider: "sieve".into(), scan_id },
            destinations: None,
            labels: BTreeMap::new(),
            force: false,
            idempotency_key: None,
            accepted_at: now,
            deadline_at: after(now, Duration::from_secs(1800)),
            dedupe_since: from_millis(0),
        };
        self.store.accept(ids.into_iter().map(request).collect()).await.unwrap();
    }

    async fn scans(&self) -> Vec<ScanView> {
        self.store.scans(ScanFilter { limit: 500, ..ScanFilter::default() }).await.unwrap().items
    }

    async fn report(&self) -> Report {
        let id = self.scans().await[0].id;
        *self.store.scan(id).await.unwrap().unwrap().report.expect("a report")
    }

    /// Titles of the events that wait to be announced.
    async fn events(&self) -> Vec<(bool, String)> {
        let now = after(self.clock.now(), Duration::from_secs(100 * 86_400));
        let waiting = self.store.claim_unannounced(now, 100, Duration::ZERO).await.unwrap();
        let event = |subject| match subject {
            Subject::Event(event) => Some((event.resolved, event.key)),
            Subject::Report { .. } => None,
        };
        waiting.into_iter().filter_map(|announcement| event(announcement.subject)).collect()
    }

    fn turn(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn ids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(id)
}

/// The ID that a request asks for.
fn asked_id(asked: &Asked) -> String {
    asked.path().rsplit('/').next().unwrap_or_default().to_owned()
}

fn status(asked: &Asked, word: &str) -> Reply {
    Reply::json(200, format!(r#"{{"scanId":"{}","status":"{word}","isThreat":true}}"#, asked_id(asked)))
}

#[tokio::test]
async fn a_scan_is_polled_until_it_is_finished_and_its_report_waits_to_be_announced() {
    let world = World::new(|number, asked| match number {
        0 => status(asked, "queued"),
        1 => status(asked, "processing"),
        _ => Reply::json(200, SIEVE_BODY),
    })
    .await;
    let watcher = world.watcher(|_| {});
    world.follow([SIEVE_ID.to_owned()]).await;
    let tick = watcher.tick().await;
    assert_eq!((tick.polled, tick.finished), (1, 0));
    let wait = until(world.clock.now(), tick.next);
    assert!((600..=1800).contains(&wait.as_millis()), "the default pace, spread by a half: {wait:?}");
    assert_eq!(watcher.tick().await.polled, 0, "it is not due yet");
    assert!(world.announce.wait().now_or_never().is_none());
    world.turn(5);
    assert_eq!(watcher.tick().await.finished, 0);
    world.turn(5);
    assert_eq!(watcher.tick().await.finished, 1);
    assert!(world.announce.wait().now_or_never().is_some(), "the announcer is woken");
    let report = world.report().await;
    assert_eq!((report.outcome, report.verdict, report.polls), (Outcome::Completed, Verdict::Clean, 3));
    assert_eq!(report.finished_at, world.clock.now());
    assert_eq!(report.raw.unwrap().get(), SIEVE_BODY);
    assert_eq!(watcher.tick().await.polled, 0);
}

#[tokio::test]
async fn a_tick_polls_no_more_at_once_than_the_provider_takes() {
    let world = World::new(|_, asked| status(asked, "completed")).await;
    let watcher = world.watcher(|settings| settings.limits.concurrency = Some(4));
    world.follow(ids(10)).await;
    let first = watcher.tick().await;
    assert_eq!((first.polled, first.finished, first.next), (4, 4, world.clock.now()));
    assert_eq!(watcher.tick().await.polled, 4);
    assert_eq!(watcher.tick().await.polled, 2);
}

#[tokio::test]
async fn a_rate_limit_claims_only_what_there_are_tokens_for() {
    let world = World::new(|_, asked| status(asked, "completed")).await;
    let watcher = world.watcher(|settings| settings.limits.requests_per_second = Some(2.0));
    world.follow(ids(3)).await;
    let tick = watcher.tick().await;
    assert_eq!((tick.polled, until(world.clock.now(), tick.next)), (1, Duration::from_millis(500)));
    assert_eq!(watcher.tick().await.polled, 0);
    let free = world.store.claim_due_scans("sieve", world.clock.now(), 10, Duration::ZERO).await.unwrap();
    assert_eq!(free.len(), 2, "nothing is leased while the limiter says wait");
    world.clock.advance(Duration::from_millis(500));
    assert_eq!(watcher.tick().await.polled, 1);
}

#[tokio::test]
async fn a_scan_ends_at_its_deadline_with_a_sentence_that_says_what_was_seen_last() {
    let world = World::new(|_, asked| status(asked, "never_heard_of")).await;
    let watcher = world.watcher(|_| {});
    world.follow(ids(1)).await;
    watcher.tick().await;
    world.turn(1800);
    assert_eq!(watcher.tick().await.finished, 1);
    let report = world.report().await;
    assert_eq!((report.outcome, report.verdict), (Outcome::TimedOut, Verdict::Unknown));
    assert_eq!(report.status.as_deref(), Some("never_heard_of"));
    let error = report.error.unwrap();
    assert!(error.contains("not finished at its deadline") && error.contains("never_heard_of"), "{error}");
    assert!(report.link.unwrap().contains(&id(0)));
}

#[tokio::test]
async fn not_found_is_tolerated_for_the_grace_and_gone_is_not() {
    let world = World::new(|number, _| Reply::json(if number < 2 { 404 } else { 410 }, "{}")).await;
    let watcher = world.watcher(|_| {});
    world.follow(ids(1)).await;
    assert_eq!(watcher.tick().await.finished, 0);
    world.turn(60);
    assert_eq!(watcher.tick().await.finished, 1);
    let report = world.report().await;
    assert_eq!(report.outcome, Outcome::NotFound);
    assert!(report.error.unwrap().contains("does not know this scan"));
    world.follow([id(7)]).await;
    assert_eq!(watcher.tick().await.finished, 1, "410 ends it at once");
    assert_eq!(world.report().await.outcome, Outcome::NotFound);
}

#[tokio::test]
async fn stumbles_of_the_provider_fail_no_scan() {
    let world = World::new(|number, asked| match number {
        0 => Reply::http(503, &[], "<html>"),
        1 => Reply::http(429, &[("Retry-After", "120")], ""),
        2 => Reply::Bytes(Vec::new()),
        _ => status(asked, "completed"),
    })
    .await;
    let watcher = world.watcher(|_| {});
    world.follow(ids(1)).await;
    watcher.tick().await;
    world.turn(5);
    let tick = watcher.tick().await;
    assert!(tick.next <= after(world.clock.now(), Duration::from_secs(5)), "it looks every few seconds anyway");
    world.turn(119);
    assert_eq!(watcher.tick().await.polled, 0, "Retry-After is honoured");
    world.turn(1);
    assert_eq!((watcher.tick().await.polled, watcher.tick().await.polled), (1, 0));
    world.turn(60);
    assert_eq!(watcher.tick().await.finished, 1);
    let report = world.report().await;
    assert_eq!((report.outcome, report.verdict, report.polls), (Outcome::Completed, Verdict::Threat, 4));
}

#[tokio::test]
async fn a_refused_key_pauses_the_provider_tells_the_operator_once_and_fails_no_scan() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let world = World::new(move |_, asked| {
        if is_well.load(Ordering::SeqCst) {
            status(asked, "completed")
        } else {
            Reply::http(403, &[], "<html>no</html>")
        }
    })
    .await;
    let watcher = world.watcher(|_| {});
    let health = watcher.health();
    world.follow(ids(20)).await;
    watcher.tick().await;
    assert_eq!(world.server.asked().len(), 20);
    let paused = health.paused().unwrap();
    assert_eq!((health.provider(), paused.since), ("sieve", world.clock.now()));
    assert!(paused.reason.contains("HTTP 403"), "{}", paused.reason);
    assert_eq!(world.events().await, [(false, "provider-paused:sieve".to_owned())]);
    // Far beyond every deadline: one poll a minute, and no scan ends.
    for _ in 0..60 {
        world.turn(60);
        let tick = watcher.tick().await;
        assert_eq!((tick.polled, tick.finished), (1, 0));
        assert_eq!(watcher.tick().await.polled, 0);
    }
    assert_eq!(world.events().await.len(), 1);
    well.store(true, Ordering::SeqCst);
    world.turn(60);
    assert_eq!(watcher.tick().await.finished, 1, "one scan tries the key");
    assert_eq!(health.paused(), None);
    assert_eq!(watcher.tick().await.finished, 19);
    let keys: Vec<bool> = world.events().await.into_iter().map(|(resolved, _)| resolved).collect();
    assert_eq!(keys, [false, true]);
    assert!(world.scans().await.iter().all(|scan| scan.outcome == Some(Outcome::Completed)));
}

#[tokio::test]
async fn an_event_of_an_earlier_life_is_resolved_by_the_first_good_answer() {
    let world = World::new(|number, asked| match number {
        0 => Reply::http(401, &[], ""),
        _ => status(asked, "completed"),
    })
    .await;
    world.follow(ids(1)).await;
    world.watcher(|_| {}).tick().await;
    world.turn(60);
    let restarted = world.watcher(|_| {});
    assert_eq!(restarted.health().paused(), None);
    assert_eq!(restarted.tick().await.finished, 1);
    assert_eq!(world.events().await.iter().filter(|(resolved, _)| *resolved).count(), 1);
}

#[tokio::test]
async fn a_key_file_that_is_replaced_ends_the_pause_without_a_restart() {
    let world = World::new(|_, asked| match asked.header("x-api-key") {
        Some("new") => status(asked, "completed"),
        _ => Reply::http(401, &[], ""),
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let watcher = world.watcher(|settings| {
        (settings.api_key, settings.api_key_file) = (None, Some(file.path().to_owned()));
    });
    world.follow(ids(1)).await;
    watcher.tick().await;
    assert!(watcher.health().paused().is_some());
    std::fs::write(file.path(), "new").unwrap();
    world.turn(60);
    assert_eq!(watcher.tick().await.finished, 1);
    assert_eq!(watcher.health().paused(), None);
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again_later() {
    let world = World::new(|_, asked| status(asked, "completed")).await;
    let watcher = world.watcher(|_| {});
    world.follow(ids(1)).await;
    world.store.close().await;
    let tick = watcher.tick().await;
    assert_eq!((tick.polled, tick.finished), (0, 0));
    assert!(tick.next > world.clock.now());
}

/// Waits until `done`, looking every few milliseconds; the loop under test runs on real time.
async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let all = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn finished(scans: &[ScanView]) -> usize {
    scans.iter().filter(|scan| scan.outcome.is_some()).count()
}

/// An answer that begins and does not end.
fn stuck() -> Reply {
    Reply::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec(), Duration::from_millis(50))
}

#[tokio::test]
async fn one_slow_poll_does_not_keep_the_others_from_being_polled() {
    let world =
        World::new(|_, asked| if asked_id(asked) == id(0) { stuck() } else { status(asked, "completed") }).await;
    let watcher = world.watcher(|settings| settings.limits.concurrency = Some(2));
    world.follow(ids(30)).await;
    let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
    let knobs = Knobs { drain: Duration::from_millis(50), ..Knobs::default() };
    tasks.spawn(watcher.with_knobs(knobs).run(Wake::new(), stop.clone()));
    eventually("29 scans finished", async || finished(&world.scans().await) == 29).await;
    stop.cancel();
    tasks.join_all().await;
    let free = world.store.claim_due_scans("sieve", world.clock.now(), 10, Duration::ZERO).await.unwrap();
    assert_eq!(free.len(), 1, "the stuck one was handed back at once");
}

#[tokio::test]
async fn a_wake_up_is_enough_to_poll_a_new_scan_at_once() {
    let world = World::new(|_, asked| status(asked, "completed")).await;
    let (stop, wake, mut tasks) = (CancellationToken::new(), Wake::new(), tokio::task::JoinSet::new());
    let knobs = Knobs { idle: Duration::from_secs(3600), ..Knobs::default() };
    tasks.spawn(world.watcher(|_| {}).with_knobs(knobs).run(wake.clone(), stop.clone()));
    for number in 0..3 {
        world.follow([id(number)]).await;
        wake.wake();
        eventually("it is finished", async || finished(&world.scans().await) == number + 1).await;
    }
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn stopping_takes_no_more_and_finishes_what_is_in_hand() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let world = World::new(move |_, asked| {
        count.fetch_add(1, Ordering::SeqCst);
        let whole = format!(r#"{{"scanId":"{}","status":"completed"}}"#, asked_id(asked));
        // The last byte comes a little later, as white space.
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{whole}", whole.len() + 1);
        Reply::Drip(head.into_bytes(), Duration::from_millis(300))
    })
    .await;
    let watcher = world.watcher(|settings| settings.limits.concurrency = Some(3));
    world.follow(ids(9)).await;
    let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
    tasks.spawn(watcher.run(Wake::new(), stop.clone()));
    eventually("three polls have begun", async || begun.load(Ordering::SeqCst) == 3).await;
    stop.cancel();
    tasks.join_all().await;
    assert_eq!((finished(&world.scans().await), begun.load(Ordering::SeqCst)), (3, 3));
}

#[tokio::test]
async fn a_poll_that_could_not_be_written_down_is_made_again_once_the_store_is_well_and_not_before() {
    let world = World::new(|_, _| Reply::http(200, &[], SIEVE_BODY)).await;
    world.follow([SIEVE_ID.to_owned()]).await;
    let watcher = world.watcher(|_| {});
    // As a disk that takes no writes: claims need none.
    let other = rusqlite::Connection::open(world.dir.path().join("test.db")).unwrap();
    let break_it = "CREATE TRIGGER broken BEFORE UPDATE ON scans BEGIN SELECT RAISE(FAIL, 'broken'); END;
                    CREATE TRIGGER broken_too BEFORE UPDATE ON pulse BEGIN SELECT RAISE(FAIL, 'broken'); END;";
    other.execute_batch(break_it).unwrap();
    assert_eq!(watcher.tick().await.finished, 0);
    assert_eq!(watcher.tick().await.polled, 0, "there is nowhere to write it");
    assert_eq!(world.server.asked().len(), 1);
    other.execute_batch("DROP TRIGGER broken; DROP TRIGGER broken_too;").unwrap();
    assert_eq!(watcher.tick().await.finished, 1, "at once, though the lease has not ended");
}
