//! How many scans may be polled now: concurrency, rate, a provider that asks to slow down, one that refuses our key.
//!
//! A pure state machine: it is told what happened and when.

use std::time::Duration;

use crate::time::{Backoff, Rate, Timestamp, after};

/// Between two trials of a paused provider; with its spread never more than a minute.
const TRIALS: Backoff = Backoff { first: Duration::from_secs(4), growth: 2.0, max: Duration::from_secs(50) };
/// A pause this soon after the last one goes on with its waits: a key refused for some scans only must not flap fast.
const SAME_TROUBLE: Duration = Duration::from_secs(300);
/// So many answers in a row that ask to slow down are meant for all of us, not for one scan.
const THROTTLED: u32 = 3;
/// The whole provider rests at most so long; each scan waits for as long as it was told besides.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// And for so long where it was not told.
const USUAL_REST: Duration = Duration::from_secs(1);

/// The state.
#[derive(Debug)]
pub(super) struct Gate {
    concurrency: usize,
    rate: Option<Rate>,
    pause: Option<Pause>,
    /// When the last pause ended, and after how many trials.
    last_pause: Option<(Timestamp, u32)>,
    throttled_in_a_row: u32,
    rests_until: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    trials: u32,
    next_trial: Timestamp,
}

impl Gate {
    pub(super) fn new(concurrency: usize, requests_per_second: Option<f64>) -> Self {
        Self {
            concurrency,
            rate: requests_per_second.map(Rate::per_second),
            pause: None,
            last_pause: None,
            throttled_in_a_row: 0,
            rests_until: Timestamp::MIN,
        }
    }

    /// How many polls may begin while `in_hand` are going on, and whether it is the trial of a paused provider.
    pub(super) fn allows(&mut self, now: Timestamp, in_hand: usize) -> (usize, bool) {
        let tokens = self.rate.as_mut().map_or(usize::MAX, |rate| rate.available(now));
        if let Some(pause) = self.pause {
            let is_time = in_hand == 0 && now >= pause.next_trial;
            return (usize::from(is_time).min(tokens), true);
        }
        if now < self.rests_until {
            return (0, false);
        }
        let most = if self.is_throttled() { (self.concurrency / 4).max(1) } else { self.concurrency };
        (most.saturating_sub(in_hand).min(tokens), false)
    }

