//! Step four: takes due deliveries of one destination, sends each once, writes down the verdict.
//!
//! Knows nothing of scans, routes or templates; meets the other steps only in the store. One [`Deliverer`] for
//! each destination, with its own concurrency, rate and breaker: one that is down delays nobody else.
//! May stop anywhere: an unfinished claim is free again when its lease ends.

mod breaker;
mod health;
mod orphans;
mod unrecorded;
mod writing;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::destination::{Destination, Sent};
use crate::domain::delivery::{Next, Reason, Verdict, next};
use crate::domain::notification::{Notification, OperatorEvent};
use crate::store::{Attempt, AttemptRecord, DeliveryClaim, Release, SharedStore};
use crate::telemetry::metrics;
use crate::time::{Clock, Timestamp, Wake, after, chance, until};
use breaker::Change;
use health::Room;
pub use health::{Health, HealthView};
pub use orphans::bury_orphans;
use unrecorded::Unrecorded;

/// Another replica may have written something: look this often in any case.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// A store that fails is asked again after so long.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// While something is being sent, the next row is looked for this often, and nobody asks when it is due.
const LOOK_WHILE_BUSY: Duration = Duration::from_millis(50);
/// A row that fell due between claiming and asking when the next is due.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
/// A claim that has waited for a slot for longer is handed back.
const LONGEST_HOLD: Duration = Duration::from_secs(5);
/// A send that overstays its own limit is given up.
const OVERSTAY: Duration = Duration::from_secs(2);
/// The lease beyond the longest send: for holding, overstaying and writing down. An eighth more, for a clock that
/// runs fast because it follows one that was set.
const MARGIN: Duration = Duration::from_secs(15);
/// Claimed ahead of the free slots, in multiples of the concurrency, so that slots do not wait for the store.
const AHEAD: usize = 3;

/// Delivers to one destination.
pub struct Deliverer {
    store: SharedStore,
    destination: Arc<Destination>,
    clock: Clock,
    counted: metrics::Attempts,
    health: Health,
    unrecorded: Unrecorded,
    /// The store may know of trouble, from before or from this process, that is to be resolved by a success.
    may_be_open: AtomicBool,
}

/// What one round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tick {
    /// The verdicts, in the order of the claims.
    pub verdicts: Vec<Verdict>,
    /// How long there is nothing to do, unless somebody wakes.
    pub wait: Duration,
}

/// A delivery that was sent, or had been under an earlier lease.
struct Carried {
    record: AttemptRecord,
    /// `None` if it was sent earlier.
    verdict: Option<Verdict>,
}

/// A claimed delivery that waits for a slot.
struct Held {
    claim: DeliveryClaim,
    since: Timestamp,
}

impl Deliverer {
    /// For one destination.
    pub fn new(store: SharedStore, destination: Arc<Destination>, clock: Clock) -> Self {
        let health = Health::of(&destination);
        let counted = metrics::Attempts::of(destination.name());
        metrics::destination_failing(destination.name(), false);
        Self {
            store,
            destination,
            clock,
            counted,
            health,
            unrecorded: Unrecorded::default(),
            may_be_open: AtomicBool::new(true),
        }
    }

    /// How the destination is doing; stays valid while [`Deliverer::run`] runs.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// One round: claims what may be sent now, sends it, writes it down.
    pub async fn tick(&self) -> Tick {
        let mut held = VecDeque::new();
        let Refill { wait, .. } = self.refill(&mut held, 0, 1, true).await;
        let carried = join_all(held.into_iter().map(|held| self.carry_out(held))).await;
        let verdicts = carried.iter().flatten().filter_map(|carried| carried.verdict).collect();
        self.write_down(carried.into_iter().flatten().map(|carried| carried.record).collect()).await;
        Tick { verdicts, wait }
    }

    /// Delivers until `stop`; then finishes what is being sent, hands back what is not, and returns.
    ///
    /// How long that may take is the caller's to bound: dropping this future leaves leases that end by themselves.
    pub async fn run(self, wake: Wake, stop: CancellationToken) {
        let this = Arc::new(self);
        let slots = this.destination.concurrency();
        // A slot is free when its message is sent. What waits to be written down is bounded: it is what a crash doubles.
        let (written_next, records) = mpsc::channel(slots);
        let writing = JoinSet::from_iter([Arc::clone(&this).keep_records(records, slots)]);
        let mut sends = JoinSet::new();
        let mut held = VecDeque::new();
        let (mut look_at, mut more) = (this.clock.now(), false);
        while !stop.is_cancelled() {
            let now = this.clock.now();
            let look = more || now >= look_at;
            let refill = this.refill(&mut held, sends.len(), AHEAD, look).await;
            let next_look = after(now, refill.wait);
            look_at = if look { next_look } else { look_at.min(next_look) };
            more = refill.more.unwrap_or(more);
            let wait = until(now, look_at);
            while sends.len() < slots
                && let Some(next) = held.pop_front()
            {
                let (this, written_next) = (Arc::clone(&this), written_next.clone());
                sends.spawn(async move {
                    if let Some(carried) = this.carry_out(next).await {
                        let _ = written_next.send(carried.record).await; // its receiver outlives the sends
                    }
                });
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = sends.join_next() => {}
                () = wake.wait() => look_at = this.clock.now(),
                () = tokio::time::sleep(wait) => {}
            }
        }
        this.hand_back(&mut held, this.clock.now()).await;
        while sends.join_next().await.is_some() {}
        drop(written_next);
        writing.join_all().await;
    }

