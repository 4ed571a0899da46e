//! Deliveries: leased when due, written back after an attempt.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;
use crate::domain::delivery::DeliveryState;
use crate::domain::notification::Mail;
use crate::store::Release;

pub async fn a_delivery_is_due_at_once_with_the_exact_bytes(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    finish_all(&store, at(100)).await;
    let announcement = claim_announcements(&store, at(200)).await.remove(0);
    let mail = Mail { subject: "s\u{202e}".into(), text: "t\r\n.".into(), html: "<p>&amp;</p>".into() };
    let mut by_mail = notification(Some(announcement.id), "oncall", "", at(210));
    by_mail.content = Content::Mail(mail);
    let by_http = notification(Some(announcement.id), "siem", "{ \"a\":1.0,\n\"\u{0}\": \"\u{1f600}\" }", at(220));
    let record = AnnouncementRecord {
        id: announcement.id,
        claim: announcement.claim,
        notifications: vec![by_mail.clone(), by_http.clone()],
    };
    assert!(store.record_announcements(vec![record]).await.unwrap()[0]);
    for expected in [by_mail, by_http] {
        let claims = claim_deliveries(&store, &expected.destination, at(220)).await;
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].notification, expected);
        assert_eq!(claims[0].progress, Progress { attempts: 0, charged: 0, give_up_at: None });
        assert_eq!(claims[0].finished_at, at(100));
    }
}

pub async fn messages_that_are_the_same_and_those_that_differ_both_arrive(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    finish_all(&store, at(100)).await;
    let announcement = claim_announcements(&store, at(200)).await.remove(0);
    let bodies = [("a", "same"), ("b", "other"), ("c", "same"), ("d", "")];
    let notifications = bodies.map(|(to, body)| notification(Some(announcement.id), to, body, at(200)));
    let record = AnnouncementRecord {
        id: announcement.id,
        claim: announcement.claim,
        notifications: notifications.clone().into(),
    };
    assert!(store.record_announcements(vec![record]).await.unwrap()[0]);
    for expected in notifications {
        assert_eq!(claim_deliveries(&store, &expected.destination, at(200)).await[0].notification, expected);
    }
}

pub async fn due_deliveries_are_leased_most_overdue_first_and_only_to_their_destination(harness: &dyn Harness) {
    let store = harness.open().await;
    let ids = deliveries_to(&store, 4, &["siem"], at(100)).await;
    let claims = claim_deliveries(&store, "siem", at(100)).await;
    assert_eq!(claims.len(), 4);
    let again: Vec<_> = (0_i64..)
        .zip(&claims)
        .map(|(n, claim)| {
            let next = Next::Due { at: at(1000 - n), progress: progress(1) };
            attempted(claim, Reason::Timeout, next, at(200))
        })
        .collect();
    let expected: Vec<_> = again.iter().rev().map(|record| record.delivery).collect();
    assert_eq!(store.record_attempts(again).await.unwrap(), [true; 4]);
    assert!(claim_deliveries(&store, "oncall", at(2000)).await.is_empty());
    let two = store.claim_due_deliveries("siem", at(2000), 2, LEASE).await.unwrap();
    let rest = claim_deliveries(&store, "siem", at(2000)).await;
    let order: Vec<_> = two.iter().chain(&rest).map(|claim| claim.notification.id).collect();
    assert_eq!(two.len(), 2);
    assert_eq!(order, expected);
    assert_eq!(order.into_iter().collect::<HashSet<_>>(), ids.into_iter().collect());
}

pub async fn a_retry_comes_back_with_what_is_remembered(harness: &dyn Harness) {
    let store = harness.open().await;
    deliveries_to(&store, 1, &["siem"], at(100)).await;
    let claim = claim_deliveries(&store, "siem", at(100)).await.remove(0);
    let remembered = Progress { attempts: 1, charged: 0, give_up_at: Some(at(777_000)) };
    let next = Next::Due { at: at(5000), progress: remembered };
    assert!(record_one(&store, attempted(&claim, Reason::RateLimited, next, at(200))).await);
    let (shown, _) = store.delivery(claim.notification.id).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.due_at), (DeliveryState::Pending, Some(at(5000))));
    assert_eq!((shown.reason, shown.attempt_count), (Some(Reason::RateLimited), 1));
    assert!(claim_deliveries(&store, "siem", at(4999)).await.is_empty());
    let again = claim_deliveries(&store, "siem", at(5000)).await.remove(0);
    assert_eq!(again.progress, remembered);
    assert_eq!(again.notification, claim.notification);
}

