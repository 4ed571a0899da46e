use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::domain::notification::{Kind, OperatorEvent, WebhookFormat};
use crate::domain::report::Report;
use crate::render::{Voice, sample_report};
use crate::routing::RouteSettings;
use crate::store::*;
use crate::time::from_millis;

/// A store that announces what it is given and keeps what it is told.
#[derive(Default)]
struct Shelf {
    waiting: Mutex<Vec<Announcement>>,
    kept: Mutex<Vec<AnnouncementRecord>>,
    away: Mutex<bool>,
    leases_lost: Mutex<bool>,
    fails_once: Mutex<bool>,
}

#[async_trait]
impl Store for Shelf {
    async fn take_over(&self) -> Result<()> {
        Ok(())
    }
    async fn claim_unannounced(&self, _: Timestamp, limit: usize, _: Duration) -> Result<Vec<Announcement>> {
        if *self.away.lock().unwrap() {
            return Err(StoreError::Unavailable("away".into()));
        }
        let mut waiting = self.waiting.lock().unwrap();
        let take = limit.min(waiting.len());
        Ok(waiting.drain(..take).collect())
    }
    async fn record_announcements(&self, records: Vec<AnnouncementRecord>) -> Result<Vec<bool>> {
        if *self.away.lock().unwrap() || std::mem::take(&mut *self.fails_once.lock().unwrap()) {
            return Err(StoreError::Unavailable("away".into()));
        }
        let lost = *self.leases_lost.lock().unwrap();
        let answers = vec![!lost; records.len()];
        self.kept.lock().unwrap().extend(records);
        Ok(answers)
    }
    async fn accept(&self, _: Vec<NewRequest>) -> Result<Vec<Accepted>> {
        unreachable!()
    }
    async fn claim_due_scans(&self, _: &str, _: Timestamp, _: usize, _: Duration) -> Result<Vec<ScanClaim>> {
        unreachable!()
    }
    async fn record_observations(&self, _: Vec<ObservationRecord>) -> Result<Vec<bool>> {
        unreachable!()
    }
    async fn next_scan_due(&self, _: &str) -> Result<Option<Timestamp>> {
        unreachable!()
    }
    async fn claim_due_deliveries(&self, _: &str, _: Timestamp, _: usize, _: Duration) -> Result<Vec<DeliveryClaim>> {
        unreachable!()
    }
    async fn record_attempts(&self, _: Vec<AttemptRecord>) -> Result<Vec<bool>> {
        unreachable!()
    }
    async fn next_delivery_due(&self, _: &str) -> Result<Option<Timestamp>> {
        unreachable!()
    }
    async fn release(&self, _: Vec<Release>) -> Result<()> {
        unreachable!()
    }
    async fn raise_event(&self, _: OperatorEvent) -> Result<bool> {
        unreachable!()
    }
    async fn destinations_with_pending(&self) -> Result<Vec<String>> {
        unreachable!()
    }
    async fn scans(&self, _: ScanFilter) -> Result<Page<ScanView>> {
        unreachable!()
    }
    async fn scan(&self, _: Uuid) -> Result<Option<ScanView>> {
        unreachable!()
    }
    async fn deliveries(&self, _: DeliveryFilter) -> Result<Page<DeliveryView>> {
        unreachable!()
    }
    async fn delivery(&self, _: Uuid) -> Result<Option<(DeliveryView, Vec<Attempt>)>> {
        unreachable!()
    }
    async fn replay(&self, _: DeliveryFilter, _: Timestamp) -> Result<u64> {
        unreachable!()
    }
    async fn replay_one(&self, _: Uuid, _: Timestamp) -> Result<Option<bool>> {
        unreachable!()
    }
    async fn tallies(&self) -> Result<Tallies> {
        unreachable!()
    }
    async fn purge(&self, _: Timestamp, _: usize) -> Result<u64> {
        unreachable!()
    }
    async fn ping(&self) -> Result<()> {
        unreachable!()
    }
    async fn close(&self) {}
}

const NAMES: [&str; 3] = ["slack", "siem", "oncall"];

