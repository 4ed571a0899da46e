//! Notices a consumer that is connected and gets nothing although requests wait: a broker may lose one in silence
//! (a leader that moved, a limit it forgot to lift), and nothing on the connection tells.
//!
//! While nothing comes, the queue is asked how many messages are ready and how many consumers it has. A healthy
//! broker hands a ready message over within milliseconds, so two such looks in a row are not chance.

use std::time::Duration;

use lapin::Connection;
use tokio::time::Instant;

use super::error::AmqpError;
use super::settings::Settings;
use super::topology::{self, Standing};
use crate::telemetry::metrics;

/// How long nothing came before the queue is looked at, and between two looks.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where a new session does not help (a single active consumer elsewhere, say), looks become rare.
const MOST_PATIENCE: Duration = Duration::from_secs(300);

/// Outlives sessions: it knows whether the last one helped.
#[derive(Debug)]
pub(super) struct Watchdog {
    patience: Duration,
    since: Instant,
    suspicious: bool,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self { patience: PATIENCE, since: Instant::now(), suspicious: false }
    }

    /// A session begins.
    pub(super) fn begin(&mut self) {
        self.since = Instant::now();
        self.suspicious = false;
    }

    /// A message came: all is well.
    pub(super) fn fed(&mut self) {
        *self = Self::new();
    }

    /// To be called now and then while nothing comes; an error once the consumer is known to be forgotten.
    ///
    /// `room`: the broker may send more. Where we hold all it may send ahead, silence is what we asked for.
    pub(super) async fn look(
        &mut self,
        connection: &Connection,
        settings: &Settings,
        room: bool,
    ) -> Result<(), AmqpError> {
        if !room {
            self.begin();
            return Ok(());
        }
        if self.since.elapsed() < self.patience {
            return Ok(());
        }
        self.since = Instant::now();
        let standing = topology::stand(connection, &settings.queue).await?;
        let Some(fact) = wrong(standing, &settings.queue) else {
            self.suspicious = false;
            return Ok(());
        };
        if !std::mem::replace(&mut self.suspicious, true) {
            return Ok(());
        }
        self.patience = (self.patience * 2).min(MOST_PATIENCE);
        metrics::amqp_stall();
        Err(AmqpError::away(fact))
    }
}

/// What is wrong with a queue of which nothing comes, if anything is.
fn wrong(Standing { waiting, consumers }: Standing, queue: &str) -> Option<String> {
    match (waiting, consumers) {
        (_, 0) => Some(format!("the broker has forgotten that requests are taken from queue `{queue}`")),
        (0, _) => None,
        (_, _) => Some(format!(
            "requests wait in queue `{queue}` and the broker delivers none of them (is another consumer its single \
             active one?)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_is_silent_by_right_and_a_full_or_forgotten_one_is_not() {
        let said = |waiting, consumers| wrong(Standing { waiting, consumers }, "q");
        assert_eq!(said(0, 1), None);
        assert_eq!(said(0, 5), None);
        assert!(said(3, 1).unwrap().contains("delivers none"));
        assert!(said(0, 0).unwrap().contains("forgotten"));
        assert!(said(3, 0).unwrap().contains("forgotten"));
    }
}
