//! The model: what must be true of each scan and each delivery, kept in plain maps.
//!
//! A row is due at a time; whoever claims it has it until the end of its lease, and after it until another does.

use std::collections::BTreeMap;

use scanbell::domain::delivery::{DeliveryState, Progress};
use scanbell::domain::scan::Outcome;
use scanbell::store::Claim;
use uuid::Uuid;

/// When something may be taken, and who has it.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// In milliseconds.
    due: i64,
    /// Who may write, and until when nobody else may take it.
    lease: Option<(Claim, i64)>,
}

impl Turn {
    pub fn at(due: i64) -> Self {
        Self { due, lease: None }
    }

    pub fn take(&mut self, claim: Claim, until: i64) {
        self.lease = Some((claim, until));
    }

    pub fn hand_back(&mut self) {
        self.lease = None;
    }

    /// However late it is.
    pub fn is_of(&self, claim: Claim) -> bool {
        self.lease.is_some_and(|(holder, _)| holder == claim)
    }

    fn is_free(&self, now: i64) -> bool {
        self.due <= now && self.lease.is_none_or(|(_, until)| until <= now)
    }
}

#[derive(Debug, Clone)]
pub struct Scan {
    pub name: u8,
    pub deadline: i64,
    pub polls: u32,
    pub turn: Turn,
    /// Once set it never changes.
    pub end: Option<(Outcome, i64)>,
    /// Who announces it, once it has ended.
    pub telling: Turn,
    pub told: bool,
}

#[derive(Debug, Clone)]
pub struct Delivery {
    pub destination: u8,
    pub body: String,
    pub state: DeliveryState,
    pub turn: Turn,
    pub progress: Progress,
    /// Attempts as they were written.
    pub attempts: u32,
}

/// Everything that was promised.
#[derive(Debug, Default)]
pub struct Model {
    pub scans: BTreeMap<Uuid, Scan>,
    pub deliveries: BTreeMap<Uuid, Delivery>,
    /// Idempotency keys.
    pub keys: BTreeMap<u8, Uuid>,
    /// In the order of acceptance.
    order: Vec<Uuid>,
}

impl Model {
    pub fn follow(&mut self, id: Uuid, name: u8, now: i64, deadline: i64) {
        let turn = Turn::at(now);
        let scan = Scan { name, deadline, polls: 0, turn, end: None, telling: Turn::at(i64::MIN), told: false };
        assert!(self.scans.insert(id, scan).is_none(), "the id of another scan");
        self.order.push(id);
    }

    /// The scan of that name that was accepted last.
    pub fn latest(&self, name: u8) -> Option<(Uuid, &Scan)> {
        let id = self.order.iter().rev().find(|id| self.scans[*id].name == name)?;
        Some((*id, &self.scans[id]))
    }

    pub fn crash(&mut self) {
        for scan in self.scans.values_mut() {
            scan.turn.hand_back();
            scan.telling.hand_back();
        }
        self.deliveries.values_mut().for_each(|delivery| delivery.turn.hand_back());
    }

    pub fn due_scans(&self, now: i64) -> Vec<Uuid> {
        due(self.scans.iter().filter(|(_, scan)| scan.end.is_none()).map(|(id, scan)| (*id, scan.turn)), now)
    }

    pub fn untold(&self, now: i64) -> Vec<Uuid> {
        let open = self.scans.iter().filter(|(_, scan)| scan.end.is_some() && !scan.told);
        due(open.map(|(id, scan)| (*id, scan.telling)), now)
    }

    pub fn due_deliveries(&self, destination: u8, now: i64) -> Vec<Uuid> {
        let pending = self
            .deliveries
            .iter()
            .filter(|(_, delivery)| delivery.state == DeliveryState::Pending && delivery.destination == destination);
        due(pending.map(|(id, delivery)| (*id, delivery.turn)), now)
    }
}

/// The most overdue first.
fn due(rows: impl Iterator<Item = (Uuid, Turn)>, now: i64) -> Vec<Uuid> {
    let mut due: Vec<_> = rows.filter(|(_, turn)| turn.is_free(now)).map(|(id, turn)| (turn.due, id)).collect();
    due.sort_unstable();
    due.into_iter().map(|(_, id)| id).collect()
}
