//! Accepting without a broker: what the store is asked, and what the caller is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scanbell::domain::request::{Envelope, RefusalReason, parse};
use scanbell::intake::{Asked, Intake, Outcome, ProviderRule, Rules, Source};
use scanbell::store::AcceptedState;
use scanbell::time::{Clock, Timestamp, Wake, after};

use crate::store::MemoryStore;

const HOUR: Duration = Duration::from_secs(3600);

fn intake(store: &Arc<MemoryStore>, wake: &Wake) -> Intake {
    let check = |id: &str| if id.contains('/') { Err("no slashes".to_owned()) } else { Ok(()) };
    let rule = || ProviderRule { deadline: HOUR, wake: wake.clone(), check_id: Box::new(check) };
    let rules = Rules {
        providers: [("enkrypt".to_owned(), rule()), ("sieve".to_owned(), rule())].into(),
        default_provider: Some("sieve".to_owned()),
        destinations: ["siem".to_owned()].into(),
    };
    Intake::new(store.clone(), rules, Clock::manual(Timestamp::UNIX_EPOCH), HOUR)
}

fn asked(body: &'static str) -> Vec<Asked> {
    parse(&Bytes::from_static(body.as_bytes()), &Envelope::default()).unwrap().into_iter().map(Asked::from).collect()
}

#[tokio::test]
async fn each_request_gets_its_answer_in_order_and_all_share_one_commit() {
    let (store, wake) = (Arc::new(MemoryStore::new()), Wake::new());
    let body = r#"["a", "no/slash", {"scan_id":"a","provider":"enkrypt"}, "a", {"scan_id":"b","provider":"x"},
                   {"scan_id":"c","destinations":["siem"],"deadline":"2h"}, {"scan_id":"d","destinations":["x"]}]"#;
    let outcomes = intake(&store, &wake).submit(Source::Http, &asked(body)).await.unwrap();
    let words: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Accepted { provider, scan_id, state, .. } => format!("{provider} {scan_id} {state:?}"),
            Outcome::Refused(refusal) => refusal.reason.to_string(),
        })
        .collect();
    assert_eq!(
        words,
        [
            "sieve a Following",
            "invalid-scan-id",
            "enkrypt a Following",
            "sieve a Joined",
            "unknown-provider",
            "sieve c Following",
            "unknown-destination"
        ]
    );
    assert_eq!(store.calls(), 1);
    assert_eq!(store.asked("a").deadline_at, after(Timestamp::UNIX_EPOCH, HOUR), "the provider's own");
    assert_eq!(store.asked("c").deadline_at, after(Timestamp::UNIX_EPOCH, 2 * HOUR), "the request's own");
    tokio::time::timeout(Duration::from_secs(5), wake.wait()).await.expect("the watchers were woken");
}

#[tokio::test]
async fn a_store_that_fails_has_accepted_nothing_and_may_be_asked_again() {
    let (store, wake) = (Arc::new(MemoryStore::new()), Wake::new());
    let intake = intake(&store, &wake);
    store.fail(1);
    assert!(intake.submit(Source::Http, &asked("a")).await.is_err());
    assert!(store.accepted().is_empty());
    intake.submit(Source::Http, &asked("a")).await.unwrap();
    assert_eq!(store.following(), ["a"]);
}

#[tokio::test]
async fn the_callers_id_makes_a_second_request_a_duplicate_whatever_it_forces() {
    let (store, wake) = (Arc::new(MemoryStore::new()), Wake::new());
    let body = r#"[{"scan_id":"a","id":"k"}, {"scan_id":"a","id":"k","force":true}]"#;
    intake(&store, &wake).submit(Source::Http, &asked(body)).await.unwrap();
    assert_eq!(store.accepted()[1].1, AcceptedState::Duplicate);
}

#[tokio::test]
async fn nothing_acceptable_does_not_trouble_the_store() {
    let (store, wake) = (Arc::new(MemoryStore::new()), Wake::new());
    let outcomes = intake(&store, &wake).submit(Source::Http, &asked(r#"{"id":"x"}"#)).await.unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Refused(refusal)] if refusal.reason == RefusalReason::MissingScanId));
    assert_eq!(store.calls(), 0);
}
