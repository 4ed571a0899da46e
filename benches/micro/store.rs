//! The four writes of a scan's life, in batches, to a file on disk: what each step pays to keep what it did.
//!
//! Every call ends when what it wrote is as durable as the store promises, so these figures are those of the disk as
//! much as of the processor. What a step needs from the one before is made ready outside the measured time.

use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use scanbell::domain::delivery::{Next, Reason};
use scanbell::domain::notification::{Content, Kind, Notification, WebhookFormat};
use scanbell::domain::report::Report;
use scanbell::domain::scan::ScanKey;
use scanbell::render::{Renderer, Voice, sample_report};
use scanbell::store::{
    self, Announcement, AnnouncementRecord, Attempt, AttemptRecord, DeliveryClaim, NewRequest, ObservationRecord,
    ObservationResult, ScanClaim, SharedStore,
};
use scanbell::time::{Clock, Timestamp, after};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const BATCHES: [usize; 3] = [1, 100, 1000];
const SAMPLES: u32 = 30;
const LEASE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DESTINATION: &str = "siem";

/// A store in a file of its own, and somebody who works with it in batches of `size`.
struct Bench {
    store: SharedStore,
    runtime: Runtime,
    size: usize,
    now: Timestamp,
    body: Bytes,
    _dir: TempDir,
}

impl Bench {
    fn new(size: usize) -> Self {
        // Beside the build: the folder for temporary files is often in memory.
        let folder = env!("CARGO_TARGET_TMPDIR");
        std::fs::create_dir_all(folder).unwrap();
        let dir = tempfile::tempdir_in(folder).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("sqlite:{}", dir.path().join("scanbell.db").display());
        let store = runtime.block_on(store::open(&url)).unwrap();
        Self { store, runtime, size, now: Clock::real().now(), body: standard_body(), _dir: dir }
    }

    /// A batch of requests for scans that nobody has asked for before.
    fn requests(&self) -> Vec<NewRequest> {
        (0..self.size).map(|_| self.request(Uuid::now_v7().to_string())).collect()
    }

    fn request(&self, scan_id: String) -> NewRequest {
        NewRequest {
            idempotency_key: Some(format!("upload-{scan_id}")),
            key: ScanKey { provider: "sieve".to_owned(), scan_id },
            destinations: None,
            labels: [("team".to_owned(), "platform".to_owned())].into(),
            force: false,
            first_sight: false,
            redelivered: false,
            accepted_at: self.now,
            deadline_at: after(self.now, LEASE * 30),
            dedupe_since: self.now.checked_sub(DAY).unwrap(),
        }
    }

    fn reports(&self) -> Vec<Report> {
        (0..self.size).map(|_| sample_report()).collect()
    }

    fn accept(&self, requests: Vec<NewRequest>) {
        let accepted = self.runtime.block_on(self.store.accept(requests)).unwrap();
        assert_eq!(accepted.len(), self.size);
    }

    /// Claims a batch that is due and writes down that all of it is finished.
    fn finish(&self, reports: Vec<Report>) {
        let kept = self.runtime.block_on(async {
            let claims = self.store.claim_due_scans("sieve", self.now, self.size, LEASE).await.unwrap();
            let records = claims.into_iter().zip(reports).map(|(claim, report)| finished(claim, report)).collect();
            self.store.record_observations(records).await.unwrap()
        });
        self.check(&kept);
    }

    /// Claims a batch of reports and writes down one notification for each.
    fn announce(&self) {
        let kept = self.runtime.block_on(async {
            let claims = self.store.claim_unannounced(self.now, self.size, LEASE).await.unwrap();
            let records = claims.into_iter().map(|claim| self.announced(&claim)).collect();
            self.store.record_announcements(records).await.unwrap()
        });
        self.check(&kept);
    }

