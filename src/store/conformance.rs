//! One suite for every store: each clause of the contract is a test, run against a [`Harness`].
//!
//! Knows no database. A new backend implements the harness and names it in [`conformance!`]; a new clause is a
//! function in one of the files below and its name in the list of the macro. Time is a number that tests turn.

pub mod accept;
pub mod announce;
pub mod deliver;
pub mod events;
pub mod lists;
pub mod replay;
pub mod survival;
pub mod upkeep;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Accepted, Announcement, AnnouncementRecord, Attempt, AttemptRecord, Claim, DeliveryClaim, DeliveryFilter,
    DeliveryView, NewRequest, ObservationRecord, ObservationResult, ScanClaim, SharedStore, Subject,
};
use crate::domain::delivery::{Next, Progress, Reason};
use crate::domain::notification::{Content, Notification};
use crate::domain::report::{Extract, Facts, Report, Verdict};
use crate::domain::scan::{Outcome, ScanKey};
use crate::time::{Timestamp, from_millis};

/// A database of its own for one test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens it: each call another handle to the same data.
    async fn open(&self) -> SharedStore;
}

/// Makes every test of the suite a `#[tokio::test]` on a fresh harness.
macro_rules! conformance {
    ($harness:expr) => {
        $crate::store::conformance::conformance! { @each $harness;
            accept: a_new_request_is_followed_and_due_now
                answers_come_in_the_order_of_the_requests
                a_scan_that_is_followed_is_joined_and_followed_until_the_later_deadline
                one_scan_asked_for_twice_in_a_batch_is_followed_once
                a_known_idempotency_key_is_a_duplicate_whatever_else_was_asked
                an_idempotency_key_is_known_however_its_request_ended
                equal_messages_both_count_and_a_redelivered_one_is_known
                a_scan_that_finished_inside_the_dedupe_window_is_a_duplicate_unless_forced
                a_forced_request_joins_a_scan_that_is_followed
                a_message_delivered_again_adds_no_wish_to_a_forced_scan_that_came_after_its_own
                the_same_id_at_two_providers_is_two_scans
                equal_asks_are_kept_once_and_different_ones_in_order
                texts_come_back_as_they_were_given;
            watch: due_scans_are_leased_most_overdue_first_up_to_the_limit
                a_scan_belongs_to_one_watcher_until_its_lease_ends
                a_late_watcher_changes_nothing_once_another_has_the_scan
                a_late_watcher_may_write_while_nobody_else_has_the_scan
                a_released_scan_is_due_as_if_it_had_never_been_claimed
                what_is_remembered_between_polls_comes_back
                the_next_due_time_is_the_poll_the_end_of_the_lease_or_none
                a_request_that_joins_during_a_poll_keeps_its_deadline
                a_batch_is_answered_record_by_record
                no_scan_is_claimed_twice_by_eight_watchers_at_once;
            announce: a_finished_scan_is_announced_with_all_it_said_byte_for_byte
                labels_are_those_of_all_requests_and_the_earlier_wins
                the_oldest_is_announced_first
                an_announcement_belongs_to_one_announcer_until_its_lease_ends
                an_announcement_that_tells_nobody_is_closed
                no_report_is_announced_twice_by_eight_announcers_at_once;
            events: trouble_is_told_once_when_it_begins_and_once_when_it_ends
                an_event_is_announced_and_delivered_like_a_report;
            deliver: a_delivery_is_due_at_once_with_the_exact_bytes
                messages_that_are_the_same_and_those_that_differ_both_arrive
                due_deliveries_are_leased_most_overdue_first_and_only_to_their_destination
                a_retry_comes_back_with_what_is_remembered
                a_delivered_one_and_a_dead_one_are_never_due_again
                a_late_deliverer_changes_nothing_once_another_has_the_delivery
                a_released_delivery_is_due_when_it_was_said_and_no_attempt_was_made
                the_next_due_time_is_the_attempt_the_end_of_the_lease_or_none
                no_delivery_is_claimed_twice_by_eight_deliverers_at_once;
            replay: dead_deliveries_are_replayed_and_their_attempts_go_on_counting
                only_what_matches_is_replayed
                one_delivery_is_replayed_unless_it_is_pending
                a_replay_of_thousands_touches_each_once;
            lists: pages_of_scans_cover_all_once_newest_first
                filters_of_scans_combine
                a_list_has_reports_without_raw_and_one_scan_has_all
                pages_of_deliveries_cover_all_once_newest_first
                filters_of_deliveries_combine
                a_delivery_is_shown_with_its_attempts
                a_lease_does_not_show;
            upkeep: tallies_equal_a_count_after_anything_that_happens
                a_purge_deletes_what_is_old_and_all_that_belongs_to_it
                a_purge_keeps_what_is_followed_unannounced_or_pending
                a_purge_deletes_no_more_than_it_was_told
                old_idempotency_keys_are_forgotten
                destinations_with_pending_deliveries_are_named
                a_closed_store_answers_with_an_error;
            survival: what_was_answered_is_there_after_the_store_was_dropped
                a_request_joins_the_scan_that_is_followed_though_the_clock_was_set_back_over_a_restart
                two_daemons_never_hold_the_same_delivery
                many_callers_at_once_are_all_answered_and_all_kept;
        }
    };
    (@each $harness:expr; $($room:ident: $($test:ident)+;)+) => {
        $(mod $room {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let harness = $harness;
                $crate::store::conformance::$room::$test(&harness).await;
            })+
        })+
    };
}
pub(crate) use conformance;

