//! What both lists share: conditions put together, pages cut off.

use rusqlite::types::Value;
use uuid::Uuid;

use crate::store::Page;

/// The most rows of one page, whatever was asked for.
const LARGEST: usize = 1000;

/// `WHERE` with its values, in order.
#[derive(Debug, Default)]
pub(super) struct Where {
    /// Joined by `AND`; never what came from outside.
    sql: String,
    /// One for each `?`.
    pub(super) values: Vec<Value>,
}

impl Where {
    /// Adds a condition without a value.
    pub(super) fn and(&mut self, condition: &str) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(condition);
    }

    /// Adds a condition with one `?`.
    pub(super) fn and_value(&mut self, condition: &str, value: impl Into<Value>) {
        self.and(condition);
        self.values.push(value.into());
    }

    /// Adds the keyset: newest first, below `before`, one more than asked for to see whether there is more.
    pub(super) fn page(&mut self, before: Option<Uuid>, limit: usize) {
        if let Some(before) = before {
            self.and_value("id < ?", before);
        }
        self.sql.push_str(" ORDER BY id DESC LIMIT ?");
        self.values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    }

    /// The text, beginning with a space.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }
}

/// At least one row, at most [`LARGEST`].
pub(super) fn bounded(limit: usize) -> usize {
    limit.clamp(1, LARGEST)
}

/// A page of `limit` out of `rows`, which has one more if there is more.
pub(super) fn cut<T>(mut rows: Vec<T>, limit: usize, id: impl Fn(&T) -> Uuid) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| id(last).to_string());
    Page { items: rows, next }
}
