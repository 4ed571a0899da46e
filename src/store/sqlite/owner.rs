//! One daemon at a time works on the file: the lock, and where the clock of the last one stood.
//!
//! Where it says that there is no other worker, leases need to be known to this process only ([`super::leases`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::time::Standing;

/// Held as long as the daemon works; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Ownership {
    lock: File,
}

impl Ownership {
    /// Takes the lock beside the file, or says who else may have it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock_path = beside(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(&lock_path).map_err(|error| cannot(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "{}: another `scanbell run` works on this store; stop it, or give this one a store.url of its own",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(cannot(&lock_path, &error)),
        }
    }
}

impl Ownership {
    /// Keeps where our clock stands, in the lock's own file: it is the business of who has the lock. Not flushed: a
    /// power cut ends the clock too.
    pub(super) fn keep_clock(&mut self, standing: &Standing) -> std::io::Result<()> {
        let text = format!("{:<80}\n", standing.to_string()); // always as long: nothing of an earlier one is left
        self.lock.rewind()?;
        self.lock.write_all(text.as_bytes())
    }
}

/// What was kept last, if anything readable was.
pub(super) fn clock(path: &Path) -> Option<Standing> {
    std::fs::read_to_string(beside(path)).ok()?.parse().ok()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn cannot(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{} cannot be locked: {error}", path.display()))
}
