//! What people look at.

use std::collections::HashSet;

use super::*;
use crate::domain::delivery::DeliveryState;
use crate::store::{DeliveryFilter, ScanFilter, ScanState, ScanView};

async fn scans(store: &SharedStore, filter: ScanFilter) -> Vec<ScanView> {
    let page = store.scans(ScanFilter { limit: 100, ..filter }).await.unwrap();
    assert_eq!(page.next, None);
    page.items
}

fn names(scans: &[ScanView]) -> Vec<&str> {
    scans.iter().map(|scan| scan.scan_id.as_str()).collect()
}

pub async fn pages_of_scans_cover_all_once_newest_first(harness: &dyn Harness) {
    let store = harness.open().await;
    let mut ids = follow(&store, 25).await;
    ids.reverse();
    for state in [None, Some(ScanState::Following)] {
        let mut filter = ScanFilter { limit: 10, state, ..ScanFilter::default() };
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let page = store.scans(filter.clone()).await.unwrap();
            sizes.push(page.items.len());
            seen.extend(page.items.iter().map(|scan| scan.id));
            let Some(next) = page.next else { break };
            filter.before = Some(next.parse().unwrap());
        }
        assert_eq!((&seen, sizes), (&ids, vec![10, 10, 5]));
    }
    let exact = store.scans(ScanFilter { limit: 25, ..ScanFilter::default() }).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (25, None), "no empty page at the end");
}

pub async fn filters_of_scans_combine(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 3).await;
    let mut elsewhere = request("scan-0");
    elsewhere.key.provider = "enkrypt".to_owned();
    accept_one(&store, NewRequest { accepted_at: at(5), ..elsewhere }).await;
    let claims = claim_scans(&store, at(10)).await;
    let failed = finished(&claims[0], Outcome::Failed, at(11));
    let completed = finished(&claims[1], Outcome::Completed, at(12));
    store.record_observations(vec![failed, completed]).await.unwrap();

    let all = ScanFilter::default();
    let sieve = ScanFilter { provider: Some("sieve".to_owned()), ..all.clone() };
    let following = ScanFilter { state: Some(ScanState::Following), ..all.clone() };
    let named = ScanFilter { scan_id: Some("scan-0".to_owned()), ..all.clone() };
    assert_eq!(names(&scans(&store, all.clone()).await), ["scan-0", "scan-2", "scan-1", "scan-0"]);
    assert_eq!(names(&scans(&store, sieve.clone()).await), ["scan-2", "scan-1", "scan-0"]);
    assert_eq!(names(&scans(&store, following.clone()).await), ["scan-0", "scan-2"]);
    let both = ScanFilter { state: Some(ScanState::Following), ..sieve.clone() };
    assert_eq!(names(&scans(&store, both).await), ["scan-2"]);
    assert_eq!(scans(&store, named.clone()).await.len(), 2);
    let one = ScanFilter { outcome: Some(Outcome::Failed), state: Some(ScanState::Finished), ..named.clone() };
    assert_eq!(names(&scans(&store, one).await), ["scan-0"]);
    let none = ScanFilter { outcome: Some(Outcome::Completed), ..named };
    assert!(scans(&store, none).await.is_empty());
    assert!(scans(&store, ScanFilter { outcome: Some(Outcome::Failed), ..following }).await.is_empty());
    let finished_ones = ScanFilter { state: Some(ScanState::Finished), ..sieve };
    assert_eq!(names(&scans(&store, finished_ones).await), ["scan-1", "scan-0"]);
}

pub async fn a_list_has_reports_without_raw_and_one_scan_has_all(harness: &dyn Harness) {
    let store = harness.open().await;
    let wanted = NewRequest { labels: labels([("team", "red")]), ..request("a") };
    let id = accept_one(&store, wanted).await.scan;
    let before = store.scan(id).await.unwrap().unwrap();
    assert_eq!((before.state, before.outcome, before.polls), (ScanState::Following, None, 0));
    assert_eq!((before.next_poll_at, before.finished_at), (Some(at(0)), None));
    assert_eq!(before.deadline_at, at(3_600_000));
    assert!(before.report.is_none());
    assert_eq!(before.labels, labels([("team", "red")]));
    finish_all(&store, at(500)).await;

    let listed = scans(&store, ScanFilter::default()).await.remove(0);
    assert_eq!((listed.state, listed.outcome), (ScanState::Finished, Some(Outcome::Completed)));
    assert_eq!((listed.next_poll_at, listed.finished_at, listed.polls), (None, Some(at(500)), 1));
    let report = listed.report.unwrap();
    assert_eq!((report.id, report.verdict, report.labels), (id, Verdict::Threat, labels([("team", "red")])));
    assert!(report.raw.is_none());
    let whole = store.scan(id).await.unwrap().unwrap().report.unwrap();
    assert_eq!(whole.raw.unwrap().get(), "{ \"status\" : \"done\", \"score\": 1.0 }");
    assert!(store.scan(Uuid::nil()).await.unwrap().is_none());
}

