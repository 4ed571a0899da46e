//! The embedded store: one `SQLite` file, one thread that writes, a few connections that read.
//!
//! Everything but the daemon's leases is decided inside transactions on the file, so that a command may open the file
//! beside the daemon. JSON is written and read outside the writer's thread, which does nothing but SQL.

mod accept;
mod announcements;
mod asks;
mod codes;
mod connection;
mod deliveries;
mod delivery_views;
mod events;
mod failure;
mod leases;
mod migrations;
mod owner;
mod pages;
mod purge;
mod readers;
mod replay;
mod scan_views;
mod scans;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use uuid::Uuid;

use self::failure::Failure;
use self::owner::Ownership;
use self::readers::Readers;
use self::writer::{Lasting, Look, Tx, Writer};
use super::{
    Accepted, Announcement, AnnouncementRecord, Attempt, AttemptRecord, Claim, DeliveryClaim, DeliveryFilter,
    DeliveryView, NewRequest, ObservationRecord, Page, Release, Result, ScanClaim, ScanFilter, ScanView, Store,
    StoreError, Tallies,
};
use crate::domain::notification::OperatorEvent;
use crate::time::{Standing, Timestamp, after};

/// A store in one file.
#[derive(Debug)]
pub struct SqliteStore {
    path: Arc<Path>,
    writer: Writer,
    readers: Readers,
    owned: Mutex<Option<Ownership>>,
}

impl SqliteStore {
    /// Opens the file, creating it (readable by its owner only) or upgrading its schema.
    pub async fn open(path: PathBuf) -> Result<Self> {
        let path: Arc<Path> = path.into();
        let writer = Writer::start(path.clone()).await?;
        Ok(Self { readers: Readers::new(path.clone()), path, writer, owned: Mutex::default() })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(Lasting::Power, work).await
    }

