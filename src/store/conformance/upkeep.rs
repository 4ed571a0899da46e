//! Numbers, retention, closing.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::domain::delivery::DeliveryState;
use crate::store::{AcceptedState, DeliveryFilter, ScanFilter, ScanState, StoreError, Tallies};

/// The numbers, counted row by row.
async fn counted(store: &SharedStore) -> Tallies {
    let mut tallies = Tallies::default();
    let following = ScanFilter { state: Some(ScanState::Following), limit: 1000, ..ScanFilter::default() };
    for scan in store.scans(following).await.unwrap().items {
        *tallies.scans_active.entry(scan.provider).or_default() += 1;
    }
    for delivery in all_deliveries(store, DeliveryFilter::default()).await {
        if delivery.state == DeliveryState::Pending {
            let oldest = tallies.oldest_pending.entry(delivery.destination.clone()).or_insert(delivery.created_at);
            *oldest = (*oldest).min(delivery.created_at);
        }
        *tallies.deliveries.entry((delivery.destination, delivery.state)).or_default() += 1;
    }
    tallies
}

/// The store's numbers without those that are 0: a name that was seen may stay.
async fn told_numbers(store: &SharedStore) -> Tallies {
    let mut tallies = store.tallies().await.unwrap();
    tallies.scans_active.retain(|_, count| *count > 0);
    tallies.deliveries.retain(|_, count| *count > 0);
    tallies
}

/// One random thing that happens, at `now`.
async fn something(store: &SharedStore, random: &mut StdRng, now: i64) {
    let destinations = ["siem", "oncall", "chat"];
    let destination = destinations.choose(random).unwrap();
    match random.random_range(0..8) {
        0 | 1 => {
            let provider = if random.random() { "sieve" } else { "enkrypt" };
            let mut new = request(&format!("scan-{}", random.random_range(0..40)));
            new.key.provider = provider.to_owned();
            let new = NewRequest { accepted_at: at(now), dedupe_since: at(now - 5), force: random.random(), ..new };
            store.accept(vec![new.clone(), new]).await.unwrap();
        }
        2 => {
            let claims = store.claim_due_scans("sieve", at(now), 3, Duration::from_millis(4)).await.unwrap();
            let records: Vec<_> = claims.iter().map(|claim| finished(claim, Outcome::Failed, at(now))).collect();
            store.record_observations(records.clone()).await.unwrap();
            assert!(store.record_observations(records).await.unwrap().iter().all(|ours| !ours));
        }
        3 => {
            let announcements = store.claim_unannounced(at(now), 2, Duration::from_millis(4)).await.unwrap();
            let records = announcements.iter().map(|one| told(one, &destinations[..2], at(now))).collect();
            store.record_announcements(records).await.unwrap();
        }
        4 | 5 => {
            let lease = Duration::from_millis(4);
            let claims = store.claim_due_deliveries(destination, at(now), 3, lease).await.unwrap();
            let next = match random.random_range(0..3) {
                0 => Next::Delivered,
                1 => Next::Dead(Reason::GaveUp),
                _ => Next::Due { at: at(now + 3), progress: progress(1) },
            };
            let records = claims.iter().map(|claim| attempted(claim, Reason::Timeout, next, at(now))).collect();
            store.record_attempts(records).await.unwrap();
        }
        6 => {
            let destination = Some((*destination).to_owned());
            store.replay(DeliveryFilter { destination, ..DeliveryFilter::default() }, at(now)).await.unwrap();
        }
        _ => drop(store.purge(at(now - 40), 2).await.unwrap()),
    }
}

pub async fn tallies_equal_a_count_after_anything_that_happens(harness: &dyn Harness) {
    let store = harness.open().await;
    let mut kinds = std::collections::HashSet::new();
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        for step in 0..150 {
            something(&store, &mut random, i64::try_from(seed).unwrap() * 1000 + step).await;
        }
        let counted = counted(&store).await;
        assert_eq!(told_numbers(&store).await, counted, "seed {seed}");
        kinds.extend(counted.deliveries.into_keys());
    }
    assert!(kinds.len() > 3, "the sequences do something: {kinds:?}");
}

