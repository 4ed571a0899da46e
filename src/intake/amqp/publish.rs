//! Publishing that counts only when the broker has confirmed it.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::connect;
use super::error::AmqpError;

/// So many messages, or so many bytes, are published before their confirms are awaited.
const WINDOW: usize = 256;
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// For a whole window with its confirms.
const WINDOW_LIMIT: Duration = Duration::from_secs(30);

/// One message to publish.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) body: Bytes,
    pub(super) properties: BasicProperties,
}

/// Why a message was not taken.
#[derive(Debug, Clone)]
pub(super) enum PublishError {
    /// The broker said so about this message: no such queue, or the queue refuses it.
    Refused(AmqpError),
    /// The connection is of no more use; the message may have been taken.
    Lost(AmqpError),
}

impl PublishError {
    pub(super) fn into_error(self) -> AmqpError {
        match self {
            Self::Refused(error) | Self::Lost(error) => error,
        }
    }
}

/// A connection for publishing only: an alarm at the broker that stops it does not stop the consumer.
pub(super) struct Publisher {
    connection: Connection,
    channel: Channel,
}

impl Publisher {
    pub(super) fn new(connection: Connection, channel: Channel) -> Self {
        Self { connection, channel }
    }

    /// Whether it can still be used.
    pub(super) fn alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Whether the broker takes nothing for now.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Comes back once the broker has taken nothing for so long.
    pub(super) async fn blocked_for(&self, limit: Duration) {
        const LOOK: Duration = Duration::from_millis(500);
        let mut blocked = Duration::ZERO;
        while blocked < limit {
            tokio::time::sleep(LOOK).await;
            blocked = if self.blocked() { blocked + LOOK } else { Duration::ZERO };
        }
    }

    /// Publishes to a queue by its name and awaits the confirms. Answers in order, up to the first loss of the
    /// connection: what has no answer was not tried or is lost with it.
    pub(super) async fn publish(&self, queue: &str, letters: &[Letter]) -> Vec<Result<(), PublishError>> {
        let mut answers = Vec::with_capacity(letters.len());
        let mut rest = letters;
        while !rest.is_empty() {
            let (window, later) = rest.split_at(window(rest));
            rest = later;
            match self.confirmed(self.publish_window(queue, window)).await {
                Some(some) => answers.extend(some),
                None => answers.push(Err(PublishError::Lost(AmqpError::timeout(&format!("publish to `{queue}`"))))),
            }
            if matches!(answers.last(), Some(Err(PublishError::Lost(_)))) {
                break;
            }
        }
        answers
    }

    /// Awaits a window, but not for ever, unless the broker says that it takes nothing for now: what it already has
    /// would be there twice if it were sent again.
    async fn confirmed<T>(&self, window: impl Future<Output = T>) -> Option<T> {
        let mut window = std::pin::pin!(window);
        loop {
            match tokio::time::timeout(WINDOW_LIMIT, &mut window).await {
                Ok(answers) => return Some(answers),
                Err(_) if self.blocked() && self.alive() => {}
                Err(_) => return None,
            }
        }
    }

    async fn publish_window(&self, queue: &str, letters: &[Letter]) -> Vec<Result<(), PublishError>> {
        let what = format!("publish to `{queue}`");
        // Mandatory: else the broker confirms a message that no queue took.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut confirms = Vec::with_capacity(letters.len());
        for letter in letters {
            let properties = letter.properties.clone();
            confirms.push(self.channel.basic_publish("".into(), queue.into(), options, &letter.body, properties).await);
        }
        let mut answers = Vec::with_capacity(letters.len());
        let mut returned = false;
        for confirm in confirms {
            let confirmation = match confirm {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            answers.push(match confirmation {
                Ok(Confirmation::Ack(None)) => Ok(()),
                Ok(Confirmation::Ack(Some(_))) => {
                    returned = true;
                    Ok(())
                }
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
                    Err(PublishError::Refused(AmqpError::away(format!("queue `{queue}` does not take the message"))))
                }
                Err(error) => return lost(answers, AmqpError::during(&what, &error)),
            });
        }
        // The client hands a returned message to any confirm of the window: none of them can be believed.
        if returned { all_returned(queue, letters.len()) } else { answers }
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        connect::close(&self.connection).await;
    }
}

fn lost(mut answers: Vec<Result<(), PublishError>>, error: AmqpError) -> Vec<Result<(), PublishError>> {
    answers.push(Err(PublishError::Lost(error)));
    answers
}

fn all_returned(queue: &str, count: usize) -> Vec<Result<(), PublishError>> {
    let sentence = format!("queue `{queue}` does not exist, so the broker returned the message");
    vec![Err(PublishError::Refused(AmqpError::settings(sentence))); count]
}

/// How many of the letters make one window: at least one.
fn window(letters: &[Letter]) -> usize {
    let mut bytes = 0usize;
    let fits = |letter: &&Letter| {
        bytes = bytes.saturating_add(letter.body.len());
        bytes <= WINDOW_BYTES
    };
    letters.iter().take(WINDOW).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(count: usize, size: usize) -> Vec<Letter> {
        let body = Bytes::from(vec![0; size]);
        vec![Letter { body, properties: BasicProperties::default() }; count]
    }

    #[test]
    fn a_window_is_bounded_by_number_and_size_and_never_empty() {
        assert_eq!(window(&letters(1000, 10)), WINDOW);
        assert_eq!(window(&letters(100, 1024 * 1024)), 8);
        assert_eq!(window(&letters(2, WINDOW_BYTES + 1)), 1);
    }
}
