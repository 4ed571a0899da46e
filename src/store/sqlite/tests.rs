//! The suite of every store on this one, and what is peculiar to a file.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::SqliteStore;
use crate::store::SharedStore;
use crate::store::conformance::{Harness, conformance};

/// A file in a folder that goes when the test ends.
struct InFile(TempDir);

impl InFile {
    fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("scanbell.db")
    }

    async fn sqlite(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }
}

#[async_trait]
impl Harness for InFile {
    async fn open(&self) -> SharedStore {
        Arc::new(self.sqlite().await)
    }
}

conformance!(InFile::fresh());

mod file;
mod plans;
