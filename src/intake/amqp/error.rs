//! What can go wrong with a broker, in a sentence without a credential.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::egress::tls_trouble;

/// Why something with the broker did not work.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{sentence}")]
pub struct AmqpError {
    sentence: String,
    needs_person: bool,
}

impl AmqpError {
    /// It is away, slow or broken: trying again may help.
    pub(super) fn away(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), needs_person: false }
    }

    /// Trying again helps only after somebody mended something.
    pub(super) fn settings(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), needs_person: true }
    }

    /// Whether somebody must mend something.
    pub fn needs_person(&self) -> bool {
        self.needs_person
    }

    /// The client's error while doing `what` ("connect to the broker").
    pub(super) fn during(what: &str, error: &lapin::Error) -> Self {
        let sentence = format!("cannot {what}: {}", words(error));
        Self { sentence, needs_person: needs_person(error) }
    }

    /// The same on a connection that is encrypted. A broker that wants another certificate of ours hangs up after our
    /// side of the handshake, and what it says about it may be lost with that.
    pub(super) fn during_tls(what: &str, error: &lapin::Error) -> Self {
        let plain = Self::during(what, error);
        if plain.needs_person || !hung_up(error) {
            return plain;
        }
        Self::settings(format!(
            "{}; perhaps it wants a client certificate: see `cert_file` and `key_file`",
            plain.sentence
        ))
    }

    /// No answer in time.
    pub(super) fn timeout(what: &str) -> Self {
        Self::away(format!("cannot {what}: no answer in time"))
    }
}

/// Refused user, unknown virtual host, missing or unequal queue, TLS: these do not pass by themselves.
fn needs_person(error: &lapin::Error) -> bool {
    if let ErrorKind::IOError(error) = error.kind() {
        return tls_trouble(error.as_ref()).is_some();
    }
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::NOTFOUND | AMQPSoftError::PRECONDITIONFAILED)
            | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    )
}

fn hung_up(error: &lapin::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ErrorKind::IOError(error) = error.kind() else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => tls_trouble(error.as_ref()).unwrap_or_else(|| error.to_string()),
        _ => error.to_string(),
    }
}

/// What the broker says about a queue that is not as we declare it.
pub(super) fn precondition_failed(error: &lapin::Error) -> Option<String> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
        .then(|| error.get_message().to_string())
}

/// Whether the broker says that it is not there.
pub(super) fn not_found(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
