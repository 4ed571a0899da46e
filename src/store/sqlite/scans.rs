//! Scans being followed: claimed when due, written back after a poll.

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::codes::{time, time_or_none};
use super::failure::Failure;
use super::leases::Held;
use super::writer::{Look, Tx};
use crate::domain::scan::{Outcome, ScanKey, Tracking};
use crate::store::{Claim, ObservationRecord, ObservationResult, ScanClaim};
use crate::time::Timestamp;

/// Leases what is due until `lease_end`, most overdue first.
pub(super) fn claim_due(
    look: &mut Look<'_>,
    provider: &str,
    now: Timestamp,
    lease_end: Timestamp,
    limit: usize,
) -> Result<Vec<ScanClaim>, Failure> {
    // One number for the batch: it must differ from every earlier claim of the same row, no more.
    let claim = Claim(rand::random());
    let ids = look.free(DUE, params![provider, now.as_millisecond()], now, limit)?;
    let mut statement = look.connection.prepare_cached(DUE_SCAN)?;
    let name: Arc<str> = provider.into();
    let mut claims = Vec::with_capacity(ids.len());
    for id in ids {
        let found = statement.query_row([id.as_bytes()], |row| {
            Ok(ScanClaim {
                id,
                claim,
                key: ScanKey { provider: provider.to_owned(), scan_id: row.get(0)? },
                tracking: Tracking {
                    deadline_at: time(row, 1)?,
                    polls: row.get(2)?,
                    not_found_since: time_or_none(row, 3)?,
                },
                requested_at: time(row, 4)?,
            })
        })?;
        look.leases.take(id, claim, lease_end, Held::Scan(Arc::clone(&name)));
        claims.push(found);
    }
    Ok(claims)
}

pub(super) const DUE: &str = "SELECT id FROM scans INDEXED BY scans_due
     WHERE state = 0 AND provider = ? AND due_at <= ? ORDER BY due_at, id";

const DUE_SCAN: &str = "SELECT scan_id, deadline_at, polls, not_found_since, requested_at FROM scans WHERE id = ?";

/// When the next one is due or its lease ends.
pub(super) fn next_due(look: &Look<'_>, provider: &str) -> Result<Option<Timestamp>, Failure> {
    look.next_due(NEXT_DUE, provider)
}

pub(super) const NEXT_DUE: &str = "SELECT id, due_at FROM scans INDEXED BY scans_due
     WHERE state = 0 AND provider = ? ORDER BY due_at";

/// What a poll led to, with everything worked out that needs no database.
#[derive(Debug)]
pub(super) struct Prepared {
    scan: Uuid,
    claim: Claim,
    result: PreparedResult,
}

#[derive(Debug)]
enum PreparedResult {
    Again { at: i64, tracking: Tracking },
    Finished { outcome: Outcome, finished_at: i64, polls: u32, report: String, raw: Option<Box<RawValue>> },
}

impl Prepared {
    /// Outside the writer's thread: the report becomes JSON here.
    pub(super) fn new(record: ObservationRecord) -> Result<Self, Failure> {
        let result = match record.result {
            ObservationResult::Again { at, tracking } => PreparedResult::Again { at: at.as_millisecond(), tracking },
            ObservationResult::Finished(mut report) => {
                let raw = report.raw.take();
                report.labels.clear();
                PreparedResult::Finished {
                    outcome: report.outcome,
                    finished_at: report.finished_at.as_millisecond(),
                    polls: report.polls,
                    report: serde_json::to_string(&report)?,
                    raw,
                }
            }
        };
        Ok(Self { scan: record.scan, claim: record.claim, result })
    }
}

/// Writes down what polls led to; `false` where the lease was lost.
pub(super) fn record(tx: &mut Tx<'_>, records: &[Prepared]) -> Result<Vec<bool>, Failure> {
    records.iter().map(|record| record_one(tx, record)).collect()
}

fn record_one(tx: &mut Tx<'_>, record: &Prepared) -> Result<bool, Failure> {
    let Some(Held::Scan(provider)) = tx.leases.of(record.scan, record.claim).cloned() else { return Ok(false) };
    let written = match &record.result {
        PreparedResult::Again { at, tracking } => again(tx.connection, record, *at, tracking)?,
        PreparedResult::Finished { .. } => finish(tx, record, &provider)?,
    };
    if written {
        tx.leases.end(record.scan);
    }
    Ok(written)
}

/// The deadline is not written: a request that joined meanwhile may have moved it.
fn again(connection: &Connection, record: &Prepared, at: i64, tracking: &Tracking) -> Result<bool, Failure> {
    let since = tracking.not_found_since.map(Timestamp::as_millisecond);
    let changed =
        connection.prepare_cached(AGAIN)?.execute(params![at, tracking.polls, since, record.scan.as_bytes()])?;
    Ok(changed > 0)
}

const AGAIN: &str = "UPDATE scans SET due_at = ?, polls = ?, not_found_since = ? WHERE id = ? AND state = 0";

fn finish(tx: &mut Tx<'_>, record: &Prepared, provider: &str) -> Result<bool, Failure> {
    let PreparedResult::Finished { outcome, finished_at, polls, report, raw } = &record.result else {
        return Ok(false);
    };
    tx.connection
        .prepare_cached("INSERT INTO reports (report, raw) VALUES (?, ?)")?
        .execute(params![report, raw.as_ref().map(|raw| raw.get())])?;
    let stored = tx.connection.last_insert_rowid();
    let changed = tx.connection.prepare_cached(FINISH)?.execute(params![
        outcome.as_str(),
        finished_at,
        polls,
        stored,
        record.scan.as_bytes(),
        *outcome == Outcome::TimedOut
    ])?;
    if changed > 0 {
        tx.tally.active(provider, -1);
        return Ok(true);
    }
    tx.connection.prepare_cached("DELETE FROM reports WHERE n = ?")?.execute([stored])?;
    Ok(false)
}

/// `?6`: a time-out counts only if no request that joined during the poll has moved the deadline.
const FINISH: &str = "UPDATE scans SET state = 1, outcome = ?1, finished_at = ?2, polls = ?3, report = ?4,
due_at = NULL
     WHERE id = ?5 AND state = 0 AND (NOT ?6 OR deadline_at <= ?2)";
