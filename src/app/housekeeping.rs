//! What is done every now and then: gauges, retention, deliveries whose destination is gone, a clock that was set.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::deliver;
use crate::domain::delivery::DeliveryState;
use crate::store::SharedStore;
use crate::telemetry::metrics;
use crate::time::{Clock, Standing, until};

/// Gauges are as old as this at most.
const GAUGES_EVERY: Duration = Duration::from_secs(2);
/// How often old scans are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// How often deliveries that nobody delivers are looked for.
const ORPHANS_EVERY: Duration = Duration::from_secs(15);
/// Scans deleted in one transaction: small, so that nobody waits for it.
const PURGE_BATCH: usize = 200;
/// Between two batches, so that the writer is never only purging.
const PURGE_PAUSE: Duration = Duration::from_millis(50);

/// How often the clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// A difference between the clocks that somebody should know of, in milliseconds.
const WAS_SET: u64 = 2000;
/// The clock is kept again when it stands so differently.
const MOVED: Duration = Duration::from_millis(200);

/// Keeps the gauges of the store's rows and the recorder itself up to date.
pub(super) async fn gauges(
    store: SharedStore,
    clock: Clock,
    recorder: metrics::Handle,
    names: Names,
    stop: CancellationToken,
) {
    loop {
        if let Ok(tallies) = store.tallies().await {
            for provider in &names.providers {
                metrics::scans_active(provider, tallies.scans_active.get(provider).copied().unwrap_or(0));
            }
            let kept = tallies.deliveries.keys().map(|(destination, _)| destination);
            let mut destinations: Vec<&String> = names.destinations.iter().chain(kept).collect();
            destinations.sort_unstable();
            destinations.dedup();
            for destination in destinations {
                for state in DeliveryState::ALL {
                    let count = tallies.deliveries.get(&(destination.clone(), state)).copied().unwrap_or(0);
                    metrics::deliveries(destination, state.as_str(), count);
                }
                let oldest = tallies.oldest_pending.get(destination);
                metrics::delivery_oldest(destination, oldest.map_or(Duration::ZERO, |at| until(*at, clock.now())));
            }
        }
        recorder.upkeep();
        tokio::select! {
            () = tokio::time::sleep(GAUGES_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Deliveries to destinations that are not configured any more are dead as soon as they are due: nobody else looks.
pub(super) async fn orphans(store: SharedStore, clock: Clock, configured: Vec<String>, stop: CancellationToken) {
    loop {
        if let Err(error) = deliver::bury_orphans(&*store, &configured, &clock).await {
            tracing::warn!(%error, "deliveries to destinations that are gone were not looked for; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(ORPHANS_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The configured names, so that their gauges exist before their first row.
pub(super) struct Names {
    pub(super) providers: Vec<String>,
    pub(super) destinations: Vec<String>,
}

/// Says when the system's clock was set, keeps where ours stands, and sets ours once nothing waits.
pub(super) async fn clock(store: SharedStore, clock: Clock, stop: CancellationToken) {
    let mut seen = clock.ahead();
    let mut kept = clock.standing();
    loop {
        seen = say_if_set(seen, clock.ahead());
        if clock.standing().zip(kept.as_ref()).is_some_and(|(now, kept)| now.apart(kept) >= MOVED) {
            kept = keep_clock(&store, &clock).await;
        }
        if is_behind(&clock) && nothing_waits(&store).await {
            kept = catch_up(&store, &clock).await;
            seen = clock.ahead();
        }
        tokio::select! {
            () = tokio::time::sleep(COMPARE_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// From how far we were ahead to how far we are now; in a second we come nearer by a tenth of one at most.
fn say_if_set(seen: i64, ahead: i64) -> i64 {
    if ahead.abs_diff(seen) >= WAS_SET {
        tracing::warn!(
            seconds = (seen - ahead) / 1000,
            "the system's clock was set; waits and deadlines go on as they were, and times shown follow slowly"
        );
    }
    ahead
}

fn is_behind(clock: &Clock) -> bool {
    let ahead = clock.ahead();
    ahead < 0 && ahead.unsigned_abs() >= WAS_SET
}

/// Keeps where the clock stands for the next run.
pub(super) async fn keep_clock(store: &SharedStore, clock: &Clock) -> Option<Standing> {
    let standing = clock.standing()?;
    if let Err(error) = store.keep_clock(standing.clone()).await {
        tracing::debug!(%error, "where the clock stands was not kept");
    }
    Some(standing)
}

/// Sets a clock that is behind; kept first, so that no later run falls back behind what is written down now.
async fn catch_up(store: &SharedStore, clock: &Clock) -> Option<Standing> {
    let standing = clock.caught_up()?;
    match store.keep_clock(standing.clone()).await {
        Ok(()) => clock.set(&standing),
        Err(error) => tracing::debug!(%error, "the clock was not set"),
    }
    clock.standing()
}

/// Nothing has a deadline that would be over if the clock went on at once.
async fn nothing_waits(store: &SharedStore) -> bool {
    store.tallies().await.is_ok_and(|tallies| {
        let pending =
            |((_, state), count): (&(String, DeliveryState), &u64)| *state == DeliveryState::Pending && *count > 0;
        tallies.scans_active.values().all(|count| *count == 0) && !tallies.deliveries.iter().any(pending)
    })
}

/// Deletes what is older than the retention, a little at a time.
pub(super) async fn purge(store: SharedStore, clock: Clock, retention: Duration, stop: CancellationToken) {
    loop {
        let before = clock.now().checked_sub(retention).unwrap_or(crate::time::Timestamp::MIN);
        let wait = match store.purge(before, PURGE_BATCH).await {
            Ok(0) => PURGE_EVERY,
            Ok(deleted) => {
                tracing::debug!(deleted, "deleted scans older than the retention");
                PURGE_PAUSE
            }
            Err(error) => {
                tracing::warn!(%error, "cannot delete old scans; trying again");
                PURGE_EVERY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{NewRequest, Store};

    /// A clock that stands two hours behind the system's, in a store of its own.
    async fn two_hours_behind(folder: &tempfile::TempDir) -> Option<(SharedStore, Clock)> {
        let store = Arc::new(SqliteStore::open(folder.path().join("scanbell.db")).await.unwrap());
        store.take_over().await.unwrap();
        let (boot, base) = Clock::steady(None)
            .standing()?
            .to_string()
            .split_once(' ')
            .map(|(a, b)| (a.to_owned(), b.parse::<i64>().unwrap()))?;
        let clock = Clock::steady(Some(&format!("{boot} {}", base - 7_200_000).parse().unwrap()));
        Some((store, clock))
    }

    fn request(now: crate::time::Timestamp) -> NewRequest {
        NewRequest {
            key: crate::domain::scan::ScanKey { provider: "sieve".to_owned(), scan_id: "a".to_owned() },
            destinations: None,
            labels: std::collections::BTreeMap::new(),
            force: false,
            idempotency_key: None,
            first_sight: false,
            redelivered: false,
            accepted_at: now,
            deadline_at: crate::time::after(now, Duration::from_secs(60)),
            dedupe_since: now,
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_behind_is_set_when_nothing_waits_and_stays_set_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let Some((store, clock)) = two_hours_behind(&folder).await else { return };
        assert!(is_behind(&clock) && nothing_waits(&store).await);
        catch_up(&store, &clock).await;
        assert!(!is_behind(&clock));
        assert!(!is_behind(&Clock::steady(store.clock().await.unwrap().as_ref())));
    }

    #[tokio::test]
    async fn a_clock_that_is_behind_is_not_set_while_a_scan_would_time_out_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let Some((store, clock)) = two_hours_behind(&folder).await else { return };
        store.accept(vec![request(clock.now())]).await.unwrap();
        assert!(!nothing_waits(&store).await);
    }
}
