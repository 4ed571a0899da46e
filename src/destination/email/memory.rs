//! Who of a delivery's recipients is settled already, while others are tried again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Deliveries that are half told are few; beyond this the oldest are forgotten (and told again in full).
const MOST: usize = 10_000;

/// A recipient who needs no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Has the message.
    Accepted,
    /// Was refused for good.
    Refused,
}

/// By delivery: where each recipient stands, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    standing: HashMap<Uuid, Vec<Option<Settled>>>,
    order: VecDeque<Uuid>,
}

impl Memory {
    /// Where `recipients` recipients of a delivery stand.
    pub(super) fn of(&self, delivery: Uuid, recipients: usize) -> Vec<Option<Settled>> {
        self.lock().standing.get(&delivery).cloned().unwrap_or_else(|| vec![None; recipients])
    }

    /// Remembers it, unless nobody is settled yet.
    pub(super) fn keep(&self, delivery: Uuid, standing: Vec<Option<Settled>>) {
        if standing.iter().all(Option::is_none) {
            return;
        }
        let mut inner = self.lock();
        if inner.standing.insert(delivery, standing).is_none() {
            inner.order.push_back(delivery);
        }
        if inner.order.len() > MOST
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.standing.remove(&oldest);
        }
    }

    /// The delivery is done.
    pub(super) fn forget(&self, delivery: Uuid) {
        let mut inner = self.lock();
        if inner.standing.remove(&delivery).is_some() {
            inner.order.retain(|kept| *kept != delivery);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
