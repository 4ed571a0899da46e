//! Announces: takes reports and events that nobody was told of yet, decides who is told what, writes that down.
//!
//! Knows nothing of polling or sending; meets the other steps only in the store. One batch is claimed, rendered and
//! committed together; where the store goes away in between, the commit is tried again. May stop anywhere: what was
//! claimed and not committed is announced again when its lease ends, and since its notifications were never kept,
//! nobody hears of it twice.

mod plan;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::plan::Planner;
use crate::domain::notification::Notification;
use crate::render::{Rendered, Renderer};
use crate::routing::Router;
use crate::store::{Announcement, AnnouncementRecord, SharedStore, StoreError, Subject};
use crate::telemetry::metrics;
use crate::time::{Backoff, Clock, Timestamp, Wake, chance};

/// How many are announced in one commit.
const BATCH: usize = 256;
/// So many at once mean load: the next ones are gathered for a moment.
const BUSY: usize = 4;
const GATHER: Duration = Duration::from_millis(4);
/// How long a batch may take before another announcer takes it over.
const LEASE: Duration = Duration::from_secs(60);
/// Another replica may have finished a scan: look this often without being woken.
const LOOK: Duration = Duration::from_secs(5);
/// Waits between tries while the store is away.
const AWAY: Backoff = Backoff { first: Duration::from_millis(200), growth: 2.0, max: Duration::from_secs(15) };

/// What one look at the store led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// Nothing was waiting.
    Idle,
    /// So many reports and events were announced in so many notifications.
    Announced {
        /// Reports and events.
        announcements: usize,
        /// To all destinations together.
        notifications: usize,
        /// The batch was full: there may be more.
        more: bool,
    },
    /// The store is away; everything is as it was.
    Unavailable,
}

/// Step three.
pub struct Announcer {
    store: SharedStore,
    renderer: Arc<Renderer>,
    planner: Arc<Planner>,
    clock: Clock,
    wakes: HashMap<String, Wake>,
    /// How often in a row the store was away: warned of once.
    away: std::sync::atomic::AtomicU32,
    /// Composed, and not written down because the store went away in between.
    unkept: Mutex<Vec<Composed>>,
}

impl Announcer {
    /// `operator` and `destinations` are names; `wakes` are those of the deliverers, by destination.
    pub fn new(
        store: SharedStore,
        renderer: Arc<Renderer>,
        router: Arc<Router>,
        operator: Vec<String>,
        destinations: Vec<String>,
        clock: Clock,
        wakes: HashMap<String, Wake>,
    ) -> Self {
        let planner = Arc::new(Planner::new(router, operator, destinations));
        Self { store, renderer, planner, clock, wakes, away: 0.into(), unkept: Mutex::default() }
    }

