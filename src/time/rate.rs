//! So many a second: a bucket of tokens over our own clock.
//!
//! It can be asked without being charged, and is charged afterwards with what really happened: a row is claimed only
//! when there is a token for it. (`governor` can only take: what it hands out is lost whenever nothing is due.)

use std::time::Duration;

use super::{Timestamp, after, until};

/// Tokens are saved up for at most this long, so that no second sees much more than its share: at one a second that
/// is one, and never two.
const BURST: f64 = 0.1;

/// The bucket.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    tokens: f64,
    /// `None` until it is asked first.
    filled_at: Option<Timestamp>,
}

impl Rate {
    /// A bucket that starts full.
    pub fn per_second(per_second: f64) -> Self {
        Self { per_second, tokens: burst(per_second), filled_at: None }
    }

    /// Whole tokens there are now. A clock that was turned back gives nothing, and is believed from then on.
    pub fn available(&mut self, now: Timestamp) -> usize {
        let gained = until(self.filled_at.unwrap_or(now), now).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(burst(self.per_second));
        self.filled_at = Some(now);
        // A thousandth of a token is what rounding to milliseconds costs.
        (self.tokens + 0.001).max(0.0) as usize
    }

    /// Takes tokens; more than there are is a debt that later requests wait for.
    pub fn charge(&mut self, many: u32) {
        self.tokens -= f64::from(many);
    }

    /// When there is a whole token, seen from `now`, the time of the last [`Rate::available`].
    pub fn next(&self, now: Timestamp) -> Timestamp {
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
        let mut rate = Rate::per_second(4.0 / 60.0);
        let mut made = 0;
        for second in 0..600 {
            let available = rate.available(from_millis(second * 1000));
            rate.charge(available as u32);
            made += available;
        }
        assert_eq!(made, 40);
    }

    #[test]
    fn one_a_second_is_one_a_second_however_long_nothing_happened() {
        let mut rate = Rate::per_second(1.0);
        assert_eq!(rate.available(from_millis(0)), 1);
        assert_eq!(rate.available(from_millis(0)), 1, "looking takes nothing");
        rate.charge(1);
        assert_eq!(rate.available(from_millis(500)), 0);
        assert_eq!(rate.next(from_millis(500)), from_millis(1000));
        assert_eq!(rate.available(from_millis(998)), 0);
        assert_eq!(rate.available(from_millis(1000)), 1);
        assert_eq!(rate.available(from_millis(3_600_000)), 1);
    }

    #[test]
    fn idle_time_is_saved_up_for_a_tenth_of_a_second_only() {
        let mut rate = Rate::per_second(100.0);
        rate.available(from_millis(0));
        assert_eq!(rate.available(from_millis(3_600_000)), 10);
    }

    #[test]
    fn a_second_request_of_a_poll_is_paid_for_later() {
        let mut rate = Rate::per_second(1.0);
        rate.available(from_millis(0));
        rate.charge(2);
        assert_eq!(rate.available(from_millis(1000)), 0);
        assert_eq!(rate.next(from_millis(1000)), from_millis(2000));
        assert_eq!(rate.available(from_millis(2000)), 1);
    }

    #[test]
    fn a_clock_that_is_turned_back_gives_nothing_and_stops_nothing() {
        let mut rate = Rate::per_second(1.0);
        rate.available(from_millis(3_600_000));
        rate.charge(1);
        assert_eq!(rate.available(from_millis(0)), 0);
        assert_eq!(rate.available(from_millis(1000)), 1);
    }
}