/// How long tests lease.
const LEASE: Duration = Duration::from_secs(60);

/// A time, in milliseconds from the beginning of a test.
fn at(millis: i64) -> Timestamp {
    from_millis(1_800_000_000_000 + millis)
}

/// A plain request at time 0 to follow `scan_id` at "sieve" for an hour, with a dedupe window of a day.
fn request(scan_id: &str) -> NewRequest {
    NewRequest {
        first_sight: false,
        redelivered: false,
        key: ScanKey { provider: "sieve".to_owned(), scan_id: scan_id.to_owned() },
        destinations: None,
        labels: BTreeMap::new(),
        force: false,
        idempotency_key: None,
        accepted_at: at(0),
        deadline_at: at(3_600_000),
        dedupe_since: at(-86_400_000),
    }
}

/// Labels from pairs.
fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn accept_one(store: &SharedStore, request: NewRequest) -> Accepted {
    store.accept(vec![request]).await.unwrap()[0]
}

/// Follows so many scans, named `scan-0` and so on, accepted one millisecond after the other from time 0.
async fn follow(store: &SharedStore, count: i64) -> Vec<Uuid> {
    let requests = (0..count).map(|n| NewRequest { accepted_at: at(n), ..request(&format!("scan-{n}")) });
    store.accept(requests.collect()).await.unwrap().into_iter().map(|accepted| accepted.scan).collect()
}

/// A second daemon beside the one on `store`; where only one may work on a store, that one.
async fn another_daemon(harness: &dyn Harness, store: &SharedStore) -> SharedStore {
    store.take_over().await.unwrap();
    let second = harness.open().await;
    if second.take_over().await.is_ok() { second } else { Arc::clone(store) }
}

async fn claim_scans(store: &SharedStore, now: Timestamp) -> Vec<ScanClaim> {
    store.claim_due_scans("sieve", now, 1000, LEASE).await.unwrap()
}

/// What `claim` said when it was finished at `now`.
fn report(claim: &ScanClaim, outcome: Outcome, now: Timestamp) -> Box<Report> {
    let facts = Facts {
        id: claim.id,
        provider: claim.key.provider.clone(),
        scan_id: claim.key.scan_id.clone(),
        outcome,
        requested_at: claim.requested_at,
        finished_at: now,
        polls: claim.tracking.polls + 1,
    };
    let raw = RawValue::from_string("{ \"status\" : \"done\", \"score\": 1.0 }".to_owned()).unwrap();
    let said = Extract { verdict: Verdict::Threat, raw: Some(raw), ..Extract::default() };
    Box::new(Report::new(facts, said, 1_000_000))
}

fn finished(claim: &ScanClaim, outcome: Outcome, now: Timestamp) -> ObservationRecord {
    let result = ObservationResult::Finished(report(claim, outcome, now));
    ObservationRecord { scan: claim.id, claim: claim.claim, result }
}

async fn finish(store: &SharedStore, claim: &ScanClaim, now: Timestamp) -> bool {
    store.record_observations(vec![finished(claim, Outcome::Completed, now)]).await.unwrap()[0]
}

