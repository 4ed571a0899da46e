//! Requests: followed, joined, duplicate.

use super::*;
use crate::store::AcceptedState::{Duplicate, Following, Joined};

pub async fn a_new_request_is_followed_and_due_now(harness: &dyn Harness) {
    let store = harness.open().await;
    let accepted = accept_one(&store, request("a")).await;
    assert_eq!(accepted.state, Following);
    let claims = claim_scans(&store, at(0)).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].id, accepted.scan);
    assert_eq!(claims[0].key, request("a").key);
    assert_eq!(claims[0].requested_at, at(0));
    assert_eq!(claims[0].tracking.deadline_at, at(3_600_000));
    assert_eq!(claims[0].tracking.polls, 0);
}

pub async fn answers_come_in_the_order_of_the_requests(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = accept_one(&store, request("old")).await;
    let answers = store.accept(vec![request("a"), request("old"), request("b")]).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.state).collect::<Vec<_>>(), [Following, Joined, Following]);
    assert_eq!(answers[1].scan, first.scan);
    let names: Vec<_> =
        claim_scans(&store, at(0)).await.into_iter().map(|claim| (claim.id, claim.key.scan_id)).collect();
    assert!(names.contains(&(answers[0].scan, "a".to_owned())));
    assert!(names.contains(&(answers[2].scan, "b".to_owned())));
}

pub async fn a_scan_that_is_followed_is_joined_and_followed_until_the_later_deadline(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = accept_one(&store, request("a")).await;
    let longer = NewRequest { deadline_at: at(7_200_000), ..request("a") };
    let shorter = NewRequest { deadline_at: at(1000), labels: labels([("a", "b")]), ..request("a") };
    for other in [longer, shorter] {
        let joined = accept_one(&store, other).await;
        assert_eq!(joined, Accepted { scan: first.scan, state: Joined });
    }
    let claims = claim_scans(&store, at(0)).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].tracking.deadline_at, at(7_200_000));
}

pub async fn one_scan_asked_for_twice_in_a_batch_is_followed_once(harness: &dyn Harness) {
    let store = harness.open().await;
    let answers = store.accept(vec![request("a"), request("a")]).await.unwrap();
    assert_eq!((answers[0].state, answers[1].state), (Following, Joined));
    assert_eq!(answers[0].scan, answers[1].scan);
    assert_eq!(claim_scans(&store, at(0)).await.len(), 1);
}

pub async fn a_known_idempotency_key_is_a_duplicate_whatever_else_was_asked(harness: &dyn Harness) {
    let store = harness.open().await;
    let keyed = |scan_id| NewRequest { idempotency_key: Some("message 1".to_owned()), ..request(scan_id) };
    let first = accept_one(&store, keyed("a")).await;
    let again = accept_one(&store, NewRequest { force: true, deadline_at: at(9_000_000), ..keyed("a") }).await;
    assert_eq!(again, Accepted { scan: first.scan, state: Duplicate });
    let other_scan = accept_one(&store, keyed("b")).await;
    assert_eq!(other_scan, Accepted { scan: first.scan, state: Duplicate });
    let claims = claim_scans(&store, at(0)).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].tracking.deadline_at, at(3_600_000), "a duplicate asks for nothing");
}

pub async fn an_idempotency_key_is_known_however_its_request_ended(harness: &dyn Harness) {
    let store = harness.open().await;
    let keyed = |key: &str| NewRequest { idempotency_key: Some(key.to_owned()), ..request("a") };
    let first = accept_one(&store, request("a")).await;
    assert_eq!(accept_one(&store, keyed("joiner")).await.state, Joined);
    finish_all(&store, at(10)).await;
    assert_eq!(accept_one(&store, keyed("too late")).await.state, Duplicate);
    for key in ["joiner", "too late"] {
        let much_later = NewRequest { dedupe_since: at(1_000_000), ..keyed(key) };
        let again = accept_one(&store, much_later).await;
        assert_eq!(again, Accepted { scan: first.scan, state: Duplicate }, "{key}");
    }
}

pub async fn equal_messages_both_count_and_a_redelivered_one_is_known(harness: &dyn Harness) {
    let store = harness.open().await;
    let seen = |first_sight, accepted_at| NewRequest {
        idempotency_key: Some("digest".to_owned()),
        first_sight,
        force: true,
        accepted_at,
        ..request("a")
    };
    let first = accept_one(&store, seen(true, at(0))).await;
    finish_all(&store, at(10)).await;
    let equal = accept_one(&store, seen(true, at(20))).await;
    assert_eq!((first.state, equal.state), (Following, Following));
    assert_ne!(first.scan, equal.scan);
    finish_all(&store, at(30)).await;
    let redelivered = accept_one(&store, seen(false, at(40))).await;
    assert_eq!(redelivered, Accepted { scan: equal.scan, state: Duplicate });
}

