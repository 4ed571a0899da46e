//! Scans: leased when due, written back after a poll.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;
use crate::domain::scan::Tracking;
use crate::store::{AcceptedState, Release, ScanState};

fn again(claim: &ScanClaim, when: Timestamp, tracking: Tracking) -> ObservationRecord {
    ObservationRecord { scan: claim.id, claim: claim.claim, result: ObservationResult::Again { at: when, tracking } }
}

pub async fn due_scans_are_leased_most_overdue_first_up_to_the_limit(harness: &dyn Harness) {
    let store = harness.open().await;
    let ids = follow(&store, 5).await;
    let first = store.claim_due_scans("sieve", at(0), 10, LEASE).await.unwrap();
    assert_eq!(first.iter().map(|claim| claim.id).collect::<Vec<_>>(), ids[..1], "the others are not due yet");
    assert!(store.record_observations(vec![again(&first[0], at(2), first[0].tracking)]).await.unwrap()[0]);
    let next = store.claim_due_scans("sieve", at(10), 3, LEASE).await.unwrap();
    let due: Vec<_> = next.iter().map(|claim| claim.id).collect();
    assert_eq!(due[0], ids[1]);
    assert_eq!(HashSet::from([due[1], due[2]]), HashSet::from([ids[0], ids[2]]), "both due at 2");
    let rest = store.claim_due_scans("sieve", at(10), 10, LEASE).await.unwrap();
    assert_eq!(rest.iter().map(|claim| claim.id).collect::<Vec<_>>(), ids[3..]);
    assert!(store.claim_due_scans("sieve", at(10), 0, LEASE).await.unwrap().is_empty());
    assert!(store.claim_due_scans("nobody", at(10), 10, LEASE).await.unwrap().is_empty());
}

pub async fn a_scan_belongs_to_one_watcher_until_its_lease_ends(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    let first = claim_scans(&store, at(0)).await;
    assert!(claim_scans(&store, at(59_999)).await.is_empty());
    let second = claim_scans(&store, at(60_000)).await;
    assert_eq!(second[0].id, first[0].id);
    assert_ne!(second[0].claim, first[0].claim);
}

pub async fn a_late_watcher_changes_nothing_once_another_has_the_scan(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = follow(&store, 1).await[0];
    let late = claim_scans(&store, at(0)).await.remove(0);
    let holder = claim_scans(&store, at(60_000)).await.remove(0);
    let polled = Tracking { polls: 7, ..late.tracking };
    assert!(!finish(&store, &late, at(60_001)).await);
    assert_eq!(store.record_observations(vec![again(&late, at(60_002), polled)]).await.unwrap(), [false]);
    store.release(vec![Release::Scan(id, late.claim), Release::Scan(Uuid::nil(), NOBODYS)]).await.unwrap();
    let shown = store.scan(id).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.polls, shown.outcome), (ScanState::Following, 0, None));
    assert!(claim_scans(&store, at(60_003)).await.is_empty(), "the lease of the holder stands");
    assert!(finish(&store, &holder, at(60_004)).await);
    assert!(!finish(&store, &holder, at(60_005)).await, "a scan finishes once");
    assert_eq!(claim_announcements(&store, at(60_006)).await.len(), 1);
}

pub async fn a_late_watcher_may_write_while_nobody_else_has_the_scan(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    let late = claim_scans(&store, at(0)).await.remove(0);
    assert!(finish(&store, &late, at(600_000)).await);
}

pub async fn a_released_scan_is_due_as_if_it_had_never_been_claimed(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = follow(&store, 1).await[0];
    let claim = claim_scans(&store, at(500)).await.remove(0);
    store.release(vec![Release::Scan(id, claim.claim)]).await.unwrap();
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), Some(at(0)));
    let again = claim_scans(&store, at(500)).await.remove(0);
    assert_eq!((again.id, again.tracking), (id, claim.tracking));
    assert!(!finish(&store, &claim, at(501)).await, "what was handed back is lost");
}

