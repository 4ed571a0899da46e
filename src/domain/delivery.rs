//! A delivery: *whether* a notification has been said. From the verdict of an attempt to the next state, purely.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Backoff, Timestamp, after};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// To be sent, now or later.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up or rejected: kept, listed, replayable.
    Dead,
    /// Not sent on purpose, and counted.
    Suppressed,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Suppressed];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Suppressed => "suppressed",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| format!("`{word}` is not a state: pending, delivered, dead, suppressed"))
    }
}

/// Why an attempt ended as it did: a closed list, also a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Taken.
    Ok,
    /// Some recipients took it, the others were refused for good.
    PartlyRefused,
    /// The receiver asked to wait: HTTP 429, SMTP 421 and the like.
    RateLimited,
    /// HTTP 401 or 403, Slack `invalid_auth`, SMTP 530/535: people mend that.
    Unauthorized,
    /// HTTP 404 and other 4xx that may be mended.
    ClientError,
    /// HTTP 5xx, SMTP 4xx.
    ServerError,
    /// HTTP 3xx: redirects are not followed.
    Redirect,
    /// The receiver said that this message can never be taken.
    Rejected,
    /// No connection: refused, reset, DNS.
    Connect,
    /// TLS failed.
    Tls,
    /// No answer in time: it may have arrived.
    Timeout,
    /// The connection was lost during the dialogue: it may have arrived.
    Interrupted,
    /// An answer that is not of the protocol.
    BadAnswer,
    /// The address is one that must not be called (SSRF guard).
    BlockedAddress,
    /// A secret could not be read.
    Secret,
    /// The destination is not in the configuration any more.
    DestinationGone,
    /// Given up after `retry.give_up_after`.
    GaveUp,
    /// A fault of our own.
    Internal,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Ok,
        Self::PartlyRefused,
        Self::RateLimited,
        Self::Unauthorized,
        Self::ClientError,
        Self::ServerError,
        Self::Redirect,
        Self::Rejected,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Interrupted,
        Self::BadAnswer,
        Self::BlockedAddress,
        Self::Secret,
        Self::DestinationGone,
        Self::GaveUp,
        Self::Internal,
    ];

    /// The word in metrics, logs and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::PartlyRefused => "partly_refused",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Redirect => "redirect",
            Self::Rejected => "rejected",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::BadAnswer => "bad_answer",
            Self::BlockedAddress => "blocked_address",
            Self::Secret => "secret",
            Self::DestinationGone => "destination_gone",
            Self::GaveUp => "gave_up",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word).ok_or_else(|| format!("`{word}` is not a reason"))
    }
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered {
        /// [`Reason::Ok`] or [`Reason::PartlyRefused`].
        reason: Reason,
    },
    /// Try again.
    Retry {
        /// Why.
        reason: Reason,
        /// `Retry-After`: honoured in full and uncharged. Never zero, see [`waits`].
        after: Option<Duration>,
    },
    /// Never try again.
    Reject {
        /// Why.
        reason: Reason,
    },
}

impl Verdict {
    /// Delivered to everybody.
    pub const OK: Self = Self::Delivered { reason: Reason::Ok };

    /// Try again at our own pace.
    pub const fn retry(reason: Reason) -> Self {
        Self::Retry { reason, after: None }
    }

    /// The word in metrics, logs and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Retry { .. } => "retry",
            Self::Reject { .. } => "reject",
        }
    }

    /// Why.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Delivered { reason } | Self::Retry { reason, .. } | Self::Reject { reason } => reason,
        }
    }
}

/// When to try again, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Waits between charged attempts.
    pub backoff: Backoff,
    /// After so long of trying, not counting the waits the receiver asked for, the delivery is dead.
    pub give_up_after: Duration,
}

/// What is remembered between two attempts: the columns of a pending delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Attempts done so far, of any kind.
    pub attempts: u32,
    /// Those that count against the pace: not the ones answered with `Retry-After`.
    pub charged: u32,
    /// When it is given up; set by the first attempt, moved by each `Retry-After`.
    pub give_up_at: Option<Timestamp>,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Delivered,
    /// Try again then.
    Due {
        /// When.
        at: Timestamp,
        /// What to remember.
        progress: Progress,
    },
    /// Dead, for that reason.
    Dead(Reason),
}

