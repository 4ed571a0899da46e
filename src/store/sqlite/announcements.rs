//! Finished scans and events that nobody was told of yet: claimed, and closed with their deliveries.

use bytes::Bytes;
use rusqlite::{Connection, params};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::asks;
use super::codes::PENDING;
use super::failure::Failure;
use super::leases::Held;
use super::writer::{Look, Tx};
use crate::domain::report::Report;
use crate::store::{Announcement, AnnouncementRecord, Claim, Subject};
use crate::time::Timestamp;

/// A claimed row as it was read; [`Claimed::parse`] makes an announcement of it outside the writer's thread.
#[derive(Debug)]
pub(super) struct Claimed {
    id: Uuid,
    claim: Claim,
    subject: ClaimedSubject,
}

#[derive(Debug)]
enum ClaimedSubject {
    Report { report: String, raw: Option<String>, asks: Vec<String> },
    Event(String),
}

impl ClaimedSubject {
    fn bytes(&self) -> usize {
        match self {
            Self::Report { report, raw, .. } => report.len() + raw.as_ref().map_or(0, String::len),
            Self::Event(event) => event.len(),
        }
    }
}

impl Claimed {
    /// `None`, and a word in the log, for a row that cannot be read: it must not hold up the others.
    pub(super) fn parse(self) -> Option<Announcement> {
        let subject = match self.subject {
            ClaimedSubject::Report { report, raw, asks } => parse_report(&report, raw, &asks),
            ClaimedSubject::Event(event) => serde_json::from_str(&event).map(Subject::Event).map_err(Failure::from),
        };
        match subject {
            Ok(subject) => Some(Announcement { id: self.id, claim: self.claim, subject }),
            Err(failure) => {
                tracing::error!(scan.id = %self.id, error = ?failure, "a stored report cannot be read and is not announced");
                None
            }
        }
    }
}

fn parse_report(report: &str, raw: Option<String>, asks: &[String]) -> Result<Subject, Failure> {
    let asks = asks::parse(asks)?;
    let mut report: Box<Report> = serde_json::from_str(report)?;
    report.labels = asks::merge_labels(&asks);
    report.raw = raw.map(RawValue::from_string).transpose()?;
    Ok(Subject::Report { report, asks })
}

/// Reports of so many bytes are enough at once, however few they are.
const ENOUGH: usize = 4 * 1024 * 1024;

/// Leases up to `limit` until `lease_end`, oldest first; at least one if there is one.
pub(super) fn claim(
    look: &mut Look<'_>,
    now: Timestamp,
    lease_end: Timestamp,
    limit: usize,
) -> Result<Vec<Claimed>, Failure> {
    let claim = Claim(rand::random());
    let mut claims = Vec::new();
    let mut statement = look.connection.prepare_cached(UNANNOUNCED)?;
    let mut rows = statement.query([])?;
    let mut bytes = 0;
    while claims.len() < limit
        && bytes < ENOUGH
        && let Some(row) = rows.next()?
    {
        let (is_event, id): (bool, Uuid) = (row.get(0)?, row.get(1)?);
        let at = row.get::<_, Option<i64>>(2)?.unwrap_or_default(); // always there, unless the file was tampered with
        if !look.leases.is_taken(id, now) {
            let subject = if is_event { event(look.connection, id)? } else { report(look.connection, id)? };
            bytes += subject.bytes();
            look.leases.take(id, claim, lease_end, if is_event { Held::Event(at) } else { Held::Finished(at) });
            claims.push(Claimed { id, claim, subject });
        }
    }
    Ok(claims)
}

pub(super) const UNANNOUNCED: &str = "
    SELECT 0 AS is_event, id, finished_at AS at FROM scans INDEXED BY scans_unannounced WHERE state = 1
    UNION ALL
    SELECT 1, id, at FROM events INDEXED BY events_unannounced WHERE state = 1
    ORDER BY at";

fn report(connection: &Connection, id: Uuid) -> Result<ClaimedSubject, Failure> {
    let (asks, report, raw) = connection
        .prepare_cached("SELECT s.asks, r.report, r.raw FROM scans s JOIN reports r ON r.n = s.report WHERE s.id = ?")?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(ClaimedSubject::Report { report, raw, asks: asks::read(connection, id, asks)? })
}

