//! The store's contract: batch-first, durable when answered, free of any one database's habits.
//!
//! The four steps meet here and nowhere else. Every call that writes takes many and commits once; concurrent
//! callers share one transaction. What a call has answered survives a crash of the process, and a power cut too,
//! except for what would merely be done again: claims, releases and observations (the scan is polled once more).
//! What was announced is never announced again: its notifications survive before anybody can send them.
//! A claim is a lease: a write that comes after its lease was taken over changes nothing and is answered `false`.

mod backend;
#[cfg(test)]
mod conformance;
pub mod sqlite;

pub use backend::{check_url, exists, open, probe};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::delivery::{DeliveryState, Next as DeliveryNext, Progress, Reason};
use crate::domain::notification::{Notification, OperatorEvent};
use crate::domain::report::Report;
use crate::domain::scan::{Outcome, ScanKey, Tracking};
use crate::time::{Standing, Timestamp};

/// Why a call to the store failed. Nothing of the call was kept; only [`Store::replay`] and [`Store::purge`], which
/// go on in small parts, may have done some of theirs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, opened, read or written now; trying again later may help.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What is stored is not what this version can read; trying again will not help.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
}

/// What a call to the store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A store that the steps share.
pub type SharedStore = Arc<dyn Store>;

/// Who holds a row until when: every write to it carries this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim(pub i64);

/// A request to be accepted: checked, resolved, and with its times.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// What to follow.
    pub key: ScanKey,
    /// Names of destinations; `None` leaves it to the routes.
    pub destinations: Option<Vec<String>>,
    /// Labels of this request.
    pub labels: BTreeMap<String, String>,
    /// Announce again even if inside the dedupe window.
    pub force: bool,
    /// The caller's idempotency key: a second request with the same one is a duplicate, for ever (of retention).
    pub idempotency_key: Option<String>,
    /// The key was made by us from the message itself, and the broker says that it delivers it for the first time:
    /// it is not looked up, only kept (it names this request's scan from now on), so that a redelivery is
    /// recognised while two equal messages both count.
    pub first_sight: bool,
    /// The broker says that it delivered the message before: its wish may have been granted already.
    pub redelivered: bool,
    /// When it is accepted.
    pub accepted_at: Timestamp,
    /// When following ends.
    pub deadline_at: Timestamp,
    /// A scan finished after this is inside the dedupe window.
    pub dedupe_since: Timestamp,
}

/// What became of an accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptedState {
    /// A new scan is followed for it.
    Following,
    /// It joined a scan that is being followed.
    Joined,
    /// Counted and ignored: known idempotency key, or finished inside the dedupe window.
    Duplicate,
}

/// Answer to one accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Our id of the scan.
    pub scan: Uuid,
    /// What became of the request.
    pub state: AcceptedState,
}

/// A due scan, leased to one watcher.
#[derive(Debug, Clone)]
pub struct ScanClaim {
    /// Our id of the scan.
    pub id: Uuid,
    /// The lease.
    pub claim: Claim,
    /// What to poll.
    pub key: ScanKey,
    /// What is remembered between polls.
    pub tracking: Tracking,
    /// When the first request was accepted.
    pub requested_at: Timestamp,
}

/// What a poll led to, to be written down.
#[derive(Debug, Clone)]
pub struct ObservationRecord {
    /// Our id of the scan.
    pub scan: Uuid,
    /// The lease it was polled under.
    pub claim: Claim,
    /// What follows.
    pub result: ObservationResult,
}

/// What follows from a poll.
#[derive(Debug, Clone)]
pub enum ObservationResult {
    /// Poll again at `at`.
    Again {
        /// When.
        at: Timestamp,
        /// What to remember.
        tracking: Tracking,
    },
    /// The scan is finished; its report is to be announced. Its `labels` are filled in by the store.
    Finished(Box<Report>),
}

/// One request's say in who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Labels of that request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its destinations; `None` leaves it to the routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<String>>,
}

/// What is to be announced: a report, or a word about scanbell itself.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A finished scan. `report.labels` are those of all requests; the earlier one wins.
    Report {
        /// What it said.
        report: Box<Report>,
        /// What the requests that follow it asked for, in the order of acceptance, equal asks once; never empty.
        asks: Vec<Ask>,
    },
    /// Trouble of scanbell's own, for the operator.
    Event(OperatorEvent),
}

/// Something not yet announced, leased to one announcer.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Id of the scan or of the event.
    pub id: Uuid,
    /// The lease.
    pub claim: Claim,
    /// What to say.
    pub subject: Subject,
}

/// An announcement carried out: its notifications and their deliveries, due at once, each with the state pending.
#[derive(Debug, Clone)]
pub struct AnnouncementRecord {
    /// Id of the scan or of the event.
    pub id: Uuid,
    /// The lease.
    pub claim: Claim,
    /// What to say to whom; may be empty.
    pub notifications: Vec<Notification>,
}

