//! Who holds which row until when.
//!
//! One daemon at a time works on the file ([`super::owner`]), so its leases need not be rows: a claim writes nothing,
//! and after a crash nothing is held. They belong to the thread that writes, which is asked for every claim and
//! every write under one.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::store::Claim;
use crate::time::{Timestamp, from_millis};

#[derive(Debug, Clone, Copy)]
struct Lease {
    claim: Claim,
    end: Timestamp,
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
    pub(super) fn take(&mut self, id: Uuid, claim: Claim, end: Timestamp) {
        self.held.insert(id, Lease { claim, end });
    }

    /// Whether `claim` still has the row: it may be past its end as long as nobody else took the row.
    pub(super) fn holds(&self, id: Uuid, claim: Claim) -> bool {
        self.held.get(&id).is_some_and(|lease| lease.claim == claim) && !self.ended.contains(&id)
    }

    /// The open transaction is the last thing its holder does with the row.
    pub(super) fn end(&mut self, id: Uuid) {
        self.ended.insert(id);
    }

    /// The row is free now, if `claim` has it.
    pub(super) fn release(&mut self, id: Uuid, claim: Claim) {
        if self.holds(id, claim) {
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

    #[test]
    fn what_a_transaction_ends_is_ended_by_its_commit_alone() {
        let (id, claim) = (Uuid::from_u128(1), Claim(7));
        let mut leases = Leases::default();
        leases.take(id, claim, from_millis(1000));
        leases.end(id);
        assert!(!leases.holds(id, claim), "not twice in one transaction");
        leases.rolled_back();
        assert!(leases.holds(id, claim), "the operation may be tried again");
        leases.end(id);
        leases.committed();
        assert!(!leases.holds(id, claim) && !leases.is_taken(id, from_millis(0)));
    }

    #[test]
    fn a_lease_that_ran_out_holds_until_another_takes_the_row() {
        let (id, first, second) = (Uuid::from_u128(1), Claim(1), Claim(2));
        let mut leases = Leases::default();
        leases.take(id, first, from_millis(1000));
        assert!(leases.is_taken(id, from_millis(999)) && !leases.is_taken(id, from_millis(1000)));
        assert!(leases.holds(id, first));
        leases.take(id, second, from_millis(2000));
        leases.release(id, first);
        assert!(!leases.holds(id, first) && leases.holds(id, second));
    }
}
