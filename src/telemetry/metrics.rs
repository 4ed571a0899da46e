//! Every metric of the contract (section 9), one function each: no other room names a metric. What is counted for every
//! scan is kept by whoever counts it ([`Polls`], [`Attempts`]).
//!
//! Labels are configured names and closed lists only, never an ID or an address, so that their number is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub use super::recorder::{Handle, install};

/// One request was accepted (`following`, `joined`, `duplicate`) or refused (the reason).
pub fn request(source: &'static str, result: &'static str) {
    counter!("scanbell_requests_total", "source" => source, "result" => result).increment(1);
}

/// So many scans of a provider are followed now.
pub fn scans_active(provider: &str, count: u64) {
    gauge!("scanbell_scans_active", "provider" => provider.to_owned()).set(count as f64);
}

/// Counters by the labels that vary, each made once: making one for every event allocates several times.
#[derive(Default)]
struct Counters<const LABELS: usize>(Mutex<HashMap<[&'static str; LABELS], Counter>>);

impl<const LABELS: usize> Counters<LABELS> {
    fn increment(&self, labels: [&'static str; LABELS], make: impl FnOnce() -> Counter) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.entry(labels).or_insert_with(make).increment(1);
    }
}

/// What is counted of one provider. Made after [`install`]: else it counts nothing.
pub struct Polls {
    provider: String,
    seen: Counters<1>,
    seconds: Histogram,
    reports: Counters<3>,
}

impl Polls {
    /// Of the provider of this name.
    pub fn of(provider: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            seen: Counters::default(),
            seconds: histogram!("scanbell_poll_seconds", "provider" => provider.to_owned()),
            reports: Counters::default(),
        }
    }

    /// One poll was made; `outcome` is what it saw: `running`, `ended`, `not_found`, `unavailable`, `unauthorized`.
    pub fn poll(&self, outcome: &'static str, took: Duration) {
        self.seen.increment(
            [outcome],
            || counter!("scanbell_polls_total", "provider" => self.provider.clone(), "outcome" => outcome),
        );
        self.seconds.record(took.as_secs_f64());
    }

    /// One scan finished.
    pub fn report(&self, outcome: &'static str, verdict: &'static str, severity: &'static str) {
        self.reports.increment([outcome, verdict, severity], || {
            counter!("scanbell_reports_total", "provider" => self.provider.clone(), "outcome" => outcome,
                     "verdict" => verdict, "severity" => severity)
        });
    }
}

/// What is counted of one destination. Made after [`install`]: else it counts nothing.
pub struct Attempts {
    destination: String,
    verdicts: Counters<2>,
    seconds: Histogram,
    lag: OnceLock<Histogram>,
}

impl Attempts {
    /// Of the destination of this name.
    pub fn of(destination: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            verdicts: Counters::default(),
            seconds: histogram!("scanbell_attempt_seconds", "destination" => destination.to_owned()),
            lag: OnceLock::new(),
        }
    }

    /// One attempt of a delivery was made.
    pub fn attempt(&self, verdict: &'static str, reason: &'static str, took: Duration) {
        self.verdicts.increment([verdict, reason], || {
            counter!("scanbell_attempts_total", "destination" => self.destination.clone(), "verdict" => verdict,
                     "reason" => reason)
        });
        self.seconds.record(took.as_secs_f64());
    }

    /// A notification arrived so long after its scan was seen finished.
    pub fn lag(&self, lag: Duration) {
        let histogram = || histogram!("scanbell_notification_lag_seconds", "destination" => self.destination.clone());
        self.lag.get_or_init(histogram).record(lag.as_secs_f64());
    }
}

/// So many deliveries are kept in a state.
pub fn deliveries(destination: &str, state: &'static str, count: u64) {
    gauge!("scanbell_deliveries", "destination" => destination.to_owned(), "state" => state).set(count as f64);
}

/// How long the oldest pending delivery has been waiting; zero if none is.
pub fn delivery_oldest(destination: &str, age: Duration) {
    gauge!("scanbell_delivery_oldest_seconds", "destination" => destination.to_owned()).set(age.as_secs_f64());
}

/// A provider is paused (its key is refused) or not.
pub fn provider_paused(provider: &str, paused: bool) {
    gauge!("scanbell_provider_paused", "provider" => provider.to_owned()).set(f64::from(u8::from(paused)));
}

/// A destination is failing (its breaker is open) or not.
pub fn destination_failing(destination: &str, failing: bool) {
    gauge!("scanbell_destination_failing", "destination" => destination.to_owned()).set(f64::from(u8::from(failing)));
}

/// The broker connection is up or not.
pub fn amqp_connected(connected: bool) {
    gauge!("scanbell_amqp_connected").set(f64::from(u8::from(connected)));
}

/// The broker takes no messages from us (memory or disk alarm), or does.
pub fn amqp_blocked(blocked: bool) {
    gauge!("scanbell_amqp_blocked").set(f64::from(u8::from(blocked)));
}

/// The broker had forgotten our consumer, and it was set up anew.
pub fn amqp_stall() {
    counter!("scanbell_amqp_stalls_total").increment(1);
}

/// A template failed and the built-in plain message went out instead.
pub fn template_fallback(destination: &str) {
    counter!("scanbell_template_fallbacks_total", "destination" => destination.to_owned()).increment(1);
}

/// Sets to zero what an alert may look at before anything has happened; the broker's gauge only with a broker.
pub fn start<'a>(
    providers: impl IntoIterator<Item = &'a str>,
    destinations: impl IntoIterator<Item = &'a str>,
    broker: bool,
) {
    for provider in providers {
        scans_active(provider, 0);
        provider_paused(provider, false);
    }
    for destination in destinations {
        destination_failing(destination, false);
        delivery_oldest(destination, Duration::ZERO);
        for state in ["pending", "delivered", "dead", "suppressed"] {
            deliveries(destination, state, 0);
        }
        counter!("scanbell_template_fallbacks_total", "destination" => destination.to_owned()).absolute(0);
    }
    if broker {
        amqp_connected(false);
        amqp_blocked(false);
        counter!("scanbell_amqp_stalls_total").absolute(0);
    }
}

