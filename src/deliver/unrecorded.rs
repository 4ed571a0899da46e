//! Attempts that were made and could not be written down yet, so that a hiccup of the store doubles no message.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::store::{AttemptRecord, Claim};

/// By delivery. If its lease ends meanwhile and we claim it again, the attempt is written under the new lease.
#[derive(Debug, Default)]
pub(super) struct Unrecorded(Mutex<HashMap<Uuid, AttemptRecord>>);

impl Unrecorded {
    /// Keeps an attempt that could not be written.
    pub(super) fn keep(&self, record: &AttemptRecord) {
        // One that was adopted meanwhile has the newer lease and stays.
        self.lock().entry(record.delivery).or_insert_with(|| record.clone());
    }

    /// It is written, or somebody else has the delivery now: unless it was adopted since.
    pub(super) fn done(&self, delivery: Uuid, claim: Claim) {
        let mut kept = self.lock();
        if kept.get(&delivery).is_some_and(|record| record.claim == claim) {
            kept.remove(&delivery);
        }
    }

    /// The attempt that was made under an earlier lease, now under `claim`.
    pub(super) fn adopt(&self, delivery: Uuid, claim: Claim) -> Option<AttemptRecord> {
        let mut kept = self.lock();
        let record = kept.get_mut(&delivery)?;
        record.claim = claim;
        Some(record.clone())
    }

    /// Whether it is still to be written under this lease.
    pub(super) fn is_open(&self, delivery: Uuid, claim: Claim) -> bool {
        self.lock().get(&delivery).is_some_and(|record| record.claim == claim)
    }

    /// Whether an attempt of this delivery is still to be written.
    #[cfg(test)]
    pub(super) fn holds(&self, delivery: Uuid) -> bool {
        self.lock().contains_key(&delivery)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, AttemptRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
