//! A scan: the thing at the provider, with its state here. A pure state machine.
//!
//! [`next`] is all of "following": from what one poll saw to when to poll again, or to the outcome.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Backoff, Timestamp, after};

/// What a scan is known by: (provider, `scan_id`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScanKey {
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's ID.
    pub scan_id: String,
}

/// How a scan ended: exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider finished it; the report has a verdict.
    Completed,
    /// The provider could not scan it.
    Failed,
    /// The provider does not scan such things: not analysed.
    Unsupported,
    /// The provider does not know it.
    NotFound,
    /// It was not finished at the deadline.
    TimedOut,
}

impl Outcome {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 5] = [Self::Completed, Self::Failed, Self::Unsupported, Self::NotFound, Self::TimedOut];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not_found",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
            .ok_or_else(|| format!("`{word}` is not an outcome: completed, failed, unsupported, not_found, timed_out"))
    }
}

/// The pace of the polls of one provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Waits between polls.
    pub backoff: Backoff,
    /// How long to follow, unless the request says otherwise; counted from acceptance.
    pub deadline: Duration,
    /// How long "not found" is taken for "not there yet".
    pub not_found_grace: Duration,
}

/// What is remembered between two polls: the columns of a waiting scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracking {
    /// When following ends.
    pub deadline_at: Timestamp,
    /// Polls done so far.
    pub polls: u32,
    /// Since when the provider says that it does not know the scan.
    pub not_found_since: Option<Timestamp>,
}

/// What one poll saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Not finished yet; unknown status words are this too.
    Running {
        /// `Retry-After`, as the provider asked.
        retry_after: Option<Duration>,
    },
    /// Terminal: the provider said so by status word or HTTP status.
    Ended(Outcome),
    /// 404, or what the profile says means it.
    NotFound {
        /// `Retry-After`, as the provider asked.
        retry_after: Option<Duration>,
    },
    /// 429, 5xx, time-outs, unreadable bodies: says nothing about the scan.
    Unavailable {
        /// `Retry-After`, as the provider asked.
        retry_after: Option<Duration>,
    },
    /// 401 or 403: says nothing about the scan and everything about our key. The watcher pauses the provider.
    Unauthorized,
}

/// What follows from an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Poll again then.
    Poll {
        /// When.
        at: Timestamp,
        /// What to remember.
        tracking: Tracking,
    },
    /// Finished.
    Finish(Outcome),
}

/// What to do after `seen`.
///
/// A scan times out only by a poll at or after its deadline that did not see it finished: one that was paused
/// or down over its deadline is looked at once more before anybody is told. The last wait therefore ends at the
/// deadline, and `Retry-After` is clamped to it.
pub fn next(pace: &Pace, before: Tracking, seen: &Observation, now: Timestamp, chance: f64) -> Next {
    let polls = before.polls.saturating_add(1);
    let (retry_after, not_found_since) = match *seen {
        Observation::Ended(outcome) => return Next::Finish(outcome),
        // Not this scan's fault: nothing is counted, not even the deadline.
        Observation::Unauthorized => {
            return Next::Poll { at: after(now, pace.backoff.first), tracking: before };
        }
        Observation::NotFound { retry_after } => {
            let since = before.not_found_since.unwrap_or(now);
            if now >= after(since, pace.not_found_grace) {
                return Next::Finish(Outcome::NotFound);
            }
            (retry_after, Some(since))
        }
        Observation::Running { retry_after } => (retry_after, None),
        // A stumble of the provider neither proves nor disproves that the scan exists.
        Observation::Unavailable { retry_after } => (retry_after, before.not_found_since),
    };
    if now >= before.deadline_at {
        return Next::Finish(Outcome::TimedOut);
    }
    let paced = || {
        let at = after(now, wait(&pace.backoff, before.polls, chance));
        let grace_ends = not_found_since.map(|since| after(since, pace.not_found_grace).max(after(now, MIN_WAIT)));
        grace_ends.map_or(at, |end| at.min(end))
    };
    // Who asks for no wait at all (`Retry-After: 0`, a date that is over) gets our own.
    let asked = retry_after.filter(|asked| !asked.is_zero());
    let at = asked.map_or_else(paced, |asked| after(now, asked.max(MIN_WAIT))).min(before.deadline_at);
    Next::Poll { at, tracking: Tracking { polls, not_found_since, ..before } }
}

