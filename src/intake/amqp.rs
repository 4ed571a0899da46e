//! Requests from an AMQP 0-9-1 broker (RabbitMQ): consumed in batches, acknowledged after the commit.
//!
//! [`Amqp::run`] is a supervisor: it builds a whole session and, when anything in it breaks,
//! throws all of it away and builds another, for as long as it takes. The client's own recovery is not used: it
//! goes silent on a channel that the broker closed.

mod batch;
mod connect;
mod deadletter;
mod error;
mod frames;
mod health;
mod message;
mod publish;
mod session;
mod settings;
mod topology;
mod watchdog;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::health::Reporter;
use self::publish::{Letter, Publisher};
use self::session::Session;
use self::watchdog::Watchdog;
use super::Intake;
use crate::time::{Backoff, chance};

pub use error::AmqpError;
pub use health::{Condition, Health};
pub use settings::{QueueType, Settings};

/// What hostile-input tests reach into: not part of the library's face, and may change with any version.
#[doc(hidden)]
pub mod fuzzing {
    use bytes::BytesMut;

    use super::frames::Mender;

    /// What the client gets to read of a stream that comes in these pieces.
    pub fn mend(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut mender, mut out) = (Mender::default(), BytesMut::new());
        for piece in pieces {
            mender.push(piece, &mut out);
        }
        out.to_vec()
    }
}

/// Waits between connects.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(500), growth: 2.0, max: Duration::from_secs(30) };
/// A session that stood this long was a good one: the waits begin anew.
const STABLE: Duration = Duration::from_secs(10);

/// A person who hands requests over is told after so long that the broker takes none.
const BLOCKED_LIMIT: Duration = Duration::from_secs(20);
const BLOCKED: &str = "the broker takes no messages for now (memory or disk alarm); some may have been taken";

/// The intake from the broker.
pub struct Amqp {
    settings: Settings,
    intake: Arc<Intake>,
    reporter: Reporter,
    health: Health,
}

impl Amqp {
    /// Does nothing until [`Amqp::run`].
    pub fn new(settings: Settings, intake: Arc<Intake>) -> Self {
        let (reporter, health) = health::health();
        Self { settings, intake, reporter, health }
    }

    /// For readiness; taken before the run.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Takes requests until told to stop; comes back once what was in hand is finished and the rest handed back.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0u32;
        let mut last = None;
        let mut watchdog = Watchdog::new();
        while !stop.is_cancelled() {
            let Err((stood, error)) = self.one_session(&stop, &mut watchdog).await else { break };
            failures = if stood.is_some_and(|stood| stood >= STABLE) { 0 } else { failures };
            self.report(&error, stood.is_some(), &mut last);
            let wait = RECONNECT.delay(failures, chance());
            failures = failures.saturating_add(1);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.reporter.down("stopped");
    }

    /// One session from its connect to its end: told to stop (`Ok`), or what broke, and how long it had stood.
    async fn one_session(
        &self,
        stop: &CancellationToken,
        watchdog: &mut Watchdog,
    ) -> Result<(), (Option<Duration>, AmqpError)> {
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = Session::open(&self.settings, &self.intake, &self.reporter) => opened,
        };
        let mut session = opened.map_err(|error| (None, error))?;
        info!(queue = self.settings.queue, "taking requests from the broker");
        let since = Instant::now();
        session.consume(stop, watchdog).await.map_err(|error| (Some(since.elapsed()), error))?;
        session.close().await;
        Ok(())
    }

    /// Says once that requests stopped coming, however often it is tried; again where a person has to act on
    /// something new.
    fn report(&self, error: &AmqpError, stood: bool, last: &mut Option<String>) {
        let sentence = error.to_string();
        self.reporter.down(&sentence);
        let queue = &self.settings.queue;
        let new = last.as_ref() != Some(&sentence);
        if error.needs_person() && (stood || new) {
            error!(queue, "no requests from the broker, still trying: {sentence}");
        } else if stood || last.is_none() {
            warn!(queue, "no requests from the broker, trying again: {sentence}");
        } else {
            debug!(queue, "still no requests from the broker: {sentence}");
        }
        *last = Some(sentence);
    }
}

/// Publishes requests to the queue, each as one persistent message; comes back once the broker has confirmed all.
///
/// Where the settings say so, the queues are declared first: the daemon need not have run yet. After an error some
/// of them may have been taken.
pub async fn publish_requests(settings: &Settings, requests: Vec<Bytes>) -> Result<(), AmqpError> {
    let connection = connect::connect(settings, "submit").await?;
    if settings.declare {
        topology::ensure(&connection, settings).await?;
    }
    let channel = connect::confirming_channel(&connection).await?;
    let publisher = Publisher::new(connection, channel);
    let properties = BasicProperties::default().with_delivery_mode(2);
    let letters: Vec<Letter> =
        requests.into_iter().map(|body| Letter { body, properties: properties.clone() }).collect();
    let answers = tokio::select! {
        answers = publisher.publish(&settings.queue, &letters) => answers,
        () = publisher.blocked_for(BLOCKED_LIMIT) => return Err(AmqpError::away(BLOCKED)),
    };
    publisher.close().await;
    answers.into_iter().collect::<Result<Vec<()>, _>>().map(|_| ()).map_err(publish::PublishError::into_error)
}

/// Looks whether the broker can be reached and the queues are usable, without changing anything there.
///
/// A queue that is missing is fine where it would be declared. Answers how many requests wait.
pub async fn probe(settings: &Settings) -> Result<u32, AmqpError> {
    let connection = connect::connect(settings, "check").await?;
    let mut waiting = 0;
    for queue in [settings.dead_letter_queue(), settings.queue.clone()] {
        waiting = if settings.declare {
            topology::look(&connection, &queue).await?.unwrap_or(0)
        } else {
            topology::find(&connection, &queue).await?
        };
    }
    connect::close(&connection).await;
    Ok(waiting)
}
