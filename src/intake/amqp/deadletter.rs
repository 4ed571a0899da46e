//! The dead-letter lane: puts refused messages away, then acknowledges them. The good ones never wait for it.
//!
//! Lives as long as one session: what it could not put away by then is delivered again in the next.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::connect;
use super::error::AmqpError;
use super::health::Reporter;
use super::message::Receipt;
use super::publish::{Letter, PublishError, Publisher};
use super::settings::Settings;
use crate::time::{Backoff, chance};

/// Waits after a failure.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(500), growth: 2.0, max: Duration::from_secs(30) };
/// How soon it is noticed that the broker takes nothing.
const LOOK: Duration = Duration::from_secs(2);
const BLOCKED: &str = "the broker takes no messages for now (memory or disk alarm), so refused ones wait";
/// Fresh messages that are put away together.
const TOGETHER: usize = 64;

/// One refused message: what of it is still to be put away.
pub(super) struct Job {
    /// Acknowledges it.
    pub(super) receipt: Receipt,
    /// The message, or its refused entries.
    pub(super) letters: Vec<Letter>,
}

/// Deliveries that wait in the lane: an acknowledgement of the good ones must not include them.
#[derive(Clone, Default)]
pub(super) struct OpenTags(Arc<Mutex<BTreeSet<u64>>>);

impl OpenTags {
    pub(super) fn insert(&self, tag: u64) {
        self.lock().insert(tag);
    }

    /// The earliest that is open.
    pub(super) fn first(&self) -> Option<u64> {
        self.lock().first().copied()
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn remove(&self, tag: u64) {
        self.lock().remove(&tag);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that waits, and how often it failed.
struct Waiting {
    job: Job,
    failures: u32,
    due: Instant,
}

/// The lane of one session.
pub(super) struct Lane {
    settings: Settings,
    reporter: Reporter,
    open: OpenTags,
    publisher: Option<Publisher>,
    waiting: Vec<Waiting>,
    /// How often the connection failed in a row, and when it is tried again.
    outages: u32,
    rest_until: Instant,
    /// The trouble that was logged last; it is logged once.
    trouble: Option<String>,
}

impl Lane {
    pub(super) fn new(settings: Settings, reporter: Reporter, open: OpenTags) -> Self {
        let (waiting, rest_until) = (Vec::new(), Instant::now());
        Self { settings, reporter, open, publisher: None, waiting, outages: 0, rest_until, trouble: None }
    }

    /// Works until the jobs end; then tries once more what is left, and closes.
    pub(super) async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        loop {
            let due = self.waiting.iter().map(|waiting| waiting.due).min().map(|due| due.max(self.rest_until));
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or(self.rest_until)), if due.is_some() => {
                    self.round().await;
                }
                job = jobs.recv() => match job {
                    Some(job) => self.take(job, &mut jobs),
                    None => break,
                },
            }
        }
        self.finish().await;
    }

    /// A job and those behind it.
    fn take(&mut self, first: Job, jobs: &mut UnboundedReceiver<Job>) {
        let now = Instant::now();
        let rest = std::iter::from_fn(|| jobs.try_recv().ok());
        self.waiting.extend(std::iter::once(first).chain(rest).map(|job| Waiting { job, failures: 0, due: now }));
    }

    /// Tries once more what is left; the rest is delivered again.
    async fn finish(mut self) {
        let mut well = true;
        while well && !self.waiting.is_empty() {
            self.waiting.iter_mut().for_each(|waiting| waiting.due = Instant::now());
            well = self.round().await;
        }
        if let Some(publisher) = self.publisher.take() {
            publisher.close().await;
        }
    }

