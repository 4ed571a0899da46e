//! What a step asks for must not cost more as history grows: read off the database's own plans.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::super::{accept, announcements, connection, deliveries, delivery_views, purge, scans, tally};
use crate::domain::delivery::DeliveryState;
use crate::store::DeliveryFilter;

/// The plan, one step a line.
fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let values = vec![Value::Null; statement.parameter_count()];
    let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

fn fresh() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let connection = connection::open_writer(&folder.path().join("scanbell.db")).unwrap();
    (folder, connection)
}

#[test]
fn every_statement_of_a_step_finds_its_rows_by_an_index_in_order() {
    let (_folder, connection) = fresh();
    let cases = [
        (accept::LATEST, "USING INDEX scans_key (scan_id=? AND provider=?)"),
        (accept::GRANTED, "USING INDEX scans_key (scan_id=? AND provider=? AND id<?)"),
        (scans::DUE, "USING COVERING INDEX scans_due (provider=? AND due_at<?)"),
        (scans::NEXT_DUE, "USING COVERING INDEX scans_due (provider=?)"),
        (announcements::UNANNOUNCED, "scans USING COVERING INDEX scans_unannounced"),
        (announcements::UNANNOUNCED, "events USING COVERING INDEX events_unannounced"),
        (deliveries::DUE, "USING COVERING INDEX deliveries_due (destination=? AND due_at<?)"),
        (deliveries::NEXT_DUE, "USING COVERING INDEX deliveries_due (destination=?)"),
        (tally::OLDEST_PENDING, "USING COVERING INDEX deliveries_due (destination=?)"),
        (purge::FIND_SCANS, "USING PRIMARY KEY (id<?)"),
        (purge::FIND_SCANS, "USING INDEX deliveries_scan (scan=?)"),
    ];
    for (sql, expected) in cases {
        let plan = plan(&connection, sql);
        assert!(plan.contains(expected), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "it sorts:\n{sql}\n{plan}");
        // A scan is fine where the index holds only what is not done with.
        let scanned = plan.lines().filter(|line| line.starts_with("SCAN"));
        assert!(scanned.into_iter().all(|line| line.contains("unannounced")), "{sql}\n{plan}");
    }
}

#[test]
fn lists_of_what_went_wrong_do_not_read_what_went_well() {
    let (_folder, connection) = fresh();
    let failed = "USING COVERING INDEX deliveries_failed (state=?)";
    let cases = [
        (DeliveryState::Pending, "SCAN deliveries USING COVERING INDEX deliveries_due"),
        (DeliveryState::Dead, failed),
        (DeliveryState::Suppressed, failed),
    ];
    for (state, expected) in cases {
        let filter = DeliveryFilter { state: Some(state), limit: 10, ..DeliveryFilter::default() };
        let plan = plan(&connection, &delivery_views::Conditions::new(&filter).ids);
        assert!(plan.contains(expected), "{plan}");
    }
}
