//! How a destination is doing: what may be sent to it now, and what people are shown of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::breaker::{Allowed, Breaker, Change};
use crate::destination::Destination;
use crate::domain::delivery::{Next, Reason, RetryPolicy, Verdict};
use crate::time::{Backoff, Rate, Timestamp, after};

/// The breaker looks again after this long at the latest.
const LONGEST_OPEN: Duration = Duration::from_secs(30);
/// One delivery waits as long as the receiver asks; the others are held back for so long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How a destination is doing, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthView {
    /// `ok`; `failing`: tried now and then; `paused`: the receiver asked to wait.
    pub state: &'static str,
    /// Until when nothing is sent.
    pub until: Option<Timestamp>,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Since when it has been failing.
    pub failing_since: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_reason: Option<Reason>,
    /// When something was last delivered by this process.
    pub last_delivered_at: Option<Timestamp>,
}

/// A handle to a destination's health; clones are the same.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    breaker: Breaker,
    rate: Option<Rate>,
    paused_until: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    last_reason: Option<Reason>,
    last_delivered_at: Option<Timestamp>,
}

/// What may be claimed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing limits but the concurrency; a little may be claimed ahead.
    Free,
    /// So many, and none ahead.
    Only(usize),
    /// Nothing before that time, and what is claimed should be handed back.
    ClosedUntil(Timestamp),
    /// The rate is used up until then.
    RateUntil(Timestamp),
}

impl Health {
    pub(super) fn of(destination: &Destination) -> Self {
        Self(Arc::new(Mutex::new(State {
            breaker: Breaker::new(breaker_waits(&destination.policy())),
            rate: destination.requests_per_second().map(Rate::per_second),
            paused_until: None,
            failing_since: None,
            last_reason: None,
            last_delivered_at: None,
        })))
    }

    /// As it is shown now.
    pub fn view(&self, now: Timestamp) -> HealthView {
        let state = self.lock();
        let paused = state.paused_until.filter(|until| *until > now);
        let open = match state.breaker.allowed(now) {
            Allowed::NoneUntil(until) => Some(until),
            Allowed::All | Allowed::One => None,
        };
        HealthView {
            state: match (state.breaker.is_open(), paused) {
                (true, _) => "failing",
                (false, Some(_)) => "paused",
                (false, None) => "ok",
            },
            until: open.max(paused),
            failures_in_a_row: state.breaker.failures_in_a_row(),
            failing_since: state.failing_since,
            last_reason: state.last_reason,
            last_delivered_at: state.last_delivered_at,
        }
    }

    /// What may be claimed, with `in_hand` claimed and not yet finished.
    pub(super) fn room(&self, now: Timestamp, in_hand: usize) -> Room {
        let mut state = self.lock();
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Room::ClosedUntil(until);
        }
        let most = match state.breaker.allowed(now) {
            Allowed::NoneUntil(until) => return Room::ClosedUntil(until),
            Allowed::One => Some(1_usize.saturating_sub(in_hand)),
            Allowed::All => None,
        };
        match (&mut state.rate, most) {
            (None, None) => Room::Free,
            (None, Some(most)) => Room::Only(most),
            (Some(rate), most) => match rate.available(now) {
                0 => Room::RateUntil(rate.next(now)),
                tokens => Room::Only(most.unwrap_or(tokens).min(tokens)),
            },
        }
    }

    /// So many were claimed and will be sent now.
    pub(super) fn claimed(&self, count: usize) {
        if let Some(rate) = &mut self.lock().rate {
            rate.charge(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Learns from an attempt; answers what people want to hear of.
    pub(super) fn learn(&self, verdict: Verdict, next: &Next, now: Timestamp, spread: f64) -> Option<Change> {
        let mut state = self.lock();
        match verdict {
            Verdict::Delivered { .. } => state.last_delivered_at = Some(now),
            Verdict::Retry { reason, .. } | Verdict::Reject { reason } => state.last_reason = Some(reason),
        }
        if let (Verdict::Retry { reason, after: asked }, Next::Due { at, .. }) = (verdict, next)
            && (asked.is_some() || reason == Reason::RateLimited)
        {
            // Being asked to wait is no failure, and others would be asked the same.
            let until = (*at).min(after(now, LONGEST_PAUSE));
            state.paused_until = state.paused_until.max(Some(until));
            return None;
        }
        let change = match verdict {
            // A receiver that rejects one message is well. A fault of our own says nothing about it.
            Verdict::Delivered { .. } | Verdict::Reject { .. } => state.breaker.succeeded(),
            Verdict::Retry { reason: Reason::Internal | Reason::RateLimited, .. } => None,
            Verdict::Retry { .. } => state.breaker.failed(now, spread),
        };
        match change {
            Some(Change::Opened) => state.failing_since = Some(now),
            Some(Change::Closed) => state.failing_since = None,
            Some(Change::StillOpen) | None => {}
        }
        change
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the user's retries, but never so long that a destination that is well again is left alone.
fn breaker_waits(policy: &RetryPolicy) -> Backoff {
    let Backoff { first, max, .. } = policy.backoff;
    Backoff { first: first.min(Duration::from_secs(5)), growth: 2.0, max: max.min(LONGEST_OPEN) }
}
