//! Trouble of scanbell's own: told once when it begins, once when it is over.

use rusqlite::params;

use super::failure::Failure;
use super::writer::Tx;
use crate::domain::notification::OperatorEvent;

/// Answers whether the operator will be told.
pub(super) fn raise(tx: &Tx<'_>, event: &OperatorEvent) -> Result<bool, Failure> {
    if !is_news(tx, event)? {
        return Ok(false);
    }
    tx.connection.prepare_cached("INSERT INTO events (id, at, state, event) VALUES (?, ?, 1, ?)")?.execute(params![
        tx.new_id(event.at).as_bytes(),
        event.at.as_millisecond(),
        serde_json::to_string(event)?
    ])?;
    Ok(true)
}

fn is_news(tx: &Tx<'_>, event: &OperatorEvent) -> Result<bool, Failure> {
    let changed = if event.resolved {
        tx.connection.prepare_cached("DELETE FROM open_events WHERE key = ?")?.execute([&event.key])?
    } else {
        tx.connection
            .prepare_cached("INSERT OR IGNORE INTO open_events (key, at) VALUES (?, ?)")?
            .execute(params![event.key, event.at.as_millisecond()])?
    };
    Ok(changed > 0)
}