fn announcer(shelf: &Arc<Shelf>, wakes: HashMap<String, Wake>) -> Announcer {
    let voice = |name: &str| Voice {
        name: name.into(),
        kind: if name == "slack" { Kind::Slack } else { Kind::Webhook },
        format: WebhookFormat::Standard,
        template: None,
        channel: None,
        mentions: Vec::new(),
    };
    let names = NAMES.map(str::to_owned).to_vec();
    let route = |when: &str, to: &str| RouteSettings {
        when: Some(when.into()),
        to: vec![to.into()],
        ..RouteSettings::default()
    };
    let routes = [route("verdict == 'threat'", "slack"), route("labels.team == 'platform'", "oncall")];
    let store: SharedStore = Arc::clone(shelf) as SharedStore;
    let renderer = Renderer::build(None, &NAMES.map(voice)).unwrap();
    let routes = Router::build(&routes, &names).unwrap();
    let operator = vec!["oncall".to_owned(), "siem".to_owned()];
    let clock = Clock::manual(from_millis(1_000));
    Announcer::new(store, Arc::new(renderer), Arc::new(routes), operator, names, clock, wakes)
}

fn report(team: Option<&str>) -> Box<Report> {
    let mut report = sample_report();
    report.labels = team.map(|team| ("team".to_owned(), team.to_owned())).into_iter().collect();
    Box::new(report)
}

fn ask(team: Option<&str>, destinations: Option<&[&str]>) -> Ask {
    Ask {
        labels: team.map(|team| ("team".to_owned(), team.to_owned())).into_iter().collect(),
        destinations: destinations.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

/// Who is told of one report with these asks.
async fn told(report: Box<Report>, asks: Vec<Ask>) -> Vec<String> {
    let shelf = Arc::new(Shelf::default());
    let subject = Subject::Report { report, asks };
    shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::from_u128(7), claim: Claim(1), subject });
    announcer(&shelf, HashMap::new()).tick().await;
    let kept = shelf.kept.lock().unwrap();
    assert_eq!((kept[0].id, kept[0].claim), (Uuid::from_u128(7), Claim(1)));
    kept[0].notifications.iter().map(|notification| notification.destination.clone()).collect()
}

#[tokio::test]
async fn a_request_without_destinations_is_routed() {
    assert_eq!(told(report(None), vec![ask(None, None)]).await, ["slack"]);
    assert_eq!(told(report(Some("platform")), vec![ask(Some("platform"), None)]).await, ["slack", "oncall"]);
}

#[tokio::test]
async fn destinations_of_a_request_replace_routing_for_it_and_add_to_the_others() {
    assert_eq!(told(report(None), vec![ask(None, Some(&["siem"]))]).await, ["siem"]);
    let both = vec![ask(None, Some(&["siem", "slack"])), ask(None, None)];
    assert_eq!(told(report(None), both).await, ["siem", "slack"]);
}

#[tokio::test]
async fn a_later_request_is_routed_by_its_own_labels() {
    let asks = vec![ask(Some("research"), None), ask(Some("platform"), None)];
    assert_eq!(told(report(Some("research")), asks).await, ["slack", "oncall"]);
}

#[tokio::test]
async fn a_destination_that_is_gone_loses_nothing() {
    assert_eq!(told(report(None), vec![ask(None, Some(&["gone", "siem"]))]).await, ["siem"]);
    assert_eq!(told(report(None), vec![ask(None, Some(&["gone"]))]).await, ["slack"]);
}

#[tokio::test]
async fn a_report_that_no_route_wants_is_closed_without_a_notification() {
    let mut clean = report(None);
    clean.verdict = crate::domain::report::Verdict::Clean;
    assert!(told(clean, vec![ask(None, None)]).await.is_empty());
}

#[tokio::test]
async fn trouble_is_told_to_the_operator_but_not_through_the_destination_it_is_about() {
    let shelf = Arc::new(Shelf::default());
    let event = OperatorEvent {
        key: "destination-failing:oncall".into(),
        resolved: false,
        title: "oncall is failing".into(),
        text: "for ten minutes".into(),
        at: from_millis(0),
        about_destination: Some("oncall".into()),
    };
    let subject = Subject::Event(event);
    shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::nil(), claim: Claim(1), subject });
    announcer(&shelf, HashMap::new()).tick().await;
    let kept = shelf.kept.lock().unwrap();
    assert_eq!(kept[0].notifications.len(), 1);
    assert_eq!(kept[0].notifications[0].destination, "siem");
    assert_eq!(kept[0].notifications[0].scan, None);
}