    /// When a closed gate opens by itself; `None`: when a poll in hand is done.
    pub(super) fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let token = self.rate.as_ref().map(|rate| rate.next(now));
        let pause = self.pause.map(|pause| pause.next_trial);
        let rest = (self.rests_until > now).then_some(self.rests_until);
        [token, pause, rest].into_iter().flatten().max().filter(|at| *at > now)
    }

    /// So many scans were claimed.
    pub(super) fn took(&mut self, many: usize, is_trial: bool, now: Timestamp) {
        if let Some(rate) = &mut self.rate {
            rate.charge(u32::try_from(many).unwrap_or(u32::MAX));
        }
        // Until its answer says otherwise: a trial that is never answered must not be the last.
        if let (true, Some(pause)) = (is_trial && many > 0, &mut self.pause) {
            pause.next_trial = after(now, TRIALS.max);
        }
    }

    /// A poll made more requests than the one it was charged for.
    pub(super) fn made(&mut self, requests: u32) {
        if let Some(rate) = &mut self.rate {
            rate.charge(requests.saturating_sub(1));
        }
    }

    /// An answer came that asks to slow down, perhaps for so long.
    pub(super) fn throttled(&mut self, asked: Option<Duration>, now: Timestamp) {
        self.throttled_in_a_row = self.throttled_in_a_row.saturating_add(1);
        if self.is_throttled() {
            self.rests_until = after(now, asked.unwrap_or(USUAL_REST).min(LONGEST_REST));
        }
    }

    /// An answer came that says something about its scan.
    pub(super) fn answered(&mut self) {
        self.throttled_in_a_row = 0;
    }

    fn is_throttled(&self) -> bool {
        self.throttled_in_a_row >= THROTTLED
    }

    /// The key was refused. `true`: this is the beginning of a pause.
    pub(super) fn refused(&mut self, is_trial: bool, now: Timestamp, chance: f64) -> bool {
        match &mut self.pause {
            Some(pause) if is_trial => {
                pause.trials = pause.trials.saturating_add(1);
                pause.next_trial = after(now, TRIALS.delay(pause.trials, chance));
                false
            }
            Some(_) => false,
            None => {
                let recent = self.last_pause.filter(|(ended, _)| now < after(*ended, SAME_TROUBLE));
                let trials = recent.map_or(0, |(_, trials)| trials.saturating_add(1));
                self.pause = Some(Pause { trials, next_trial: after(now, TRIALS.delay(trials, chance)) });
                true
            }
        }
    }

    /// The trial found nobody at home, which says nothing about the key: try again later.
    pub(super) fn trial_unanswered(&mut self, now: Timestamp, chance: f64) {
        self.refused(true, now, chance);
    }

    /// The key was taken. `true`: this is the end of a pause. Only a trial ends one: an answer to a poll that was
    /// already under way says nothing about now.
    pub(super) fn taken(&mut self, is_trial: bool, now: Timestamp) -> bool {
        match self.pause {
            Some(pause) if is_trial => {
                self.pause = None;
                self.last_pause = Some((now, pause.trials));
                true
            }
            _ => false,
        }
    }

    /// Whether the provider is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// When a paused provider is tried next.
    pub(super) fn trial_at(&self) -> Option<Timestamp> {
        self.pause.map(|pause| pause.next_trial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    fn at(seconds: i64) -> Timestamp {
        from_millis(seconds * 1000)
    }

    #[test]
    fn free_slots_and_tokens_bound_what_may_begin() {
        let mut gate = Gate::new(8, Some(50.0));
        assert_eq!(gate.allows(at(0), 0), (5, false));
        assert_eq!(gate.allows(at(0), 7), (1, false));
        assert_eq!(gate.allows(at(0), 8), (0, false));
        gate.took(5, false, at(0));
        assert_eq!(gate.allows(at(0), 0), (0, false));
        assert_eq!(gate.opens_at(at(0)), Some(from_millis(20)));
    }

    #[test]
    fn a_paused_provider_is_tried_with_one_scan_at_least_every_minute() {
        let mut gate = Gate::new(8, None);
        assert!(gate.refused(false, at(0), 1.0));
        assert!(!gate.refused(false, at(0), 1.0), "the others in hand do not begin it again");
        let mut now = at(0);
        for _ in 0..20 {
            assert_eq!(gate.allows(now, 0), (0, true));
            let next = gate.trial_at().unwrap();
            assert!(next <= after(now, Duration::from_secs(60)));
            now = next;
            assert_eq!(gate.allows(now, 1), (0, true), "not while another is in hand");
            assert_eq!(gate.allows(now, 0), (1, true));
            gate.took(1, true, now);
            assert_eq!(gate.allows(now, 0), (0, true));
            gate.refused(true, now, 1.0);
        }
        assert!(!gate.taken(false, now), "a late answer ends no pause");
        assert!(gate.taken(true, now) && !gate.is_paused());
        assert_eq!(gate.allows(now, 0), (8, false));
    }

    #[test]
    fn a_key_refused_again_soon_waits_longer_than_the_first_time() {
        let mut gate = Gate::new(8, None);
        gate.refused(false, at(0), 0.5);
        assert_eq!(gate.trial_at(), Some(at(4)));
        gate.taken(true, at(4));
        gate.refused(false, at(5), 0.5);
        assert_eq!(gate.trial_at(), Some(at(13)));
        gate.taken(true, at(13));
        gate.refused(false, at(1000), 0.5);
        assert_eq!(gate.trial_at(), Some(at(1004)));
    }

    #[test]
    fn a_row_of_429_slows_everybody_down_a_little_and_one_answer_ends_it() {
        let mut gate = Gate::new(8, None);
        let asked = Some(Duration::from_secs(315_360_000));
        gate.throttled(asked, at(0));
        gate.throttled(asked, at(0));
        assert_eq!(gate.allows(at(0), 0).0, 8, "one scan's wait is that scan's");
        gate.throttled(asked, at(0));
        assert_eq!(gate.allows(at(1), 0).0, 0);
        assert_eq!(gate.opens_at(at(1)), Some(at(2)));
        assert_eq!(gate.allows(at(2), 0).0, 2);
        gate.answered();
        assert_eq!(gate.allows(at(2), 0).0, 8);
    }
}
