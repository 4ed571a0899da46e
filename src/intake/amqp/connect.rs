//! Connections to the broker. Nothing here waits without a limit.

use std::future::Future;
use std::time::Duration;

use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

use super::error::AmqpError;
use super::settings::Settings;
use super::wire;

/// A connect with its handshake; the client itself bounds only the TCP part.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Any one call to the broker.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(15);
/// A polite goodbye; without one the broker notices by itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

const CONNECT: &str = "connect to the broker";

/// Awaits a call to the broker, but not for ever.
pub(super) async fn call<T>(what: &str, call: impl Future<Output = lapin::Result<T>>) -> Result<T, AmqpError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(result) => result.map_err(|error| AmqpError::during(what, &error)),
        Err(_) => Err(AmqpError::timeout(what)),
    }
}

/// Opens a connection; `role` is what the broker's own tools show it as.
pub(super) async fn connect(settings: &Settings, role: &str) -> Result<Connection, AmqpError> {
    let uri = settings.uri()?;
    let tls = settings.tls(&uri)?;
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("scanbell {role}").into())
        .with_client_property("product".into(), "scanbell".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let encrypted = tls.is_some();
    match tokio::time::timeout(CONNECT_LIMIT, wire::open(uri, properties, tls)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if encrypted => Err(AmqpError::during_tls(CONNECT, &error)),
        Ok(Err(error)) => Err(AmqpError::during(CONNECT, &error)),
        Err(_) => Err(AmqpError::timeout(CONNECT)),
    }
}

/// Opens a channel.
pub(super) async fn channel(connection: &Connection) -> Result<Channel, AmqpError> {
    call("open a channel", connection.create_channel()).await
}

/// Opens a channel on which every message published is confirmed.
pub(super) async fn confirming_channel(connection: &Connection) -> Result<Channel, AmqpError> {
    let channel = channel(connection).await?;
    call("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// Declares a queue on a channel of its own: a refusal closes the channel it came on.
pub(super) async fn declare(
    connection: &Connection,
    queue: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<Result<lapin::Queue, lapin::Error>, AmqpError> {
    let channel = channel(connection).await?;
    let declaring = channel.queue_declare(queue.into(), options, arguments);
    let answer = tokio::time::timeout(CALL_LIMIT, declaring)
        .await
        .map_err(|_| AmqpError::timeout(&format!("declare queue `{queue}`")))?;
    if answer.is_ok() {
        let _ = tokio::time::timeout(CLOSE_LIMIT, channel.close(200, "done".into())).await;
    }
    Ok(answer)
}

/// Says goodbye; a broker that does not answer is left.
pub(super) async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_LIMIT, connection.close(200, "goodbye".into())).await;
}

/// Closes a channel, so that what was delivered on it and not acknowledged is delivered again.
pub(super) async fn close_channel(channel: &Channel) {
    let _ = tokio::time::timeout(CLOSE_LIMIT, channel.close(200, "goodbye".into())).await;
}
