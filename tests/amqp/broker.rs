//! A real broker for one test: queues of its own, deleted when the test ends.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use scanbell::intake::amqp::{Amqp, Health, Settings};
use scanbell::intake::{Intake, ProviderRule, Rules};
use scanbell::time::{Clock, Wake};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::relay::Relay;
use crate::store::MemoryStore;

/// Nothing here takes longer on the slowest machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Where the broker is, and the test's own names.
#[derive(Clone)]
pub struct Broker {
    pub url: String,
    pub queue: String,
    pub dead: String,
}

/// Runs a test with a broker and deletes its queues whatever happens. Without a broker it says so and does
/// nothing; where `CI` is set that is a failure.
pub async fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(Broker) -> F) {
    let Ok(url) = std::env::var("SCANBELL_TEST_AMQP_URL") else {
        assert!(std::env::var_os("CI").is_none(), "SCANBELL_TEST_AMQP_URL is not set, and CI needs a broker");
        eprintln!("skipped: SCANBELL_TEST_AMQP_URL is not set (scripts/rabbitmq start DIR PORT prints one)");
        return;
    };
    let name = uuid::Uuid::now_v7();
    let broker = Broker { url, queue: format!("test.{name}"), dead: format!("test.{name}.dead") };
    let ended = tokio::time::timeout(LIMIT * 2, AssertUnwindSafe(test(broker.clone())).catch_unwind()).await;
    let channel = broker.channel().await;
    for queue in [&broker.queue, &broker.dead] {
        let _ = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
    }
    if let Err(panic) = ended.expect("the test hangs") {
        std::panic::resume_unwind(panic);
    }
}

impl Broker {
    pub fn settings(&self) -> Settings {
        Settings { url: Some(self.url.as_str().into()), queue: self.queue.clone(), ..Settings::default() }
    }

    /// Settings that lead through a relay.
    pub fn settings_through(&self, relay: &Relay) -> Settings {
        let mut url = url::Url::parse(&self.url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(relay.address.port())).unwrap();
        Settings { url: Some(url.as_str().into()), ..self.settings() }
    }

    pub fn address(&self) -> SocketAddr {
        let url = url::Url::parse(&self.url).unwrap();
        let host = (url.host_str().unwrap(), url.port().unwrap_or(5672));
        host.to_socket_addrs().unwrap().next().unwrap()
    }

    pub async fn channel(&self) -> Channel {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        // The channel keeps the connection.
        channel
    }

    pub async fn publish(&self, body: &[u8]) {
        self.publish_with(body, BasicProperties::default()).await;
    }

    pub async fn publish_with(&self, body: &[u8], properties: BasicProperties) {
        let channel = self.channel().await;
        publish_on(&channel, &self.queue, body, properties).await;
    }

    /// How many messages are ready in a queue: none of those that are with a consumer.
    pub async fn ready(&self, queue: &str) -> u32 {
        let channel = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
    }

    /// The next message of a queue.
    pub async fn take(&self, queue: &str) -> lapin::message::Delivery {
        let channel = self.channel().await;
        let get = || channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        eventually("a message in the queue", async || get().await.unwrap()).await.delivery
    }
}

pub async fn publish_on(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
    let confirmation = confirm.await.unwrap();
    assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "the message reached no queue");
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The intake from the broker, running.
pub struct Running {
    pub health: Health,
    pub stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    /// Starts it; IDs must consist of letters, digits and hyphens.
    pub fn start(settings: Settings, store: &Arc<MemoryStore>) -> Self {
        let check = |id: &str| {
            let fine = id.len() <= 64 && id.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
            if fine { Ok(()) } else { Err("the ID must match ^[A-Za-z0-9-]{1,64}$".to_owned()) }
        };
        let rule = ProviderRule { deadline: Duration::from_secs(60), wake: Wake::new(), check_id: Box::new(check) };
        let rules = Rules {
            providers: [("sieve".to_owned(), rule)].into(),
            default_provider: None,
            destinations: ["siem".to_owned()].into(),
        };
        let day = Duration::from_secs(24 * 3600);
        let intake = Arc::new(Intake::new(store.clone(), rules, Clock::real(), day));
        let amqp = Amqp::new(settings, intake);
        let (health, stop) = (amqp.health(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(amqp.run(stop.clone()));
        Self { health, stop, tasks }
    }

    pub async fn connected(&mut self) {
        let connected = self.health.until(|condition| condition.connected);
        tokio::time::timeout(LIMIT, connected).await.expect("it never connected").expect("it ended");
    }

    /// Waits for trouble and answers what is said about it.
    pub async fn trouble(&mut self, part: &str) -> String {
        let wanted = self.health.until(|now| now.reason.as_ref().is_some_and(|reason| reason.contains(part)));
        let found = tokio::time::timeout(LIMIT, wanted).await;
        found.unwrap_or_else(|_| panic!("never said: {part}; says {:?}", self.health.now())).unwrap().reason.unwrap()
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.tasks.join_next()).await;
        ended.expect("it did not stop").unwrap().unwrap();
    }
}

pub fn table<const N: usize>(entries: [(&str, &str); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    table
}
