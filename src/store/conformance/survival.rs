//! What was answered stays, whoever else writes and however it ends.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;
use crate::store::{AcceptedState, DeliveryFilter, ScanFilter};

pub async fn what_was_answered_is_there_after_the_store_was_dropped(harness: &dyn Harness) {
    let store = harness.open().await;
    let keyed = NewRequest { idempotency_key: Some("k".to_owned()), ..request("a") };
    let scan = accept_one(&store, keyed.clone()).await.scan;
    let waiting = accept_one(&store, NewRequest { accepted_at: at(9000), ..request("b") }).await.scan;
    finish_all(&store, at(100)).await;
    let ids = announce_all(&store, &["siem", "oncall"], at(200)).await;
    kill_all(&store, "siem", at(300)).await;
    assert_eq!(claim_deliveries(&store, "oncall", at(300)).await.len(), 1);
    drop(store);

    let store = harness.open().await;
    assert_eq!(accept_one(&store, keyed).await, Accepted { scan, state: AcceptedState::Duplicate });
    assert_eq!(store.scan(scan).await.unwrap().unwrap().outcome, Some(Outcome::Completed));
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), Some(at(9000)));
    assert_eq!(claim_scans(&store, at(9000)).await[0].id, waiting);
    assert_eq!(store.delivery(ids[0]).await.unwrap().unwrap().1.len(), 1);
    assert_eq!(claim_deliveries(&store, "oncall", at(9_000_000)).await[0].notification.id, ids[1], "held no longer");
    assert!(claim_announcements(&store, at(9_000_000)).await.is_empty());
}

pub async fn two_daemons_never_hold_the_same_delivery(harness: &dyn Harness) {
    let one = harness.open().await;
    let two = another_daemon(harness, &one).await;
    let ids = deliveries_to(&one, 1, &["siem"], at(100)).await;
    let claim = claim_deliveries(&two, "siem", at(100)).await.remove(0);
    assert!(claim_deliveries(&one, "siem", at(100)).await.is_empty());
    assert!(record_one(&one, attempted(&claim, Reason::Rejected, Next::Dead(Reason::Rejected), at(200))).await);
    assert_eq!(two.replay(DeliveryFilter::default(), at(300)).await.unwrap(), 1);
    assert_eq!(claim_deliveries(&one, "siem", at(300)).await[0].notification.id, ids[0]);
    assert_eq!(one.tallies().await.unwrap(), two.tallies().await.unwrap());
}

pub async fn many_callers_at_once_are_all_answered_and_all_kept(harness: &dyn Harness) {
    let store = harness.open().await;
    let mut callers = JoinSet::new();
    for number in 0..600 {
        let store = Arc::clone(&store);
        callers.spawn(async move { accept_one(&store, request(&format!("scan-{}", number % 300))).await });
    }
    let answers = callers.join_all().await;
    let followed = answers.iter().filter(|answer| answer.state == AcceptedState::Following).count();
    assert_eq!(followed, 300, "each was followed once and joined once");
    let ids: HashSet<_> = answers.iter().map(|answer| answer.scan).collect();
    let listed = store.scans(ScanFilter { limit: 1000, ..ScanFilter::default() }).await.unwrap().items;
    assert_eq!(listed.into_iter().map(|scan| scan.id).collect::<HashSet<_>>(), ids);
}

pub async fn a_request_joins_the_scan_that_is_followed_though_the_clock_was_set_back_over_a_restart(
    harness: &dyn Harness,
) {
    let store = harness.open().await;
    accept_one(&store, request("a")).await;
    finish_all(&store, at(100)).await;
    drop(store);
    let store = harness.open().await;
    let early = |force| NewRequest { accepted_at: at(-60_000), force, ..request("a") };
    let again = accept_one(&store, early(true)).await;
    assert_eq!(again.state, AcceptedState::Following);
    assert_eq!(accept_one(&store, early(false)).await, Accepted { scan: again.scan, state: AcceptedState::Joined });
}
