//! The publishing side: queues and requests.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use uuid::Uuid;

use super::Failed;

/// Confirms in flight while a queue is filled.
const WINDOW: usize = 500;

/// A connection that publishes.
pub struct Broker {
    channel: Channel,
    // The channel ends with its connection.
    _connection: Connection,
}

impl Broker {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self, Failed> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, _connection: connection })
    }

    /// Declares a quorum queue as scanbell does.
    pub async fn declare(&self, queue: &str) -> Result<(), Failed> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, arguments).await?;
        Ok(())
    }

    /// Publishes so many persistent requests, each a bare ID of its own; comes back once all are confirmed.
    pub async fn fill(&self, queue: &str, scans: usize) -> Result<(), Failed> {
        let mut left = scans;
        while left > 0 {
            let mut confirms = Vec::with_capacity(WINDOW);
            for _ in 0..left.min(WINDOW) {
                confirms.push(self.publish(queue).await?);
            }
            left -= confirms.len();
            for confirm in confirms {
                confirm.await?;
            }
        }
        Ok(())
    }

    /// Publishes `rate` requests a second for so long; how many that were.
    pub async fn pour(&self, queue: &str, rate: usize, during: Duration) -> Result<usize, Failed> {
        const TICK: Duration = Duration::from_millis(20);
        let started = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut published = 0;
        while started.elapsed() < during {
            ticks.tick().await;
            let wanted = (started.elapsed().as_secs_f64() * rate as f64) as usize;
            let mut confirms = Vec::new();
            while published < wanted {
                confirms.push(self.publish(queue).await?);
                published += 1;
            }
            for confirm in confirms {
                confirm.await?;
            }
        }
        Ok(published)
    }

    async fn publish(&self, queue: &str) -> Result<impl Future<Output = lapin::Result<Confirmation>> + use<>, Failed> {
        let id = Uuid::now_v7().to_string();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        Ok(self.channel.basic_publish("".into(), queue.into(), options, id.as_bytes(), properties).await?)
    }

    /// Takes a queue away.
    pub async fn delete(&self, queue: &str) -> Result<(), Failed> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }
}
