//! Dead deliveries, made pending once more.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::delivery::DeliveryState::{self, Dead, Delivered, Pending};
use crate::store::DeliveryFilter;

async fn state(store: &SharedStore, id: Uuid) -> DeliveryState {
    store.delivery(id).await.unwrap().unwrap().0.state
}

pub async fn dead_deliveries_are_replayed_and_their_attempts_go_on_counting(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = deliveries_to(&store, 1, &["siem"], at(100)).await[0];
    let first = claim_deliveries(&store, "siem", at(100)).await.remove(0);
    let next = Next::Due { at: at(300), progress: progress(1) };
    assert!(record_one(&store, attempted(&first, Reason::ServerError, next, at(200))).await);
    kill_all(&store, "siem", at(300)).await;
    assert_eq!(store.replay(DeliveryFilter::default(), at(9000)).await.unwrap(), 1);
    let (shown, _) = store.delivery(id).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.due_at, shown.finished_at), (Pending, Some(at(9000)), None));
    assert_eq!((shown.reason, shown.attempt_count), (None, 2));
    assert!(claim_deliveries(&store, "siem", at(8999)).await.is_empty());
    let again = claim_deliveries(&store, "siem", at(9000)).await.remove(0);
    assert_eq!(again.progress, Progress { attempts: 2, charged: 0, give_up_at: None });
    assert_eq!(again.notification, first.notification, "the same bytes under the same id");
    assert!(record_one(&store, attempted(&again, Reason::Ok, Next::Delivered, at(9100))).await);
    let (shown, attempts) = store.delivery(id).await.unwrap().unwrap();
    assert_eq!(shown.state, Delivered);
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.replay(DeliveryFilter::default(), at(9200)).await.unwrap(), 0);
}

pub async fn only_what_matches_is_replayed(harness: &dyn Harness) {
    let store = harness.open().await;
    let ids = deliveries_to(&store, 2, &["siem", "oncall", "chat", "ops"], at(100)).await;
    for destination in ["siem", "oncall"] {
        kill_all(&store, destination, at(200)).await;
    }
    let claims = claim_deliveries(&store, "chat", at(100)).await;
    let sent = claims.iter().map(|claim| attempted(claim, Reason::Ok, Next::Delivered, at(200))).collect();
    store.record_attempts(sent).await.unwrap();
    let scan = store.delivery(ids[0]).await.unwrap().unwrap().0.scan;
    let to = |name: &str| DeliveryFilter { destination: Some(name.to_owned()), ..DeliveryFilter::default() };

    assert_eq!(store.replay(DeliveryFilter { scan, ..to("siem") }, at(300)).await.unwrap(), 1);
    assert_eq!((state(&store, ids[0]).await, state(&store, ids[4]).await), (Pending, Dead));
    assert_eq!(store.replay(to("chat"), at(300)).await.unwrap(), 0, "delivered ones only if asked for");
    assert_eq!(store.replay(DeliveryFilter { state: Some(Delivered), ..to("chat") }, at(300)).await.unwrap(), 2);
    assert_eq!(store.replay(DeliveryFilter { state: Some(Pending), ..to("ops") }, at(900)).await.unwrap(), 0);
    assert_eq!(store.delivery(ids[3]).await.unwrap().unwrap().0.due_at, Some(at(100)), "pending ones are not touched");
    assert_eq!(store.replay(DeliveryFilter { scan, ..DeliveryFilter::default() }, at(300)).await.unwrap(), 1);
    assert_eq!(store.replay(DeliveryFilter::default(), at(300)).await.unwrap(), 2);
}

pub async fn one_delivery_is_replayed_unless_it_is_pending(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = deliveries_to(&store, 1, &["siem"], at(100)).await[0];
    assert_eq!(store.replay_one(Uuid::nil(), at(200)).await.unwrap(), None);
    assert_eq!(store.replay_one(id, at(200)).await.unwrap(), Some(false));
    assert_eq!(store.delivery(id).await.unwrap().unwrap().0.due_at, Some(at(100)));
    kill_all(&store, "siem", at(200)).await;
    assert_eq!(store.replay_one(id, at(300)).await.unwrap(), Some(true));
    let claim = claim_deliveries(&store, "siem", at(300)).await.remove(0);
    assert_eq!(claim.progress.attempts, 1);
    assert!(record_one(&store, attempted(&claim, Reason::Ok, Next::Delivered, at(400))).await);
    let told = store.delivery(id).await.unwrap().unwrap().1;
    assert_eq!(store.replay_one(id, at(500)).await.unwrap(), Some(true), "a delivered one, too");
    assert_eq!(state(&store, id).await, Pending);
    assert_eq!(store.delivery(id).await.unwrap().unwrap().1, told, "what was attempted stays");
}

pub async fn a_replay_of_thousands_touches_each_once(harness: &dyn Harness) {
    let store = harness.open().await;
    let many: Vec<String> = (0..1300).map(|n| format!("scan-{n}")).collect();
    store.accept(many.iter().map(|scan_id| request(scan_id)).collect()).await.unwrap();
    while finish_all(&store, at(50)).await > 0 {}
    while !announce_all(&store, &["siem"], at(100)).await.is_empty() {}
    kill_all(&store, "siem", at(200)).await;
    // A receiver that refuses all at once must not keep the replay going for ever.
    let (refusing, stop) = (store.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let mut refusal = JoinSet::new();
    refusal.spawn(async move {
        while !stopped.is_cancelled() {
            kill_all(&refusing, "siem", at(300)).await;
        }
    });
    assert_eq!(store.replay(DeliveryFilter::default(), at(300)).await.unwrap(), 1300);
    stop.cancel();
    refusal.join_all().await;
}
