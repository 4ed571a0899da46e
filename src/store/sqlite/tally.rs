//! Counts what a transaction adds and takes away, and writes the sums into `counters` before it commits.
//!
//! So metrics read a few rows instead of the history, and the numbers are as durable as what they count.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::codes::{self, PENDING};
use super::failure::Failure;
use crate::domain::delivery::DeliveryState;
use crate::store::Tallies;
use crate::time::{Timestamp, from_millis};

const SCANS: u8 = 0;
const DELIVERIES: u8 = 1;

/// Changes that are not written yet. Names stay in the maps: they are configured ones, and few.
#[derive(Debug, Default)]
pub(super) struct Tally {
    active: HashMap<String, i64>,
    deliveries: HashMap<String, [i64; 4]>,
}

impl Tally {
    /// So many more (or fewer) scans of `provider` are followed.
    pub(super) fn active(&mut self, provider: &str, by: i64) {
        match self.active.get_mut(provider) {
            Some(change) => *change += by,
            None => {
                self.active.insert(provider.to_owned(), by);
            }
        }
    }

    /// So many more (or fewer) deliveries to `destination` are in `state`.
    pub(super) fn delivery(&mut self, destination: &str, state: u8, by: i64) {
        if !self.deliveries.contains_key(destination) {
            self.deliveries.insert(destination.to_owned(), [0; 4]);
        }
        let changes = self.deliveries.get_mut(destination);
        if let Some(change) = changes.and_then(|changes| changes.get_mut(usize::from(state))) {
            *change += by;
        }
    }

    /// A delivery went from one state to another.
    pub(super) fn moved(&mut self, destination: &str, from: u8, to: u8) {
        self.delivery(destination, from, -1);
        self.delivery(destination, to, 1);
    }

    /// Writes the changes down and forgets them.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Failure> {
        for (provider, change) in self.active.iter_mut().filter(|(_, change)| **change != 0) {
            add(connection, SCANS, provider, 0, std::mem::take(change))?;
        }
        for (destination, changes) in &mut self.deliveries {
            for (state, change) in (0_u8..).zip(changes).filter(|(_, change)| **change != 0) {
                add(connection, DELIVERIES, destination, state, std::mem::take(change))?;
            }
        }
        Ok(())
    }

    /// Forgets the changes: their transaction was rolled back.
    pub(super) fn clear(&mut self) {
        self.active.clear();
        self.deliveries.clear();
    }
}

fn add(connection: &Connection, kind: u8, name: &str, state: u8, by: i64) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO counters (kind, name, state, count) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?
        .execute(params![kind, name, state, by])?;
    Ok(())
}

/// The numbers, and the oldest pending delivery of each destination that has one.
pub(super) fn read(connection: &Connection) -> Result<Tallies, Failure> {
    let view = connection.unchecked_transaction()?;
    let mut tallies = Tallies::default();
    let mut statement = view.prepare_cached("SELECT kind, name, state, count FROM counters")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, state): (u8, String, u8) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let count = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
        if kind == SCANS {
            tallies.scans_active.insert(name, count);
        } else {
            tallies.deliveries.insert((name, codes::delivery_state(state)?), count);
        }
    }
    tallies.oldest_pending = oldest_pending(&view, &tallies.deliveries)?;
    Ok(tallies)
}

/// Destinations that have pending deliveries.
pub(super) fn with_pending(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT name FROM counters WHERE kind = ? AND state = ? AND count > 0 ORDER BY name")?;
    let names = statement.query_map(params![DELIVERIES, PENDING], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn oldest_pending(
    connection: &Connection,
    counts: &BTreeMap<(String, DeliveryState), u64>,
) -> Result<BTreeMap<String, Timestamp>, Failure> {
    let mut statement = connection.prepare_cached(OLDEST_PENDING)?;
    let mut oldest = BTreeMap::new();
    for ((destination, state), count) in counts {
        if *state == DeliveryState::Pending && *count > 0 {
            let at: Option<i64> = statement.query_row([destination], |row| row.get(0)).optional()?;
            oldest.extend(at.map(|at| (destination.clone(), from_millis(at))));
        }
    }
    Ok(oldest)
}

/// Ids are in the order of time, so the smallest is the oldest. Reads what is pending, and nothing else.
pub(super) const OLDEST_PENDING: &str = "SELECT created_at FROM deliveries WHERE id =
     (SELECT min(id) FROM deliveries INDEXED BY deliveries_due WHERE state = 0 AND destination = ?)";
