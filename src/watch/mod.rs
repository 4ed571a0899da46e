//! Follows scans at one provider: takes due scans, polls each once, writes down what follows.
//!
//! Knows nothing of requests, routes or destinations; meets the other steps only in the store. One watcher per
//! provider: its own concurrency, rate and pause. May stop anywhere: an unfinished claim is free again when its lease
//! ends, and an observation that could not be written is made again.

mod events;
mod gate;
mod health;
mod report;
mod run;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use uuid::Uuid;

use crate::domain::report::{Facts, Report, Severity, Verdict};
use crate::domain::scan::{Next, Observation, Outcome, next};
use crate::provider::{Provider, Seen};
use crate::store::{ObservationRecord, ObservationResult, Release, ScanClaim, SharedStore, StoreError};
use crate::telemetry::metrics;
use crate::time::{Backoff, Clock, Timestamp, Wake, after, chance};
use events::Events;
use gate::Gate;
pub use health::{Paused, ProviderHealth};
pub use report::report;

/// How a watcher waits; the defaults are right outside tests.
#[derive(Debug, Clone, Copy)]
pub struct Knobs {
    /// Look for due scans at least this often: another replica may have written one.
    pub idle: Duration,
    /// When told to stop, wait so long for polls in hand before handing their scans back.
    pub drain: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { idle: Duration::from_secs(5), drain: Duration::from_secs(10) }
    }
}

/// Between two looks at a store that fails.
const STORE_BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), growth: 2.0, max: Duration::from_secs(30) };
/// A lease lasts this much longer than the longest poll: for writing down what it saw. And an eighth, for a clock that
/// runs fast because it follows one that was set.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// A look at the store that found nothing to claim is not repeated sooner.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
/// While something is being polled, the next row is looked for this often, and nobody asks when it is due.
const LOOK_WHILE_BUSY: Duration = Duration::from_millis(50);

/// The watcher of one provider.
pub struct Watcher {
    store: SharedStore,
    provider: Arc<Provider>,
    clock: Clock,
    announce: Wake,
    raw_limit: u64,
    knobs: Knobs,
    counted: metrics::Polls,
    health: ProviderHealth,
    gate: Mutex<Gate>,
    events: Events,
    /// Failed calls to the store in a row.
    store_failures: Mutex<u32>,
    /// Scans whose poll could not be written down: to be handed back once the store can be written to.
    unwritten: Mutex<Vec<Release>>,
}

/// What one [`Watcher::tick`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Scans that were polled.
    pub polled: usize,
    /// Scans that are finished now.
    pub finished: usize,
    /// When to look again; earlier if somebody says that there is work.
    pub next: Timestamp,
}

/// Scans to poll now.
struct Round {
    claims: Vec<ScanClaim>,
    /// The provider is paused and this is the one scan that tries it.
    is_trial: bool,
    /// When to look again.
    next: Timestamp,
    /// There is probably more that is due: look as soon as there is room.
    backlog: bool,
}

/// One scan was polled.
struct Polled {
    scan_id: String,
    record: ObservationRecord,
}

/// What is said of a poll once it is written down.
enum End {
    Again { scan: Uuid, due: Timestamp },
    Finished { scan: Uuid, scan_id: String, outcome: Outcome, verdict: Verdict, severity: Severity, polls: u32 },
}

impl End {
    fn of(polled: &Polled) -> Self {
        let scan = polled.record.scan;
        match &polled.record.result {
            ObservationResult::Again { at, .. } => Self::Again { scan, due: *at },
            ObservationResult::Finished(report) => Self::Finished {
                scan,
                scan_id: polled.scan_id.clone(),
                outcome: report.outcome,
                verdict: report.verdict,
                severity: report.severity,
                polls: report.polls,
            },
        }
    }

    fn scan(&self) -> Uuid {
        match self {
            Self::Again { scan, .. } | Self::Finished { scan, .. } => *scan,
        }
    }
}

/// A poll is written down.
#[derive(Debug, Clone, Copy)]
struct Followed {
    finished: bool,
    /// When it is due again.
    due: Option<Timestamp>,
}

impl Watcher {
    /// A watcher that has not looked yet. `announce` is woken when there is something to tell; bodies above
    /// `raw_limit` bytes are left out of reports.
    pub fn new(store: SharedStore, provider: Arc<Provider>, clock: Clock, announce: Wake, raw_limit: u64) -> Self {
        metrics::provider_paused(provider.name(), false);
        Self {
            gate: Mutex::new(Gate::new(provider.concurrency(), provider.requests_per_second())),
            counted: metrics::Polls::of(provider.name()),
            health: ProviderHealth::new(provider.name()),
            events: Events::default(),
            knobs: Knobs::default(),
            store_failures: Mutex::default(),
            unwritten: Mutex::default(),
            store,
            provider,
            clock,
            announce,
            raw_limit,
        }
    }