/// A due delivery, leased to one deliverer.
#[derive(Debug, Clone)]
pub struct DeliveryClaim {
    /// The lease.
    pub claim: Claim,
    /// What to send; its `id` is the delivery's.
    pub notification: Notification,
    /// What is remembered between attempts.
    pub progress: Progress,
    /// When the scan was seen finished; the event's time for a word about scanbell.
    pub finished_at: Timestamp,
}

/// One attempt, as it is kept. No secret, no address of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1, 2, 3 … over the delivery's whole life, replays included.
    pub number: u32,
    /// When it ended.
    pub at: Timestamp,
    /// `delivered`, `retry` or `reject`.
    pub verdict: String,
    /// Why.
    pub reason: Reason,
    /// What the receiver said, shortened; or our sentence where nothing came.
    pub answer: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
}

/// An attempt and what follows from it, to be written down together.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// Id of the delivery.
    pub delivery: Uuid,
    /// The lease it was sent under.
    pub claim: Claim,
    /// The attempt; `attempt.number` is assigned by the caller as `progress.attempts + 1`.
    pub attempt: Attempt,
    /// What follows.
    pub next: DeliveryNext,
}

/// A lease to hand back unused.
#[derive(Debug, Clone, Copy)]
pub enum Release {
    /// A scan: due again at once, as if it had never been claimed.
    Scan(Uuid, Claim),
    /// A delivery: due again at `due_at`, no attempt made.
    Delivery {
        /// Id of the delivery.
        id: Uuid,
        /// The lease.
        claim: Claim,
        /// When it is due again.
        due_at: Timestamp,
    },
}

/// State of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanState {
    /// Being followed.
    Following,
    /// It has its outcome.
    Finished,
}

/// A scan as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ScanView {
    /// Our id.
    pub id: Uuid,
    /// The provider's configured name.
    pub provider: String,
    /// The provider's ID.
    pub scan_id: String,
    /// Where it stands.
    pub state: ScanState,
    /// How it ended; `null` while it is followed.
    pub outcome: Option<Outcome>,
    /// When the first request was accepted.
    pub requested_at: Timestamp,
    /// When it was seen finished.
    pub finished_at: Option<Timestamp>,
    /// When following ends.
    pub deadline_at: Timestamp,
    /// When it is polled next, or was due if it is being polled; `null` once finished.
    pub next_poll_at: Option<Timestamp>,
    /// Polls so far.
    pub polls: u32,
    /// Labels of all its requests.
    pub labels: BTreeMap<String, String>,
    /// The report; `null` while it is followed. In lists without `raw`.
    pub report: Option<Box<Report>>,
}

/// A delivery as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryView {
    /// Its id, and the `webhook-id`.
    pub id: Uuid,
    /// Our id of the scan; `null` for a word about scanbell.
    pub scan: Option<Uuid>,
    /// The destination's name.
    pub destination: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it is dead, why the last attempt did not deliver, or what kept a delivered one from somebody.
    pub reason: Option<Reason>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is tried next; `null` unless pending.
    pub due_at: Option<Timestamp>,
    /// When it was delivered, died or was suppressed.
    pub finished_at: Option<Timestamp>,
    /// How many attempts were made.
    pub attempt_count: u32,
    /// What the receiver said last.
    pub last_answer: Option<String>,
}

/// One page of a list, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `null` at the end. Opaque.
    pub next: Option<String>,
}

/// Which scans to list.
#[derive(Debug, Clone, Default)]
pub struct ScanFilter {
    /// Only in this state.
    pub state: Option<ScanState>,
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only with this ID of the provider.
    pub scan_id: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// From [`Page::next`]: rows older than this id.
    pub before: Option<Uuid>,
}

/// Which deliveries to list or to replay.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only to this destination.
    pub destination: Option<String>,
    /// Only of this scan (our id).
    pub scan: Option<Uuid>,
    /// At most so many; not used by a replay.
    pub limit: usize,
    /// From [`Page::next`]: rows older than this id.
    pub before: Option<Uuid>,
}

/// Numbers for metrics. Taken without reading the history row by row. A name that was seen may stay, with 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Scans being followed, by provider.
    pub scans_active: BTreeMap<String, u64>,
    /// Deliveries kept, by destination and state.
    pub deliveries: BTreeMap<(String, DeliveryState), u64>,
    /// When the oldest pending delivery of each destination was made.
    pub oldest_pending: BTreeMap<String, Timestamp>,
}