    /// Claims what the destination may be sent and has slots for, `ahead` times over where nothing limits it; only
    /// where `look` says that there may be something. Hands back what may not be sent now.
    async fn refill(&self, held: &mut VecDeque<Held>, sending: usize, ahead: usize, look: bool) -> Refill {
        let now = self.clock.now();
        let slots = self.destination.concurrency();
        let free = slots.saturating_sub(sending + held.len());
        let want = match self.health.room(now, sending + held.len()) {
            Room::ClosedUntil(at) => {
                self.hand_back(held, at).await;
                return Refill::unasked(until(now, at).clamp(SHORTEST_WAIT, LOOK_ANYWAY));
            }
            Room::RateUntil(at) => return Refill::unasked(until(now, at).clamp(SHORTEST_WAIT, LOOK_ANYWAY)),
            Room::Only(most) => most.min(free),
            // In one gulp when it runs low, rather than one row for each slot that falls free.
            Room::Free if held.len() < slots => ahead * slots - held.len(),
            Room::Free => 0,
        };
        match (want, look) {
            // Whoever woke us may have had a reason: look as soon as a slot falls free.
            (0, true) => return Refill { wait: LOOK_ANYWAY, more: Some(true) },
            (_, false) => return Refill::unasked(LOOK_ANYWAY),
            (_, true) => {}
        }
        match self.store.claim_due_deliveries(self.destination.name(), now, want, self.lease()).await {
            Ok(claims) => {
                let count = claims.len();
                self.health.claimed(count);
                held.extend(claims.into_iter().map(|claim| Held { claim, since: now }));
                let more = count == want;
                let pause = match more {
                    true => Duration::ZERO,
                    // Asking when the next one is due costs more than looking again.
                    false if sending + held.len() > 0 => LOOK_WHILE_BUSY,
                    false => self.until_next(now).await,
                };
                Refill { wait: pause, more: Some(more) }
            }
            Err(error) => {
                tracing::warn!(destination.name = self.destination.name(), %error, "nothing can be claimed");
                Refill { wait: STORE_PAUSE, more: Some(false) }
            }
        }
    }

    async fn until_next(&self, now: Timestamp) -> Duration {
        match self.store.next_delivery_due(self.destination.name()).await {
            Ok(Some(at)) => until(now, at).clamp(SHORTEST_WAIT, LOOK_ANYWAY),
            Ok(None) => LOOK_ANYWAY,
            Err(_) => STORE_PAUSE,
        }
    }

    fn lease(&self) -> Duration {
        let longest = self.destination.longest_send();
        longest + longest / 8 + MARGIN
    }

    /// Releases what is claimed and not being sent, due again at `due_at`.
    async fn hand_back(&self, held: &mut VecDeque<Held>, due_at: Timestamp) {
        let give = |Held { claim, .. }| Release::Delivery { id: claim.notification.id, claim: claim.claim, due_at };
        let releases: Vec<Release> = held.drain(..).map(give).collect();
        if releases.is_empty() {
            return;
        }
        if let Err(error) = self.store.release(releases).await {
            // Their leases end by themselves.
            tracing::warn!(destination.name = self.destination.name(), %error, "claims were not handed back");
        }
    }

    /// Sends one delivery once; what follows is to be written down. `None` if it was not sent.
    async fn carry_out(&self, held: Held) -> Option<Carried> {
        let Held { claim, since } = held;
        if let Some(record) = self.unrecorded.adopt(claim.notification.id, claim.claim) {
            return Some(Carried { record, verdict: None });
        }
        if after(since, LONGEST_HOLD) < self.clock.now() {
            // It waited too long for a slot: its lease might end while it is being sent.
            self.hand_back(&mut VecDeque::from([Held { claim, since }]), self.clock.now()).await;
            return None;
        }
        let began = Instant::now();
        let sent = self.send(&claim.notification).await;
        let (now, took) = (self.clock.now(), began.elapsed());
        let verdict = sent.verdict;
        let next = next(&self.destination.policy(), claim.progress, verdict, now, chance());
        let change = self.health.learn(verdict, &next, now, chance());
        self.say(&claim, &sent, &next, now, took);
        self.tell(change, verdict, now).await;
        Some(Carried { record: record(&claim, sent, next, now, took), verdict: Some(verdict) })
    }

