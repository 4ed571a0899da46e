//! Requests become scans, join one, or are known already.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::asks::{self, AskRow, Digest, digest_of};
use super::codes::FOLLOWING;
use super::failure::Failure;
use super::writer::Tx;
use crate::domain::scan::ScanKey;
use crate::store::{Accepted, AcceptedState, Ask, NewRequest};

/// A request with everything worked out that needs no database.
#[derive(Debug)]
pub(super) struct Prepared {
    key: ScanKey,
    idempotency: Option<Digest>,
    first_sight: bool,
    redelivered: bool,
    ask: Option<AskRow>,
    force: bool,
    accepted_at: i64,
    deadline_at: i64,
    dedupe_since: i64,
}

impl Prepared {
    /// Outside the writer's thread.
    pub(super) fn new(request: NewRequest) -> Result<Self, Failure> {
        Ok(Self {
            key: request.key,
            idempotency: request.idempotency_key.as_deref().map(digest_of),
            first_sight: request.first_sight,
            redelivered: request.redelivered && !request.force && request.idempotency_key.is_none(),
            ask: AskRow::unless_plain(&Ask { labels: request.labels, destinations: request.destinations })?,
            force: request.force,
            accepted_at: request.accepted_at.as_millisecond(),
            deadline_at: request.deadline_at.as_millisecond(),
            dedupe_since: request.dedupe_since.as_millisecond(),
        })
    }
}

/// The newest scan of a key.
struct Latest {
    id: Uuid,
    state: u8,
    deadline_at: i64,
    finished_at: Option<i64>,
    asks: u32,
}

/// All of them, in order.
pub(super) fn accept(tx: &mut Tx<'_>, requests: &[Prepared]) -> Result<Vec<Accepted>, Failure> {
    requests.iter().map(|request| accept_one(tx, request)).collect()
}

fn accept_one(tx: &mut Tx<'_>, request: &Prepared) -> Result<Accepted, Failure> {
    if let Some(key) = &request.idempotency
        && !request.first_sight
        && let Some(scan) = scan_of_key(tx, key)?
    {
        return Ok(Accepted { scan, state: AcceptedState::Duplicate });
    }
    let accepted = match latest(tx, &request.key)? {
        Some(scan) if scan.state == FOLLOWING => match granted_before(tx, &scan, request)? {
            Some(scan) => Accepted { scan, state: AcceptedState::Duplicate },
            None => join(tx, &scan, request)?,
        },
        Some(scan) if !request.force && scan.finished_at > Some(request.dedupe_since) => {
            Accepted { scan: scan.id, state: AcceptedState::Duplicate }
        }
        _ => follow(tx, request)?,
    };
    if let Some(key) = &request.idempotency {
        tx.connection.prepare_cached(KEEP_KEY)?.execute(params![key, accepted.scan.as_bytes(), request.accepted_at])?;
    }
    Ok(accepted)
}

/// Replaced only at a first sight: the key then names the newest of several equal messages.
const KEEP_KEY: &str = "INSERT OR REPLACE INTO request_keys (key, scan, at) VALUES (?, ?, ?)";

fn scan_of_key(tx: &Tx<'_>, key: &Digest) -> Result<Option<Uuid>, Failure> {
    let mut statement = tx.connection.prepare_cached("SELECT scan FROM request_keys WHERE key = ?")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// The followed one if there is one: a key has at most one, and it is the newest.
fn latest(tx: &Tx<'_>, key: &ScanKey) -> Result<Option<Latest>, Failure> {
    let mut statement = tx.connection.prepare_cached(LATEST)?;
    let found = statement.query_row([&key.scan_id, &key.provider], |row| {
        Ok(Latest {
            id: row.get(0)?,
            state: row.get(1)?,
            deadline_at: row.get(2)?,
            finished_at: row.get(3)?,
            asks: row.get(4)?,
        })
    });
    Ok(found.optional()?)
}

pub(super) const LATEST: &str = "SELECT id, state, deadline_at, finished_at, asks FROM scans
     WHERE scan_id = ? AND provider = ? ORDER BY id DESC LIMIT 1";

/// The finished scan that a request which is delivered again may have been for.
fn granted_before(tx: &Tx<'_>, scan: &Latest, request: &Prepared) -> Result<Option<Uuid>, Failure> {
    if !request.redelivered {
        return Ok(None);
    }
    let ScanKey { provider, scan_id } = &request.key;
    let mut statement = tx.connection.prepare_cached(GRANTED)?;
    let key = params![scan_id, provider, scan.id.as_bytes(), request.dedupe_since];
    Ok(statement.query_row(key, |row| row.get(0)).optional()?)
}

pub(super) const GRANTED: &str = "SELECT id FROM scans
     WHERE scan_id = ? AND provider = ? AND id < ? AND finished_at > ? ORDER BY id DESC LIMIT 1";

fn join(tx: &Tx<'_>, scan: &Latest, request: &Prepared) -> Result<Accepted, Failure> {
    let asks = asks::add(tx.connection, scan.id, scan.asks, request.ask.as_ref())?;
    if asks != scan.asks || request.deadline_at > scan.deadline_at {
        tx.connection
            .prepare_cached("UPDATE scans SET asks = ?, deadline_at = max(deadline_at, ?) WHERE id = ?")?
            .execute(params![asks, request.deadline_at, scan.id.as_bytes()])?;
    }
    Ok(Accepted { scan: scan.id, state: AcceptedState::Joined })
}

fn follow(tx: &mut Tx<'_>, request: &Prepared) -> Result<Accepted, Failure> {
    let id = tx.new_id(crate::time::from_millis(request.accepted_at));
    let ScanKey { provider, scan_id } = &request.key;
    tx.connection
        .prepare_cached(
            "INSERT INTO scans (id, provider, scan_id, state, requested_at, deadline_at, due_at, asks)
             VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        )?
        .execute(params![
            id.as_bytes(),
            provider,
            scan_id,
            request.accepted_at,
            request.deadline_at,
            request.accepted_at,
            u32::from(request.ask.is_some()),
        ])?;
    if let Some(ask) = &request.ask {
        asks::insert(tx.connection, id, 0, ask)?;
    }
    tx.tally.active(provider, 1);
    Ok(Accepted { scan: id, state: AcceptedState::Following })
}
