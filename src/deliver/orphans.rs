//! Deliveries whose destination is not in the configuration any more: dead, with the reason, replayable later.

use std::time::Duration;

use crate::domain::delivery::{Next, Reason, Verdict};
use crate::store::{Attempt, AttemptRecord, DeliveryClaim, Result, Store};
use crate::telemetry::metrics;
use crate::time::{Clock, Timestamp};

const BATCH: usize = 200;
const LEASE: Duration = Duration::from_secs(30);

/// Buries what is due to destinations that are not `configured`; answers how many. To be called now and then:
/// what is due later is buried when it is due.
pub async fn bury_orphans(store: &dyn Store, configured: &[String], clock: &Clock) -> Result<u64> {
    let mut buried = 0;
    for name in store.destinations_with_pending().await? {
        if configured.contains(&name) {
            continue;
        }
        let before = buried;
        loop {
            let now = clock.now();
            let claims = store.claim_due_deliveries(&name, now, BATCH, LEASE).await?;
            if claims.is_empty() {
                break;
            }
            let records: Vec<AttemptRecord> = claims.iter().map(|claim| burial(claim, now)).collect();
            buried += store.record_attempts(records).await?.into_iter().filter(|written| *written).count() as u64;
        }
        if buried > before {
            tracing::error!(
                destination.name = name,
                reason = Reason::DestinationGone.as_str(),
                count = buried - before,
                "deliveries are dead: their destination is not in the configuration; replay them once it is back"
            );
        }
    }
    Ok(buried)
}

fn burial(claim: &DeliveryClaim, now: Timestamp) -> AttemptRecord {
    let reason = Reason::DestinationGone;
    let verdict = Verdict::Reject { reason };
    metrics::Attempts::of(&claim.notification.destination).attempt(verdict.as_str(), reason.as_str(), Duration::ZERO);
    AttemptRecord {
        delivery: claim.notification.id,
        claim: claim.claim,
        attempt: Attempt {
            number: claim.progress.attempts.saturating_add(1),
            at: now,
            verdict: verdict.as_str().to_owned(),
            reason,
            answer: Some("the destination is not in the configuration any more".to_owned()),
            duration_ms: 0,
        },
        next: Next::Dead(reason),
    }
}