/// Claims everything that is due and finishes it; answers how many.
async fn finish_all(store: &SharedStore, now: Timestamp) -> usize {
    let claims = claim_scans(store, now).await;
    let records = claims.iter().map(|claim| finished(claim, Outcome::Completed, now)).collect();
    assert!(store.record_observations(records).await.unwrap().iter().all(|ours| *ours));
    claims.len()
}

async fn claim_announcements(store: &SharedStore, now: Timestamp) -> Vec<Announcement> {
    store.claim_unannounced(now, 1000, LEASE).await.unwrap()
}

fn notification(owner: Option<Uuid>, destination: &str, body: &str, now: Timestamp) -> Notification {
    Notification {
        id: Uuid::now_v7(),
        scan: owner,
        destination: destination.to_owned(),
        created_at: now,
        content: Content::Http {
            content_type: "application/json".to_owned(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        },
    }
}

/// The announcement, told to each of `destinations`.
fn told(announcement: &Announcement, destinations: &[&str], now: Timestamp) -> AnnouncementRecord {
    let owner = matches!(announcement.subject, Subject::Report { .. }).then_some(announcement.id);
    let body = format!("{{\"id\":\"{}\"}}", announcement.id);
    let notifications = destinations.iter().map(|name| notification(owner, name, &body, now)).collect();
    AnnouncementRecord { id: announcement.id, claim: announcement.claim, notifications }
}

/// Announces all there is to `destinations`; answers the ids of the deliveries, in order.
async fn announce_all(store: &SharedStore, destinations: &[&str], now: Timestamp) -> Vec<Uuid> {
    let announcements = claim_announcements(store, now).await;
    let records: Vec<_> = announcements.iter().map(|one| told(one, destinations, now)).collect();
    let ids = records.iter().flat_map(|record| &record.notifications).map(|one| one.id).collect();
    assert!(store.record_announcements(records).await.unwrap().iter().all(|ours| *ours));
    ids
}

/// Follows, finishes and announces `count` scans; answers the ids of their deliveries, in order.
async fn deliveries_to(store: &SharedStore, count: i64, destinations: &[&str], now: Timestamp) -> Vec<Uuid> {
    follow(store, count).await;
    finish_all(store, now).await;
    announce_all(store, destinations, now).await
}

async fn claim_deliveries(store: &SharedStore, destination: &str, now: Timestamp) -> Vec<DeliveryClaim> {
    store.claim_due_deliveries(destination, now, 10_000, LEASE).await.unwrap()
}

fn attempt(number: u32, reason: Reason, now: Timestamp) -> Attempt {
    let verdict = if reason == Reason::Ok { "delivered" } else { "retry" };
    let answer = Some(format!("answer {number}"));
    Attempt { number, at: now, verdict: verdict.to_owned(), reason, answer, duration_ms: 12 }
}

/// The next attempt of a claimed delivery, and what follows from it.
fn attempted(claim: &DeliveryClaim, reason: Reason, next: Next, now: Timestamp) -> AttemptRecord {
    let attempt = attempt(claim.progress.attempts + 1, reason, now);
    AttemptRecord { delivery: claim.notification.id, claim: claim.claim, attempt, next }
}

async fn record_one(store: &SharedStore, record: AttemptRecord) -> bool {
    store.record_attempts(vec![record]).await.unwrap()[0]
}

/// Makes every due delivery to `destination` dead.
async fn kill_all(store: &SharedStore, destination: &str, now: Timestamp) {
    let claims = claim_deliveries(store, destination, now).await;
    let dead = |claim| attempted(claim, Reason::ServerError, Next::Dead(Reason::GaveUp), now);
    assert!(store.record_attempts(claims.iter().map(dead).collect()).await.unwrap().iter().all(|ours| *ours));
}

/// All deliveries that match, page by page.
async fn all_deliveries(store: &SharedStore, filter: DeliveryFilter) -> Vec<DeliveryView> {
    let mut filter = DeliveryFilter { limit: 100, ..filter };
    let mut all = Vec::new();
    loop {
        let page = store.deliveries(filter.clone()).await.unwrap();
        all.extend(page.items);
        match page.next {
            Some(next) => filter.before = Some(next.parse().unwrap()),
            None => return all,
        }
    }
}

/// A claim that nobody ever had.
const NOBODYS: Claim = Claim(42);

/// Progress of a delivery that was tried `attempts` times.
fn progress(attempts: u32) -> Progress {
    Progress { attempts, charged: attempts, give_up_at: Some(at(9_000_000)) }
}
