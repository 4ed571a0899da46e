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
/// in silence once it was delivered too often (`RabbitMQ` 4: 20 times, lost connections count). Somebody else's queue
/// that differs in nothing but that is used all the same, with a warning: a policy can mend it.
pub(super) async fn ensure(connection: &Connection, settings: &Settings) -> Result<(), AmqpError> {
    let dead = settings.dead_letter_queue();
    if settings.declare {
        declare_one_of(connection, settings, &dead, kinds(settings)).await?;
        let choices = [vec![arguments(settings)], kinds(settings)].concat();
        let ours = declare_one_of(connection, settings, &settings.queue, choices).await?;
        if !ours {
            tracing::warn!(
                queue = settings.queue,
                "the queue was declared without a dead-letter target: a quorum queue may drop a message that was \
                 delivered too often; set a policy with dead-letter-exchange and dead-letter-routing-key={dead}"
            );
        }
        Ok(())
    } else {
        find(connection, &dead).await?;
        find(connection, &settings.queue).await.map(|_| ())
    }
}

/// A queue that must be there: how many messages wait in it.
pub(super) async fn find(connection: &Connection, queue: &str) -> Result<u32, AmqpError> {
    found(look(connection, queue).await?, queue)
}

fn found<T>(looked: Option<T>, queue: &str) -> Result<T, AmqpError> {
    looked.ok_or_else(|| {
        AmqpError::settings(format!(
            "queue `{queue}` does not exist; create it, or let scanbell do it with `declare = true`"
        ))
    })
}

/// How a queue stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Messages that no consumer has.
    pub(super) waiting: u32,
    /// Everybody who takes from it.
    pub(super) consumers: u32,
}

/// How a queue stands that must be there.
pub(super) async fn stand(connection: &Connection, queue: &str) -> Result<Standing, AmqpError> {
    found(inspect(connection, queue).await?, queue)
}

/// Whether a queue is there, and how many messages wait in it.
pub(super) async fn look(connection: &Connection, queue: &str) -> Result<Option<u32>, AmqpError> {
    Ok(inspect(connection, queue).await?.map(|standing| standing.waiting))
}

async fn inspect(connection: &Connection, queue: &str) -> Result<Option<Standing>, AmqpError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match connect::declare(connection, queue, options, FieldTable::default()).await? {
        Ok(queue) => Ok(Some(Standing { waiting: queue.message_count(), consumers: queue.consumer_count() })),
        Err(error) if error::not_found(&error) => Ok(None),
        Err(error) => Err(AmqpError::during(&format!("look for queue `{queue}`"), &error)),
    }
}

type Arguments = Vec<(&'static str, String)>;

fn kind(settings: &Settings) -> Arguments {
    vec![("x-queue-type", settings.queue_type.as_str().to_owned())]
}

/// The kind as it may have been declared: a classic queue is also what nothing was said of.
fn kinds(settings: &Settings) -> Vec<Arguments> {
    match settings.queue_type {
        super::QueueType::Quorum => vec![kind(settings)],
        super::QueueType::Classic => vec![kind(settings), Arguments::new()],
    }
}

fn arguments(settings: &Settings) -> Arguments {
    let mut arguments = kind(settings);
    arguments.push(("x-dead-letter-exchange", String::new()));
    arguments.push(("x-dead-letter-routing-key", settings.dead_letter_queue()));
    arguments
}

/// Declares a queue with the first arguments that it does not contradict; whether those were the first. An error
/// speaks of the first, which are the ones we want.
async fn declare_one_of(
    connection: &Connection,
    settings: &Settings,
    queue: &str,
    choices: Vec<Arguments>,
) -> Result<bool, AmqpError> {
    let mut first = None;
    for arguments in choices {
        match declare(connection, queue, &arguments).await? {
            None => return Ok(first.is_none()),
            Some(broker) => drop(first.get_or_insert((arguments, broker))),
        }
    }
    match first {
        Some((arguments, broker)) => Err(AmqpError::settings(unequal(settings, queue, &arguments, &broker))),
        None => Ok(true),
    }
}

/// `Some`: the queue is there with other arguments, in the broker's words.
async fn declare(connection: &Connection, queue: &str, arguments: &Arguments) -> Result<Option<String>, AmqpError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), AMQPValue::LongString(value.clone().into()));
    }
    match connect::declare(connection, queue, options, table).await? {
        Ok(_) => Ok(None),
        Err(error) => match error::precondition_failed(&error) {
            Some(broker) => Ok(Some(broker)),
            None => Err(AmqpError::during(&format!("declare queue `{queue}`"), &error)),
        },
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