/// The wait after `polls` earlier ones. The first one is spread by half of it either way: scans that came together
/// must not be polled together for the rest of their lives, which ±20 % alone takes many polls to achieve.
fn wait(backoff: &Backoff, polls: u32, chance: f64) -> Duration {
    backoff.spread(polls, chance, if polls == 0 { 0.5 } else { 0.2 })
}

/// No wait is shorter than this, whoever asks: it must not become a busy loop.
const MIN_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    const PACE: Pace = Pace {
        backoff: Backoff { first: Duration::from_secs(2), growth: 2.0, max: Duration::from_secs(30) },
        deadline: Duration::from_secs(1800),
        not_found_grace: Duration::from_secs(60),
    };

    fn tracking() -> Tracking {
        Tracking { deadline_at: from_millis(1_800_000), polls: 0, not_found_since: None }
    }

    fn running(retry_after: Option<u64>) -> Observation {
        Observation::Running { retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn scans_that_came_together_are_polled_apart() {
        let second_poll = |chance| match next(&PACE, tracking(), &running(None), from_millis(0), chance) {
            Next::Poll { at, .. } => at,
            Next::Finish(_) => panic!(),
        };
        assert_eq!((second_poll(0.0), second_poll(1.0)), (from_millis(1000), from_millis(3000)));
    }

    #[test]
    fn waits_grow_from_poll_to_poll() {
        let Next::Poll { at, tracking } = next(&PACE, tracking(), &running(None), from_millis(0), 0.5) else {
            panic!()
        };
        assert_eq!(at, from_millis(2000));
        let Next::Poll { at, .. } = next(&PACE, tracking, &running(None), from_millis(0), 0.5) else { panic!() };
        assert_eq!(at, from_millis(4000));
    }

    #[test]
    fn retry_after_replaces_the_pace_but_not_the_deadline() {
        let at = |seconds| match next(&PACE, tracking(), &running(Some(seconds)), from_millis(0), 0.5) {
            Next::Poll { at, .. } => at,
            Next::Finish(outcome) => panic!("{outcome}"),
        };
        assert_eq!(at(120), from_millis(120_000));
        assert_eq!(at(315_360_000), from_millis(1_800_000));
        assert_eq!(at(0), from_millis(2000), "who asks for no wait is not hammered");
    }

    #[test]
    fn a_scan_that_is_not_found_yet_is_not_asked_for_before_its_retry_after_even_over_the_grace() {
        let missing = |seconds| Observation::NotFound { retry_after: Some(Duration::from_secs(seconds)) };
        let at = |seconds| match next(&PACE, tracking(), &missing(seconds), from_millis(0), 0.5) {
            Next::Poll { at, .. } => at,
            Next::Finish(outcome) => panic!("{outcome}"),
        };
        assert_eq!((at(30), at(120)), (from_millis(30_000), from_millis(120_000)));
        assert_eq!(at(3600), from_millis(1_800_000), "but not beyond the deadline");
    }

    #[test]
    fn a_scan_times_out_only_after_a_last_look_at_its_deadline() {
        let now = from_millis(1_800_000);
        assert_eq!(next(&PACE, tracking(), &running(None), now, 0.5), Next::Finish(Outcome::TimedOut));
        let ended = Observation::Ended(Outcome::Completed);
        assert_eq!(next(&PACE, tracking(), &ended, now, 0.5), Next::Finish(Outcome::Completed));
    }

    #[test]
    fn not_found_is_tolerated_for_the_grace_and_forgiven_when_it_is_found() {
        let missing = Observation::NotFound { retry_after: None };
        let Next::Poll { tracking: after_one, .. } = next(&PACE, tracking(), &missing, from_millis(1000), 0.5) else {
            panic!()
        };
        assert_eq!(after_one.not_found_since, Some(from_millis(1000)));
        assert_eq!(next(&PACE, after_one, &missing, from_millis(61_000), 0.5), Next::Finish(Outcome::NotFound));
        let Next::Poll { tracking, .. } = next(&PACE, after_one, &running(None), from_millis(2000), 0.5) else {
            panic!()
        };
        assert_eq!(tracking.not_found_since, None);
    }

    #[test]
    fn a_refused_key_counts_against_no_scan_even_after_its_deadline() {
        let late = from_millis(9_000_000);
        let Next::Poll { tracking: kept, .. } = next(&PACE, tracking(), &Observation::Unauthorized, late, 0.5) else {
            panic!()
        };
        assert_eq!(kept, tracking());
    }
}
