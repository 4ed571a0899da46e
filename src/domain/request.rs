//! A request: somebody asks to follow one scan.
//!
//! [`parse()`] turns the bytes that came by AMQP, HTTP or the command line into requests and refusals.
//! It is a pure function over hostile input: it neither panics nor recurses nor allocates without bound.

mod event;
mod fields;
mod json;
mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

pub use parse::parse;

/// The largest message that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most entries one array may have.
pub const MAX_ENTRIES: usize = 10_000;
/// The deepest JSON that is read: far more than any request needs.
pub const MAX_DEPTH: usize = 128;
/// The most labels one request may have.
pub const MAX_LABELS: usize = 64;
/// The longest name of a label, in bytes.
pub const MAX_LABEL_NAME: usize = 256;
/// The longest value of a label, in bytes.
pub const MAX_LABEL_VALUE: usize = 4096;
/// The most destinations one request may name.
pub const MAX_DESTINATIONS: usize = 256;
/// The longest idempotency key, in bytes.
pub const MAX_KEY: usize = 1024;

/// One request as it was asked, not yet checked against the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// The provider's ID of the scan; never empty.
    pub scan_id: String,
    /// The name of a configured provider.
    pub provider: Option<String>,
    /// Names of destinations; replaces routing.
    pub destinations: Option<Vec<String>>,
    /// Seen by routes and templates.
    pub labels: BTreeMap<String, String>,
    /// How long to follow, counted from acceptance.
    pub deadline: Option<Duration>,
    /// Announce again even if inside the dedupe window.
    pub force: bool,
    /// The caller's idempotency key.
    pub id: Option<String>,
}

/// Why something was not accepted: the closed set of `x-scanbell-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// Looks like JSON and is not, is nested too deep, or is not text at all.
    NotJson,
    /// No `scan_id`, or an empty one.
    MissingScanId,
    /// The profile does not allow this ID.
    InvalidScanId,
    /// No such provider is configured, or none was named and there is no default.
    UnknownProvider,
    /// No such destination is configured.
    UnknownDestination,
    /// More than [`MAX_BYTES`] or [`MAX_ENTRIES`].
    TooLarge,
    /// A field has the wrong type or a value that cannot be read.
    InvalidField,
}

impl RefusalReason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::MissingScanId => "missing-scan-id",
            Self::InvalidScanId => "invalid-scan-id",
            Self::UnknownProvider => "unknown-provider",
            Self::UnknownDestination => "unknown-destination",
            Self::TooLarge => "too-large",
            Self::InvalidField => "invalid-field",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the reason as a word and as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {error}")]
pub struct Refusal {
    /// The word.
    pub reason: RefusalReason,
    /// The sentence: which field, what was wrong. Quotes at most a few characters of the input.
    pub error: String,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(reason: RefusalReason, error: impl Into<String>) -> Self {
        Self { reason, error: error.into() }
    }
}

/// What came around the body.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// `content-type`, parameters and case as they came.
    pub content_type: Option<String>,
    /// Text headers that may carry binary-mode `CloudEvents` attributes, names as they came
    /// (`cloudEvents_id`, `cloudEvents:id`, `ce-id`). Others do no harm.
    pub headers: BTreeMap<String, String>,
    /// Serves as idempotency key where the request has no `id` (AMQP `message_id`).
    pub message_id: Option<String>,
}

/// One entry of a message: itself where the message is not an array.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The bytes of this entry, unchanged: what goes to the dead-letter queue when it is refused.
    pub bytes: Bytes,
    /// The request, or why there is none.
    pub request: Result<Request, Refusal>,
    /// What the envelope offers as idempotency key where the request has no `id`: the message's ID, else source
    /// and ID of the `CloudEvents` event; in an array with `#` and the entry's index.
    pub envelope_key: Option<String>,
}