pub async fn a_scan_that_finished_inside_the_dedupe_window_is_a_duplicate_unless_forced(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = accept_one(&store, request("a")).await;
    finish_all(&store, at(1000)).await;
    let inside = NewRequest { accepted_at: at(2000), dedupe_since: at(999), ..request("a") };
    assert_eq!(accept_one(&store, inside.clone()).await, Accepted { scan: first.scan, state: Duplicate });
    let forced = accept_one(&store, NewRequest { force: true, ..inside }).await;
    assert_eq!(forced.state, Following);
    assert_ne!(forced.scan, first.scan);
    finish_all(&store, at(3000)).await;
    let outside = NewRequest { accepted_at: at(5000), dedupe_since: at(3000), ..request("a") };
    let anew = accept_one(&store, outside).await;
    assert_eq!(anew.state, Following);
    assert!(anew.scan > forced.scan && forced.scan > first.scan, "ids are in the order of acceptance");
}

pub async fn a_forced_request_joins_a_scan_that_is_followed(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = accept_one(&store, request("a")).await;
    let forced = accept_one(&store, NewRequest { force: true, ..request("a") }).await;
    assert_eq!(forced, Accepted { scan: first.scan, state: Joined });
}

pub async fn a_message_delivered_again_adds_no_wish_to_a_forced_scan_that_came_after_its_own(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = accept_one(&store, request("a")).await;
    finish_all(&store, at(1000)).await;
    let later = NewRequest { accepted_at: at(2000), dedupe_since: at(999), ..request("a") };
    let forced = accept_one(&store, NewRequest { force: true, ..later.clone() }).await;
    let again = accept_one(&store, NewRequest { redelivered: true, ..later.clone() }).await;
    assert_eq!(again, Accepted { scan: first.scan, state: Duplicate });
    let another = accept_one(&store, later).await;
    assert_eq!(another, Accepted { scan: forced.scan, state: Joined }, "an equal message of its own counts");
    let outside = NewRequest { redelivered: true, dedupe_since: at(1000), ..request("a") };
    assert_eq!(accept_one(&store, outside).await, Accepted { scan: forced.scan, state: Joined });
}

pub async fn the_same_id_at_two_providers_is_two_scans(harness: &dyn Harness) {
    let store = harness.open().await;
    let mut elsewhere = request("a");
    elsewhere.key.provider = "enkrypt".to_owned();
    let answers = store.accept(vec![request("a"), elsewhere]).await.unwrap();
    assert_eq!((answers[0].state, answers[1].state), (Following, Following));
    assert_eq!(claim_scans(&store, at(0)).await.len(), 1);
    let there = store.claim_due_scans("enkrypt", at(0), 10, LEASE).await.unwrap();
    assert_eq!(there[0].id, answers[1].scan);
}

pub async fn equal_asks_are_kept_once_and_different_ones_in_order(harness: &dyn Harness) {
    let store = harness.open().await;
    let to = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let labelled = NewRequest { labels: labels([("team", "red")]), ..request("a") };
    let directed = NewRequest { destinations: to(&["siem", "oncall"]), ..request("a") };
    let nowhere = NewRequest { destinations: to(&[]), ..request("a") };
    let all = [&request("a"), &labelled, &labelled, &directed, &request("a"), &nowhere, &directed];
    store.accept(all.into_iter().cloned().collect()).await.unwrap();
    finish_all(&store, at(10)).await;
    let announcements = claim_announcements(&store, at(10)).await;
    let Subject::Report { asks, .. } = &announcements[0].subject else { panic!() };
    let kept: Vec<_> = asks.iter().map(|ask| (ask.labels.clone(), ask.destinations.clone())).collect();
    let expected = [&request("a"), &labelled, &directed, &nowhere]
        .map(|request| (request.labels.clone(), request.destinations.clone()));
    assert_eq!(kept, expected);
}

pub async fn texts_come_back_as_they_were_given(harness: &dyn Harness) {
    let store = harness.open().await;
    let hostile = "a\u{0}b'\";--\u{202e}\r\n<!channel>{{x}}\u{1f600}";
    let long = "x".repeat(100_000);
    for text in [hostile, long.as_str()] {
        let first = accept_one(&store, NewRequest { labels: labels([("l", text)]), ..request(text) }).await;
        assert_eq!(accept_one(&store, request(text)).await, Accepted { scan: first.scan, state: Joined });
        let shown = store.scan(first.scan).await.unwrap().unwrap();
        assert_eq!((shown.scan_id.as_str(), shown.labels), (text, labels([("l", text)])));
    }
    let cut_at_nul = accept_one(&store, request("a")).await;
    assert_eq!(cut_at_nul.state, Following, "a NUL does not end a text");
}
