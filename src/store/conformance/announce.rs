//! Reports: announced once, whole.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;
use crate::domain::report::{Finding, Severity, Subject as Scanned, SubjectKind};
use crate::store::DeliveryFilter;

fn rich_report(claim: &ScanClaim) -> Box<Report> {
    let mut report = report(claim, Outcome::Completed, at(14_000));
    report.status = Some("completed".to_owned());
    report.severity = Severity::High;
    (report.score, report.confidence) = (Some(0.93), Some(0.950_000_1));
    report.subject = Scanned {
        name: Some("a\"b\u{202e}.pdf".to_owned()),
        kind: SubjectKind::File,
        sha256: None,
        size: Some(u64::MAX),
        media_type: Some("application/pdf".to_owned()),
    };
    report.counts = BTreeMap::from([("issues".to_owned(), 5)]);
    report.classes = vec!["LLM01".to_owned()];
    report.findings = vec![Finding { title: Some("t".to_owned()), severity: Severity::Low, location: None }];
    report.link = Some("https://example.com/x?y=1".to_owned());
    report
}

pub async fn a_finished_scan_is_announced_with_all_it_said_byte_for_byte(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    let claim = claim_scans(&store, at(0)).await.remove(0);
    let raw = "{ \"b\": 1.0, \"a\" : [1e2,\t\"\\u0000\\ud83d\\ude00\"] , \"b\": 2 }";
    let mut said = rich_report(&claim);
    said.raw = Some(RawValue::from_string(raw.to_owned()).unwrap());
    let expected = serde_json::to_string(&said).unwrap();
    let result = ObservationResult::Finished(said);
    store.record_observations(vec![ObservationRecord { scan: claim.id, claim: claim.claim, result }]).await.unwrap();
    let announcement = claim_announcements(&store, at(14_000)).await.remove(0);
    assert_eq!(announcement.id, claim.id);
    let Subject::Report { report, asks } = announcement.subject else { panic!() };
    assert_eq!(report.raw.as_ref().unwrap().get(), raw);
    assert_eq!(serde_json::to_string(&report).unwrap(), expected);
    assert_eq!(asks.len(), 1);
    assert!(asks[0].labels.is_empty() && asks[0].destinations.is_none());
}

pub async fn labels_are_those_of_all_requests_and_the_earlier_wins(harness: &dyn Harness) {
    let store = harness.open().await;
    let first = NewRequest { labels: labels([("team", "red"), ("a", "1")]), ..request("a") };
    let second = NewRequest { labels: labels([("team", "blue"), ("b", "2")]), ..request("a") };
    store.accept(vec![first, second]).await.unwrap();
    finish_all(&store, at(10)).await;
    let announcement = claim_announcements(&store, at(10)).await.remove(0);
    let Subject::Report { report, asks } = announcement.subject else { panic!() };
    assert_eq!(report.labels, labels([("team", "red"), ("a", "1"), ("b", "2")]));
    assert_eq!(asks.len(), 2);
    assert_eq!(asks[1].labels["team"], "blue", "each ask keeps its own");
    let shown = store.scan(announcement.id).await.unwrap().unwrap();
    assert_eq!((&shown.labels, &shown.report.unwrap().labels), (&report.labels, &report.labels));
}

pub async fn the_oldest_is_announced_first(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 3).await;
    let claims = claim_scans(&store, at(10)).await;
    for (claim, when) in claims.iter().zip([300, 100, 200]) {
        assert!(finish(&store, claim, at(when)).await);
    }
    let two = store.claim_unannounced(at(300), 2, LEASE).await.unwrap();
    assert_eq!(two.iter().map(|one| one.id).collect::<Vec<_>>(), [claims[1].id, claims[2].id]);
    let rest = store.claim_unannounced(at(300), 2, LEASE).await.unwrap();
    assert_eq!(rest.iter().map(|one| one.id).collect::<Vec<_>>(), [claims[0].id]);
}

pub async fn an_announcement_belongs_to_one_announcer_until_its_lease_ends(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    finish_all(&store, at(10)).await;
    let late = claim_announcements(&store, at(20)).await.remove(0);
    assert!(claim_announcements(&store, at(60_019)).await.is_empty());
    let holder = claim_announcements(&store, at(60_020)).await.remove(0);
    let answer = store.record_announcements(vec![told(&late, &["siem"], at(60_021))]).await.unwrap();
    assert_eq!(answer, [false]);
    assert!(claim_deliveries(&store, "siem", at(60_030)).await.is_empty(), "nothing of the late one was kept");
    let answers = store
        .record_announcements(vec![told(&holder, &["siem"], at(60_022)), told(&holder, &["siem"], at(60_023))])
        .await
        .unwrap();
    assert_eq!(answers, [true, false], "a report is announced once");
    assert_eq!(claim_deliveries(&store, "siem", at(60_030)).await.len(), 1);
    assert!(claim_announcements(&store, at(9_000_000)).await.is_empty());
}

pub async fn an_announcement_that_tells_nobody_is_closed(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 1).await;
    finish_all(&store, at(10)).await;
    assert!(announce_all(&store, &[], at(20)).await.is_empty());
    assert!(claim_announcements(&store, at(9_000_000)).await.is_empty());
    assert!(all_deliveries(&store, DeliveryFilter::default()).await.is_empty());
}

pub async fn no_report_is_announced_twice_by_eight_announcers_at_once(harness: &dyn Harness) {
    let store = harness.open().await;
    follow(&store, 200).await;
    finish_all(&store, at(1000)).await;
    let mut announcers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        announcers.spawn(async move {
            let mut told_ids = Vec::new();
            loop {
                let batch = store.claim_unannounced(at(2000), 5, LEASE).await.unwrap();
                if batch.is_empty() {
                    return told_ids;
                }
                let records = batch.iter().map(|one| told(one, &["siem"], at(2000))).collect();
                assert!(store.record_announcements(records).await.unwrap().iter().all(|ours| *ours));
                told_ids.extend(batch.into_iter().map(|one| one.id));
            }
        });
    }
    let told_ids = announcers.join_all().await.concat();
    assert_eq!((told_ids.len(), told_ids.iter().collect::<HashSet<_>>().len()), (200, 200));
    assert_eq!(claim_deliveries(&store, "siem", at(2000)).await.len(), 200);
}
