//! Deliveries that are done with, made pending once more.

use rusqlite::{OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::codes::{PENDING, code};
use super::delivery_views::Conditions;
use super::failure::Failure;
use super::writer::Tx;
use crate::domain::delivery::DeliveryState;
use crate::store::DeliveryFilter;
use crate::time::Timestamp;

/// So many share a transaction: the steps must not wait for a replay of everything.
pub(super) const BATCH: usize = 500;

/// Replays up to [`BATCH`] that match, newest first; answers how many, and below which id to go on.
pub(super) fn batch(tx: &mut Tx<'_>, filter: &DeliveryFilter, now: Timestamp) -> Result<(u64, Option<Uuid>), Failure> {
    let ids = matching(tx, filter)?;
    for id in &ids {
        make_pending(tx, *id, now)?;
    }
    let more = ids.last().copied().filter(|_| ids.len() == BATCH);
    Ok((ids.len() as u64, more))
}

fn matching(tx: &Tx<'_>, filter: &DeliveryFilter) -> Result<Vec<Uuid>, Failure> {
    let filter = DeliveryFilter { limit: BATCH, ..filter.clone() };
    let conditions = Conditions::new(&filter);
    let mut statement = tx.connection.prepare_cached(&conditions.ids)?;
    let ids = statement.query_map(params_from_iter(conditions.values), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// One; `None` if there is none, `Some(false)` if it is pending.
pub(super) fn one(tx: &mut Tx<'_>, id: Uuid, now: Timestamp) -> Result<Option<bool>, Failure> {
    let state: Option<u8> = tx
        .connection
        .prepare_cached("SELECT state FROM deliveries WHERE id = ?")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    match state {
        None => Ok(None),
        Some(PENDING) => Ok(Some(false)),
        Some(_) => make_pending(tx, id, now).map(|()| Some(true)),
    }
}

/// The number of attempts stays, so that the next one goes on counting; the time to give up begins anew.
fn make_pending(tx: &mut Tx<'_>, id: Uuid, now: Timestamp) -> Result<(), Failure> {
    let (destination, state): (String, u8) = tx
        .connection
        .prepare_cached("SELECT destination, state FROM deliveries WHERE id = ?")?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tx.connection.prepare_cached(KEEP_ATTEMPT)?.execute([id.as_bytes()])?;
    tx.connection
        .prepare_cached(
            "UPDATE deliveries SET state = 0, duration_ms = NULL, answer = NULL, due_at = ?, charged = 0, give_up_at = NULL,
                 reason = NULL, finished_at = NULL
             WHERE id = ?",
        )?
        .execute(params![now.as_millisecond(), id.as_bytes()])?;
    tx.tally.moved(&destination, state, PENDING);
    Ok(())
}

/// The attempt that delivered it is the last one no longer.
const KEEP_ATTEMPT: &str = "INSERT INTO attempts (delivery, number, at, verdict, reason, answer, duration_ms)
     SELECT id, attempts, finished_at, 'delivered', coalesce(reason, 'ok'), answer, duration_ms FROM deliveries
         WHERE id = ? AND duration_ms IS NOT NULL";

/// What a replay looks for: dead ones if nothing is said; never pending ones (`None`).
pub(super) fn target(filter: &DeliveryFilter) -> Option<DeliveryFilter> {
    let state = filter.state.unwrap_or(DeliveryState::Dead);
    (code(state) != PENDING).then(|| DeliveryFilter { state: Some(state), ..filter.clone() })
}
