//! How many sends the rate allows now (GCRA), looked at without taking: a lease is claimed first and paid after.
//!
//! Not `governor`, which can only take: what it hands out would be lost whenever nothing is due.

use std::time::Duration;

use crate::time::{Timestamp, from_millis};

/// A tenth of a second's worth may go at once; at 1/s that is one, and never two.
const BURST_SECONDS: f64 = 0.1;

/// The rate of one destination. Times in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Pace {
    interval: f64,
    burst: f64,
    /// When all that was taken is paid off.
    paid_at: f64,
}

impl Pace {
    pub(super) fn per_second(rate: f64) -> Self {
        Self { interval: 1000.0 / rate, burst: (rate * BURST_SECONDS).floor().max(1.0), paid_at: 0.0 }
    }

    /// How many may be sent now.
    pub(super) fn allowed(&mut self, now: Timestamp) -> usize {
        let ahead = self.ahead(now);
        (self.burst - (ahead / self.interval).ceil()).max(0.0) as usize
    }

    /// When the next one may be sent.
    pub(super) fn next(&mut self, now: Timestamp) -> Timestamp {
        let wait = self.ahead(now) - (self.burst - 1.0) * self.interval;
        from_millis(now.as_millisecond().saturating_add(wait.max(0.0).ceil() as i64))
    }

    /// So many are sent.
    pub(super) fn take(&mut self, now: Timestamp, count: usize) {
        self.paid_at = now.as_millisecond() as f64 + self.ahead(now) + count as f64 * self.interval;
    }

    /// How far we are ahead. More than the burst can only mean that the clock was turned back.
    fn ahead(&mut self, now: Timestamp) -> f64 {
        let ahead = (self.paid_at - now.as_millisecond() as f64).max(0.0);
        if ahead > Duration::from_secs(1).as_millis() as f64 + self.burst * self.interval {
            self.paid_at = 0.0;
            return 0.0;
        }
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_one_a_second_however_long_nothing_was_sent() {
        let mut pace = Pace::per_second(1.0);
        let at = |seconds: f64| from_millis(1_700_000_000_000 + (seconds * 1000.0) as i64);
        assert_eq!(pace.allowed(at(0.0)), 1);
        assert_eq!(pace.allowed(at(0.0)), 1, "looking takes nothing");
        pace.take(at(0.0), 1);
        assert_eq!(pace.allowed(at(0.999)), 0);
        assert_eq!(pace.next(at(0.5)), at(1.0));
        assert_eq!(pace.allowed(at(1.0)), 1);
        assert_eq!(pace.allowed(at(3600.0)), 1);
    }

    #[test]
    fn fifty_a_second_are_fifty_in_a_second() {
        let mut pace = Pace::per_second(50.0);
        let sent: usize = (0..1000)
            .map(|millis| {
                let now = from_millis(1_700_000_000_000 + millis);
                let count = pace.allowed(now);
                pace.take(now, count);
                count
            })
            .sum();
        assert!((50..=55).contains(&sent), "{sent}");
    }

    #[test]
    fn a_clock_that_is_turned_back_stops_nothing() {
        let mut pace = Pace::per_second(1.0);
        pace.take(from_millis(1_700_003_600_000), 1);
        assert_eq!(pace.allowed(from_millis(1_700_000_000_000)), 1);
    }
}