fn event(connection: &Connection, id: Uuid) -> Result<ClaimedSubject, Failure> {
    let mut statement = connection.prepare_cached("SELECT event FROM events WHERE id = ?")?;
    Ok(ClaimedSubject::Event(statement.query_row([id.as_bytes()], |row| row.get(0))?))
}

/// An announcement carried out, with everything worked out that needs no database.
#[derive(Debug)]
pub(super) struct Prepared {
    id: Uuid,
    claim: Claim,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    id: Uuid,
    destination: String,
    created_at: i64,
    media: String,
    body: Bytes,
    /// Which of the messages before it has the same body.
    same_as: Option<usize>,
}

impl Prepared {
    /// Outside the writer's thread.
    pub(super) fn new(record: AnnouncementRecord) -> Self {
        let mut messages: Vec<Message> = Vec::with_capacity(record.notifications.len());
        for notification in record.notifications {
            let (media, body) = notification.content.to_stored();
            messages.push(Message {
                id: notification.id,
                destination: notification.destination,
                created_at: notification.created_at.as_millisecond(),
                same_as: messages.iter().position(|earlier| earlier.media == media && earlier.body == body),
                media,
                body,
            });
        }
        Self { id: record.id, claim: record.claim, messages }
    }
}

/// Who the notifications belong to.
struct Owner {
    scan: Option<Uuid>,
    event: Option<Uuid>,
    finished_at: i64,
}

/// Closes announcements and keeps their notifications; `false` where the lease was lost.
pub(super) fn record(tx: &mut Tx<'_>, records: &[Prepared]) -> Result<Vec<bool>, Failure> {
    records.iter().map(|record| record_one(tx, record)).collect()
}

fn record_one(tx: &mut Tx<'_>, record: &Prepared) -> Result<bool, Failure> {
    let Some(owner) = close(tx, record)? else { return Ok(false) };
    let mut bodies = Vec::with_capacity(record.messages.len());
    for message in &record.messages {
        let body = match message.same_as.and_then(|earlier| bodies.get(earlier).copied()) {
            Some(body) => body,
            None => keep_body(tx, message)?,
        };
        bodies.push(body);
        keep_delivery(tx, &owner, message, body)?;
        tx.tally.delivery(&message.destination, PENDING, 1);
    }
    Ok(true)
}

/// The scan or the event, if it is still ours.
fn close(tx: &mut Tx<'_>, record: &Prepared) -> Result<Option<Owner>, Failure> {
    let (owner, sql) = match tx.leases.of(record.id, record.claim) {
        Some(&Held::Finished(finished_at)) => (
            Owner { scan: Some(record.id), event: None, finished_at },
            "UPDATE scans SET state = 2 WHERE id = ? AND state = 1",
        ),
        Some(&Held::Event(finished_at)) => (
            Owner { scan: None, event: Some(record.id), finished_at },
            "UPDATE events SET state = 2 WHERE id = ? AND state = 1",
        ),
        _ => return Ok(None),
    };
    tx.leases.end(record.id);
    let changed = tx.connection.prepare_cached(sql)?.execute([record.id.as_bytes()])?;
    Ok((changed > 0).then_some(owner))
}

fn keep_body(tx: &Tx<'_>, message: &Message) -> Result<i64, Failure> {
    tx.connection
        .prepare_cached("INSERT INTO bodies (media, body) VALUES (?, ?)")?
        .execute(params![message.media, &message.body[..]])?;
    Ok(tx.connection.last_insert_rowid())
}

fn keep_delivery(tx: &Tx<'_>, owner: &Owner, message: &Message, body: i64) -> Result<(), Failure> {
    tx.connection
        .prepare_cached(
            "INSERT INTO deliveries (id, scan, event, destination, state, created_at, due_at, scan_finished_at, body)
             VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)",
        )?
        .execute(params![
            message.id.as_bytes(),
            owner.scan.as_ref().map(Uuid::as_bytes),
            owner.event.as_ref().map(Uuid::as_bytes),
            message.destination,
            message.created_at,
            message.created_at,
            owner.finished_at,
            body
        ])?;
    Ok(())
}