pub async fn what_is_remembered_between_polls_comes_back(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    let claim = claim_scans(&store, at(0)).await.remove(0);
    let tracking = Tracking { polls: 3, not_found_since: Some(at(77)), ..claim.tracking };
    assert!(store.record_observations(vec![again(&claim, at(5000), tracking)]).await.unwrap()[0]);
    assert!(claim_scans(&store, at(4999)).await.is_empty());
    let next = claim_scans(&store, at(5000)).await.remove(0);
    assert_eq!((next.tracking, next.requested_at), (tracking, at(0)));
    let forgiven = Tracking { not_found_since: None, ..tracking };
    assert!(store.record_observations(vec![again(&next, at(6000), forgiven)]).await.unwrap()[0]);
    assert_eq!(claim_scans(&store, at(6000)).await[0].tracking, forgiven);
}

pub async fn the_next_due_time_is_the_poll_the_end_of_the_lease_or_none(harness: &dyn Harness) {
    let store = harness.open().await;
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), None);
    follow(&store, 1).await;
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), Some(at(0)));
    assert_eq!(store.next_scan_due("enkrypt").await.unwrap(), None);
    let claim = claim_scans(&store, at(10)).await.remove(0);
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), Some(at(60_010)));
    store.record_observations(vec![again(&claim, at(2000), claim.tracking)]).await.unwrap();
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), Some(at(2000)));
    finish_all(&store, at(2000)).await;
    assert_eq!(store.next_scan_due("sieve").await.unwrap(), None);
}

pub async fn a_request_that_joins_during_a_poll_keeps_its_deadline(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    let mut joiner = request("scan-0");
    let claim = claim_scans(&store, at(3_600_000)).await.remove(0);
    joiner.deadline_at = at(9_000_000);
    assert_eq!(accept_one(&store, joiner).await.state, AcceptedState::Joined);
    let timed_out = finished(&claim, Outcome::TimedOut, at(3_600_001));
    assert_eq!(store.record_observations(vec![timed_out]).await.unwrap(), [false], "its time is not over");
    let record = again(&claim, at(3_700_000), claim.tracking);
    assert!(store.record_observations(vec![record]).await.unwrap()[0]);
    let next = claim_scans(&store, at(3_700_000)).await.remove(0);
    assert_eq!(next.tracking.deadline_at, at(9_000_000));
    let timed_out = finished(&next, Outcome::TimedOut, at(9_000_000));
    assert_eq!(store.record_observations(vec![timed_out]).await.unwrap(), [true]);
}

pub async fn a_batch_is_answered_record_by_record(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 3).await;
    let claims = claim_scans(&store, at(10)).await;
    let mut lost = claims[1].clone();
    lost.claim = NOBODYS;
    let mut unknown = claims[1].clone();
    unknown.id = Uuid::nil();
    let records = [&claims[0], &lost, &unknown, &claims[2]].map(|claim| finished(claim, Outcome::Failed, at(11)));
    assert_eq!(store.record_observations(records.into()).await.unwrap(), [true, false, false, true]);
    assert_eq!(claim_announcements(&store, at(12)).await.len(), 2);
}

pub async fn no_scan_is_claimed_twice_by_eight_watchers_at_once(harness: &dyn Harness) {
    let store = harness.open().await;
    let other = another_daemon(harness, &store).await;
    let ids = follow(&store, 400).await;
    let mut watchers = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(if number % 2 == 0 { &store } else { &other });
        watchers.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let batch = store.claim_due_scans("sieve", at(1000), 7, LEASE).await.unwrap();
                if batch.is_empty() {
                    return claimed;
                }
                claimed.extend(batch.into_iter().map(|claim| claim.id));
            }
        });
    }
    let claimed = watchers.join_all().await.concat();
    assert_eq!(claimed.len(), ids.len());
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), ids.into_iter().collect());
}
