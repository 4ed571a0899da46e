//! One life: carries out the steps on a store and on the model, and compares after each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use scanbell::domain::delivery::{self, DeliveryState, Progress, Reason, RetryPolicy, Verdict};
use scanbell::domain::notification::{Content, Notification};
use scanbell::domain::report::{Extract, Facts, Report};
use scanbell::domain::scan::{self, Observation, Outcome, Pace, ScanKey};
use scanbell::store::{
    self, AcceptedState, Announcement, AnnouncementRecord, Attempt, AttemptRecord, DeliveryClaim, DeliveryFilter,
    NewRequest, ObservationRecord, ObservationResult, Release, ScanClaim, ScanFilter, ScanState, SharedStore, Subject,
};
use scanbell::time::{Backoff, Timestamp, from_millis};
use tempfile::TempDir;
use uuid::Uuid;

use super::model::{Delivery, Model, Turn};
use super::{Came, Saw, Step};

const LEASE: i64 = 60_000;
const DEDUPE: i64 = 150_000;
const PACE: Pace = Pace {
    backoff: Backoff { first: Duration::from_secs(2), growth: 2.0, max: Duration::from_secs(30) },
    deadline: Duration::from_secs(300),
    not_found_grace: Duration::from_secs(60),
};
const POLICY: RetryPolicy = RetryPolicy {
    backoff: Backoff { first: Duration::from_secs(2), growth: 2.0, max: Duration::from_secs(60) },
    give_up_after: Duration::from_secs(200),
};

/// The store, the model, and what workers have in hand: also those whose lease is long over.
struct Life {
    folder: TempDir,
    store: SharedStore,
    model: Model,
    now: i64,
    watching: Vec<ScanClaim>,
    announcing: Vec<Announcement>,
    delivering: Vec<DeliveryClaim>,
}

/// Carries out all of it, then lets everything come to its end.
pub async fn live(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    store.take_over().await.unwrap();
    let mut life = Life {
        folder,
        store,
        model: Model::default(),
        now: 1_800_000_000_000,
        watching: Vec::new(),
        announcing: Vec::new(),
        delivering: Vec::new(),
    };
    for step in steps {
        life.step(step).await;
    }
    life.come_to_an_end().await;
    life.compare().await;
    life.store.close().await;
}

async fn open(folder: &TempDir) -> SharedStore {
    store::open(&format!("sqlite:{}", folder.path().join("scanbell.db").display())).await.unwrap()
}

