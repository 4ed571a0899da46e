//! Scans being followed: claimed when due, written back after a poll.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::codes::{time, time_or_none};
use super::failure::Failure;
use super::writer::Tx;
use crate::domain::scan::{Outcome, ScanKey, Tracking};
use crate::store::{Claim, ObservationRecord, ObservationResult, ScanClaim};
use crate::time::{Timestamp, from_millis};

/// Leases what is due until `lease_end`.
pub(super) fn claim_due(
    tx: &Tx<'_>,
    provider: &str,
    now: Timestamp,
    lease_end: Timestamp,
    limit: u32,
) -> Result<Vec<ScanClaim>, Failure> {
    // One number for the batch: it must differ from every earlier claim of the same row, no more.
    let claim = Claim(rand::random());
    let mut statement = tx.connection.prepare_cached(CLAIM_DUE)?;
    let mut rows =
        statement.query(params![claim.0, lease_end.as_millisecond(), provider, now.as_millisecond(), limit])?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next()? {
        let tracking =
            Tracking { deadline_at: time(row, 2)?, polls: row.get(3)?, not_found_since: time_or_none(row, 4)? };
        let key = ScanKey { provider: provider.to_owned(), scan_id: row.get(1)? };
        let claimed = ScanClaim { id: row.get(0)?, claim, key, tracking, requested_at: time(row, 5)? };
        claims.push((row.get::<_, i64>(6)?, claimed));
    }
    // RETURNING has no order of its own.
    claims.sort_by_key(|(due_at, claimed)| (*due_at, claimed.id));
    Ok(claims.into_iter().map(|(_, claimed)| claimed).collect())
}

pub(super) const CLAIM_DUE: &str = "UPDATE scans SET claim = ?1, free_due_at = due_at, due_at = ?2
     WHERE id IN (SELECT id FROM scans INDEXED BY scans_due
                  WHERE state = 0 AND provider = ?3 AND due_at <= ?4 ORDER BY due_at, id LIMIT ?5)
     RETURNING id, scan_id, deadline_at, polls, not_found_since, requested_at, free_due_at";

/// When the next one is due or its lease ends.
pub(super) fn next_due(connection: &Connection, provider: &str) -> Result<Option<Timestamp>, Failure> {
    let mut statement = connection.prepare_cached(NEXT_DUE)?;
    let due: Option<i64> = statement.query_row([provider], |row| row.get(0)).optional()?;
    Ok(due.map(from_millis))
}

pub(super) const NEXT_DUE: &str = "SELECT due_at FROM scans INDEXED BY scans_due
     WHERE state = 0 AND provider = ? ORDER BY due_at LIMIT 1";

/// What a poll led to, with everything worked out that needs no database.
#[derive(Debug)]
pub(super) struct Prepared {
    scan: Uuid,
    claim: i64,
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
        Ok(Self { scan: record.scan, claim: record.claim.0, result })
    }
}

/// Writes down what polls led to; `false` where the lease was lost.
pub(super) fn record(tx: &mut Tx<'_>, records: &[Prepared]) -> Result<Vec<bool>, Failure> {
    let write = |record: &Prepared| match &record.result {
        PreparedResult::Again { at, tracking } => again(tx.connection, record, *at, tracking),
        PreparedResult::Finished { .. } => finish(tx, record),
    };
    records.iter().map(write).collect()
}

/// The deadline is not written: a request that joined meanwhile may have moved it.
fn again(connection: &Connection, record: &Prepared, at: i64, tracking: &Tracking) -> Result<bool, Failure> {
    let since = tracking.not_found_since.map(Timestamp::as_millisecond);
    let changed = connection.prepare_cached(AGAIN)?.execute(params![
        at,
        tracking.polls,
        since,
        record.scan.as_bytes(),
        record.claim
    ])?;
    Ok(changed > 0)
}

const AGAIN: &str = "UPDATE scans SET due_at = ?, free_due_at = NULL, claim = NULL, polls = ?, not_found_since = ?
     WHERE id = ? AND claim = ? AND state = 0";

fn finish(tx: &mut Tx<'_>, record: &Prepared) -> Result<bool, Failure> {
    let PreparedResult::Finished { outcome, finished_at, polls, report, raw } = &record.result else {
        return Ok(false);
    };
    tx.connection
        .prepare_cached("INSERT INTO reports (report, raw) VALUES (?, ?)")?
        .execute(params![report, raw.as_ref().map(|raw| raw.get())])?;
    let stored = tx.connection.last_insert_rowid();
    let mut statement = tx.connection.prepare_cached(FINISH)?;
    let mut rows = statement.query(params![
        outcome.as_str(),
        finished_at,
        polls,
        stored,
        record.scan.as_bytes(),
        record.claim,
        *outcome == Outcome::TimedOut
    ])?;
    if let Some(row) = rows.next()? {
        tx.tally.active(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, -1);
        return Ok(true);
    }
    tx.connection.prepare_cached("DELETE FROM reports WHERE n = ?")?.execute([stored])?;
    Ok(false)
}

/// `?7`: a time-out counts only if no request that joined during the poll has moved the deadline.
const FINISH: &str = "UPDATE scans SET state = 1, outcome = ?1, finished_at = ?2, polls = ?3, report = ?4,
         due_at = NULL, free_due_at = NULL, claim = NULL
     WHERE id = ?5 AND claim = ?6 AND state = 0 AND (NOT ?7 OR deadline_at <= ?2)
     RETURNING provider";

/// Due again as if it had never been claimed.
pub(super) fn release(tx: &Tx<'_>, id: Uuid, claim: Claim) -> Result<(), Failure> {
    tx.connection
        .prepare_cached(
            "UPDATE scans SET due_at = free_due_at, free_due_at = NULL, claim = NULL
             WHERE id = ? AND claim = ? AND state = 0",
        )?
        .execute(params![id.as_bytes(), claim.0])?;
    Ok(())
}