    /// Announces until `stop`; `wake` says that there may be something.
    pub async fn run(self, wake: Wake, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.tick().await {
                Tick::Announced { more: true, .. } => continue,
                // Under load one commit for several reports, rather than one for each.
                Tick::Announced { announcements, .. } if announcements >= BUSY => {
                    let _ = tokio::time::timeout(GATHER, stop.cancelled()).await;
                    continue;
                }
                Tick::Announced { .. } => continue,
                Tick::Idle => LOOK,
                Tick::Unavailable => {
                    let tries = self.away.load(std::sync::atomic::Ordering::Relaxed);
                    let wait = AWAY.delay(tries.saturating_sub(1), chance());
                    // A wake-up cannot help while the store is away.
                    let _ = tokio::time::timeout(wait, stop.cancelled()).await;
                    continue;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.wait() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims one batch, renders it, commits it, wakes those who deliver it.
    pub async fn tick(&self) -> Tick {
        match self.announce_batch().await {
            Ok(tick) => {
                if self.away.swap(0, std::sync::atomic::Ordering::Relaxed) > 0 {
                    tracing::info!("the store is back; announcing goes on");
                }
                tick
            }
            Err(error) => {
                if self.away.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                    tracing::warn!(reason = %error, "cannot announce while the store is away; nothing is lost");
                }
                Tick::Unavailable
            }
        }
    }

    async fn announce_batch(&self) -> Result<Tick, StoreError> {
        let (composed, more) = match self.unkept() {
            composed if !composed.is_empty() => (composed, true),
            _ => {
                let batch = self.store.claim_unannounced(self.clock.now(), BATCH, LEASE).await?;
                if batch.is_empty() {
                    return Ok(Tick::Idle);
                }
                let more = batch.len() == BATCH;
                (self.compose(batch).await?, more)
            }
        };
        let told: Vec<Told> = composed.iter().map(Told::of).collect();
        let records = composed.iter().map(|composed| composed.record.clone()).collect();
        let kept = match self.store.record_announcements(records).await {
            Ok(kept) => kept,
            Err(error) => {
                // The claim counts as long as nobody else has it: rather once more than waiting for its lease to end.
                *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = composed;
                return Err(error);
            }
        };
        let told: Vec<Told> = told.into_iter().zip(kept).filter_map(|(told, kept)| kept.then_some(told)).collect();
        let notifications = told.iter().map(|told| told.destinations.len()).sum();
        self.after_commit(&told);
        Ok(Tick::Announced { announcements: told.len(), notifications, more })
    }

    /// What was composed and could not be written down.
    fn unkept(&self) -> Vec<Composed> {
        std::mem::take(&mut self.unkept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Routing and rendering are work for a processor: not on the threads that wait for the network.
    async fn compose(&self, batch: Vec<Announcement>) -> Result<Vec<Composed>, StoreError> {
        let (planner, renderer) = (Arc::clone(&self.planner), Arc::clone(&self.renderer));
        let now = self.clock.now();
        let work = move || batch.into_iter().map(|one| compose_one(&planner, &renderer, one, now)).collect();
        // Fails when the runtime ends or on a fault of ours; the leases run out and all is tried again.
        tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Says what was committed: metrics, log, wake-ups.
    fn after_commit(&self, told: &[Told]) {
        let mut waiting = BTreeSet::new();
        for one in told {
            for (destination, why) in &one.fallbacks {
                metrics::template_fallback(destination);
                tracing::warn!(destination.name = %destination, reason = %why, scan.id = %one.id,
                               "a template failed; the plain message goes out instead");
            }
            tracing::info!(scan.id = %one.id, destinations = one.destinations.len(), "announced");
            waiting.extend(&one.destinations);
        }
        for wake in waiting.into_iter().filter_map(|name| self.wakes.get(name)) {
            wake.wake();
        }
    }
}

/// One announcement, ready to be committed.
struct Composed {
    record: AnnouncementRecord,
    fallbacks: Vec<(String, String)>,
}

/// What is said of an announcement once it is committed.
struct Told {
    id: Uuid,
    destinations: Vec<String>,
    fallbacks: Vec<(String, String)>,
}

impl Told {
    fn of(composed: &Composed) -> Self {
        let destinations = composed.record.notifications.iter().map(|one| one.destination.clone()).collect();
        Self { id: composed.record.id, destinations, fallbacks: composed.fallbacks.clone() }
    }
}

fn compose_one(planner: &Planner, renderer: &Renderer, announcement: Announcement, now: Timestamp) -> Composed {
    let Announcement { id, claim, subject } = announcement;
    let destinations = planner.destinations(id, &subject);
    let scan = matches!(subject, Subject::Report { .. }).then_some(id);
    let mut fallbacks = Vec::new();
    let notifications = destinations
        .into_iter()
        .map(|destination| {
            let notification = Uuid::now_v7();
            let Rendered { content, fallback } = match &subject {
                Subject::Report { report, .. } => renderer.report(&destination, report, notification, now),
                Subject::Event(event) => renderer.event(&destination, event, notification, now),
            };
            fallbacks.extend(fallback.map(|why| (destination.clone(), why)));
            Notification { id: notification, scan, destination, created_at: now, content }
        })
        .collect();
    Composed { record: AnnouncementRecord { id, claim, notifications }, fallbacks }
}
