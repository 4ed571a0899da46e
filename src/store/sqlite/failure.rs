//! What can go wrong with an `SQLite` file, told so that a person can mend it.

use std::path::Path;

use rusqlite::ErrorCode;

use super::connection::BUSY_TIMEOUT;
use crate::store::StoreError;

/// Why an operation failed, before it is told with the name of the file.
#[derive(Debug)]
pub(super) enum Failure {
    /// `SQLite` says so.
    Sqlite(rusqlite::Error),
    /// A row, or the schema, is not what this version writes.
    Stored(String),
    /// A fault of our own: the operation panicked.
    Panicked,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Stored(format!("a row cannot be written or read: {error}"))
    }
}

impl Failure {
    /// Whether a fresh connection may do what this one cannot any more.
    pub(super) fn wants_new_connection(&self) -> bool {
        match self {
            Self::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                None | Some(
                    ErrorCode::DiskFull
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::ConstraintViolation
                        | ErrorCode::TooBig
                )
            ),
            Self::Stored(_) => false,
            Self::Panicked => true,
        }
    }

    /// Names the file, the fact and the way out.
    pub(super) fn explain(&self, path: &Path) -> StoreError {
        let file = path.display();
        match self {
            Self::Sqlite(error) => explain_sqlite(error, path),
            Self::Stored(fact) => StoreError::Unusable(format!("{file}: {fact}")),
            Self::Panicked => {
                StoreError::Unavailable(format!("{file}: an operation failed by a fault of scanbell's own"))
            }
        }
    }
}

fn explain_sqlite(error: &rusqlite::Error, path: &Path) -> StoreError {
    let file = path.display();
    let now = |fact: String| StoreError::Unavailable(format!("{file}: {fact}"));
    let never = |fact: String| StoreError::Unusable(format!("{file}: {fact}"));
    let Some(code) = error.sqlite_error_code() else {
        return never(format!("a row cannot be read: {error}"));
    };
    match code {
        ErrorCode::DiskFull => now("the disk is full; free some space, then all goes on by itself".into()),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            now("it cannot be written; check owner and permissions of the file and of its folder".into())
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            let seconds = BUSY_TIMEOUT.as_secs();
            now(format!("another process has kept it locked for {seconds} s; look for it with `fuser {file}`"))
        }
        ErrorCode::CannotOpen if out_of_descriptors(path) => {
            now("no file can be opened: the process is at its limit of open files; raise it (`ulimit -n`, \
                 LimitNOFILE), or lower the concurrency of providers and destinations"
                .into())
        }
        ErrorCode::CannotOpen => {
            now("it cannot be opened; the folder must exist, and scanbell must be allowed to write there".into())
        }
        ErrorCode::SystemIoFailure => now(format!(
            "the disk failed ({error}); is it mounted read-only, or broken? Once it is mended, all goes on by itself"
        )),
        ErrorCode::NotADatabase => {
            never("it is not an SQLite database; let store.url name another file, or move this one away".into())
        }
        ErrorCode::DatabaseCorrupt => never(format!(
            "it is damaged; stop scanbell, keep a copy, then restore a backup or try `sqlite3 {file} .recover`"
        )),
        _ => now(error.to_string()),
    }
}

/// `SQLite` does not say why a file cannot be opened; trying it does.
fn out_of_descriptors(path: &Path) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    std::fs::File::open(path).is_err_and(|error| matches!(error.raw_os_error(), Some(EMFILE | ENFILE)))
}
