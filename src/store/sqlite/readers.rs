//! A few connections that only read, so that looking never waits for writing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection;
use super::failure::Failure;
use crate::store::StoreError;

/// So many look at once; `SQLite`'s own work is short, so that a few are enough.
const READERS: u32 = 3;

/// The pool. Connections are opened when first needed.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    path: Arc<Path>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// An empty pool for the file.
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self { path, permits: Arc::new(Semaphore::new(READERS as usize)), idle: Arc::default() }
    }

    /// Runs `query` where it may block.
    pub(super) async fn run<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| self.closed())?;
        let pool = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = pool.query(query);
            drop(permit); // after the connection is back in the pool
            answer
        });
        answer.await.unwrap_or(Err(Failure::Panicked)).map_err(|failure| failure.explain(&self.path))
    }

    /// Waits for those who are looking, and closes the connections.
    pub(super) async fn close(&self) {
        let _ = self.permits.acquire_many(READERS).await; // an error: closed already
        self.permits.close();
        self.lock().clear();
    }

    fn query<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.lock().pop();
        let connection = idle.map_or_else(|| connection::open_reader(&self.path), Ok)?;
        let answer = query(&connection);
        if !matches!(&answer, Err(failure) if failure.wants_new_connection()) {
            self.lock().push(connection);
        }
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> StoreError {
        StoreError::Unavailable(format!("{}: the store is closed", self.path.display()))
    }
}