/// The contract. See the module's documentation for what holds of every call.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Called by the daemon, once, before its steps begin: where only one daemon may work on the store (the embedded
    /// one), takes that place and ends the leases of a predecessor that crashed; an error says that it is taken.
    /// Where several may, does nothing.
    async fn take_over(&self) -> Result<()>;

    /// Where the clock of the last run stood: the times in the store are by that clock. Where several work on the
    /// store there is none but the system's.
    async fn clock(&self) -> Result<Option<Standing>> {
        Ok(None)
    }

    /// Keeps that for the next run. Survives a crash of the process; with the machine the clock starts anew as well.
    async fn keep_clock(&self, _standing: Standing) -> Result<()> {
        Ok(())
    }

    /// Accepts many requests, in order; answers in the same order.
    ///
    /// In this order, for each: a known idempotency key is a duplicate of the scan it named, unless `first_sight`;
    /// a key is kept either way. A scan of the same key that is followed is joined: its asks and labels grow, its
    /// deadline becomes the later one; but a `redelivered` request without a key is a duplicate of an earlier scan that
    /// finished after `dedupe_since`, if there is one: it may have been what that scan was followed for. One that finished after `dedupe_since` makes it a duplicate, unless `force`.
    /// Else a new scan is followed, due now.
    async fn accept(&self, requests: Vec<NewRequest>) -> Result<Vec<Accepted>>;

    /// Leases up to `limit` scans of `provider` that are due at `now`, most overdue first.
    async fn claim_due_scans(
        &self,
        provider: &str,
        now: Timestamp,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<ScanClaim>>;

    /// Writes down what polls led to. `false`: the lease was lost and nothing was written.
    ///
    /// The deadline in a [`Tracking`] is not written, and a report that timed out before the deadline kept here is
    /// answered `false`: a request that joined during the poll may have moved it.
    async fn record_observations(&self, records: Vec<ObservationRecord>) -> Result<Vec<bool>>;

    /// When the next scan of `provider` is due or its lease ends, if any is followed.
    async fn next_scan_due(&self, provider: &str) -> Result<Option<Timestamp>>;

    /// Leases up to `limit` reports and events that were not announced yet, oldest first; fewer where they are large,
    /// and none only if there is none.
    async fn claim_unannounced(&self, now: Timestamp, limit: usize, lease: Duration) -> Result<Vec<Announcement>>;

    /// Keeps notifications with their deliveries and closes the announcements. `false`: the lease was lost.
    async fn record_announcements(&self, records: Vec<AnnouncementRecord>) -> Result<Vec<bool>>;

    /// Leases up to `limit` deliveries to `destination` that are due at `now`, most overdue first.
    async fn claim_due_deliveries(
        &self,
        destination: &str,
        now: Timestamp,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<DeliveryClaim>>;

    /// Writes down attempts and what follows from them. `false`: the lease was lost and nothing was written.
    async fn record_attempts(&self, records: Vec<AttemptRecord>) -> Result<Vec<bool>>;

    /// When the next delivery to `destination` is due or its lease ends, if any is pending.
    async fn next_delivery_due(&self, destination: &str) -> Result<Option<Timestamp>>;

    /// Hands leases back; one that was lost is not an error.
    async fn release(&self, releases: Vec<Release>) -> Result<()>;

    /// Tells the operator, unless that is known: a resolved event needs an open one, an open one needs none.
    /// Answers whether it will be told.
    async fn raise_event(&self, event: OperatorEvent) -> Result<bool>;

    /// Destinations that have pending deliveries.
    async fn destinations_with_pending(&self) -> Result<Vec<String>>;

    /// Scans, newest first.
    async fn scans(&self, filter: ScanFilter) -> Result<Page<ScanView>>;

    /// One scan with its whole report.
    async fn scan(&self, id: Uuid) -> Result<Option<ScanView>>;

    /// Deliveries, newest first.
    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Page<DeliveryView>>;

    /// One delivery with all its attempts, oldest first.
    async fn delivery(&self, id: Uuid) -> Result<Option<(DeliveryView, Vec<Attempt>)>>;

    /// Makes deliveries that match (dead ones if no state is given) pending and due now, with a fresh time to
    /// give up; answers how many. Pending ones are not touched. Numbers of attempts go on. Each is touched once, in
    /// small parts, so that nobody waits.
    async fn replay(&self, filter: DeliveryFilter, now: Timestamp) -> Result<u64>;

    /// Like [`Store::replay`] for one delivery; `None` if there is none, `Some(false)` if it is pending.
    async fn replay_one(&self, id: Uuid, now: Timestamp) -> Result<Option<bool>>;

    /// Numbers for metrics.
    async fn tallies(&self) -> Result<Tallies>;

    /// Deletes up to `limit` finished scans that finished before `before` and have no pending delivery, with all
    /// that belongs to them (also old events and idempotency keys); answers how many. Short, so that nobody waits.
    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64>;

    /// Whether it can be read and written now.
    async fn ping(&self) -> Result<()>;

    /// Writes out what is in hand and closes; later calls fail.
    async fn close(&self);
}
