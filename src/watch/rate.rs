//! Requests each second: a bucket of tokens over our own clock.
//!
//! A limiter that can be asked without being charged, and charged afterwards with what really happened: a scan is
//! claimed only when there is a token for it, and a poll of two requests is paid for when it is done.

use std::time::Duration;

use crate::time::{Timestamp, after, until};

/// Tokens are saved up for at most this long, so that no second sees much more than its share.
const BURST: f64 = 0.1;

/// The bucket.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    tokens: f64,
    filled_at: Timestamp,
}

impl Rate {
    /// A bucket that starts full.
    pub(super) fn new(per_second: f64, now: Timestamp) -> Self {
        Self { per_second, tokens: burst(per_second), filled_at: now }
    }

    /// Whole tokens there are now.
    pub(super) fn available(&mut self, now: Timestamp) -> usize {
        let gained = until(self.filled_at, now).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(burst(self.per_second));
        self.filled_at = self.filled_at.max(now);
        // A thousandth of a token is what rounding to milliseconds costs.
        (self.tokens + 0.001).max(0.0) as usize
    }

    /// Takes tokens; more than there are is a debt that later requests wait for.
    pub(super) fn charge(&mut self, many: u32) {
        self.tokens -= f64::from(many);
    }

    /// When there is a whole token.
    pub(super) fn next(&self, now: Timestamp) -> Timestamp {
        let wait = ((1.0 - self.tokens) / self.per_second).max(0.0);
        after(now, Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

/// The most tokens there can be: always a whole one.
fn burst(per_second: f64) -> f64 {
    (per_second * BURST).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    #[test]
    fn over_a_long_time_exactly_the_rate_is_allowed() {
        let mut rate = Rate::new(4.0 / 60.0, from_millis(0));
        let mut made = 0;
        for second in 0..600 {
            let available = rate.available(from_millis(second * 1000));
            rate.charge(available as u32);
            made += available;
        }
        assert_eq!(made, 40);
    }

    #[test]
    fn idle_time_is_saved_up_for_a_tenth_of_a_second_only() {
        let mut rate = Rate::new(100.0, from_millis(0));
        assert_eq!(rate.available(from_millis(3_600_000)), 10);
    }

    #[test]
    fn a_second_request_of_a_poll_is_paid_for_later() {
        let mut rate = Rate::new(1.0, from_millis(0));
        rate.charge(2);
        assert_eq!(rate.available(from_millis(1000)), 0);
        assert_eq!(rate.next(from_millis(1000)), from_millis(2000));
        assert_eq!(rate.available(from_millis(2000)), 1);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut rate = Rate::new(1.0, from_millis(10_000));
        rate.charge(1);
        assert_eq!(rate.available(from_millis(0)), 0);
        assert_eq!(rate.available(from_millis(10_500)), 0);
        assert_eq!(rate.available(from_millis(11_000)), 1);
    }
}
