//! Why there is no answer: from the chain of errors of the HTTP client to one word and one sentence.

use std::error::Error;

use reqwest::header::HeaderMap;

use super::guard::Blocked;
use super::handshake::{causes, find, tls_trouble};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Not sent: DNS, refused, unreachable, or no connection in time.
    Connect,
    /// Not sent: TLS failed.
    Tls,
    /// Sent perhaps; no whole answer in time.
    Timeout,
    /// Sent perhaps; the connection ended before the whole answer.
    Interrupted,
    /// Not sent: the guard refuses the address.
    BlockedAddress,
    /// Sent; what came is not HTTP.
    BadAnswer,
}

/// Why there is no answer, in a sentence without URL and secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// The kind.
    pub failure: Failure,
    /// The sentence.
    pub detail: String,
    /// The head of the answer, where it had come and only the body did not arrive whole.
    pub head: Option<Box<Head>>,
}

/// Status and headers of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
}

impl SendError {
    /// Nothing came.
    pub fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into(), head: None }
    }

    /// Sorts an error of the HTTP client.
    pub(super) fn sort(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let causes = causes(&error);
        if let Some(blocked) = find::<Blocked>(&causes) {
            return Self::new(Failure::BlockedAddress, blocked.to_string());
        }
        if let Some(trouble) = tls_trouble(&error) {
            return Self::new(Failure::Tls, trouble);
        }
        let deepest = causes.last().map(ToString::to_string).unwrap_or_default();
        let (failure, what) = if error.is_connect() {
            (Failure::Connect, "no connection")
        } else if error.is_timeout() {
            (Failure::Timeout, "no whole answer in time")
        } else if error.is_builder() {
            (Failure::Connect, "the request cannot be sent")
        } else if is_nonsense(&error, &causes) {
            (Failure::BadAnswer, "the answer is not HTTP")
        } else {
            (Failure::Interrupted, "the connection ended before the whole answer")
        };
        Self::new(failure, format!("{what}: {deepest}"))
    }
}

/// Not HTTP, or not the compression it says it is; a body that merely ends early is neither.
fn is_nonsense(error: &reqwest::Error, causes: &[&(dyn Error + 'static)]) -> bool {
    if let Some(error) = find::<hyper::Error>(causes) {
        return error.is_parse();
    }
    let early = |error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof;
    error.is_decode() && !find::<std::io::Error>(causes).is_some_and(early)
}
