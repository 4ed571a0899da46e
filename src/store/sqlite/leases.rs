//! Who holds which row until when.
//!
//! One daemon at a time works on the file ([`super::owner`]), so its leases need not be rows: a claim writes nothing,
//! and after a crash nothing is held. They belong to the thread that writes, which is asked for every claim and
//! every write under one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::store::Claim;
use crate::time::{Timestamp, from_millis};

/// What was read of a row when it was claimed and does not change while it is held: writing it need not read it again.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// A scan that is followed, at this provider.
    Scan(Arc<str>),
    /// A finished scan that nobody was told of, and when it finished (milliseconds since 1970).
    Finished(i64),
    /// An event that nobody was told of, and when it happened (the same).
    Event(i64),
    /// A delivery to this destination.
    Delivery(Arc<str>),
}

#[derive(Debug)]
struct Lease {
    claim: Claim,
    end: Timestamp,
    held: Held,
}

/// All leases. What an operation ends is held until its transaction is committed.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<Uuid, Lease>,
    ended: HashSet<Uuid>,
}

impl Leases {
    /// Whether somebody holds the row at `now`.
    pub(super) fn is_taken(&self, id: Uuid, now: Timestamp) -> bool {
        self.held.get(&id).is_some_and(|lease| lease.end > now)
    }

    /// Gives the row to `claim`; an earlier holder loses it.
    pub(super) fn take(&mut self, id: Uuid, claim: Claim, end: Timestamp, held: Held) {
        self.held.insert(id, Lease { claim, end, held });
    }

    /// The row that `claim` still has: it may be past its end as long as nobody else took the row.
    pub(super) fn of(&self, id: Uuid, claim: Claim) -> Option<&Held> {
        let lease = self.held.get(&id).filter(|lease| lease.claim == claim)?;
        (!self.ended.contains(&id)).then_some(&lease.held)
    }

    /// The open transaction is the last thing its holder does with the row.
    pub(super) fn end(&mut self, id: Uuid) {
        self.ended.insert(id);
    }

    /// The row is free now, if `claim` has it.
    pub(super) fn release(&mut self, id: Uuid, claim: Claim) {
        if self.of(id, claim).is_some() {
            self.held.remove(&id);
        }
    }

    /// The transaction is committed.
    pub(super) fn committed(&mut self) {
        for id in self.ended.drain() {
            self.held.remove(&id);
        }
    }

    /// The transaction was rolled back: its operations may be tried again.
    pub(super) fn rolled_back(&mut self) {
        self.ended.clear();
    }

    /// Of rows in the order of their due times, the earliest time at which one is due or its lease ends.
    pub(super) fn next_due<E>(
        &self,
        rows: impl Iterator<Item = Result<(Uuid, i64), E>>,
    ) -> Result<Option<Timestamp>, E> {
        let mut next: Option<Timestamp> = None;
        for row in rows {
            let (id, due) = row?;
            match self.held.get(&id) {
                Some(lease) => next = Some(next.map_or(lease.end, |next| next.min(lease.end))),
                // The rows after it are due later, and those among them that are held were due when they were taken.
                None => return Ok(Some(next.map_or(from_millis(due), |next| next.min(from_millis(due))))),
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Held = Held::Finished(0);

    #[test]
    fn what_a_transaction_ends_is_ended_by_its_commit_alone() {
        let (id, claim) = (Uuid::from_u128(1), Claim(7));
        let mut leases = Leases::default();
        leases.take(id, claim, from_millis(1000), ROW);
        leases.end(id);
        assert!(leases.of(id, claim).is_none(), "not twice in one transaction");
        leases.rolled_back();
        assert!(leases.of(id, claim).is_some(), "the operation may be tried again");
        leases.end(id);
        leases.committed();
        assert!(leases.of(id, claim).is_none() && !leases.is_taken(id, from_millis(0)));
    }

    #[test]
    fn a_lease_that_ran_out_holds_until_another_takes_the_row() {
        let (id, first, second) = (Uuid::from_u128(1), Claim(1), Claim(2));
        let mut leases = Leases::default();
        leases.take(id, first, from_millis(1000), ROW);
        assert!(leases.is_taken(id, from_millis(999)) && !leases.is_taken(id, from_millis(1000)));
        assert!(leases.of(id, first).is_some());
        leases.take(id, second, from_millis(2000), ROW);
        leases.release(id, first);
        assert!(leases.of(id, first).is_none() && leases.of(id, second).is_some());
    }
}