    /// A destination neither panics nor hangs; if one does after all, that is an attempt like any other.
    async fn send(&self, notification: &Notification) -> Sent {
        let fault =
            |reason, sentence: &str| Sent { verdict: Verdict::retry(reason), answer: Some(sentence.to_owned()) };
        let attempt = AssertUnwindSafe(self.destination.send(notification, self.clock.wall())).catch_unwind();
        match tokio::time::timeout(self.destination.longest_send() + OVERSTAY, attempt).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => fault(Reason::Internal, "scanbell failed while sending; this is a bug"),
            Err(_) => fault(Reason::Timeout, "no answer in time"),
        }
    }

    /// Log and metrics of one attempt.
    fn say(&self, claim: &DeliveryClaim, sent: &Sent, next: &Next, now: Timestamp, took: Duration) {
        let name = self.destination.name();
        let (verdict, reason) = (sent.verdict.as_str(), sent.verdict.reason().as_str());
        self.counted.attempt(verdict, reason, took);
        let id = claim.notification.id;
        let number = claim.progress.attempts.saturating_add(1);
        let duration_ms = took.as_millis() as u64;
        let answer = sent.answer.as_deref().unwrap_or_default();
        match next {
            Next::Delivered => {
                self.counted.lag(until(claim.finished_at, now));
                tracing::info!(delivery.id = %id, destination.name = name, attempt.number = number, reason, duration_ms,
                    "delivered");
            }
            Next::Due { at, .. } => {
                tracing::warn!(delivery.id = %id, destination.name = name, attempt.number = number, reason, duration_ms,
                    answer, again_at = %at, "not delivered, will be tried again");
            }
            Next::Dead(why) => {
                tracing::error!(delivery.id = %id, destination.name = name, attempt.number = number,
                    reason = why.as_str(), duration_ms, answer, "delivery is dead");
            }
        }
    }

    /// Tells the operator when the destination begins to fail and when it is well again.
    async fn tell(&self, change: Option<Change>, verdict: Verdict, now: Timestamp) {
        let name = self.destination.name();
        let well = matches!(verdict, Verdict::Delivered { .. });
        let resolved = match change {
            Some(Change::Opened | Change::StillOpen) => false,
            Some(Change::Closed) => true,
            // The first success of this process: what an earlier one reported may be over.
            None if well && self.may_be_open.load(Ordering::Relaxed) => true,
            None => return,
        };
        if change.is_some() {
            metrics::destination_failing(name, !resolved);
        }
        self.may_be_open.store(true, Ordering::Relaxed);
        match self.store.raise_event(event(name, resolved, verdict.reason(), now)).await {
            Ok(_) => self.may_be_open.store(!resolved, Ordering::Relaxed),
            Err(error) => tracing::warn!(destination.name = name, %error, "the operator could not be told"),
        }
    }
}

/// What came of a look at the store.
struct Refill {
    /// When to look again.
    wait: Duration,
    /// Whether there was more than could be claimed; `None` if nobody looked.
    more: Option<bool>,
}

impl Refill {
    fn unasked(wait: Duration) -> Self {
        Self { wait, more: None }
    }
}

fn record(claim: &DeliveryClaim, sent: Sent, next: Next, now: Timestamp, took: Duration) -> AttemptRecord {
    AttemptRecord {
        delivery: claim.notification.id,
        claim: claim.claim,
        attempt: Attempt {
            number: claim.progress.attempts.saturating_add(1),
            at: now,
            verdict: sent.verdict.as_str().to_owned(),
            reason: sent.verdict.reason(),
            answer: sent.answer,
            duration_ms: took.as_millis() as u64,
        },
        next,
    }
}

fn event(name: &str, resolved: bool, reason: Reason, at: Timestamp) -> OperatorEvent {
    let (title, text) = if resolved {
        (format!("Destination {name} works again"), "What waited for it is being delivered.".to_owned())
    } else {
        let text = format!(
            "The last attempts all failed, the latest with reason `{reason}`. Nothing is lost: deliveries wait and \
             it is tried now and then. See `scanbell deliveries list --destination {name}`."
        );
        (format!("Destination {name} is failing"), text)
    };
    let key = format!("destination-failing:{name}");
    OperatorEvent { key, resolved, title, text, at, about_destination: Some(name.to_owned()) }
}

#[cfg(test)]
mod tests;