#[tokio::test]
async fn only_those_who_have_something_to_deliver_are_woken() {
    let shelf = Arc::new(Shelf::default());
    let subject = Subject::Report { report: report(None), asks: vec![ask(None, None)] };
    shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::nil(), claim: Claim(1), subject });
    let (slack, siem) = (Wake::new(), Wake::new());
    let wakes = [("slack".to_owned(), slack.clone()), ("siem".to_owned(), siem.clone())].into();
    let announcer = announcer(&shelf, wakes);
    assert_eq!(announcer.tick().await, Tick::Announced { announcements: 1, notifications: 1, more: false });
    slack.wait().await; // returns at once, or the test hangs
    let quiet = tokio::time::timeout(Duration::from_millis(20), siem.wait()).await;
    assert!(quiet.is_err());
    assert_eq!(announcer.tick().await, Tick::Idle);
}

#[tokio::test]
async fn a_full_batch_says_that_there_may_be_more_and_ids_are_unique() {
    let shelf = Arc::new(Shelf::default());
    for number in 0..300 {
        let subject = Subject::Report { report: report(None), asks: vec![ask(None, None)] };
        shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::from_u128(number), claim: Claim(1), subject });
    }
    let announcer = announcer(&shelf, HashMap::new());
    assert_eq!(announcer.tick().await, Tick::Announced { announcements: 256, notifications: 256, more: true });
    assert_eq!(announcer.tick().await, Tick::Announced { announcements: 44, notifications: 44, more: false });
    let kept = shelf.kept.lock().unwrap();
    let ids: BTreeSet<Uuid> = kept.iter().flat_map(|record| &record.notifications).map(|one| one.id).collect();
    assert_eq!(ids.len(), 300);
}

#[tokio::test]
async fn a_lost_lease_and_an_absent_store_count_as_nothing_announced() {
    let shelf = Arc::new(Shelf::default());
    let subject = Subject::Report { report: report(None), asks: vec![ask(None, None)] };
    shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::nil(), claim: Claim(1), subject });
    *shelf.leases_lost.lock().unwrap() = true;
    let announcer = announcer(&shelf, HashMap::new());
    assert_eq!(announcer.tick().await, Tick::Announced { announcements: 0, notifications: 0, more: false });
    *shelf.away.lock().unwrap() = true;
    assert_eq!(announcer.tick().await, Tick::Unavailable);
    *shelf.away.lock().unwrap() = false;
    assert_eq!(announcer.tick().await, Tick::Idle);
}

#[tokio::test]
async fn a_store_that_goes_away_between_claim_and_commit_delays_nobody_until_the_lease_ends() {
    let shelf = Arc::new(Shelf::default());
    let subject = Subject::Report { report: report(None), asks: vec![ask(None, None)] };
    shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::nil(), claim: Claim(1), subject });
    *shelf.fails_once.lock().unwrap() = true;
    let announcer = announcer(&shelf, HashMap::new());
    assert_eq!(announcer.tick().await, Tick::Unavailable);
    assert!(shelf.kept.lock().unwrap().is_empty());
    assert!(matches!(announcer.tick().await, Tick::Announced { announcements: 1, .. }));
    assert_eq!(shelf.kept.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn it_announces_when_woken_and_ends_when_told_to() {
    let shelf = Arc::new(Shelf::default());
    let (wake, stop, slack) = (Wake::new(), CancellationToken::new(), Wake::new());
    let wakes = [("slack".to_owned(), slack.clone())].into();
    let running = announcer(&shelf, wakes).run(wake.clone(), stop.clone());
    let driving = async {
        let subject = Subject::Report { report: report(None), asks: vec![ask(None, None)] };
        shelf.waiting.lock().unwrap().push(Announcement { id: Uuid::nil(), claim: Claim(1), subject });
        wake.wake();
        slack.wait().await;
        stop.cancel();
    };
    tokio::join!(running, driving);
    assert_eq!(shelf.kept.lock().unwrap().len(), 1);
}
