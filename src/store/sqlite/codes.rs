//! How the closed lists of the domain stand in a column, and how they come back.

use std::str::FromStr;

use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Result, Row};

use super::failure::Failure;
use crate::domain::delivery::DeliveryState;
use crate::time::{Timestamp, from_millis};

/// `scans.state`: being followed.
pub(super) const FOLLOWING: u8 = 0;

/// `deliveries.state`: to be sent.
pub(super) const PENDING: u8 = 0;
/// `deliveries.state`: the receiver took it.
pub(super) const DELIVERED: u8 = 1;
/// `deliveries.state`: given up.
pub(super) const DEAD: u8 = 2;
/// `deliveries.state`: not sent on purpose.
pub(super) const SUPPRESSED: u8 = 3;

/// A state as its number.
pub(super) const fn code(state: DeliveryState) -> u8 {
    match state {
        DeliveryState::Pending => PENDING,
        DeliveryState::Delivered => DELIVERED,
        DeliveryState::Dead => DEAD,
        DeliveryState::Suppressed => SUPPRESSED,
    }
}

/// A number as its state.
pub(super) fn delivery_state(code: u8) -> std::result::Result<DeliveryState, Failure> {
    match code {
        PENDING => Ok(DeliveryState::Pending),
        DELIVERED => Ok(DeliveryState::Delivered),
        DEAD => Ok(DeliveryState::Dead),
        SUPPRESSED => Ok(DeliveryState::Suppressed),
        _ => Err(Failure::Stored(format!("{code} is not a state of a delivery"))),
    }
}

/// A time.
pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(from_millis)
}

/// A time that may be missing.
pub(super) fn time_or_none(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(from_millis))
}

/// A word of a closed list that may be missing.
pub(super) fn word_or_none<T: FromStr>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => value.as_str().and_then(parse).map(Some).map_err(|error| in_column(column, error)),
    }
}

/// A word of a closed list.
pub(super) fn word<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T> {
    row.get_ref(column)?.as_str().and_then(parse).map_err(|error| in_column(column, error))
}

fn parse<T: FromStr>(word: &str) -> std::result::Result<T, FromSqlError> {
    word.parse().map_err(|_| FromSqlError::Other(format!("`{word}` is not in the closed list").into()))
}

fn in_column(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
