//! Brings the schema up to date, and says what cannot be read.
//!
//! Each numbered file runs once, in its own transaction, and is remembered with the digest of its text.

use ring::digest;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::failure::Failure;

/// One step of the schema.
struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

/// All of them, in order; only ever added to.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "initial", sql: include_str!("../migrations/sqlite/0001_initial.sql") },
    Migration { version: 2, name: "fewer_writes", sql: include_str!("../migrations/sqlite/0002_fewer_writes.sql") },
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT";

/// Runs what has not run yet. Two processes may do so at once.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    // Without the write lock first, so that a command beside a busy daemon does not queue for it.
    if has_table(connection)? && applied(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    prepare(connection)?;
    loop {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(migration) = MIGRATIONS.get(applied(&step)?) else {
            return Ok(());
        };
        apply(&step, migration)?;
        step.commit()?;
    }
}

/// Fails unless the schema is exactly this version's.
pub(super) fn verify(connection: &Connection) -> Result<(), Failure> {
    if has_table(connection)? && applied(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    Err(Failure::Stored("it was replaced while scanbell was running; restart scanbell".to_owned()))
}

fn has_table(connection: &Connection) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'";
    Ok(connection.query_row(sql, [], |_| Ok(())).optional()?.is_some())
}

/// Creates the table of migrations, unless the file is somebody else's.
fn prepare(connection: &mut Connection) -> Result<(), Failure> {
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !has_table(&step)? {
        let tables: u32 = step.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables > 0 {
            let fact = "it belongs to another program; let store.url name a file of its own";
            return Err(Failure::Stored(fact.to_owned()));
        }
        step.execute(CREATE, [])?;
    }
    step.commit()?;
    Ok(())
}

fn apply(step: &Transaction<'_>, migration: &Migration) -> Result<(), Failure> {
    step.execute_batch(migration.sql)?;
    step.execute(
        "INSERT INTO schema_migrations VALUES (?, ?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
        params![migration.version, migration.name, checksum(migration.sql)],
    )?;
    Ok(())
}

/// How many of ours have run; fails if what has run is not ours.
fn applied(connection: &Connection) -> Result<usize, Failure> {
    let mut statement = connection.prepare("SELECT version, checksum FROM schema_migrations ORDER BY version")?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let (version, found): (u32, String) = (row.get(0)?, row.get(1)?);
        match MIGRATIONS.get(count) {
            Some(ours) if ours.version == version && checksum(ours.sql) == found => count += 1,
            Some(ours) => {
                return Err(Failure::Stored(format!(
                    "its schema was altered (step {version}, expected {}); restore a backup, or start with a new file",
                    ours.version
                )));
            }
            None => {
                return Err(Failure::Stored(format!(
                    "a newer scanbell wrote it (schema {version}, this one reads up to {count}); run that version"
                )));
            }
        }
    }
    Ok(count)
}

fn checksum(sql: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, sql.as_bytes()).as_ref() {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_had_in_hand_is_due_when_it_was() {
        let mut old = Connection::open_in_memory().unwrap();
        prepare(&mut old).unwrap();
        let step = old.transaction().unwrap();
        apply(&step, &MIGRATIONS[0]).unwrap();
        step.execute_batch(
            "INSERT INTO scans (id, provider, scan_id, state, requested_at, deadline_at, due_at, free_due_at, claim)
                 VALUES (x'01', 'sieve', 'free', 0, 1, 9000, 100, NULL, NULL),
                        (x'02', 'sieve', 'in hand', 0, 1, 9000, 5000, 200, 7),
                        (x'03', 'sieve', 'being announced', 1, 1, 9000, 5000, NULL, 7);
             INSERT INTO deliveries (id, destination, state, created_at, due_at, free_due_at, claim, scan_finished_at, body)
                 VALUES (x'01', 'siem', 0, 1, 5000, 300, 7, 1, 1);",
        )
        .unwrap();
        step.commit().unwrap();
        migrate(&mut old).unwrap();
        let due = |table: &str| -> Vec<Option<i64>> {
            let mut rows = old.prepare(&format!("SELECT due_at FROM {table} ORDER BY id")).unwrap();
            rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(due("scans"), [Some(100), Some(200), None]);
        assert_eq!(due("deliveries"), [Some(300)]);
    }
}