    /// For what a power cut may undo, because it would only be done again.
    async fn write_lightly<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(Lasting::Process, work).await
    }

    /// What needs to know or to change who holds a row, and writes nothing.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Look<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.writer.look(work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.readers.run(query).await
    }

    /// Everything that a batch needs and no database, worked out on the caller's thread.
    fn prepare<A, B>(&self, batch: Vec<A>, one: impl Fn(A) -> std::result::Result<B, Failure>) -> Result<Vec<B>> {
        batch.into_iter().map(one).collect::<std::result::Result<_, _>>().map_err(|failure| failure.explain(&self.path))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn take_over(&self) -> Result<()> {
        let ownership = Ownership::take(&self.path)?;
        *self.owned.lock().unwrap_or_else(PoisonError::into_inner) = Some(ownership);
        Ok(())
    }

    async fn clock(&self) -> Result<Option<Standing>> {
        Ok(owner::clock(&self.path))
    }

    async fn keep_clock(&self, standing: Standing) -> Result<()> {
        match &mut *self.owned.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(owned) => owned.keep_clock(&standing).map_err(|error| StoreError::Unavailable(error.to_string())),
            None => Ok(()), // not ours to keep
        }
    }

    async fn accept(&self, requests: Vec<NewRequest>) -> Result<Vec<Accepted>> {
        let requests = self.prepare(requests, accept::Prepared::new)?;
        self.write(move |tx| accept::accept(tx, &requests)).await
    }

    async fn claim_due_scans(
        &self,
        provider: &str,
        now: Timestamp,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<ScanClaim>> {
        let provider = provider.to_owned();
        self.look(move |look| scans::claim_due(look, &provider, now, after(now, lease), limit)).await
    }

    async fn record_observations(&self, records: Vec<ObservationRecord>) -> Result<Vec<bool>> {
        let records = self.prepare(records, scans::Prepared::new)?;
        self.write_lightly(move |tx| scans::record(tx, &records)).await
    }

    async fn next_scan_due(&self, provider: &str) -> Result<Option<Timestamp>> {
        let provider = provider.to_owned();
        self.look(move |look| scans::next_due(look, &provider)).await
    }

    async fn claim_unannounced(&self, now: Timestamp, limit: usize, lease: Duration) -> Result<Vec<Announcement>> {
        let claimed = self.look(move |look| announcements::claim(look, now, after(now, lease), limit)).await?;
        Ok(claimed.into_iter().filter_map(announcements::Claimed::parse).collect())
    }

    async fn record_announcements(&self, records: Vec<AnnouncementRecord>) -> Result<Vec<bool>> {
        let records: Vec<_> = records.into_iter().map(announcements::Prepared::new).collect();
        self.write(move |tx| announcements::record(tx, &records)).await
    }

    async fn claim_due_deliveries(
        &self,
        destination: &str,
        now: Timestamp,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<DeliveryClaim>> {
        // One number for the batch: it must differ from every earlier claim of the same row, no more.
        let claim = Claim(rand::random());
        let (name, span) = (destination.to_owned(), (now, after(now, lease)));
        let claimed = self.look(move |look| deliveries::claim_due(look, &name, claim, span, limit)).await?;
        Ok(claimed.into_iter().filter_map(|row| row.parse(destination, claim)).collect())
    }

    async fn record_attempts(&self, records: Vec<AttemptRecord>) -> Result<Vec<bool>> {
        self.write(move |tx| deliveries::record(tx, &records)).await
    }

    async fn next_delivery_due(&self, destination: &str) -> Result<Option<Timestamp>> {
        let destination = destination.to_owned();
        self.look(move |look| deliveries::next_due(look, &destination)).await
    }

    async fn release(&self, releases: Vec<Release>) -> Result<()> {
        self.write_lightly(move |tx| {
            releases.iter().try_for_each(|release| match *release {
                Release::Scan(id, claim) => {
                    tx.leases.release(id, claim);
                    Ok(())
                }
                Release::Delivery { id, claim, due_at } => deliveries::release(tx, id, claim, due_at),
            })
        })
        .await
    }

    async fn raise_event(&self, event: OperatorEvent) -> Result<bool> {
        self.write(move |tx| events::raise(tx, &event)).await
    }

    async fn destinations_with_pending(&self) -> Result<Vec<String>> {
        self.read(tally::with_pending).await
    }

    async fn scans(&self, filter: ScanFilter) -> Result<Page<ScanView>> {
        self.read(move |connection| scan_views::list(connection, &filter)).await
    }

    async fn scan(&self, id: Uuid) -> Result<Option<ScanView>> {
        self.read(move |connection| scan_views::show_one(connection, id)).await
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Page<DeliveryView>> {
        self.read(move |connection| delivery_views::list(connection, &filter)).await
    }

    async fn delivery(&self, id: Uuid) -> Result<Option<(DeliveryView, Vec<Attempt>)>> {
        self.read(move |connection| delivery_views::show_one(connection, id)).await
    }

    async fn replay(&self, filter: DeliveryFilter, now: Timestamp) -> Result<u64> {
        let Some(mut filter) = replay::target(&filter) else { return Ok(0) };
        let mut replayed = 0;
        loop {
            let part = filter.clone();
            let (count, more) = self.write(move |tx| replay::batch(tx, &part, now)).await?;
            replayed += count;
            // Going on below the last id ends even if a replayed one dies again meanwhile.
            match more {
                Some(last) => filter.before = Some(last),
                None => return Ok(replayed),
            }
        }
    }

    async fn replay_one(&self, id: Uuid, now: Timestamp) -> Result<Option<bool>> {
        self.write(move |tx| replay::one(tx, id, now)).await
    }

    async fn tallies(&self) -> Result<Tallies> {
        self.read(tally::read).await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64> {
        let scans = self.read(move |connection| purge::find_scans(connection, before, limit)).await?;
        let mut deleted = 0;
        for bite in scans.chunks(purge::BITE) {
            let bite = bite.to_owned();
            deleted += self.write(move |tx| purge::delete_scans(tx, &bite)).await?;
        }
        let events = self.read(move |connection| purge::find_events(connection, before)).await?;
        for bite in events.chunks(purge::BITE) {
            let bite = bite.to_owned();
            self.write(move |tx| purge::delete_events(tx, &bite)).await?;
        }
        while self.write(move |tx| purge::delete_keys(tx, before)).await? {}
        Ok(deleted)
    }

    async fn ping(&self) -> Result<()> {
        self.read(|connection| Ok(connection.query_row("SELECT beats FROM pulse", [], |_| Ok(()))?)).await?;
        // Really writes: only so does a full disk show.
        self.write(|tx| {
            tx.connection.prepare_cached("UPDATE pulse SET beats = beats + 1")?.execute([])?;
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
