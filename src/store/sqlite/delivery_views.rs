//! Deliveries as they are shown, with their attempts.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use uuid::Uuid;

use super::codes::{self, code, time, time_or_none, word, word_or_none};
use super::failure::Failure;
use super::pages::{Where, bounded, cut};
use crate::domain::delivery::DeliveryState;
use crate::store::{Attempt, DeliveryFilter, DeliveryView, Page};

/// Columns of a view.
const COLUMNS: &str = "d.id, d.scan, d.destination, d.state, d.reason, d.created_at, d.due_at,
     d.finished_at, d.attempts, coalesce(a.answer, d.answer)
     FROM deliveries d LEFT JOIN attempts a ON a.delivery = d.id AND a.number = d.attempts";

/// Which deliveries, as SQL: for a list and for a replay.
pub(super) struct Conditions {
    /// Selects the ids.
    pub(super) ids: String,
    /// One for each `?`.
    pub(super) values: Vec<Value>,
}

impl Conditions {
    /// Of a filter whose limit is taken as it is.
    pub(super) fn new(filter: &DeliveryFilter) -> Self {
        let (mut conditions, mut index) = (Where::default(), "");
        if let Some(state) = filter.state {
            // The number itself, not a `?`: so SQLite sees that the partial index covers it.
            conditions.and(&format!("state = {}", code(state)));
            match state {
                DeliveryState::Delivered => {}
                DeliveryState::Pending => index = " INDEXED BY deliveries_due",
                DeliveryState::Dead | DeliveryState::Suppressed => {
                    conditions.and("state > 1");
                    index = " INDEXED BY deliveries_failed";
                }
            }
        }
        if let Some(destination) = &filter.destination {
            conditions.and_value("destination = ?", destination.clone());
        }
        if let Some(scan) = filter.scan {
            conditions.and_value("scan = ?", scan);
            index = " INDEXED BY deliveries_scan";
        }
        conditions.page(filter.before, filter.limit);
        Self { ids: format!("SELECT id FROM deliveries{index}{}", conditions.sql()), values: conditions.values }
    }
}

/// A page of them, newest first.
pub(super) fn list(connection: &Connection, filter: &DeliveryFilter) -> Result<Page<DeliveryView>, Failure> {
    let limit = bounded(filter.limit);
    let conditions = Conditions::new(&DeliveryFilter { limit: limit + 1, ..filter.clone() });
    let sql = format!("SELECT {COLUMNS} WHERE d.id IN ({}) ORDER BY d.id DESC", conditions.ids);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(conditions.values))?;
    let mut shown = Vec::new();
    while let Some(row) = rows.next()? {
        shown.push(view(row)?);
    }
    Ok(cut(shown, limit, |delivery: &DeliveryView| delivery.id))
}

/// One with all its attempts, oldest first.
pub(super) fn show_one(connection: &Connection, id: Uuid) -> Result<Option<(DeliveryView, Vec<Attempt>)>, Failure> {
    let moment = connection.unchecked_transaction()?;
    let mut statement = moment.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.id = ?"))?;
    let Some(shown) = statement.query_row([id.as_bytes()], |row| Ok(view(row))).optional()? else { return Ok(None) };
    let attempts = moment
        .prepare_cached(
            "SELECT number, at, verdict, reason, answer, duration_ms FROM attempts WHERE delivery = ?1
             UNION ALL
             SELECT attempts, finished_at, 'delivered', coalesce(reason, 'ok'), answer, duration_ms FROM deliveries
                 WHERE id = ?1 AND duration_ms IS NOT NULL
             ORDER BY number",
        )?
        .query_map([id.as_bytes()], attempt)?
        .collect::<Result<_, _>>()?;
    Ok(Some((shown?, attempts)))
}

fn view(row: &Row<'_>) -> Result<DeliveryView, Failure> {
    Ok(DeliveryView {
        id: row.get(0)?,
        scan: row.get(1)?,
        destination: row.get(2)?,
        state: codes::delivery_state(row.get(3)?)?,
        reason: word_or_none(row, 4)?,
        created_at: time(row, 5)?,
        due_at: time_or_none(row, 6)?,
        finished_at: time_or_none(row, 7)?,
        attempt_count: row.get(8)?,
        last_answer: row.get(9)?,
    })
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        number: row.get(0)?,
        at: time(row, 1)?,
        verdict: row.get(2)?,
        reason: word(row, 3)?,
        answer: row.get(4)?,
        duration_ms: row.get::<_, i64>(5)?.try_into().unwrap_or(0),
    })
}