    /// With other waits than the usual ones.
    pub fn with_knobs(self, knobs: Knobs) -> Self {
        Self { knobs, ..self }
    }

    /// Whether the provider is paused, and why; cheap to clone and to ask.
    pub fn health(&self) -> ProviderHealth {
        self.health.clone()
    }

    /// One unit of work: claims what concurrency and rate allow, polls all of it at once, writes down each result as
    /// it comes. Tests call this; [`Watcher::run`] does the same without waiting for the slowest.
    pub async fn tick(&self) -> Tick {
        let round = self.claim(0).await;
        let polled = round.claims.len();
        let polls = round.claims.into_iter().map(|claim| self.poll(claim, round.is_trial));
        let followed = self.write_down(join_all(polls).await).await;
        let now = self.clock.now();
        let idle = after(now, self.knobs.idle);
        let next = match (polled > 0, round.backlog) {
            (true, true) if self.gate().opens_at(now).is_none() => now,
            (true, false) => self.next_due(now).await.unwrap_or(idle).min(idle),
            _ => round.next,
        };
        Tick { polled, finished: followed.iter().filter(|followed| followed.finished).count(), next }
    }

    /// Takes as many due scans as may be polled now, while `in_hand` are being polled.
    async fn claim(&self, in_hand: usize) -> Round {
        let now = self.clock.now();
        self.tell_operator().await;
        let (many, is_trial) = self.gate().allows(now, in_hand);
        let later = |next: Timestamp, backlog| Round { claims: Vec::new(), is_trial, next, backlog };
        if !self.hand_back_unwritten().await {
            return later(self.store_retry_at(now), false);
        }
        if many == 0 {
            let next = self.gate().opens_at(now).unwrap_or_else(|| after(now, self.knobs.idle));
            return later(next.min(after(now, self.knobs.idle)), true);
        }
        if is_trial && let Err(error) = self.provider.reload_secret() {
            tracing::debug!(provider.name = self.provider.name(), error, "the key could not be read again");
        }
        let longest = self.provider.longest_poll();
        let lease = longest + longest / 8 + LEASE_MARGIN;
        let claimed = self.store.claim_due_scans(self.provider.name(), now, many, lease).await;
        let Some(claims) = self.note_store(claimed) else { return later(self.store_retry_at(now), false) };
        self.gate().took(claims.len(), is_trial, now);
        let backlog = claims.len() == many && !is_trial;
        let next = match backlog {
            true => self.gate().opens_at(now),
            // The end of a poll comes first anyhow; asking when the next one is due costs more than looking.
            false if in_hand + claims.len() > 0 => Some(after(now, LOOK_WHILE_BUSY)),
            false => self.next_due(now).await,
        };
        let idle = after(now, self.knobs.idle);
        Round { claims, is_trial, next: next.unwrap_or(idle).min(idle), backlog }
    }