pub async fn pages_of_deliveries_cover_all_once_newest_first(harness: &dyn Harness) {
    let store = harness.open().await;
    let mut ids = deliveries_to(&store, 12, &["siem", "oncall"], at(100)).await;
    ids.reverse();
    for state in [None, Some(DeliveryState::Pending)] {
        let mut filter = DeliveryFilter { limit: 7, state, ..DeliveryFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = store.deliveries(filter.clone()).await.unwrap();
            assert!(page.items.len() <= 7);
            seen.extend(page.items.iter().map(|delivery| delivery.id));
            let Some(next) = page.next else { break };
            filter.before = Some(next.parse().unwrap());
        }
        assert_eq!(seen, ids);
    }
}

pub async fn filters_of_deliveries_combine(harness: &dyn Harness) {
    let store = harness.open().await;
    let ids = deliveries_to(&store, 2, &["siem", "oncall"], at(100)).await;
    kill_all(&store, "siem", at(200)).await;
    let scan = store.delivery(ids[0]).await.unwrap().unwrap().0.scan;
    let siem = DeliveryFilter { destination: Some("siem".to_owned()), ..DeliveryFilter::default() };
    let found = async |filter| {
        let found = all_deliveries(&store, filter).await;
        found.into_iter().map(|delivery| delivery.id).collect::<HashSet<_>>()
    };
    assert_eq!(found(siem.clone()).await, HashSet::from([ids[0], ids[2]]));
    let dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    assert_eq!(found(dead.clone()).await, HashSet::from([ids[0], ids[2]]));
    assert_eq!(found(DeliveryFilter { scan, ..DeliveryFilter::default() }).await, HashSet::from([ids[0], ids[1]]));
    assert_eq!(found(DeliveryFilter { scan, ..dead }).await, HashSet::from([ids[0]]));
    let pending_here = DeliveryFilter { state: Some(DeliveryState::Pending), ..siem.clone() };
    assert!(found(pending_here).await.is_empty());
    let delivered = DeliveryFilter { state: Some(DeliveryState::Delivered), ..siem };
    assert!(found(delivered).await.is_empty());
}

pub async fn a_delivery_is_shown_with_its_attempts(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = deliveries_to(&store, 1, &["siem"], at(100)).await[0];
    let (fresh, attempts) = store.delivery(id).await.unwrap().unwrap();
    assert_eq!((fresh.created_at, fresh.due_at, fresh.last_answer), (at(100), Some(at(100)), None));
    assert!(attempts.is_empty());
    let claim = claim_deliveries(&store, "siem", at(100)).await.remove(0);
    let next = Next::Due { at: at(500), progress: progress(1) };
    let first = attempted(&claim, Reason::ServerError, next, at(200));
    assert!(record_one(&store, first.clone()).await);
    let claim = claim_deliveries(&store, "siem", at(500)).await.remove(0);
    let mut second = attempted(&claim, Reason::Ok, Next::Delivered, at(600));
    second.attempt.answer = None;
    assert!(record_one(&store, second.clone()).await);
    let (shown, attempts) = store.delivery(id).await.unwrap().unwrap();
    assert_eq!(attempts, [first.attempt, second.attempt]);
    assert_eq!((shown.attempt_count, shown.last_answer), (2, None), "the last one said nothing");
    assert!(store.delivery(Uuid::nil()).await.unwrap().is_none());
}

pub async fn a_lease_does_not_show(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = follow(&store, 1).await[0];
    claim_scans(&store, at(100)).await;
    assert_eq!(store.scan(id).await.unwrap().unwrap().next_poll_at, Some(at(0)));
    finish_all(&store, at(100_000)).await;
    let delivery = announce_all(&store, &["siem"], at(100_000)).await[0];
    claim_deliveries(&store, "siem", at(100_500)).await;
    assert_eq!(store.delivery(delivery).await.unwrap().unwrap().0.due_at, Some(at(100_000)));
}
