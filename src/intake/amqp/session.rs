//! One session: connected, consuming, until something breaks or we are told to stop.
//!
//! A delivery is acknowledged on the channel that it came on, or never: the session owns its connection, its
//! channel, its consumer and its dead-letter lane, and they end together.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch::{Batch, acknowledgements};
use super::connect;
use super::deadletter::{Job, Lane, OpenTags};
use super::error::AmqpError;
use super::health::Reporter;
use super::message::Message;
use super::settings::Settings;
use super::topology;
use super::watchdog::Watchdog;
use crate::intake::{Intake, Outcome, Source};
use crate::time::{Backoff, chance};

/// How often a silent channel is asked whether it is still there: some ends of it are told to nobody.
const WATCHDOG: Duration = Duration::from_secs(2);
/// A batch that is this large is committed before more is taken.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Waits while the store takes nothing.
const STORE_AGAIN: Backoff = Backoff { first: Duration::from_millis(200), growth: 2.0, max: Duration::from_secs(10) };
/// What the lane may still need for refused messages once we stop.
const LANE_LIMIT: Duration = Duration::from_secs(5);

/// A session that stands.
pub(super) struct Session<'a> {
    settings: &'a Settings,
    intake: &'a Intake,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    /// Why there will be no further delivery, where that was noticed while taking what was ready.
    ended: Option<AmqpError>,
    open: OpenTags,
    jobs: UnboundedSender<Job>,
    lane: JoinSet<()>,
}

impl<'a> Session<'a> {
    /// Connects, makes sure of the queues and consumes: in this order, since a prefetch set later does not count.
    pub(super) async fn open(
        settings: &'a Settings,
        intake: &'a Intake,
        reporter: &Reporter,
    ) -> Result<Self, AmqpError> {
        let connection = connect::connect(settings, "requests").await?;
        topology::ensure(&connection, settings).await?;
        let channel = connect::channel(&connection).await?;
        connect::call("set the prefetch", channel.basic_qos(settings.prefetch, BasicQosOptions::default())).await?;
        let consuming = channel.basic_consume(
            settings.queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = connect::call(&format!("consume from queue `{}`", settings.queue), consuming).await?;
        let open = OpenTags::default();
        let (jobs, waiting) = unbounded_channel(); // bounded by the prefetch
        let mut lane = JoinSet::new();
        reporter.up();
        lane.spawn(Lane::new(settings.clone(), reporter.clone(), open.clone()).run(waiting));
        Ok(Self { settings, intake, connection, channel, consumer, ended: None, open, jobs, lane })
    }

    /// Takes requests until told to stop (`Ok`) or until something breaks.
    pub(super) async fn consume(&mut self, stop: &CancellationToken, watchdog: &mut Watchdog) -> Result<(), AmqpError> {
        watchdog.begin();
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                message = self.next(watchdog) => message?,
            };
            let batch = Batch::read(self.ready_with(first));
            let Some(outcomes) = self.commit(&batch, stop).await? else { return Ok(()) };
            self.settle(batch, outcomes).await?;
        }
    }

    /// The next message; an error once the consumer or its channel is gone, however quietly.
    async fn next(&mut self, watchdog: &mut Watchdog) -> Result<Message, AmqpError> {
        loop {
            if let Some(error) = self.ended.take() {
                return Err(error);
            }
            if let Ok(item) = tokio::time::timeout(WATCHDOG, self.consumer.next()).await {
                watchdog.fed();
                return self.message(item);
            }
            self.alive()?;
            let room = self.open.count() < usize::from(self.settings.prefetch);
            watchdog.look(&self.connection, self.settings, room).await?;
        }
    }

    /// A message, or how the stream of them ended. The stream must not be asked again after its end.
    fn message(&self, item: Option<lapin::Result<Delivery>>) -> Result<Message, AmqpError> {
        match item {
            Some(Ok(delivery)) => Ok(delivery.into()),
            Some(Err(error)) => Err(AmqpError::during("go on consuming", &error)),
            None => Err(AmqpError::away(format!(
                "the broker has ended the consumer of queue `{}` (was the queue deleted?)",
                self.settings.queue
            ))),
        }
    }

    fn alive(&self) -> Result<(), AmqpError> {
        if self.channel.status().connected() && self.connection.status().connected() {
            Ok(())
        } else {
            Err(AmqpError::away("the connection to the broker is gone"))
        }
    }

    /// A message and those that have arrived behind it, without waiting for any.
    fn ready_with(&mut self, first: Message) -> Vec<Message> {
        let mut bytes = first.body.len();
        let mut messages = vec![first];
        while messages.len() < usize::from(self.settings.prefetch) && bytes < BATCH_BYTES {
            let Some(item) = self.consumer.next().now_or_never() else { break };
            let message = match self.message(item) {
                Ok(message) => message,
                Err(error) => {
                    self.ended = Some(error);
                    break;
                }
            };
            bytes = bytes.saturating_add(message.body.len());
            messages.push(message);
        }
        messages
    }

    /// Commits a batch, however long the store needs to take it: meanwhile nothing more is taken, and the broker
    /// holds the rest back. `None` if we are told to stop before that.
    async fn commit(&self, batch: &Batch, stop: &CancellationToken) -> Result<Option<Vec<Outcome>>, AmqpError> {
        let mut failures = 0u32;
        loop {
            match self.intake.submit(Source::Amqp, batch.asked()).await {
                Ok(outcomes) => {
                    batch.unreadable().for_each(|refusal| self.intake.refused(Source::Amqp, refusal));
                    if failures > 0 {
                        info!("the store takes requests again");
                    }
                    return Ok(Some(outcomes));
                }
                Err(error) => {
                    if failures == 0 {
                        warn!(requests = batch.asked().len(), "requests wait, unacknowledged: {error}");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(STORE_AGAIN.delay(failures, chance())) => {}
            }
            // On a dead channel nothing can be acknowledged any more: the messages will come again.
            self.alive()?;
            failures = failures.saturating_add(1);
        }
    }

    /// Hands the refused messages to the lane and acknowledges the others.
    async fn settle(&self, batch: Batch, outcomes: Vec<Outcome>) -> Result<(), AmqpError> {
        let settled = batch.settle(outcomes);
        for job in settled.refused {
            self.open.insert(job.receipt.tag());
            if self.jobs.send(job).is_err() {
                return Err(AmqpError::away("the dead-letter lane has ended"));
            }
        }
        for (receipt, multiple) in acknowledgements(settled.good, self.open.first()) {
            if !receipt.acknowledge(multiple).await? {
                return Err(AmqpError::away("the channel was gone before it took an acknowledgement"));
            }
        }
        Ok(())
    }

    /// Stops taking, finishes what is in hand, and leaves the rest to be delivered again.
    pub(super) async fn close(self) {
        let Self { connection, channel, consumer, jobs, mut lane, .. } = self;
        let _ =
            connect::call("stop consuming", channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await;
        drop(jobs);
        if tokio::time::timeout(LANE_LIMIT, lane.join_next()).await.is_err() {
            warn!("some refused messages could not be put away in time; they stay in the queue");
            lane.abort_all();
        }
        connect::close_channel(&channel).await;
        connect::close(&connection).await;
    }
}