impl Life {
    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Accept { scan, force, key, deadline } => self.accept(scan, force, key, deadline).await,
            Step::ClaimScans { limit } => self.claim_scans(limit).await,
            Step::Observe { which, saw } => self.observe(which, saw).await,
            Step::ReleaseScan { which } => self.release_scan(which).await,
            Step::ClaimReports { limit } => self.claim_reports(limit).await,
            Step::Announce { which, to } => self.announce(which, to).await,
            Step::ClaimDeliveries { destination, limit } => self.claim_deliveries(destination, limit).await,
            Step::Attempt { which, came } => self.attempt(which, came).await,
            Step::ReleaseDelivery { which, wait } => self.release_delivery(which, wait).await,
            Step::ReplayDead => self.replay_dead().await,
            Step::ReplayOne { which } => self.replay_one(which).await,
            Step::Clock { millis } => self.now += millis,
            Step::Crash => self.crash().await,
        }
    }

    fn at(&self) -> Timestamp {
        from_millis(self.now)
    }

    async fn accept(&mut self, name: u8, force: bool, key: Option<u8>, deadline: i64) {
        let request = NewRequest {
            key: ScanKey { provider: "sieve".to_owned(), scan_id: format!("scan-{name}") },
            destinations: None,
            labels: BTreeMap::new(),
            force,
            idempotency_key: key.map(|key| format!("key-{key}")),
            first_sight: false,
            redelivered: false,
            accepted_at: self.at(),
            deadline_at: from_millis(self.now + deadline),
            dedupe_since: from_millis(self.now - DEDUPE),
        };
        let accepted = self.store.accept(vec![request]).await.unwrap()[0];
        let known = key.and_then(|key| self.model.keys.get(&key).copied());
        let latest = self.model.latest(name).map(|(id, scan)| (id, scan.end));
        let expected = match (known, latest) {
            (Some(id), _) => Some((id, AcceptedState::Duplicate)),
            (None, Some((id, None))) => Some((id, AcceptedState::Joined)),
            (None, Some((id, Some((_, at))))) if !force && at > self.now - DEDUPE => {
                Some((id, AcceptedState::Duplicate))
            }
            _ => None,
        };
        if let Some((id, state)) = expected {
            assert_eq!((accepted.scan, accepted.state), (id, state));
            if state == AcceptedState::Joined {
                let scan = self.model.scans.get_mut(&id).unwrap();
                scan.deadline = scan.deadline.max(self.now + deadline);
            }
        } else {
            assert_eq!(accepted.state, AcceptedState::Following);
            self.model.follow(accepted.scan, name, self.now, self.now + deadline);
        }
        if let (Some(key), None) = (key, known) {
            self.model.keys.insert(key, accepted.scan);
        }
    }

    async fn claim_scans(&mut self, limit: usize) {
        let lease = Duration::from_millis(LEASE as u64);
        let claims = self.store.claim_due_scans("sieve", self.at(), limit, lease).await.unwrap();
        let due = self.model.due_scans(self.now);
        assert_eq!(claims.len(), due.len().min(limit), "due scans");
        for claim in &claims {
            let scan = self.model.scans.get_mut(&claim.id).expect("a scan that nobody asked for");
            assert!(due.contains(&claim.id), "a scan that another has, or that is not due");
            assert_eq!(claim.tracking.polls, scan.polls, "polls");
            assert_eq!(claim.tracking.deadline_at, from_millis(scan.deadline), "deadline");
            scan.turn.take(claim.claim, self.now + LEASE);
        }
        self.watching.extend(claims);
    }

    async fn observe(&mut self, which: usize, saw: Saw) {
        if self.watching.is_empty() {
            return;
        }
        let claim = self.watching.swap_remove(which % self.watching.len());
        let next = scan::next(&PACE, claim.tracking, &observation(saw), self.at(), 0.5);
        let result = match next {
            scan::Next::Poll { at, tracking } => ObservationResult::Again { at, tracking },
            scan::Next::Finish(outcome) => ObservationResult::Finished(self.report(&claim, outcome)),
        };
        let record = ObservationRecord { scan: claim.id, claim: claim.claim, result };
        let written = self.store.record_observations(vec![record]).await.unwrap()[0];
        let now = self.now;
        let scan = self.model.scans.get_mut(&claim.id).unwrap();
        let ours = scan.end.is_none() && scan.turn.is_of(claim.claim);
        let early = next == scan::Next::Finish(Outcome::TimedOut) && now < scan.deadline;
        assert_eq!(written, ours && !early, "whether the poll counts");
        match next {
            _ if !written => {}
            scan::Next::Poll { at, tracking } => {
                scan.polls = tracking.polls;
                scan.turn = Turn::at(at.as_millisecond());
            }
            scan::Next::Finish(outcome) => scan.end = Some((outcome, now)),
        }
    }

    fn report(&self, claim: &ScanClaim, outcome: Outcome) -> Box<Report> {
        let facts = Facts {
            id: claim.id,
            provider: claim.key.provider.clone(),
            scan_id: claim.key.scan_id.clone(),
            outcome,
            requested_at: claim.requested_at,
            finished_at: self.at(),
            polls: claim.tracking.polls + 1,
        };
        Box::new(Report::new(facts, Extract::default(), 1_000))
    }

    async fn release_scan(&mut self, which: usize) {
        if self.watching.is_empty() {
            return;
        }
        let claim = self.watching.swap_remove(which % self.watching.len());
        self.store.release(vec![Release::Scan(claim.id, claim.claim)]).await.unwrap();
        let scan = self.model.scans.get_mut(&claim.id).unwrap();
        if scan.end.is_none() && scan.turn.is_of(claim.claim) {
            scan.turn.hand_back();
        }
    }

    async fn claim_reports(&mut self, limit: usize) {
        let lease = Duration::from_millis(LEASE as u64);
        let claims = self.store.claim_unannounced(self.at(), limit, lease).await.unwrap();
        let untold = self.model.untold(self.now);
        assert_eq!(claims.len(), untold.len().min(limit), "reports that are not told");
        for claim in &claims {
            let scan = self.model.scans.get_mut(&claim.id).expect("a report of no scan");
            assert!(untold.contains(&claim.id), "a report that another has");
            let Subject::Report { report, .. } = &claim.subject else { panic!("no event was raised") };
            assert_eq!(Some(report.outcome), scan.end.map(|(outcome, _)| outcome), "the outcome");
            scan.telling.take(claim.claim, self.now + LEASE);
        }
        self.announcing.extend(claims);
    }

    async fn announce(&mut self, which: usize, to: u8) {
        if self.announcing.is_empty() {
            return;
        }
        let claim = self.announcing.swap_remove(which % self.announcing.len());
        let notifications: Vec<_> = (0..to.min(3)).map(|destination| self.notification(&claim, destination)).collect();
        let record = AnnouncementRecord { id: claim.id, claim: claim.claim, notifications: notifications.clone() };
        let written = self.store.record_announcements(vec![record]).await.unwrap()[0];
        let scan = self.model.scans.get_mut(&claim.id).unwrap();
        assert_eq!(written, !scan.told && scan.telling.is_of(claim.claim), "whether the telling counts");
        if !written {
            return;
        }
        scan.told = true;
        for (destination, notification) in (0..).zip(notifications) {
            let delivery = Delivery {
                destination,
                body: body_of(&notification),
                state: DeliveryState::Pending,
                turn: Turn::at(self.now),
                progress: Progress { attempts: 0, charged: 0, give_up_at: None },
                attempts: 0,
            };
            assert!(self.model.deliveries.insert(notification.id, delivery).is_none());
        }
    }

    fn notification(&self, of: &Announcement, destination: u8) -> Notification {
        Notification {
            id: Uuid::now_v7(),
            scan: Some(of.id),
            destination: format!("to-{destination}"),
            created_at: self.at(),
            content: Content::Http {
                content_type: "application/json".to_owned(),
                body: Bytes::from(format!("\"{} to {destination}\"", of.id)),
            },
        }
    }

    async fn claim_deliveries(&mut self, destination: u8, limit: usize) {
        let lease = Duration::from_millis(LEASE as u64);
        let name = format!("to-{destination}");
        let claims = self.store.claim_due_deliveries(&name, self.at(), limit, lease).await.unwrap();
        let due = self.model.due_deliveries(destination, self.now);
        assert_eq!(claims.len(), due.len().min(limit), "due deliveries");
        for claim in &claims {
            let id = claim.notification.id;
            let delivery = self.model.deliveries.get_mut(&id).expect("a delivery that nobody made");
            assert!(due.contains(&id), "a delivery that another has, that is not due, or that is done");
            assert_eq!(claim.progress, delivery.progress, "what is remembered");
            assert_eq!(body_of(&claim.notification), delivery.body, "the bytes");
            delivery.turn.take(claim.claim, self.now + LEASE);
        }
        self.delivering.extend(claims);
    }

    async fn attempt(&mut self, which: usize, came: Came) {
        if self.delivering.is_empty() {
            return;
        }
        let claim = self.delivering.swap_remove(which % self.delivering.len());
        let id = claim.notification.id;
        let verdict = verdict(came);
        let next = delivery::next(&POLICY, claim.progress, verdict, self.at(), 0.5);
        let attempt = Attempt {
            number: claim.progress.attempts + 1,
            at: self.at(),
            verdict: verdict.as_str().to_owned(),
            reason: verdict.reason(),
            answer: None,
            duration_ms: 1,
        };
        let record = AttemptRecord { delivery: id, claim: claim.claim, attempt, next };
        let written = self.store.record_attempts(vec![record]).await.unwrap()[0];
        let delivery = self.model.deliveries.get_mut(&id).unwrap();
        let ours = delivery.state == DeliveryState::Pending && delivery.turn.is_of(claim.claim);
        assert_eq!(written, ours, "whether the attempt counts");
        if !written {
            return;
        }
        delivery.attempts += 1;
        delivery.progress.attempts = claim.progress.attempts + 1;
        match next {
            delivery::Next::Delivered => delivery.state = DeliveryState::Delivered,
            delivery::Next::Dead(_) => delivery.state = DeliveryState::Dead,
            delivery::Next::Due { at, progress } => {
                delivery.progress = progress;
                delivery.turn = Turn::at(at.as_millisecond());
            }
        }
    }

    async fn release_delivery(&mut self, which: usize, wait: i64) {
        if self.delivering.is_empty() {
            return;
        }
        let claim = self.delivering.swap_remove(which % self.delivering.len());
        let id = claim.notification.id;
        let due_at = from_millis(self.now + wait);
        self.store.release(vec![Release::Delivery { id, claim: claim.claim, due_at }]).await.unwrap();
        let delivery = self.model.deliveries.get_mut(&id).unwrap();
        if delivery.state == DeliveryState::Pending && delivery.turn.is_of(claim.claim) {
            delivery.turn = Turn::at(self.now + wait);
        }
    }

    async fn replay_dead(&mut self) {
        let replayed = self.store.replay(DeliveryFilter::default(), self.at()).await.unwrap();
        let now = self.now;
        let dead = self.model.deliveries.values_mut().filter(|delivery| delivery.state == DeliveryState::Dead);
        assert_eq!(replayed as usize, dead.map(|delivery| again(delivery, now)).count(), "replayed");
    }

    async fn replay_one(&mut self, which: usize) {
        let Some((&id, _)) = self.model.deliveries.iter().cycle().nth(which) else { return };
        let replayed = self.store.replay_one(id, self.at()).await.unwrap();
        let delivery = self.model.deliveries.get_mut(&id).unwrap();
        assert_eq!(replayed, Some(delivery.state != DeliveryState::Pending));
        if replayed == Some(true) {
            again(delivery, self.now);
        }
    }

    /// What workers had in hand is gone with them; what they had claimed is free. Nothing is closed or written out.
    async fn crash(&mut self) {
        self.empty_hands();
        self.store = open(&self.folder).await; // the one before is dropped, and its lock with it
        self.store.take_over().await.unwrap();
        self.model.crash();
    }

    fn empty_hands(&mut self) {
        self.watching.clear();
        self.announcing.clear();
        self.delivering.clear();
    }

    /// Everything answers from now on, and time passes.
    async fn come_to_an_end(&mut self) {
        self.empty_hands();
        for _ in 0..3 {
            self.now += 1_000_000;
            self.claim_scans(1_000).await;
            while !self.watching.is_empty() {
                self.observe(0, Saw::Completed).await;
            }
            self.claim_reports(1_000).await;
            while !self.announcing.is_empty() {
                self.announce(0, 2).await;
            }
            for destination in 0..3 {
                self.claim_deliveries(destination, 1_000).await;
            }
            while !self.delivering.is_empty() {
                self.attempt(0, Came::Delivered).await;
            }
        }
        assert!(self.model.scans.values().all(|scan| scan.told && scan.end.is_some()), "a scan without an end");
        let open = self.model.deliveries.values().find(|delivery| delivery.state == DeliveryState::Pending);
        assert!(open.is_none(), "a delivery that was forgotten: {open:?}");
    }

    /// The store tells the same story as the model.
    async fn compare(&self) {
        let filter = ScanFilter { limit: 10_000, ..ScanFilter::default() };
        let scans = self.store.scans(filter).await.unwrap().items;
        let known: BTreeSet<Uuid> = scans.iter().map(|scan| scan.id).collect();
        assert!(known.iter().eq(self.model.scans.keys()), "the scans that were accepted, and no others");
        for scan in scans {
            let expected = &self.model.scans[&scan.id];
            assert_eq!((scan.state, scan.outcome), (ScanState::Finished, expected.end.map(|(outcome, _)| outcome)));
        }
        let filter = DeliveryFilter { limit: 10_000, ..DeliveryFilter::default() };
        let deliveries = self.store.deliveries(filter).await.unwrap().items;
        let known: BTreeSet<Uuid> = deliveries.iter().map(|delivery| delivery.id).collect();
        assert!(known.iter().eq(self.model.deliveries.keys()), "the deliveries that were made, and no others");
        for delivery in deliveries {
            let expected = &self.model.deliveries[&delivery.id];
            assert_eq!((delivery.state, delivery.attempt_count), (expected.state, expected.attempts));
            let (_, attempts) = self.store.delivery(delivery.id).await.unwrap().unwrap();
            assert!(attempts.iter().map(|attempt| attempt.number).eq(1..=expected.attempts), "attempts without a gap");
        }
        let tallies = self.store.tallies().await.unwrap();
        assert!(tallies.scans_active.values().all(|count| *count == 0), "{tallies:?}");
        let pending =
            |((_, state), count): (&(String, DeliveryState), &u64)| *state == DeliveryState::Pending && *count > 0;
        assert!(!tallies.deliveries.iter().any(pending), "{tallies:?}");
    }
}

