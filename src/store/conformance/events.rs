//! Words about scanbell itself.

use super::*;
use crate::domain::notification::OperatorEvent;

fn event(key: &str, resolved: bool, when: i64) -> OperatorEvent {
    OperatorEvent {
        key: key.to_owned(),
        resolved,
        title: format!("{key} {resolved}"),
        text: "what to do".to_owned(),
        at: at(when),
        about_destination: Some("siem".to_owned()),
    }
}

pub async fn trouble_is_told_once_when_it_begins_and_once_when_it_ends(harness: &dyn Harness) {
    let store = harness.open().await;
    let raise = |resolved, when| store.raise_event(event("paused:sieve", resolved, when));
    assert!(!raise(true, 0).await.unwrap(), "nothing was open");
    assert!(raise(false, 1).await.unwrap());
    assert!(!raise(false, 2).await.unwrap(), "that is known");
    assert!(store.raise_event(event("paused:enkrypt", false, 3)).await.unwrap(), "another trouble");
    assert!(raise(true, 4).await.unwrap());
    assert!(!raise(true, 5).await.unwrap());
    assert!(raise(false, 6).await.unwrap(), "it came back");
    let told: Vec<_> = claim_announcements(&store, at(10)).await.into_iter().map(|one| one.subject).collect();
    let expected = [
        event("paused:sieve", false, 1),
        event("paused:enkrypt", false, 3),
        event("paused:sieve", true, 4),
        event("paused:sieve", false, 6),
    ];
    assert_eq!(told.len(), expected.len());
    for (told, expected) in told.into_iter().zip(expected) {
        let Subject::Event(told) = told else { panic!() };
        assert_eq!(told, expected);
    }
}

pub async fn an_event_is_announced_and_delivered_like_a_report(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    finish_all(&store, at(100)).await;
    store.raise_event(event("paused:sieve", false, 50)).await.unwrap();
    let announcements = claim_announcements(&store, at(200)).await;
    assert!(matches!(announcements[0].subject, Subject::Event(_)), "the event is older");
    assert!(matches!(announcements[1].subject, Subject::Report { .. }));
    let late = told(&announcements[0], &["oncall"], at(300));
    let holder = claim_announcements(&store, at(60_200)).await.remove(0);
    let answers = store.record_announcements(vec![late, told(&holder, &["oncall"], at(300))]).await.unwrap();
    assert_eq!(answers, [false, true]);
    let delivery = claim_deliveries(&store, "oncall", at(300)).await.remove(0);
    assert_eq!((delivery.notification.scan, delivery.finished_at), (None, at(50)));
    let (shown, _) = store.delivery(delivery.notification.id).await.unwrap().unwrap();
    assert_eq!(shown.scan, None);
}