    /// When the store says that there is something to do.
    async fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.store.next_scan_due(self.provider.name()).await;
        self.note_store(due)?.map(|due| due.max(after(now, SHORTEST_WAIT)))
    }

    /// Polls one scan; what follows is to be written down.
    async fn poll(&self, claim: ScanClaim, is_trial: bool) -> Polled {
        let started = Instant::now();
        let seen = self.provider.poll(&claim.key.scan_id, self.clock.wall()).await;
        let took = started.elapsed();
        self.counted.poll(word(&seen.observation), took);
        let now = self.clock.now();
        self.note_seen(&seen, is_trial, now);
        tracing::debug!(
            provider.name = self.provider.name(), scan.id = %claim.id, observation = word(&seen.observation),
            detail = seen.detail, duration_ms = took.as_millis() as u64, "polled"
        );
        let decided = next(self.provider.pace(), claim.tracking, &seen.observation, now, chance());
        let result = match decided {
            Next::Poll { mut at, tracking } => {
                // A scan whose poll was refused is the next one to try the key with.
                if let (Observation::Unauthorized, Some(trial)) = (&seen.observation, self.gate().trial_at()) {
                    at = at.min(trial);
                }
                ObservationResult::Again { at, tracking }
            }
            Next::Finish(outcome) => ObservationResult::Finished(Box::new(self.report(&claim, outcome, seen, now))),
        };
        self.tell_operator().await;
        Polled { scan_id: claim.key.scan_id, record: ObservationRecord { scan: claim.id, claim: claim.claim, result } }
    }

    fn report(&self, claim: &ScanClaim, outcome: Outcome, seen: Seen, now: Timestamp) -> Report {
        let facts = Facts {
            id: claim.id,
            provider: claim.key.provider.clone(),
            scan_id: claim.key.scan_id.clone(),
            outcome,
            requested_at: claim.requested_at,
            finished_at: now,
            polls: claim.tracking.polls.saturating_add(1),
        };
        report(&self.provider, facts, seen, self.raw_limit)
    }

    /// Writes down what many polls led to, in one call.
    async fn write_down(&self, polled: Vec<Polled>) -> Vec<Followed> {
        let (ends, records): (Vec<_>, Vec<_>) =
            polled.into_iter().map(|polled| (End::of(&polled), polled.record)).unzip();
        let leases: Vec<_> = records.iter().map(|record| Release::Scan(record.scan, record.claim)).collect();
        let written = self.store.record_observations(records).await;
        let written = self.note_store(written).unwrap_or_else(|| {
            self.unwritten().extend(leases);
            Vec::new()
        });
        let written = written.into_iter().chain(std::iter::repeat(false));
        let followed: Vec<_> =
            ends.into_iter().zip(written).map(|(end, written)| self.after_write(&end, written)).collect();
        if followed.iter().any(|followed| followed.finished) {
            self.announce.wake();
        }
        followed
    }

    /// `written` is false where somebody will poll the scan again.
    fn after_write(&self, end: &End, written: bool) -> Followed {
        let provider = self.provider.name();
        match end {
            _ if !written => {
                tracing::debug!(provider.name = provider, scan.id = %end.scan(), "not written: polled again later");
                Followed { finished: false, due: None }
            }
            End::Again { due, .. } => Followed { finished: false, due: Some(*due) },
            End::Finished { scan, scan_id, outcome, verdict, severity, polls } => {
                self.counted.report(outcome.as_str(), verdict.as_str(), severity.as_str());
                tracing::info!(
                    provider.name = provider, scan.id = %scan, scan.scan_id = scan_id,
                    %outcome, %verdict, %severity, polls, "scan finished"
                );
                Followed { finished: true, due: None }
            }
        }
    }

    /// Hands scans back that were claimed and not polled.
    async fn release(&self, claims: impl IntoIterator<Item = (Uuid, crate::store::Claim)>) {
        let releases: Vec<_> = claims.into_iter().map(|(id, claim)| Release::Scan(id, claim)).collect();
        if !releases.is_empty() {
            let answer = self.store.release(releases).await;
            self.note_store(answer);
        }
    }

    /// Polls that were not written down are made again, at once and not when their leases end; but none is made while
    /// there is nowhere to write it. Answers whether there is.
    async fn hand_back_unwritten(&self) -> bool {
        if self.unwritten().is_empty() {
            return true;
        }
        let answer = self.store.ping().await;
        if self.note_store(answer).is_none() {
            return false;
        }
        let releases = std::mem::take(&mut *self.unwritten());
        let answer = self.store.release(releases).await;
        self.note_store(answer).is_some() // else their leases end by themselves
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<Release>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an answer of the store says about the store: the first failure of a row is a warning, its end is told.
    fn note_store<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        let mut failures = self.store_failures.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(value) => {
                if std::mem::take(&mut *failures) > 0 {
                    tracing::info!(provider.name = self.provider.name(), "the store answers again");
                }
                Some(value)
            }
            Err(error) => {
                if *failures == 0 {
                    tracing::warn!(provider.name = self.provider.name(), %error, "trying again until the store answers");
                }
                *failures = failures.saturating_add(1);
                None
            }
        }
    }

    fn store_retry_at(&self, now: Timestamp) -> Timestamp {
        let failures = *self.store_failures.lock().unwrap_or_else(PoisonError::into_inner);
        after(now, STORE_BACKOFF.delay(failures.saturating_sub(1), chance()))
    }
}

/// The word of an observation in metrics and logs.
fn word(observation: &Observation) -> &'static str {
    match observation {
        Observation::Running { .. } => "running",
        Observation::Ended(_) => "ended",
        Observation::NotFound { .. } => "not_found",
        Observation::Unavailable { .. } => "unavailable",
        Observation::Unauthorized => "unauthorized",
    }
}

#[cfg(test)]
mod tests;
