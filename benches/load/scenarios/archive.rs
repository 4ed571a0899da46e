//! `archive`: the burst again, with few and with very many finished scans already stored.

use std::path::Path;
use std::time::Duration;

use scanbell::domain::delivery::{Next, Reason};
use scanbell::domain::notification::{Content, Notification};
use scanbell::domain::report::{Extract, Facts, Report};
use scanbell::domain::scan::{Outcome, ScanKey};
use scanbell::store::{
    self, AnnouncementRecord, Attempt, AttemptRecord, NewRequest, ObservationRecord, ObservationResult, SharedStore,
};
use scanbell::time::{Clock, after};
use serde_json::{Value, json};
use uuid::Uuid;

use super::burst::our_turn;
use crate::broker::Broker;
use crate::daemon::{Daemon, Shape, configure, two_hooks};
use crate::numbers::round;
use crate::world::World;
use crate::{Failed, Plan};

/// Rows of one call.
const BATCH: usize = 1000;
const LEASE: Duration = Duration::from_secs(60);
const DESTINATIONS: [&str; 2] = ["first", "second"];

pub async fn run(plan: &Plan) -> Result<Value, Failed> {
    let scans = plan.scans.unwrap_or(if plan.quick { 2_000 } else { 20_000 });
    let sizes = if plan.quick { [1_000, 20_000] } else { [1_000, 1_000_000] };
    let world = World::start("0s", "0s").await?;
    let broker = Broker::connect(&plan.broker).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scanbell.db");
    let (mut rows, mut stored) = (Vec::new(), 0);
    for size in sizes {
        fill(&file, size - stored).await?;
        stored = size;
        let turn = our_turn(plan, &broker, &world, scans, folder.path()).await?;
        let ready = ready_ms(folder.path(), &world).await?;
        rows.push((size, turn, ready));
    }
    let show = |(size, turn, ready): &(usize, super::burst::Turn, u64)| {
        json!({
            "stored": size, "cpu_us_per_scan": turn.cpu_us.round(), "scans_per_second": (scans as f64 / turn.seconds).round(),
            "ready_ms": ready, "peak_kb": turn.peak_kb,
        })
    };
    let cost = rows.last().zip(rows.first()).map(|(last, first)| round(last.1.cpu_us / first.1.cpu_us));
    Ok(json!({"scans": scans, "rows": rows.iter().map(show).collect::<Vec<_>>(), "cpu_ratio_last_to_first": cost}))
}

async fn ready_ms(folder: &Path, world: &World) -> Result<u64, Failed> {
    let config = folder.join("ready.toml");
    let rest = two_hooks(&world.url);
    configure(&config, None, &world.url, &Shape { rest: &rest, ..Shape::default() })?;
    let daemon = Daemon::start(&config).await?;
    let ready = daemon.ready_after.as_millis() as u64;
    daemon.stop()?;
    Ok(ready)
}

/// Finished scans, told to both destinations, by the store's own contract.
async fn fill(file: &Path, scans: usize) -> Result<(), Failed> {
    let store = store::open(&format!("sqlite:{}", file.display())).await?;
    let mut left = scans;
    while left > 0 {
        let batch = left.min(BATCH);
        fill_batch(&store, batch).await?;
        left -= batch;
    }
    store.close().await;
    Ok(())
}

async fn fill_batch(store: &SharedStore, scans: usize) -> Result<(), Failed> {
    let now = Clock::real().now();
    let request = |_| NewRequest {
        key: ScanKey { provider: "sieve".to_owned(), scan_id: Uuid::now_v7().to_string() },
        destinations: None,
        labels: std::collections::BTreeMap::new(),
        force: false,
        idempotency_key: None,
        first_sight: false,
        redelivered: false,
        accepted_at: now,
        deadline_at: after(now, LEASE),
        dedupe_since: now,
    };
    store.accept((0..scans).map(request).collect()).await?;
    let raw = format!(r#"{{"filler":"{}"}}"#, "x".repeat(600));
    let mut records = Vec::new();
    for claim in store.claim_due_scans("sieve", now, scans, LEASE).await? {
        let facts = Facts {
            id: claim.id,
            provider: claim.key.provider,
            scan_id: claim.key.scan_id,
            outcome: Outcome::Completed,
            requested_at: now,
            finished_at: now,
            polls: 1,
        };
        let said = Extract { raw: Some(serde_json::value::RawValue::from_string(raw.clone())?), ..Extract::default() };
        let report = Report::new(facts, said, u64::MAX);
        let result = ObservationResult::Finished(Box::new(report));
        records.push(ObservationRecord { scan: claim.id, claim: claim.claim, result });
    }
    store.record_observations(records).await?;
    let announcements = store.claim_unannounced(now, scans, LEASE).await?;
    let notify = |scan: Uuid, destination: &str| Notification {
        id: Uuid::now_v7(),
        scan: Some(scan),
        destination: destination.to_owned(),
        created_at: now,
        content: Content::Http { content_type: "application/json".to_owned(), body: raw.clone().into() },
    };
    let told = announcements.into_iter().map(|announcement| AnnouncementRecord {
        id: announcement.id,
        claim: announcement.claim,
        notifications: DESTINATIONS.map(|destination| notify(announcement.id, destination)).into(),
    });
    store.record_announcements(told.collect()).await?;
    for destination in DESTINATIONS {
        let sent =
            store.claim_due_deliveries(destination, now, scans, LEASE).await?.into_iter().map(|claim| AttemptRecord {
                delivery: claim.notification.id,
                claim: claim.claim,
                attempt: Attempt {
                    number: 1,
                    at: now,
                    verdict: "delivered".to_owned(),
                    reason: Reason::Ok,
                    answer: None,
                    duration_ms: 1,
                },
                next: Next::Delivered,
            });
        store.record_attempts(sent.collect()).await?;
    }
    Ok(())
}