/// The store ended one transaction: `flushed` to the disk, `unflushed` (it lasts, but for a power cut), `failed`.
pub fn store_commit(result: &'static str) {
    counter!("scanbell_store_commits_total", "result" => result).increment(1);
}

/// Says once what each metric means.
pub fn describe() {
    describe_counter!(
        "scanbell_store_commits_total",
        "Transactions of the store: flushed to the disk, not flushed, failed"
    );
    describe_counter!("scanbell_requests_total", "Requests, by source and by what became of them");
    describe_gauge!("scanbell_scans_active", "Scans being followed");
    describe_counter!("scanbell_polls_total", "Polls, by what they saw");
    describe_histogram!("scanbell_poll_seconds", "How long a poll took");
    describe_counter!("scanbell_reports_total", "Finished scans, by what they said");
    describe_counter!("scanbell_attempts_total", "Attempts of deliveries, by verdict and reason");
    describe_histogram!("scanbell_attempt_seconds", "How long an attempt took");
    describe_gauge!("scanbell_deliveries", "Deliveries kept, by state");
    describe_gauge!("scanbell_delivery_oldest_seconds", "Age of the oldest pending delivery");
    describe_histogram!("scanbell_notification_lag_seconds", "From scan seen finished to notification delivered");
    describe_gauge!("scanbell_provider_paused", "1 while a provider refuses our key");
    describe_gauge!("scanbell_destination_failing", "1 while a destination is failing");
    describe_gauge!("scanbell_amqp_connected", "1 while connected to the broker");
    describe_gauge!("scanbell_amqp_blocked", "1 while the broker takes no messages from us (memory or disk alarm)");
    describe_counter!(
        "scanbell_amqp_stalls_total",
        "Consumers that got nothing while requests waited, and were replaced"
    );
    describe_counter!("scanbell_template_fallbacks_total", "Messages sent in plain form because their template failed");
}
