//! What is past its retention: looked for by a reader, deleted by the writer in small bites.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::failure::Failure;
use super::writer::Tx;
use crate::time::Timestamp;

/// So many scans or events with all that belongs to them are deleted in one transaction.
pub(super) const BITE: usize = 50;
/// So many idempotency keys.
const KEYS: u32 = 1000;

/// Scans that may go, oldest first. The search is the dear part, and it waits for nobody.
pub(super) fn find_scans(connection: &Connection, before: Timestamp, limit: usize) -> Result<Vec<Uuid>, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids = connection
        .prepare_cached(FIND_SCANS)?
        .query_map(params![first_id_at(before).as_bytes(), before.as_millisecond(), limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// Ids carry the time of acceptance, so that the primary key leads to the old ones.
pub(super) const FIND_SCANS: &str = "SELECT id FROM scans
     WHERE id < ?1 AND state = 2 AND finished_at < ?2
       AND NOT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_scan WHERE scan = scans.id AND state = 0)
     ORDER BY id LIMIT ?3";

/// Events that may go.
pub(super) fn find_events(connection: &Connection, before: Timestamp) -> Result<Vec<Uuid>, Failure> {
    let ids = connection
        .prepare_cached(
            "SELECT id FROM events WHERE id < ?1 AND state = 2 AND at < ?2
               AND NOT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_event
                               WHERE event = events.id AND state = 0)",
        )?
        .query_map(params![first_id_at(before).as_bytes(), before.as_millisecond()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// The smallest id of that millisecond.
fn first_id_at(at: Timestamp) -> Uuid {
    let millis = u128::try_from(at.as_millisecond()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// Deletes scans that were found, unless that changed meanwhile; answers how many.
pub(super) fn delete_scans(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<u64, Failure> {
    let mut deleted = 0;
    for id in ids {
        let deliveries = deliveries_of(tx, "SELECT id, state, body FROM deliveries WHERE scan = ?", *id)?;
        if deliveries.iter().any(Owned::is_pending) {
            continue;
        }
        let report: Option<Option<i64>> = tx
            .connection
            .prepare_cached("DELETE FROM scans WHERE id = ? AND state = 2 RETURNING report")?
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(report) = report else { continue };
        tx.connection.prepare_cached("DELETE FROM reports WHERE n = ?")?.execute([report])?;
        tx.connection.prepare_cached("DELETE FROM asks WHERE scan = ?")?.execute([id.as_bytes()])?;
        delete_deliveries(tx, &deliveries)?;
        deleted += 1;
    }
    Ok(deleted)
}

/// Deletes events that were found, unless that changed meanwhile.
pub(super) fn delete_events(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<(), Failure> {
    for id in ids {
        let deliveries = deliveries_of(tx, "SELECT id, state, body FROM deliveries WHERE event = ?", *id)?;
        if deliveries.iter().any(Owned::is_pending) {
            continue;
        }
        delete_deliveries(tx, &deliveries)?;
        tx.connection.prepare_cached("DELETE FROM events WHERE id = ? AND state = 2")?.execute([id.as_bytes()])?;
    }
    Ok(())
}

/// Deletes the next old idempotency keys; answers whether there may be more.
pub(super) fn delete_keys(tx: &Tx<'_>, before: Timestamp) -> Result<bool, Failure> {
    let deleted = tx
        .connection
        .prepare_cached(
            "DELETE FROM request_keys WHERE n IN
                 (SELECT n FROM (SELECT n, at FROM request_keys ORDER BY n LIMIT ?) WHERE at < ?)",
        )?
        .execute(params![KEYS, before.as_millisecond()])?;
    Ok(deleted == KEYS as usize)
}

/// What a delivery takes with it.
struct Owned {
    id: Uuid,
    state: u8,
    body: i64,
}

impl Owned {
    fn is_pending(&self) -> bool {
        self.state == super::codes::PENDING
    }
}

fn deliveries_of(tx: &Tx<'_>, sql: &str, owner: Uuid) -> Result<Vec<Owned>, Failure> {
    let mut statement = tx.connection.prepare_cached(sql)?;
    let rows = statement
        .query_map([owner.as_bytes()], |row| Ok(Owned { id: row.get(0)?, state: row.get(1)?, body: row.get(2)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Bodies are shared only among the deliveries of one owner, who all go together.
fn delete_deliveries(tx: &mut Tx<'_>, deliveries: &[Owned]) -> Result<(), Failure> {
    for delivery in deliveries {
        tx.connection.prepare_cached("DELETE FROM attempts WHERE delivery = ?")?.execute([delivery.id.as_bytes()])?;
        tx.connection.prepare_cached("DELETE FROM bodies WHERE n = ?")?.execute([delivery.body])?;
        let destination: String = tx
            .connection
            .prepare_cached("DELETE FROM deliveries WHERE id = ? RETURNING destination")?
            .query_row([delivery.id.as_bytes()], |row| row.get(0))?;
        tx.tally.delivery(&destination, delivery.state, -1);
    }
    Ok(())
}
