//! The breaker of one destination: closed, open, half-open. It only postpones; nothing is dropped.

use crate::time::{Backoff, Timestamp, after};

/// So many failures in a row, of whatever delivery, say that it is the destination that fails.
const FAILURES: u32 = 5;

/// Where the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Closed,
    /// Nothing is tried before `until`; then one.
    Open {
        until: Timestamp,
    },
}

/// What may be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// As much as anything else allows.
    All,
    /// One, to see whether it is well again.
    One,
    /// Nothing before that time.
    NoneUntil(Timestamp),
}

/// A change that people want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It began to fail.
    Opened,
    /// It failed again while it was being tried.
    StillOpen,
    /// It is well again.
    Closed,
}

/// Counts failures in a row and decides what may be tried.
#[derive(Debug)]
pub(super) struct Breaker {
    position: Position,
    in_a_row: u32,
    /// How often it has opened without closing: the waits grow with it.
    openings: u32,
    waits: Backoff,
}

impl Breaker {
    pub(super) fn new(waits: Backoff) -> Self {
        Self { position: Position::Closed, in_a_row: 0, openings: 0, waits }
    }

    pub(super) fn allowed(&self, now: Timestamp) -> Allowed {
        match self.position {
            Position::Closed => Allowed::All,
            Position::Open { until } if now < until => Allowed::NoneUntil(until),
            Position::Open { .. } => Allowed::One,
        }
    }

    /// The destination took or rejected something: it is well.
    pub(super) fn succeeded(&mut self) -> Option<Change> {
        let was_open = self.is_open();
        (self.position, self.in_a_row, self.openings) = (Position::Closed, 0, 0);
        was_open.then_some(Change::Closed)
    }

    /// The destination could not take something. What was in flight when it opened does not count again.
    pub(super) fn failed(&mut self, now: Timestamp, spread: f64) -> Option<Change> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let change = match self.position {
            Position::Closed if self.in_a_row >= FAILURES => Change::Opened,
            Position::Open { until } if now >= until => Change::StillOpen,
            Position::Closed | Position::Open { .. } => return None,
        };
        self.position = Position::Open { until: after(now, self.waits.delay(self.openings, spread)) };
        self.openings = self.openings.saturating_add(1);
        Some(change)
    }

    pub(super) fn is_open(&self) -> bool {
        self.position != Position::Closed
    }

    pub(super) fn failures_in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::from_millis;

    fn breaker() -> Breaker {
        Breaker::new(Backoff { first: Duration::from_secs(1), growth: 2.0, max: Duration::from_secs(30) })
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_them_does_not_count() {
        let mut breaker = breaker();
        let now = from_millis(0);
        for _ in 0..4 {
            assert_eq!(breaker.failed(now, 0.5), None);
        }
        assert_eq!(breaker.succeeded(), None);
        for _ in 0..4 {
            assert_eq!(breaker.failed(now, 0.5), None);
        }
        assert_eq!(breaker.allowed(now), Allowed::All);
        assert_eq!(breaker.failed(now, 0.5), Some(Change::Opened));
        assert_eq!(breaker.allowed(now), Allowed::NoneUntil(from_millis(1000)));
        assert_eq!(breaker.failed(now, 0.5), None, "it was in flight when it opened");
        assert_eq!(breaker.allowed(now), Allowed::NoneUntil(from_millis(1000)));
    }

    #[test]
    fn half_open_lets_one_through_which_closes_it_or_makes_the_wait_longer() {
        let mut breaker = breaker();
        for _ in 0..5 {
            breaker.failed(from_millis(0), 0.5);
        }
        assert_eq!(breaker.allowed(from_millis(1000)), Allowed::One);
        assert_eq!(breaker.failed(from_millis(1000), 0.5), Some(Change::StillOpen));
        assert_eq!(breaker.allowed(from_millis(1000)), Allowed::NoneUntil(from_millis(3000)));
        assert_eq!(breaker.allowed(from_millis(3000)), Allowed::One);
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert_eq!(breaker.allowed(from_millis(3000)), Allowed::All);
    }
}
