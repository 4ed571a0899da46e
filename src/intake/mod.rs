//! Accepts requests exactly once: checks them against the configuration, commits them, wakes the watchers.
//!
//! Knows nothing of polling or telling. [`amqp`] feeds it from the broker, the API from HTTP. What it has answered
//! with [`Outcome::Accepted`] is in the store; until then nobody may be told that it was taken.

pub mod amqp;
mod key;
mod rules;

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::domain::request::{Entry, Refusal, Request};
use crate::domain::scan::ScanKey;
use crate::store::{Accepted, AcceptedState, NewRequest, SharedStore, StoreError};
use crate::telemetry::metrics;
use crate::time::{Clock, Timestamp, after};

pub use rules::{CheckId, ProviderRule, Rules};

/// By which way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the broker.
    Amqp,
    /// `POST /v1/requests`.
    Http,
    /// From a command that runs by itself.
    Cli,
}

impl Source {
    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Http => "http",
            Self::Cli => "cli",
        }
    }
}

/// One request as it came, with what tells it from its own repetition.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The request, or why it could not be read.
    pub request: Result<Request, Refusal>,
    /// What the envelope offers as idempotency key where the request has no `id`.
    pub envelope_key: Option<String>,
    /// For a message that may come again by itself.
    pub sighting: Option<Sighting>,
}

/// How a message is recognised that has no ID and that the broker may deliver again.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The same for every delivery of one message; also for another message that is equal to it.
    pub digest: String,
    /// The broker says that it has delivered this message before.
    pub redelivered: bool,
}

impl From<Entry> for Asked {
    fn from(entry: Entry) -> Self {
        Self { request: entry.request, envelope_key: entry.envelope_key, sighting: None }
    }
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the store.
    Accepted {
        /// Our id of the scan.
        scan: Uuid,
        /// The configured name of the provider.
        provider: String,
        /// The provider's ID.
        scan_id: String,
        /// What became of it.
        state: AcceptedState,
    },
    /// It is not, and never will be as it stands.
    Refused(Refusal),
}

impl Outcome {
    fn accepted(key: ScanKey, answer: Accepted) -> Self {
        Self::Accepted { scan: answer.scan, provider: key.provider, scan_id: key.scan_id, state: answer.state }
    }
}

/// The step: shared by everything that takes requests.
pub struct Intake {
    store: SharedStore,
    rules: Rules,
    clock: Clock,
    dedupe: Duration,
}

impl Intake {
    /// `dedupe`: a scan that finished less than this ago is not followed again, unless forced.
    pub fn new(store: SharedStore, rules: Rules, clock: Clock, dedupe: Duration) -> Self {
        Self { store, rules, clock, dedupe }
    }

    /// Accepts or refuses each request, in order, with one commit for all of them.
    ///
    /// An error means that none was accepted; the same call may be made again. Refusals are counted and logged here.
    pub async fn submit(&self, source: Source, asked: &[Asked]) -> Result<Vec<Outcome>, StoreError> {
        let now = self.clock.now();
        let checked: Vec<Result<NewRequest, Refusal>> = asked.iter().map(|asked| self.check(asked, now)).collect();
        let requests: Vec<NewRequest> = checked.iter().filter_map(|request| request.as_ref().ok().cloned()).collect();
        let accepted = if requests.is_empty() { Vec::new() } else { self.store.accept(requests).await? };
        let mut accepted = accepted.into_iter();
        let mut outcomes = Vec::with_capacity(checked.len());
        for request in checked {
            outcomes.push(match request {
                Err(refusal) => Outcome::Refused(refusal),
                // A store that answers fewer than it was asked has not accepted them.
                Ok(request) => match accepted.next() {
                    Some(answer) => Outcome::accepted(request.key, answer),
                    None => {
                        return Err(StoreError::Unusable("it answered fewer requests than it was given".to_owned()));
                    }
                },
            });
        }
        self.announce(source, &outcomes);
        Ok(outcomes)
    }

    /// Counts and logs the refusal of a message of which nothing could be read.
    pub fn refused(&self, source: Source, refusal: &Refusal) {
        metrics::request(source.as_str(), refusal.reason.as_str());
        warn!(source = source.as_str(), reason = refusal.reason.as_str(), "request refused: {}", refusal.error);
    }

    /// Checks a request against the configuration and gives it its times.
    fn check(&self, asked: &Asked, now: Timestamp) -> Result<NewRequest, Refusal> {
        let request = asked.request.as_ref().map_err(Clone::clone)?;
        let (provider, rule) = self.rules.provider(request.provider.as_deref())?;
        rule.check(&request.scan_id)?;
        for name in request.destinations.iter().flatten() {
            self.rules.destination(name)?;
        }
        let scan = ScanKey { provider: provider.to_owned(), scan_id: request.scan_id.clone() };
        let (idempotency_key, first_sight) = key::of(asked, request, &scan, self.dedupe);
        Ok(NewRequest {
            key: scan,
            destinations: request.destinations.clone(),
            labels: request.labels.clone(),
            force: request.force,
            idempotency_key,
            first_sight,
            redelivered: asked.sighting.as_ref().is_some_and(|sighting| sighting.redelivered),
            accepted_at: now,
            deadline_at: after(now, request.deadline.unwrap_or(rule.deadline)),
            dedupe_since: now.checked_sub(self.dedupe).unwrap_or(Timestamp::MIN),
        })
    }

    /// Counts and logs what became of each, and wakes the watchers that have something new to follow.
    fn announce(&self, source: Source, outcomes: &[Outcome]) {
        let mut awake = BTreeSet::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Refused(refusal) => self.refused(source, refusal),
                Outcome::Accepted { scan, provider, state, .. } => {
                    metrics::request(source.as_str(), word(*state));
                    if *state == AcceptedState::Following {
                        info!(scan.id = %scan, provider.name = provider, source = source.as_str(), "following");
                        awake.insert(provider.as_str());
                    } else {
                        debug!(scan.id = %scan, provider.name = provider, source = source.as_str(), "{}", word(*state));
                    }
                }
            }
        }
        for provider in awake {
            self.rules.wake(provider);
        }
    }
}

const fn word(state: AcceptedState) -> &'static str {
    match state {
        AcceptedState::Following => "following",
        AcceptedState::Joined => "joined",
        AcceptedState::Duplicate => "duplicate",
    }
}
