//! A store that keeps requests in memory and fails or waits when it is told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use scanbell::domain::notification::OperatorEvent;
use scanbell::domain::scan::ScanKey;
use scanbell::store::*;
use scanbell::time::Timestamp;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Scans are followed for ever; nothing but [`Store::accept`] is of use.
pub struct MemoryStore {
    inner: Mutex<Inner>,
    failures: AtomicU32,
    calls: AtomicU32,
    /// Each call of `accept` takes one permit after it has committed and before it answers.
    answers: Semaphore,
}

#[derive(Default)]
struct Inner {
    scans: HashMap<ScanKey, Uuid>,
    keys: HashMap<String, Uuid>,
    accepted: Vec<(String, AcceptedState)>,
    asked: Vec<NewRequest>,
}

impl MemoryStore {
    pub fn new() -> Self {
        let (failures, calls) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { inner: Mutex::default(), failures, calls, answers: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    /// The next so many calls fail.
    pub fn fail(&self, calls: u32) {
        self.failures.store(calls, Ordering::SeqCst);
    }

    /// Calls commit, but do not answer until [`MemoryStore::answer`].
    pub fn hold(&self) {
        self.answers.forget_permits(usize::MAX);
    }

    pub fn answer(&self) {
        self.answers.add_permits(Semaphore::MAX_PERMITS - self.answers.available_permits());
    }

    /// How often it was asked, failures included.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Scan IDs in the order of acceptance, and what became of each.
    pub fn accepted(&self) -> Vec<(String, AcceptedState)> {
        self.lock().accepted.clone()
    }

    /// Scan IDs that are followed, sorted.
    pub fn following(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.lock().scans.keys().map(|key| key.scan_id.clone()).collect();
        ids.sort();
        ids
    }

    /// The request for a scan as it came here.
    pub fn asked(&self, scan_id: &str) -> NewRequest {
        self.lock().asked.iter().find(|request| request.key.scan_id == scan_id).unwrap().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn accept(&mut self, request: NewRequest) -> Accepted {
        let known = request.idempotency_key.as_ref().filter(|_| !request.first_sight);
        let answer = if let Some(scan) = known.and_then(|key| self.keys.get(key)) {
            Accepted { scan: *scan, state: AcceptedState::Duplicate }
        } else if let Some(scan) = self.scans.get(&request.key) {
            Accepted { scan: *scan, state: AcceptedState::Joined }
        } else {
            let scan = Uuid::now_v7();
            self.scans.insert(request.key.clone(), scan);
            Accepted { scan, state: AcceptedState::Following }
        };
        if let Some(key) = &request.idempotency_key {
            self.keys.insert(key.clone(), answer.scan);
        }
        self.accepted.push((request.key.scan_id.clone(), answer.state));
        self.asked.push(request);
        answer
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn take_over(&self) -> Result<()> {
        Ok(())
    }

    async fn accept(&self, requests: Vec<NewRequest>) -> Result<Vec<Accepted>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let failing = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, failing).is_ok() {
            return Err(StoreError::Unavailable("the test says so".to_owned()));
        }
        let answers = requests.into_iter().map(|request| self.lock().accept(request)).collect();
        self.answers.acquire().await.unwrap().forget();
        Ok(answers)
    }
    async fn claim_due_scans(&self, _: &str, _: Timestamp, _: usize, _: Duration) -> Result<Vec<ScanClaim>> {
        unimplemented!()
    }
    async fn record_observations(&self, _: Vec<ObservationRecord>) -> Result<Vec<bool>> {
        unimplemented!()
    }
    async fn next_scan_due(&self, _: &str) -> Result<Option<Timestamp>> {
        unimplemented!()
    }
    async fn claim_unannounced(&self, _: Timestamp, _: usize, _: Duration) -> Result<Vec<Announcement>> {
        unimplemented!()
    }
    async fn record_announcements(&self, _: Vec<AnnouncementRecord>) -> Result<Vec<bool>> {
        unimplemented!()
    }
    async fn claim_due_deliveries(&self, _: &str, _: Timestamp, _: usize, _: Duration) -> Result<Vec<DeliveryClaim>> {
        unimplemented!()
    }
    async fn record_attempts(&self, _: Vec<AttemptRecord>) -> Result<Vec<bool>> {
        unimplemented!()
    }
    async fn next_delivery_due(&self, _: &str) -> Result<Option<Timestamp>> {
        unimplemented!()
    }
    async fn release(&self, _: Vec<Release>) -> Result<()> {
        unimplemented!()
    }
    async fn raise_event(&self, _: OperatorEvent) -> Result<bool> {
        unimplemented!()
    }
    async fn destinations_with_pending(&self) -> Result<Vec<String>> {
        unimplemented!()
    }
    async fn scans(&self, _: ScanFilter) -> Result<Page<ScanView>> {
        unimplemented!()
    }
    async fn scan(&self, _: Uuid) -> Result<Option<ScanView>> {
        unimplemented!()
    }
    async fn deliveries(&self, _: DeliveryFilter) -> Result<Page<DeliveryView>> {
        unimplemented!()
    }
    async fn delivery(&self, _: Uuid) -> Result<Option<(DeliveryView, Vec<Attempt>)>> {
        unimplemented!()
    }
    async fn replay(&self, _: DeliveryFilter, _: Timestamp) -> Result<u64> {
        unimplemented!()
    }
    async fn replay_one(&self, _: Uuid, _: Timestamp) -> Result<Option<bool>> {
        unimplemented!()
    }
    async fn tallies(&self) -> Result<Tallies> {
        unimplemented!()
    }
    async fn purge(&self, _: Timestamp, _: usize) -> Result<u64> {
        unimplemented!()
    }
    async fn ping(&self) -> Result<()> {
        unimplemented!()
    }
    async fn close(&self) {}
}
