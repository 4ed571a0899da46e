//! What a poll says about the provider as a whole, and the one word to the operator about it.

use std::sync::{Mutex, PoisonError};

use super::{Paused, Watcher};
use crate::domain::notification::OperatorEvent;
use crate::domain::scan::Observation;
use crate::provider::Seen;
use crate::telemetry::metrics;
use crate::time::{Timestamp, chance};

/// What the operator should know, and whether the store was told.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Word>);

#[derive(Debug, Default)]
struct Word {
    wanted: Option<OperatorEvent>,
    is_done: bool,
    /// After a start the store may hold an open event of an earlier life: the first good answer resolves it.
    known_well: bool,
}

impl Events {
    fn want(&self, event: OperatorEvent) {
        let mut word = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        word.known_well = event.resolved;
        (word.wanted, word.is_done) = (Some(event), false);
    }

    fn is_known_well(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known_well
    }

    /// The event to tell, once: a second caller gets none.
    fn take(&self) -> Option<OperatorEvent> {
        let mut word = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut word.is_done, true) {
            return None;
        }
        word.wanted.clone()
    }

    /// It could not be told: again next time.
    fn give_back(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_done = false;
    }
}

impl Watcher {
    /// Draws the conclusions of a poll for the provider as a whole.
    pub(super) fn note_seen(&self, seen: &Seen, is_trial: bool, now: Timestamp) {
        let mut gate = self.gate();
        gate.made(seen.requests);
        match &seen.observation {
            Observation::Unauthorized => {
                if gate.refused(is_trial, now, chance()) {
                    drop(gate);
                    self.pause(&seen.detail, now);
                }
            }
            Observation::Unavailable { retry_after } => {
                if is_trial {
                    gate.trial_unanswered(now, chance());
                }
                if seen.throttled {
                    gate.throttled(*retry_after, now);
                }
            }
            Observation::Running { .. } | Observation::NotFound { .. } | Observation::Ended(_) => {
                gate.answered();
                let resumed = gate.taken(is_trial, now);
                let paused = gate.is_paused();
                drop(gate);
                if resumed || (!paused && !self.events.is_known_well()) {
                    self.resume(resumed, now);
                }
            }
        }
    }

    fn pause(&self, reason: &str, now: Timestamp) {
        let name = self.provider.name();
        tracing::error!(
            provider.name = name,
            reason,
            "provider paused: it refuses our key; mend api_key or api_key_file"
        );
        metrics::provider_paused(name, true);
        self.health.set(Some(Paused { since: now, reason: reason.to_owned() }));
        self.events.want(self.event(
            false,
            format!("Provider {name} is paused: it refuses our key"),
            format!(
                "{name} answered: {reason}. No scan of {name} is polled until it takes the key again; none has failed. \
                 Put a valid key into api_key_file (it is read again at every try, at the latest each minute), or \
                 change api_key and restart."
            ),
            now,
        ));
    }

    fn resume(&self, was_paused: bool, now: Timestamp) {
        let name = self.provider.name();
        if was_paused {
            tracing::info!(provider.name = name, "provider resumed: it takes our key again");
            metrics::provider_paused(name, false);
            self.health.set(None);
        }
        self.events.want(self.event(
            true,
            format!("Provider {name} takes our key again"),
            format!("Scans of {name} are polled as usual."),
            now,
        ));
    }

    fn event(&self, resolved: bool, title: String, text: String, at: Timestamp) -> OperatorEvent {
        let key = format!("provider-paused:{}", self.provider.name());
        OperatorEvent { key, resolved, title, text, at, about_destination: None }
    }

    /// Tells the store what the operator should know, if it does not know yet.
    pub(super) async fn tell_operator(&self) {
        let Some(event) = self.events.take() else { return };
        let raised = self.store.raise_event(event).await;
        match self.note_store(raised) {
            Some(true) => self.announce.wake(),
            Some(false) => {}
            None => self.events.give_back(),
        }
    }
}
