//! Scans as they are shown.

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::asks;
use super::codes::{FOLLOWING, time, time_or_none, word_or_none};
use super::failure::Failure;
use super::pages::{Where, bounded, cut};
use crate::domain::report::Report;
use crate::store::{Page, ScanFilter, ScanState, ScanView};

/// Columns of [`Found`]; a lease does not show: it is due when it was due.
const COLUMNS: &str = "s.id, s.provider, s.scan_id, s.state, s.outcome, s.requested_at, s.finished_at, s.deadline_at,
     s.due_at, s.polls, s.asks, r.report FROM scans s LEFT JOIN reports r ON r.n = s.report";

/// A row, its JSON not read yet.
struct Found {
    view: ScanView,
    asks: u32,
    report: Option<String>,
}

/// A page of them, newest first.
pub(super) fn list(connection: &Connection, filter: &ScanFilter) -> Result<Page<ScanView>, Failure> {
    let view = connection.unchecked_transaction()?;
    let limit = bounded(filter.limit);
    let conditions = conditions(filter, limit);
    let sql = format!("SELECT {COLUMNS} WHERE s.id IN ({}) ORDER BY s.id DESC", ids(filter, &conditions));
    let found = view
        .prepare_cached(&sql)?
        .query_map(params_from_iter(conditions.values), found)?
        .collect::<Result<Vec<_>, _>>()?;
    let shown = found.into_iter().map(|found| show(&view, found, None)).collect::<Result<_, _>>()?;
    Ok(cut(shown, limit, |scan: &ScanView| scan.id))
}

fn conditions(filter: &ScanFilter, limit: usize) -> Where {
    let mut conditions = Where::default();
    match filter.state {
        Some(ScanState::Following) => conditions.and("state = 0"),
        Some(ScanState::Finished) => conditions.and("state <> 0"),
        None => {}
    }
    if let Some(provider) = &filter.provider {
        conditions.and_value("provider = ?", provider.clone());
    }
    if let Some(scan_id) = &filter.scan_id {
        conditions.and_value("scan_id = ?", scan_id.clone());
    }
    if let Some(outcome) = filter.outcome {
        conditions.and_value("outcome = ?", outcome.as_str().to_owned());
    }
    conditions.page(filter.before, limit + 1);
    conditions
}

/// The ids of one page, by the index that leaves the history out where there is one.
fn ids(filter: &ScanFilter, conditions: &Where) -> String {
    let index = match filter {
        ScanFilter { scan_id: Some(_), .. } => " INDEXED BY scans_key",
        ScanFilter { state: Some(ScanState::Following), .. } => " INDEXED BY scans_due",
        _ => "",
    };
    format!("SELECT id FROM scans{index}{}", conditions.sql())
}

/// One with its whole report.
pub(super) fn show_one(connection: &Connection, id: Uuid) -> Result<Option<ScanView>, Failure> {
    let view = connection.unchecked_transaction()?;
    let found = view
        .prepare_cached(&format!("SELECT {COLUMNS} WHERE s.id = ?"))?
        .query_row([id.as_bytes()], found)
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    let raw = view
        .prepare_cached("SELECT r.raw FROM scans s JOIN reports r ON r.n = s.report WHERE s.id = ?")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    show(&view, found, raw.flatten()).map(Some)
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    let following = row.get::<_, u8>(3)? == FOLLOWING;
    let view = ScanView {
        id: row.get(0)?,
        provider: row.get(1)?,
        scan_id: row.get(2)?,
        state: if following { ScanState::Following } else { ScanState::Finished },
        outcome: word_or_none(row, 4)?,
        requested_at: time(row, 5)?,
        finished_at: time_or_none(row, 6)?,
        deadline_at: time(row, 7)?,
        next_poll_at: time_or_none(row, 8)?,
        polls: row.get(9)?,
        labels: std::collections::BTreeMap::new(),
        report: None,
    };
    Ok(Found { view, asks: row.get(10)?, report: row.get(11)? })
}

fn show(connection: &Connection, found: Found, raw: Option<String>) -> Result<ScanView, Failure> {
    let mut view = found.view;
    if found.asks > 0 {
        view.labels = asks::merge_labels(&asks::parse(&asks::read(connection, view.id, found.asks)?)?);
    }
    if let Some(report) = found.report {
        let mut report: Box<Report> = serde_json::from_str(&report)?;
        report.labels.clone_from(&view.labels);
        report.raw = raw.map(RawValue::from_string).transpose()?;
        view.report = Some(report);
    }
    Ok(view)
}
