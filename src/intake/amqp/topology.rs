//! The two queues: declared, or found to be there.

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::connect;
use super::error::{self, AmqpError};
use super::settings::Settings;

/// Declares both queues, or looks for them where `declare = false`.
///
/// The queue gets the dead-letter queue as its dead-letter target too: a quorum queue that has none drops a message
/// in silence once it was delivered too often (`RabbitMQ` 4: 20 times, lost connections count).
pub(super) async fn ensure(connection: &Connection, settings: &Settings) -> Result<(), AmqpError> {
    let dead = settings.dead_letter_queue();
    if settings.declare {
        declare(connection, settings, &dead, dead_letter_arguments(settings)).await?;
        declare(connection, settings, &settings.queue, arguments(settings)).await
    } else {
        find(connection, &dead).await?;
        find(connection, &settings.queue).await.map(|_| ())
    }
}

/// A queue that must be there: how many messages wait in it.
pub(super) async fn find(connection: &Connection, queue: &str) -> Result<u32, AmqpError> {
    look(connection, queue).await?.ok_or_else(|| {
        AmqpError::settings(format!(
            "queue `{queue}` does not exist; create it, or let scanbell do it with `declare = true`"
        ))
    })
}

/// Whether a queue is there, and how many messages wait in it.
pub(super) async fn look(connection: &Connection, queue: &str) -> Result<Option<u32>, AmqpError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match connect::declare(connection, queue, options, FieldTable::default()).await? {
        Ok(queue) => Ok(Some(queue.message_count())),
        Err(error) if error::not_found(&error) => Ok(None),
        Err(error) => Err(AmqpError::during(&format!("look for queue `{queue}`"), &error)),
    }
}

type Arguments = Vec<(&'static str, String)>;

fn dead_letter_arguments(settings: &Settings) -> Arguments {
    vec![("x-queue-type", settings.queue_type.as_str().to_owned())]
}

fn arguments(settings: &Settings) -> Arguments {
    let mut arguments = dead_letter_arguments(settings);
    arguments.push(("x-dead-letter-exchange", String::new()));
    arguments.push(("x-dead-letter-routing-key", settings.dead_letter_queue()));
    arguments
}

async fn declare(
    connection: &Connection,
    settings: &Settings,
    queue: &str,
    arguments: Arguments,
) -> Result<(), AmqpError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut table = FieldTable::default();
    for (name, value) in &arguments {
        table.insert((*name).into(), AMQPValue::LongString(value.clone().into()));
    }
    match connect::declare(connection, queue, options, table).await? {
        Ok(_) => Ok(()),
        Err(error) => Err(match error::precondition_failed(&error) {
            Some(broker) => AmqpError::settings(unequal(settings, queue, &arguments, &broker)),
            None => AmqpError::during(&format!("declare queue `{queue}`"), &error),
        }),
    }
}

/// Names both sides and the ways out.
fn unequal(settings: &Settings, queue: &str, arguments: &Arguments, broker: &str) -> String {
    let ours: Vec<String> = arguments.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let other = match settings.queue_type {
        super::QueueType::Quorum => "classic",
        super::QueueType::Classic => "quorum",
    };
    format!(
        "queue `{queue}` exists with other arguments. scanbell declares it with durable=true, {}; the broker says: \
         {broker}. Set `declare = false` to use the queue as it is, or `queue_type = \"{other}\"` if that is the \
         difference, or name another `{}`, or delete the queue",
        ours.join(", "),
        if queue == settings.queue { "queue" } else { "dead_letter_queue" },
    )
}