pub async fn a_delivered_one_and_a_dead_one_are_never_due_again(harness: &dyn Harness) {
    let store = harness.open().await;
    deliveries_to(&store, 2, &["siem"], at(100)).await;
    let claims = claim_deliveries(&store, "siem", at(100)).await;
    let delivered = attempted(&claims[0], Reason::Ok, Next::Delivered, at(200));
    let dead = attempted(&claims[1], Reason::Rejected, Next::Dead(Reason::Rejected), at(300));
    assert_eq!(store.record_attempts(vec![delivered, dead]).await.unwrap(), [true, true]);
    assert!(claim_deliveries(&store, "siem", at(900_000_000)).await.is_empty());
    assert_eq!(store.next_delivery_due("siem").await.unwrap(), None);
    let shown = |n: usize| store.delivery(claims[n].notification.id);
    let (delivered, _) = shown(0).await.unwrap().unwrap();
    assert_eq!((delivered.state, delivered.reason), (DeliveryState::Delivered, None));
    assert_eq!((delivered.finished_at, delivered.due_at), (Some(at(200)), None));
    let (dead, _) = shown(1).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.reason), (DeliveryState::Dead, Some(Reason::Rejected)));
    assert_eq!((dead.finished_at, dead.due_at), (Some(at(300)), None));
}

pub async fn a_late_deliverer_changes_nothing_once_another_has_the_delivery(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = deliveries_to(&store, 1, &["siem"], at(100)).await[0];
    let late = claim_deliveries(&store, "siem", at(100)).await.remove(0);
    assert!(claim_deliveries(&store, "siem", at(60_099)).await.is_empty());
    let holder = claim_deliveries(&store, "siem", at(60_100)).await.remove(0);
    for next in [Next::Delivered, Next::Dead(Reason::GaveUp), Next::Due { at: at(70_000), progress: progress(1) }] {
        assert!(!record_one(&store, attempted(&late, Reason::Timeout, next, at(60_200))).await);
    }
    store.release(vec![Release::Delivery { id, claim: late.claim, due_at: at(0) }]).await.unwrap();
    let (shown, attempts) = store.delivery(id).await.unwrap().unwrap();
    assert_eq!((shown.state, attempts.len()), (DeliveryState::Pending, 0));
    assert!(claim_deliveries(&store, "siem", at(60_200)).await.is_empty());
    assert!(record_one(&store, attempted(&holder, Reason::Ok, Next::Delivered, at(60_300))).await);
    assert!(!record_one(&store, attempted(&holder, Reason::Ok, Next::Delivered, at(60_301))).await);
}

pub async fn a_released_delivery_is_due_when_it_was_said_and_no_attempt_was_made(harness: &dyn Harness) {
    let store = harness.open().await;
    let id = deliveries_to(&store, 1, &["siem"], at(100)).await[0];
    let claim = claim_deliveries(&store, "siem", at(100)).await.remove(0);
    store.release(vec![Release::Delivery { id, claim: claim.claim, due_at: at(500) }]).await.unwrap();
    assert_eq!(store.next_delivery_due("siem").await.unwrap(), Some(at(500)));
    assert!(claim_deliveries(&store, "siem", at(499)).await.is_empty());
    let again = claim_deliveries(&store, "siem", at(500)).await.remove(0);
    assert_eq!(again.progress, claim.progress);
    assert!(store.delivery(id).await.unwrap().unwrap().1.is_empty());
}

pub async fn the_next_due_time_is_the_attempt_the_end_of_the_lease_or_none(harness: &dyn Harness) {
    let store = harness.open().await;
    assert_eq!(store.next_delivery_due("siem").await.unwrap(), None);
    deliveries_to(&store, 1, &["siem"], at(100)).await;
    assert_eq!(store.next_delivery_due("siem").await.unwrap(), Some(at(100)));
    assert_eq!(store.next_delivery_due("oncall").await.unwrap(), None);
    let claim = claim_deliveries(&store, "siem", at(200)).await.remove(0);
    assert_eq!(store.next_delivery_due("siem").await.unwrap(), Some(at(60_200)));
    let next = Next::Due { at: at(3000), progress: progress(1) };
    assert!(record_one(&store, attempted(&claim, Reason::Timeout, next, at(300))).await);
    assert_eq!(store.next_delivery_due("siem").await.unwrap(), Some(at(3000)));
}

pub async fn no_delivery_is_claimed_twice_by_eight_deliverers_at_once(harness: &dyn Harness) {
    let store = harness.open().await;
    let other = another_daemon(harness, &store).await;
    let ids = deliveries_to(&store, 300, &["siem"], at(1000)).await;
    let mut deliverers = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(if number % 2 == 0 { &store } else { &other });
        deliverers.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let batch = store.claim_due_deliveries("siem", at(1000), 7, LEASE).await.unwrap();
                if batch.is_empty() {
                    return claimed;
                }
                let sent = |claim| attempted(claim, Reason::Ok, Next::Delivered, at(1001));
                let answers = store.record_attempts(batch.iter().map(sent).collect()).await.unwrap();
                assert!(answers.iter().all(|ours| *ours));
                claimed.extend(batch.into_iter().map(|claim| claim.notification.id));
            }
        });
    }
    let claimed = deliverers.join_all().await.concat();
    assert_eq!(claimed.len(), ids.len());
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), ids.into_iter().collect());
}
