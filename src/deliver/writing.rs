//! Writes attempts down: many in one call, and again until the store has them.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Deliverer, STORE_PAUSE};
use crate::store::{AttemptRecord, StoreError};

impl Deliverer {
    /// Writes down what was sent, many attempts in one call, until nobody sends any more.
    pub(super) async fn keep_records(self: Arc<Self>, mut records: mpsc::Receiver<AttemptRecord>, at_most: usize) {
        let mut batch = Vec::with_capacity(at_most);
        while records.recv_many(&mut batch, at_most).await > 0 {
            self.write_down(std::mem::take(&mut batch)).await;
        }
    }

    /// Writes attempts down, as often as it takes: what was sent and is not written would be sent again.
    pub(super) async fn write_down(&self, mut records: Vec<AttemptRecord>) {
        let mut together = true;
        while !records.is_empty() {
            let mut left = Vec::new();
            // After a failure one by one: an attempt that cannot be written must not hold up the others.
            let size = if std::mem::replace(&mut together, false) { records.len() } else { 1 };
            for batch in records.chunks(size) {
                if let Err(error) = self.write_batch(batch).await {
                    tracing::warn!(destination.name = self.destination.name(), attempts = batch.len(), %error,
                        "attempts could not be written down, trying again");
                    for record in batch {
                        self.unrecorded.keep(record);
                    }
                    left.extend_from_slice(batch);
                    if size == 1 {
                        tokio::time::sleep(STORE_PAUSE).await;
                    }
                }
            }
            // Without those that were adopted under a newer lease.
            left.retain(|record| self.unrecorded.is_open(record.delivery, record.claim));
            records = left;
        }
    }

    async fn write_batch(&self, records: &[AttemptRecord]) -> Result<(), StoreError> {
        let written = self.store.record_attempts(records.to_vec()).await?;
        for (record, written) in records.iter().zip(written) {
            if !written {
                tracing::warn!(delivery.id = %record.delivery, destination.name = self.destination.name(),
                    "an attempt was not written down: its lease had been taken over");
            }
            self.unrecorded.done(record.delivery, record.claim);
        }
        Ok(())
    }
}