    fn announced(&self, announcement: &Announcement) -> AnnouncementRecord {
        let notification = Notification {
            id: Uuid::now_v7(),
            scan: Some(announcement.id),
            destination: DESTINATION.to_owned(),
            created_at: self.now,
            content: Content::Http { content_type: "application/json".to_owned(), body: self.body.clone() },
        };
        AnnouncementRecord { id: announcement.id, claim: announcement.claim, notifications: vec![notification] }
    }

    /// Claims a batch that is due and writes down that all of it was delivered.
    fn deliver(&self) {
        let kept = self.runtime.block_on(async {
            let claims = self.store.claim_due_deliveries(DESTINATION, self.now, self.size, LEASE).await.unwrap();
            let records = claims.iter().map(|claim| delivered(claim, self.now)).collect();
            self.store.record_attempts(records).await.unwrap()
        });
        self.check(&kept);
    }

    /// A whole batch was there, and all of it was ours.
    fn check(&self, kept: &[bool]) {
        assert_eq!(kept.len(), self.size);
        assert!(kept.iter().all(|kept| *kept));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
    }
}

fn finished(claim: ScanClaim, mut report: Report) -> ObservationRecord {
    report.id = claim.id;
    report.scan_id = claim.key.scan_id;
    ObservationRecord { scan: claim.id, claim: claim.claim, result: ObservationResult::Finished(Box::new(report)) }
}

fn delivered(claim: &DeliveryClaim, now: Timestamp) -> AttemptRecord {
    let attempt = Attempt {
        number: claim.progress.attempts + 1,
        at: now,
        verdict: "delivered".to_owned(),
        reason: Reason::Ok,
        answer: Some("HTTP 200".to_owned()),
        duration_ms: 12,
    };
    AttemptRecord { delivery: claim.notification.id, claim: claim.claim, attempt, next: Next::Delivered }
}

/// The body that a webhook gets by default.
fn standard_body() -> Bytes {
    let format = WebhookFormat::Standard;
    let name = DESTINATION.to_owned();
    let voice = Voice { name, kind: Kind::Webhook, format, template: None, channel: None, mentions: Vec::new() };
    let renderer = Renderer::build(None, &[voice]).unwrap_or_else(|problems| panic!("{problems}"));
    let report = sample_report();
    match renderer.report(DESTINATION, &report, report.id, report.finished_at).content {
        Content::Http { body, .. } => body,
        Content::Mail(_) => unreachable!("a webhook gets no mail"),
    }
}

#[divan::bench(args = BATCHES, sample_count = SAMPLES, sample_size = 1)]
fn accept(bencher: Bencher, size: usize) {
    let bench = Bench::new(size);
    bencher
        .counter(ItemsCount::new(size))
        .with_inputs(|| bench.requests())
        .bench_local_values(|requests| bench.accept(requests));
}

#[divan::bench(args = BATCHES, sample_count = SAMPLES, sample_size = 1)]
fn claim_and_finish(bencher: Bencher, size: usize) {
    let bench = Bench::new(size);
    let ready = || {
        bench.accept(bench.requests());
        bench.reports()
    };
    bencher.counter(ItemsCount::new(size)).with_inputs(ready).bench_local_values(|reports| bench.finish(reports));
}

#[divan::bench(args = BATCHES, sample_count = SAMPLES, sample_size = 1)]
fn claim_and_announce(bencher: Bencher, size: usize) {
    let bench = Bench::new(size);
    let ready = || {
        bench.accept(bench.requests());
        bench.finish(bench.reports());
    };
    bencher.counter(ItemsCount::new(size)).with_inputs(ready).bench_local_values(|()| bench.announce());
}

#[divan::bench(args = BATCHES, sample_count = SAMPLES, sample_size = 1)]
fn claim_and_deliver(bencher: Bencher, size: usize) {
    let bench = Bench::new(size);
    let ready = || {
        bench.accept(bench.requests());
        bench.finish(bench.reports());
        bench.announce();
    };
    bencher.counter(ItemsCount::new(size)).with_inputs(ready).bench_local_values(|()| bench.deliver());
}