pub async fn a_purge_deletes_what_is_old_and_all_that_belongs_to_it(harness: &dyn Harness) {
    let store = harness.open().await;
    let wanted = NewRequest { labels: labels([("a", "b")]), ..request("a") };
    let scan = accept_one(&store, wanted).await.scan;
    finish_all(&store, at(100)).await;
    let ids = announce_all(&store, &["siem", "oncall"], at(200)).await;
    kill_all(&store, "siem", at(300)).await;
    let claim = claim_deliveries(&store, "oncall", at(300)).await.remove(0);
    assert!(record_one(&store, attempted(&claim, Reason::Ok, Next::Delivered, at(300))).await);
    assert_eq!(store.purge(at(100), 10).await.unwrap(), 0, "it did not finish before its end");
    assert_eq!(store.purge(at(101), 10).await.unwrap(), 1);
    assert!(store.scan(scan).await.unwrap().is_none());
    for id in ids {
        assert!(store.delivery(id).await.unwrap().is_none());
    }
    assert!(all_deliveries(&store, DeliveryFilter::default()).await.is_empty());
    assert_eq!(told_numbers(&store).await, Tallies::default());
    assert_eq!(store.purge(at(101), 10).await.unwrap(), 0);
}

pub async fn a_purge_keeps_what_is_followed_unannounced_or_pending(harness: &dyn Harness) {
    let store = harness.open().await;
    deliveries_to(&store, 1, &["siem"], at(100)).await;
    accept_one(&store, request("unannounced")).await;
    finish_all(&store, at(100)).await;
    accept_one(&store, request("followed")).await;
    assert_eq!(store.purge(at(900_000), 10).await.unwrap(), 0);
    assert_eq!(store.scans(ScanFilter { limit: 10, ..ScanFilter::default() }).await.unwrap().items.len(), 3);
    kill_all(&store, "siem", at(900_000)).await;
    assert_eq!(store.purge(at(900_000), 10).await.unwrap(), 1, "nothing of the first is pending any more");
    assert_eq!(claim_announcements(&store, at(900_000)).await.len(), 1);
    assert_eq!(claim_scans(&store, at(900_000)).await.len(), 1);
}

pub async fn a_purge_deletes_no_more_than_it_was_told(harness: &dyn Harness) {
    let store = harness.open().await;
    deliveries_to(&store, 130, &[], at(1000)).await;
    assert_eq!(store.purge(at(5000), 120).await.unwrap(), 120);
    let left = store.scans(ScanFilter { limit: 100, ..ScanFilter::default() }).await.unwrap().items;
    assert_eq!(left.len(), 10);
    assert!(left.iter().all(|scan| scan.requested_at >= at(120)), "the oldest went first");
    assert_eq!(store.purge(at(5000), 120).await.unwrap(), 10);
}

pub async fn old_idempotency_keys_are_forgotten(harness: &dyn Harness) {
    let store = harness.open().await;
    let keyed = |key: &str, when| NewRequest {
        idempotency_key: Some(key.to_owned()),
        accepted_at: at(when),
        dedupe_since: at(when),
        ..request("a")
    };
    accept_one(&store, keyed("old", 0)).await;
    finish_all(&store, at(100)).await;
    announce_all(&store, &[], at(200)).await;
    accept_one(&store, keyed("young", 1000)).await;
    store.purge(at(1000), 10).await.unwrap();
    assert_eq!(accept_one(&store, keyed("young", 2000)).await.state, AcceptedState::Duplicate);
    assert_eq!(accept_one(&store, keyed("old", 2000)).await.state, AcceptedState::Joined);
}

pub async fn destinations_with_pending_deliveries_are_named(harness: &dyn Harness) {
    let store = harness.open().await;
    assert!(store.destinations_with_pending().await.unwrap().is_empty());
    deliveries_to(&store, 2, &["siem", "oncall"], at(100)).await;
    kill_all(&store, "siem", at(200)).await;
    assert_eq!(store.destinations_with_pending().await.unwrap(), ["oncall"]);
    assert_eq!(store.replay(DeliveryFilter::default(), at(300)).await.unwrap(), 2);
    let mut both = store.destinations_with_pending().await.unwrap();
    both.sort();
    assert_eq!(both, ["oncall", "siem"]);
}

pub async fn a_closed_store_answers_with_an_error(harness: &dyn Harness) {
    let store = harness.open().await;
    store.ping().await.unwrap();
    store.close().await;
    store.close().await;
    let is_unavailable = |error| matches!(error, StoreError::Unavailable(_));
    assert!(is_unavailable(store.accept(vec![request("a")]).await.unwrap_err()));
    assert!(is_unavailable(store.tallies().await.unwrap_err()));
    assert!(is_unavailable(store.ping().await.unwrap_err()));
}
