//! The file: who may read it, what is wrong with it, what happens when the disk or another process is in the way.

use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::domain::notification::OperatorEvent;
use crate::domain::scan::ScanKey;
use crate::store::{AcceptedState, NewRequest, Store, StoreError};
use crate::time::{after, from_millis};

fn request(scan_id: &str) -> NewRequest {
    NewRequest {
        first_sight: false,
        redelivered: false,
        key: ScanKey { provider: "sieve".to_owned(), scan_id: scan_id.to_owned() },
        destinations: None,
        labels: std::iter::once(("filler".to_owned(), "x".repeat(3000))).collect(),
        force: false,
        idempotency_key: None,
        accepted_at: from_millis(1_800_000_000_000),
        deadline_at: from_millis(1_800_000_100_000),
        dedupe_since: from_millis(0),
    }
}

/// Why the file cannot be opened: whether for good, and the words.
async fn refusal(file: &InFile) -> (bool, String) {
    match SqliteStore::open(file.path()).await {
        Err(StoreError::Unusable(text)) => (true, text),
        Err(StoreError::Unavailable(text)) => (false, text),
        Ok(_) => panic!("it was opened"),
    }
}

fn execute(file: &InFile, sql: &str) {
    Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let file = InFile::fresh();
    let store = file.sqlite().await;
    store.accept(vec![request("a")]).await.unwrap();
    for name in ["scanbell.db", "scanbell.db-wal", "scanbell.db-shm"] {
        let mode = std::fs::metadata(file.0.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_closed_store_is_one_file() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    store.accept(vec![request("a")]).await.unwrap();
    store.tallies().await.unwrap();
    store.close().await;
    let names: Vec<_> = std::fs::read_dir(file.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["scanbell.db"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let file = InFile::fresh();
    let text = "not a database, ".repeat(100);
    std::fs::write(file.path(), &text).unwrap();
    let (for_good, why) = refusal(&file).await;
    assert!(for_good && why.contains("not an SQLite database") && why.contains("scanbell.db"), "{why}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let file = InFile::fresh();
    execute(&file, "CREATE TABLE bookmarks (url TEXT)");
    let (for_good, why) = refusal(&file).await;
    assert!(for_good && why.contains("another program"), "{why}");
}

#[tokio::test]
async fn a_newer_and_an_altered_schema_are_refused() {
    let file = InFile::fresh();
    file.sqlite().await.close().await;
    execute(&file, "INSERT INTO schema_migrations VALUES (99, 'future', 'x', 0)");
    let (for_good, why) = refusal(&file).await;
    assert!(for_good && why.contains("newer scanbell wrote it (schema 99"), "{why}");
    execute(&file, "DELETE FROM schema_migrations WHERE version = 99");
    execute(&file, "UPDATE schema_migrations SET checksum = 'x'");
    let (for_good, why) = refusal(&file).await;
    assert!(for_good && why.contains("altered"), "{why}");
}

#[tokio::test]
async fn a_missing_folder_may_appear_later() {
    let file = InFile::fresh();
    let missing = file.0.path().join("data/scanbell.db");
    let Err(StoreError::Unavailable(why)) = SqliteStore::open(missing.clone()).await else { panic!() };
    assert!(why.contains("the folder must exist"), "{why}");
    std::fs::create_dir(missing.parent().unwrap()).unwrap();
    SqliteStore::open(missing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_create_it_at_once_all_find_it_ready() {
    let file = InFile::fresh();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        opening.spawn(SqliteStore::open(file.path()));
    }
    for store in opening.join_all().await {
        store.unwrap().accept(vec![request("a")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_heals_by_itself() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    let limit = |pages: u32| store.write(move |tx| Ok(tx.connection.pragma_update(None, "max_page_count", pages)?));
    limit(60).await.unwrap();
    let mut accepted = 0;
    let error = loop {
        match store.accept(vec![request(&format!("scan-{accepted}"))]).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    let StoreError::Unavailable(why) = error else { panic!("{error}") };
    assert!(why.contains("disk is full"), "{why}");
    assert_eq!(store.tallies().await.unwrap().scans_active["sieve"], accepted, "reading goes on, nothing half done");
    limit(1_000_000).await.unwrap();
    let again = store.accept(vec![request(&format!("scan-{accepted}"))]).await.unwrap();
    assert_eq!(again[0].state, AcceptedState::Following);
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_writes_is_waited_for_but_not_for_ever() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    store.write(|tx| Ok(tx.connection.busy_timeout(Duration::from_millis(50))?)).await.unwrap();
    let other = Connection::open(file.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.accept(vec![request("a")]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("another process")), "{error}");
    assert!(store.tallies().await.unwrap().scans_active.is_empty(), "reading does not wait");
    other.execute_batch("COMMIT").unwrap();
    store.accept(vec![request("a")]).await.unwrap();
}

#[tokio::test]
async fn what_was_answered_survives_a_process_that_is_killed() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    let accepted = store.accept(vec![request("a"), request("b")]).await.unwrap();
    // The files as a killed process leaves them: nothing was moved out of the log.
    let left = InFile::fresh();
    for name in ["scanbell.db", "scanbell.db-wal"] {
        std::fs::copy(file.0.path().join(name), left.0.path().join(name)).unwrap();
    }
    let after = left.sqlite().await;
    for one in accepted {
        assert!(after.scan(one.scan).await.unwrap().is_some());
    }
    assert_eq!(after.tallies().await.unwrap(), store.tallies().await.unwrap());
}

#[tokio::test]
async fn a_damaged_row_does_not_hold_up_the_others() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    let event = |key: &str| OperatorEvent {
        key: key.to_owned(),
        resolved: false,
        title: String::new(),
        text: String::new(),
        at: from_millis(0),
        about_destination: None,
    };
    store.raise_event(event("one")).await.unwrap();
    execute(&file, "UPDATE events SET event = '{'");
    store.raise_event(event("two")).await.unwrap();
    let claimed = store.claim_unannounced(from_millis(1000), 10, Duration::from_secs(60)).await.unwrap();
    assert_eq!(claimed.len(), 1);
}

#[tokio::test]
async fn a_purge_leaves_no_row_behind() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    let (now, lease) = (from_millis(1_800_000_000_000), Duration::from_secs(60));
    store.accept(vec![NewRequest { idempotency_key: Some("k".to_owned()), ..request("a") }]).await.unwrap();
    let event = OperatorEvent {
        key: "k".to_owned(),
        resolved: false,
        title: String::new(),
        text: String::new(),
        at: now,
        about_destination: None,
    };
    store.raise_event(event).await.unwrap();
    // As if both were announced, and told in one attempt.
    let everything = "
        INSERT INTO reports VALUES (1, '{}', '{}');
        UPDATE scans SET state = 2, outcome = 'completed', finished_at = requested_at, report = 1, due_at = NULL;
        UPDATE events SET state = 2;
        INSERT INTO bodies VALUES (1, 'text/plain', x'00'), (2, 'text/plain', x'00');
        INSERT INTO deliveries (id, scan, destination, state, created_at, scan_finished_at, body)
            SELECT x'00000000000000000000000000000001', id, 'siem', 2, 0, 0, 1 FROM scans;
        INSERT INTO deliveries (id, event, destination, state, created_at, scan_finished_at, body)
            SELECT x'00000000000000000000000000000002', id, 'siem', 1, 0, 0, 2 FROM events;
        INSERT INTO attempts SELECT id, 1, 0, 'retry', 'timeout', NULL, 0 FROM deliveries;";
    execute(&file, everything);
    assert_eq!(store.purge(after(now, lease), 10).await.unwrap(), 1);
    let reader = Connection::open(file.path()).unwrap();
    for table in ["scans", "asks", "reports", "request_keys", "bodies", "deliveries", "attempts", "events"] {
        let rows: i64 = reader.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn after_a_crash_what_was_in_hand_is_due_again_at_once() {
    let file = InFile::fresh();
    let (store, now, lease) = (file.sqlite().await, from_millis(1_800_000_000_000), Duration::from_secs(60));
    store.take_over().await.unwrap();
    store.accept(vec![request("a")]).await.unwrap();
    assert_eq!(store.claim_due_scans("sieve", now, 10, lease).await.unwrap().len(), 1);
    drop(store);
    let next = file.sqlite().await;
    next.take_over().await.unwrap();
    assert_eq!(next.claim_due_scans("sieve", now, 10, lease).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_next_run_knows_where_the_clock_of_a_crashed_one_stood() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    assert_eq!(store.clock().await.unwrap(), None);
    store.take_over().await.unwrap();
    for standing in ["0a1b2c3d-0000-0000-0000-000000000000 1800000000000", "0a1b2c3d-0000-0000-0000-000000000000 5"] {
        store.keep_clock(standing.parse().unwrap()).await.unwrap();
        let next = file.sqlite().await;
        assert_eq!(next.clock().await.unwrap().unwrap().to_string(), standing);
    }
}

#[tokio::test]
async fn a_second_daemon_on_the_same_file_is_refused_and_a_command_is_not() {
    let file = InFile::fresh();
    let daemon = file.sqlite().await;
    daemon.take_over().await.unwrap();
    let second = file.sqlite().await;
    let Err(StoreError::Unavailable(text)) = second.take_over().await else { panic!("two daemons") };
    assert!(text.contains("another `scanbell run`"), "{text}");
    second.ping().await.unwrap();
    drop(daemon);
    second.take_over().await.unwrap();
}

#[tokio::test]
async fn large_reports_are_claimed_few_at_a_time_and_none_is_left_out() {
    let file = InFile::fresh();
    let store = file.sqlite().await;
    let now = from_millis(1_800_000_000_000);
    store.accept((0..9).map(|number| request(&number.to_string())).collect()).await.unwrap();
    execute(
        &file,
        "INSERT INTO reports SELECT row_number() OVER (), '{', json_quote(hex(zeroblob(1000000))) FROM scans;
         UPDATE scans SET state = 1, due_at = NULL, outcome = 'completed', finished_at = 0, report = 1 + scan_id;",
    );
    let mut looks = Vec::new();
    loop {
        let found = store
            .look(move |look| super::super::announcements::claim(look, now, after(now, Duration::from_secs(9)), 100));
        match found.await.unwrap().len() {
            0 => break,
            claimed => looks.push(claimed),
        }
    }
    assert_eq!(looks, [3, 3, 3]);
}