    /// Tries the fresh messages that are due together, or else one of those that failed before: whatever is wrong
    /// with one message cannot keep the others. Answers whether all went well.
    async fn round(&mut self) -> bool {
        let now = Instant::now();
        let (mut due, later): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|waiting| waiting.due <= now);
        self.waiting = later;
        due.sort_by_key(|waiting| (waiting.failures, waiting.due));
        let fresh = due.iter().take(TOGETHER).filter(|waiting| waiting.failures == 0).count();
        self.waiting.extend(due.split_off(fresh.max(1).min(due.len())));
        match self.connect().await {
            Ok(()) => self.put_away(due).await,
            Err(error) => {
                self.waiting.extend(due); // not their fault
                self.rest(&error);
                false
            }
        }
    }

    /// Makes sure of a connection.
    async fn connect(&mut self) -> Result<(), AmqpError> {
        if self.publisher.as_ref().is_some_and(Publisher::alive) {
            return Ok(());
        }
        self.publisher = None;
        let connection = connect::connect(&self.settings, "dead letters").await?;
        let channel = connect::confirming_channel(&connection).await?;
        self.publisher = Some(Publisher::new(connection, channel));
        Ok(())
    }

    async fn put_away(&mut self, due: Vec<Waiting>) -> bool {
        let queue = self.settings.dead_letter_queue();
        let letters: Vec<Letter> = due.iter().flat_map(|waiting| waiting.job.letters.iter().cloned()).collect();
        let Some(answers) = self.publish(&queue, &letters).await else { return false };
        let trouble = answers.iter().find_map(|answer| answer.as_ref().err().cloned());
        // What has no answer was not taken either.
        let mut taken = answers.iter().map(Result::is_ok).chain(std::iter::repeat(false));
        for mut waiting in due {
            waiting.job.letters.retain(|_| !taken.next().unwrap_or(false));
            if waiting.job.letters.is_empty() {
                self.done(&waiting.job).await;
            } else {
                waiting.due = Instant::now() + AGAIN.delay(waiting.failures, chance());
                waiting.failures = waiting.failures.saturating_add(1);
                self.waiting.push(waiting);
            }
        }
        let well = trouble.is_none();
        match trouble {
            None => self.well(),
            Some(PublishError::Refused(error)) => self.complain(&error),
            Some(PublishError::Lost(error)) => self.rest(&error),
        }
        well
    }

    /// Publishes, and says so while the broker takes nothing.
    async fn publish(&mut self, queue: &str, letters: &[Letter]) -> Option<Vec<Result<(), PublishError>>> {
        let publisher = self.publisher.take()?;
        let answers = {
            let mut publishing = std::pin::pin!(publisher.publish(queue, letters));
            loop {
                match tokio::time::timeout(LOOK, &mut publishing).await {
                    Ok(answers) => break answers,
                    Err(_) if publisher.blocked() => self.say(true, BLOCKED.to_owned()),
                    Err(_) => {}
                }
            }
        };
        self.publisher = Some(publisher);
        Some(answers)
    }

    /// Acknowledges a message that is put away. Where that fails it comes again, and is put away again.
    async fn done(&self, job: &Job) {
        if !matches!(job.receipt.acknowledge(false).await, Ok(true)) {
            debug!(message.tag = job.receipt.tag(), "a refused message was put away but not acknowledged");
        }
        self.open.remove(job.receipt.tag());
    }

    /// Leaves a connection that is of no more use, and waits before the next.
    fn rest(&mut self, error: &AmqpError) {
        self.complain(error);
        self.publisher = None;
        self.rest_until = Instant::now() + AGAIN.delay(self.outages, chance());
        self.outages = self.outages.saturating_add(1);
    }

    fn complain(&mut self, error: &AmqpError) {
        if self.publisher.as_ref().is_some_and(Publisher::blocked) {
            self.say(true, BLOCKED.to_owned());
        } else {
            self.say(false, format!("refused messages cannot be put away, so they wait: {error}"));
        }
    }

    /// Tells readiness, and the log once.
    fn say(&mut self, blocked: bool, sentence: String) {
        self.reporter.dead_letters(blocked, Some(sentence.clone()));
        if self.trouble.as_ref() != Some(&sentence) {
            warn!(queue = self.settings.dead_letter_queue(), "{sentence}");
            self.trouble = Some(sentence);
        }
    }

    fn well(&mut self) {
        self.outages = 0;
        if self.waiting.iter().any(|waiting| waiting.failures > 0) {
            return; // this one went, another still does not
        }
        if self.trouble.take().is_some() {
            info!(queue = self.settings.dead_letter_queue(), "refused messages are put away again");
        }
        self.reporter.dead_letters(false, None);
    }
}