/// What to do after an attempt that ended now with `verdict`.
pub fn next(policy: &RetryPolicy, before: Progress, verdict: Verdict, now: Timestamp, chance: f64) -> Next {
    let attempts = before.attempts.saturating_add(1);
    let give_up_at = before.give_up_at.unwrap_or_else(|| after(now, policy.give_up_after));
    match verdict {
        Verdict::Delivered { .. } => Next::Delivered,
        Verdict::Reject { reason } => Next::Dead(reason),
        Verdict::Retry { after: Some(asked), .. } => Next::Due {
            at: after(now, asked),
            progress: Progress { attempts, give_up_at: Some(after(give_up_at, asked)), ..before },
        },
        Verdict::Retry { .. } if now >= give_up_at => Next::Dead(Reason::GaveUp),
        Verdict::Retry { .. } => Next::Due {
            // One last attempt at the end rather than a silent gap before it.
            at: after(now, policy.backoff.delay(before.charged, chance)).min(give_up_at),
            progress: Progress { attempts, charged: before.charged.saturating_add(1), give_up_at: Some(give_up_at) },
        },
    }
}

/// The one table of HTTP answers to a notification (CONTRACT, section 6).
///
/// `retry_after` is the parsed header; it makes any refusal one to try again.
pub fn verdict_of_http(status: u16, retry_after: Option<Duration>) -> Verdict {
    let reason = match status {
        200..=299 => return Verdict::OK,
        300..=399 => Reason::Redirect,
        401 | 403 => Reason::Unauthorized,
        429 => Reason::RateLimited,
        400..=499 => Reason::ClientError,
        500..=599 => Reason::ServerError,
        _ => Reason::BadAnswer,
    };
    if retry_after.is_none() && is_permanent(status) {
        return Verdict::Reject { reason: Reason::Rejected };
    }
    Verdict::Retry { reason, after: waits(retry_after) }
}

/// `Retry-After` where it asks for a wait. `0`, or a date that is over, asks for none: then our own pace counts, and
/// the attempt is charged. Else a receiver that always says so would be called without a pause and without an end.
pub fn waits(retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.filter(|asked| !asked.is_zero())
}

/// These say that the same bytes will be refused again, whatever people mend.
const fn is_permanent(status: u16) -> bool {
    matches!(status, 400 | 402 | 405 | 406 | 410..=418 | 422 | 431 | 451)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    const POLICY: RetryPolicy = RetryPolicy {
        backoff: Backoff { first: Duration::from_secs(2), growth: 2.0, max: Duration::from_secs(60) },
        give_up_after: Duration::from_secs(100),
    };
    const FRESH: Progress = Progress { attempts: 0, charged: 0, give_up_at: None };

    #[test]
    fn every_status_is_delivered_retried_or_rejected_as_the_contract_says() {
        for status in 100..700_u16 {
            let expected = match status {
                200..=299 => "delivered",
                400 | 402 | 405 | 406 | 410..=418 | 422 | 431 | 451 => "reject",
                _ => "retry",
            };
            assert_eq!(verdict_of_http(status, None).as_str(), expected, "{status}");
        }
    }

    #[test]
    fn a_retry_after_that_asks_for_no_wait_is_tried_again_at_our_own_pace_and_given_up_in_the_end() {
        for status in [400, 429, 503] {
            let verdict = verdict_of_http(status, Some(Duration::ZERO));
            assert!(matches!(verdict, Verdict::Retry { after: None, .. }), "{status}: {verdict:?}");
        }
    }

    #[test]
    fn retry_after_overrides_a_rejection_and_is_not_charged() {
        let asked = Duration::from_secs(30);
        let verdict = verdict_of_http(413, Some(asked));
        let Next::Due { at, progress } = next(&POLICY, FRESH, verdict, from_millis(0), 0.5) else { panic!() };
        assert_eq!(at, from_millis(30_000));
        assert_eq!(progress, Progress { attempts: 1, charged: 0, give_up_at: Some(from_millis(130_000)) });
    }

    #[test]
    fn waits_grow_and_the_last_attempt_is_at_the_end() {
        let retry = Verdict::retry(Reason::ServerError);
        let Next::Due { at, progress } = next(&POLICY, FRESH, retry, from_millis(0), 0.5) else { panic!() };
        assert_eq!((at, progress.charged), (from_millis(2000), 1));
        let Next::Due { at, .. } = next(&POLICY, progress, retry, from_millis(99_000), 0.5) else { panic!() };
        assert_eq!(at, from_millis(100_000));
        assert_eq!(next(&POLICY, progress, retry, from_millis(100_000), 0.5), Next::Dead(Reason::GaveUp));
    }

    #[test]
    fn words_come_back() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for state in DeliveryState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
