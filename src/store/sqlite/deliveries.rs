//! Deliveries: claimed when due, written back after an attempt.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::codes::{DEAD, DELIVERED, PENDING, time, time_or_none};
use super::failure::Failure;
use super::writer::Tx;
use crate::domain::delivery::{Next, Progress, Reason};
use crate::domain::notification::{Content, Notification};
use crate::store::{Attempt, AttemptRecord, Claim, DeliveryClaim};
use crate::time::{Timestamp, from_millis};

/// A claimed row as it was read; [`Claimed::parse`] makes a claim of it outside the writer's thread.
#[derive(Debug)]
pub(super) struct Claimed {
    id: Uuid,
    scan: Option<Uuid>,
    progress: Progress,
    created_at: Timestamp,
    finished_at: Timestamp,
    due_at: i64,
    body: i64,
    content: Option<(String, Vec<u8>)>,
}

impl Claimed {
    /// `None`, and a word in the log, for a row that cannot be read: it must not hold up the others.
    pub(super) fn parse(self, destination: &str, claim: Claim) -> Option<DeliveryClaim> {
        let content = match self.content {
            Some((media, body)) => Content::from_stored(media, Bytes::from(body)).map_err(Failure::from),
            None => Err(Failure::Stored("its message is missing".to_owned())),
        };
        match content {
            Ok(content) => Some(DeliveryClaim {
                claim,
                notification: Notification {
                    id: self.id,
                    scan: self.scan,
                    destination: destination.to_owned(),
                    created_at: self.created_at,
                    content,
                },
                progress: self.progress,
                finished_at: self.finished_at,
            }),
            Err(failure) => {
                tracing::error!(delivery.id = %self.id, error = ?failure, "a stored message cannot be read and is not sent");
                None
            }
        }
    }
}

/// Leases what is due until `lease_end`, most overdue first.
pub(super) fn claim_due(
    tx: &Tx<'_>,
    destination: &str,
    claim: Claim,
    (now, lease_end): (Timestamp, Timestamp),
    limit: u32,
) -> Result<Vec<Claimed>, Failure> {
    let mut claims = tx
        .connection
        .prepare_cached(CLAIM_DUE)?
        .query_map(params![claim.0, lease_end.as_millisecond(), destination, now.as_millisecond(), limit], claimed)?
        .collect::<Result<Vec<_>, _>>()?;
    claims.sort_by_key(|claimed| (claimed.due_at, claimed.id));
    let mut bodies = tx.connection.prepare_cached("SELECT media, body FROM bodies WHERE n = ?")?;
    for claimed in &mut claims {
        claimed.content = bodies.query_row([claimed.body], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    }
    Ok(claims)
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    Ok(Claimed {
        id: row.get(0)?,
        scan: row.get(1)?,
        progress: Progress { attempts: row.get(2)?, charged: row.get(3)?, give_up_at: time_or_none(row, 4)? },
        created_at: time(row, 5)?,
        finished_at: time(row, 6)?,
        due_at: row.get(7)?,
        body: row.get(8)?,
        content: None,
    })
}

pub(super) const CLAIM_DUE: &str = "UPDATE deliveries SET claim = ?1, free_due_at = due_at, due_at = ?2
     WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_due
                  WHERE state = 0 AND destination = ?3 AND due_at <= ?4 ORDER BY due_at, id LIMIT ?5)
     RETURNING id, scan, attempts, charged, give_up_at, created_at, scan_finished_at, free_due_at, body";

/// When the next one is due or its lease ends.
pub(super) fn next_due(connection: &Connection, destination: &str) -> Result<Option<Timestamp>, Failure> {
    let mut statement = connection.prepare_cached(NEXT_DUE)?;
    let due: Option<i64> = statement.query_row([destination], |row| row.get(0)).optional()?;
    Ok(due.map(from_millis))
}

pub(super) const NEXT_DUE: &str = "SELECT due_at FROM deliveries INDEXED BY deliveries_due
     WHERE state = 0 AND destination = ? ORDER BY due_at LIMIT 1";

/// Writes down attempts and what follows; `false` where the lease was lost.
pub(super) fn record(tx: &mut Tx<'_>, records: &[AttemptRecord]) -> Result<Vec<bool>, Failure> {
    records.iter().map(|record| record_one(tx, record)).collect()
}

fn record_one(tx: &mut Tx<'_>, record: &AttemptRecord) -> Result<bool, Failure> {
    let ours = match &record.next {
        Next::Due { at, progress } => again(tx, record, *at, progress)?,
        Next::Delivered => finish(tx, record, DELIVERED, shortfall(record.attempt.reason))?,
        Next::Dead(reason) => finish(tx, record, DEAD, Some(*reason))?,
    };
    if ours {
        keep_attempt(tx, record.delivery, &record.attempt)?;
    }
    Ok(ours)
}

/// A delivery that reached everybody has no reason to show.
fn shortfall(reason: Reason) -> Option<Reason> {
    (reason != Reason::Ok).then_some(reason)
}

fn again(tx: &Tx<'_>, record: &AttemptRecord, at: Timestamp, progress: &Progress) -> Result<bool, Failure> {
    let changed = tx.connection.prepare_cached(AGAIN)?.execute(params![
        at.as_millisecond(),
        record.attempt.number,
        progress.charged,
        progress.give_up_at.map(Timestamp::as_millisecond),
        record.attempt.reason.as_str(),
        record.delivery.as_bytes(),
        record.claim.0
    ])?;
    Ok(changed > 0)
}

const AGAIN: &str = "UPDATE deliveries
     SET due_at = ?, free_due_at = NULL, claim = NULL, attempts = ?, charged = ?, give_up_at = ?, reason = ?
     WHERE id = ? AND claim = ? AND state = 0";

fn finish(tx: &mut Tx<'_>, record: &AttemptRecord, state: u8, reason: Option<Reason>) -> Result<bool, Failure> {
    let mut statement = tx.connection.prepare_cached(FINISH)?;
    let mut rows = statement.query(params![
        state,
        record.attempt.at.as_millisecond(),
        record.attempt.number,
        reason.map(Reason::as_str),
        record.delivery.as_bytes(),
        record.claim.0
    ])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    tx.tally.moved(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, PENDING, state);
    Ok(true)
}

const FINISH: &str = "UPDATE deliveries
     SET state = ?, finished_at = ?, attempts = ?, reason = ?, due_at = NULL, free_due_at = NULL, claim = NULL
     WHERE id = ? AND claim = ? AND state = 0 RETURNING destination";

fn keep_attempt(tx: &Tx<'_>, delivery: Uuid, attempt: &Attempt) -> Result<(), Failure> {
    let duration = i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX);
    tx.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO attempts (delivery, number, at, verdict, reason, answer, duration_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            delivery.as_bytes(),
            attempt.number,
            attempt.at.as_millisecond(),
            attempt.verdict,
            attempt.reason.as_str(),
            attempt.answer,
            duration
        ])?;
    Ok(())
}

/// Due again at `due_at`, no attempt made.
pub(super) fn release(tx: &Tx<'_>, id: Uuid, claim: Claim, due_at: Timestamp) -> Result<(), Failure> {
    tx.connection
        .prepare_cached(
            "UPDATE deliveries SET due_at = ?, free_due_at = NULL, claim = NULL
             WHERE id = ? AND claim = ? AND state = 0",
        )?
        .execute(params![due_at.as_millisecond(), id.as_bytes(), claim.0])?;
    Ok(())
}
