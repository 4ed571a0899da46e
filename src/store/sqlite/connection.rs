//! Opens connections to the file and sets them up; nothing else in the store knows a pragma.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::Failure;
use super::migrations;

/// How long to wait for another process that is writing.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to ask for the write-ahead log before another process is blamed, and the pause between.
const WAL_TRIES: u32 = 500;
const WAL_PAUSE: Duration = Duration::from_millis(20);
/// Larger than `SQLite`'s 1000 pages: a checkpoint holds the writer up, so rather few and large ones.
const CHECKPOINT_PAGES: u32 = 4000;
/// What is left of a write-ahead log that a long reader let grow, in bytes.
const LOG_LIMIT: u32 = 64 * 1024 * 1024;
/// Every statement of the store fits in, so that none is compiled twice.
const CACHED_STATEMENTS: usize = 96;
/// Page cache of the writer in KiB. What does not fit is in the operating system's cache anyhow; and `SQLite` goes
/// through its whole table of cached pages at each commit that split a page, so that a large one costs time.
const WRITER_CACHE: i32 = 8 * 1024;
/// Page cache of a reader in KiB.
const READER_CACHE: i32 = 4 * 1024;

/// The connection that writes: creates the file if there is none, and brings its schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Failure> {
    create_private(path);
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    set_up_writer(&connection)?;
    migrations::migrate(&mut connection)?;
    Ok(connection)
}

/// The connection that writes, once more: after a failure, to a file that was there.
pub(super) fn reopen_writer(path: &Path) -> Result<Connection, Failure> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set_up_writer(&connection)?;
    migrations::verify(&connection)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Failure> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE)?;
    Ok(connection)
}

/// Moves the write-ahead log into the file, so that a closed store is one file.
pub(super) fn checkpoint(connection: &Connection) -> Result<(), Failure> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Failure> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Plans that do not depend on bound values: else some statements are compiled again for every new value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // Rows are deleted together by `purge`, which knows them all; checking each link would cost every write.
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

fn set_up_writer(connection: &Connection) -> Result<(), Failure> {
    enter_wal(connection)?;
    set_flush(connection, true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    Ok(())
}

/// Whether a commit is flushed to the disk, to survive a power cut and not only a crash of the process. Not to be
/// called inside a transaction.
pub(super) fn set_flush(connection: &Connection, flush: bool) -> Result<(), Failure> {
    let statement = if flush { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}

/// `SQLite` answers "busy" at once, without its time-out, when two processes create the file together.
fn enter_wal(connection: &Connection) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                let fact = "its file system cannot share memory between processes (a network drive?); use a local disk";
                return Err(Failure::Stored(fact.to_owned()));
            }
            Err(error) if is_busy(&error) && tries < WAL_TRIES => {
                tries += 1;
                std::thread::sleep(WAL_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Creates the file so that only its owner can read it; `SQLite` gives its companions the same permissions.
///
/// A file that is there keeps its permissions; any error shows when `SQLite` opens it.
fn create_private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}