/// Pending once more; its attempts go on counting.
fn again(delivery: &mut Delivery, now: i64) {
    delivery.state = DeliveryState::Pending;
    delivery.turn = Turn::at(now);
    delivery.progress = Progress { charged: 0, give_up_at: None, ..delivery.progress };
}

fn body_of(notification: &Notification) -> String {
    let Content::Http { body, .. } = &notification.content else { panic!("not what was made") };
    String::from_utf8(body.to_vec()).unwrap()
}

fn observation(saw: Saw) -> Observation {
    match saw {
        Saw::Running { retry_after } => Observation::Running { retry_after: retry_after.map(Duration::from_secs) },
        Saw::NotFound => Observation::NotFound { retry_after: None },
        Saw::Unavailable => Observation::Unavailable { retry_after: None },
        Saw::Unauthorized => Observation::Unauthorized,
        Saw::Completed => Observation::Ended(Outcome::Completed),
        Saw::Failed => Observation::Ended(Outcome::Failed),
    }
}

fn verdict(came: Came) -> Verdict {
    match came {
        Came::Delivered => Verdict::OK,
        Came::Refused => Verdict::Reject { reason: Reason::Rejected },
        Came::Later { after } => Verdict::Retry { reason: Reason::ServerError, after: after.map(Duration::from_secs) },
    }
}
