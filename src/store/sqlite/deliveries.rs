//! Deliveries: claimed when due, written back after an attempt.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Row, params};
use uuid::Uuid;

use super::codes::{DEAD, DELIVERED, PENDING, time, time_or_none};
use super::failure::Failure;
use super::leases::Held;
use super::writer::{Look, Tx};
use crate::domain::delivery::{Next, Progress, Reason};
use crate::domain::notification::{Content, Notification};
use crate::store::{Attempt, AttemptRecord, Claim, DeliveryClaim};
use crate::time::Timestamp;

/// A claimed row as it was read; [`Claimed::parse`] makes a claim of it outside the writer's thread.
#[derive(Debug)]
pub(super) struct Claimed {
    id: Uuid,
    scan: Option<Uuid>,
    progress: Progress,
    created_at: Timestamp,
    finished_at: Timestamp,
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
    look: &mut Look<'_>,
    destination: &str,
    claim: Claim,
    (now, lease_end): (Timestamp, Timestamp),
    limit: usize,
) -> Result<Vec<Claimed>, Failure> {
    let ids = look.free(DUE, params![destination, now.as_millisecond()], now, limit)?;
    let mut deliveries = look.connection.prepare_cached(DUE_DELIVERY)?;
    let name: Arc<str> = destination.into();
    let mut claims = Vec::with_capacity(ids.len());
    for id in ids {
        claims.push(deliveries.query_row([id.as_bytes()], |row| claimed(id, row))?);
        look.leases.take(id, claim, lease_end, Held::Delivery(Arc::clone(&name)));
    }
    Ok(claims)
}

pub(super) const DUE: &str = "SELECT id FROM deliveries INDEXED BY deliveries_due
     WHERE state = 0 AND destination = ? AND due_at <= ? ORDER BY due_at, id";

const DUE_DELIVERY: &str = "SELECT d.scan, d.attempts, d.charged, d.give_up_at, d.created_at, d.scan_finished_at,
         b.media, b.body
     FROM deliveries d LEFT JOIN bodies b ON b.n = d.body WHERE d.id = ?";

fn claimed(id: Uuid, row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let media: Option<String> = row.get(6)?;
    Ok(Claimed {
        id,
        scan: row.get(0)?,
        progress: Progress { attempts: row.get(1)?, charged: row.get(2)?, give_up_at: time_or_none(row, 3)? },
        created_at: time(row, 4)?,
        finished_at: time(row, 5)?,
        content: media.map(|media| row.get(7).map(|body| (media, body))).transpose()?,
    })
}

/// When the next one is due or its lease ends.
pub(super) fn next_due(look: &Look<'_>, destination: &str) -> Result<Option<Timestamp>, Failure> {
    look.next_due(NEXT_DUE, destination)
}

pub(super) const NEXT_DUE: &str = "SELECT id, due_at FROM deliveries INDEXED BY deliveries_due
     WHERE state = 0 AND destination = ? ORDER BY due_at";

/// Writes down attempts and what follows; `false` where the lease was lost.
pub(super) fn record(tx: &mut Tx<'_>, records: &[AttemptRecord]) -> Result<Vec<bool>, Failure> {
    records.iter().map(|record| record_one(tx, record)).collect()
}

fn record_one(tx: &mut Tx<'_>, record: &AttemptRecord) -> Result<bool, Failure> {
    let Some(Held::Delivery(destination)) = tx.leases.of(record.delivery, record.claim).cloned() else {
        return Ok(false);
    };
    let written = match &record.next {
        Next::Due { at, progress } => again(tx, record, *at, progress)?,
        Next::Delivered => finish(tx, record, &destination, DELIVERED, shortfall(record.attempt.reason))?,
        Next::Dead(reason) => finish(tx, record, &destination, DEAD, Some(*reason))?,
    };
    if written {
        tx.leases.end(record.delivery);
        if record.next != Next::Delivered {
            keep_attempt(tx, record.delivery, &record.attempt)?;
        }
    }
    Ok(written)
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
        record.delivery.as_bytes()
    ])?;
    Ok(changed > 0)
}

const AGAIN: &str = "UPDATE deliveries
     SET due_at = ?, attempts = ?, charged = ?, give_up_at = ?, reason = ? WHERE id = ? AND state = 0";

/// The attempt that delivers stays in the row; others are kept apart.
fn finish(
    tx: &mut Tx<'_>,
    record: &AttemptRecord,
    destination: &str,
    state: u8,
    reason: Option<Reason>,
) -> Result<bool, Failure> {
    let attempt = &record.attempt;
    let here = state == DELIVERED;
    let changed = tx.connection.prepare_cached(FINISH)?.execute(params![
        state,
        attempt.at.as_millisecond(),
        attempt.number,
        reason.map(Reason::as_str),
        here.then(|| duration(attempt)),
        attempt.answer.as_deref().filter(|_| here),
        record.delivery.as_bytes()
    ])?;
    if changed > 0 {
        tx.tally.moved(destination, PENDING, state);
    }
    Ok(changed > 0)
}

const FINISH: &str = "UPDATE deliveries
     SET state = ?, finished_at = ?, attempts = ?, reason = ?, duration_ms = ?, answer = ?, due_at = NULL
     WHERE id = ? AND state = 0";

fn duration(attempt: &Attempt) -> i64 {
    i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX)
}

fn keep_attempt(tx: &Tx<'_>, delivery: Uuid, attempt: &Attempt) -> Result<(), Failure> {
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
            duration(attempt)
        ])?;
    Ok(())
}

/// Due again at `due_at`, no attempt made.
pub(super) fn release(tx: &mut Tx<'_>, id: Uuid, claim: Claim, due_at: Timestamp) -> Result<(), Failure> {
    if tx.leases.of(id, claim).is_some() {
        tx.leases.end(id);
        tx.connection
            .prepare_cached("UPDATE deliveries SET due_at = ? WHERE id = ? AND state = 0")?
            .execute(params![due_at.as_millisecond(), id.as_bytes()])?;
    }
    Ok(())
}
