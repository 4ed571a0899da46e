//! A report: what a finished scan said, normalised (CONTRACT, section 4).
//!
//! What the provider did not say, or said in another type than documented, is `null`, `unknown` or empty: never a guess.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::scan::Outcome;
use crate::time::Timestamp;

/// Gives a closed set of words its `as_str`, `Display`, `FromStr` and `ALL`.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of the contract.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{word}` is not one of: {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

/// What the scan says of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing bad was found.
    Clean,
    /// Something that a person should look at.
    Suspicious,
    /// A threat.
    Threat,
    /// Not said.
    #[default]
    Unknown,
}

words!(Verdict { Clean = "clean", Suspicious = "suspicious", Threat = "threat", Unknown = "unknown" });

/// How bad it is. Ordered: `unknown < none < low < medium < high < critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not said; below `none`.
    #[default]
    Unknown,
    /// Said to be none.
    None,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

words!(Severity {
    Unknown = "unknown", None = "none", Low = "low", Medium = "medium", High = "high", Critical = "critical",
});

/// What kind of thing was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// A file.
    File,
    /// A source repository.
    Repository,
    /// A live server.
    Endpoint,
    /// Anything else, and where it is not said.
    #[default]
    Other,
}

words!(SubjectKind { File = "file", Repository = "repository", Endpoint = "endpoint", Other = "other" });

/// What was scanned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// File name, repository, or endpoint. Written by strangers.
    pub name: Option<String>,
    /// What kind of thing.
    pub kind: SubjectKind,
    /// SHA-256 of a file, hexadecimal.
    pub sha256: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// MIME type.
    pub media_type: Option<String>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// What.
    pub title: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub location: Option<String>,
}

/// What a finished scan said. Serialises to the JSON of the contract, field for field and in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Our id of the scan.
    pub id: Uuid,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's ID of the scan.
    pub scan_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The provider's own last status word.
    pub status: Option<String>,
    /// Clean, suspicious, threat or unknown.
    pub verdict: Verdict,
    /// How bad.
    pub severity: Severity,
    /// The provider's score, on its own scale.
    pub score: Option<f64>,
    /// How sure the provider is.
    pub confidence: Option<f64>,
    /// What was scanned.
    pub subject: Subject,
    /// Numbers by name: `issues`, `sensitive_data`.
    pub counts: BTreeMap<String, u64>,
    /// Classes of threat.
    pub classes: Vec<String>,
    /// What was found; bounded by the profile engine.
    pub findings: Vec<Finding>,
    /// Why it failed, in the provider's words or ours.
    pub error: Option<String>,
    /// Where a person reads more.
    pub link: Option<String>,
    /// From the requests.
    pub labels: BTreeMap<String, String>,
    /// When the first request was accepted.
    pub requested_at: Timestamp,
    /// When the scan was seen finished.
    pub finished_at: Timestamp,
    /// How many polls it took.
    pub polls: u32,
    /// The provider's body as received; `null` when there was none or it was too large.
    pub raw: Option<Box<RawValue>>,
    /// True when `raw` was dropped for its size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw_omitted: bool,
}

/// What a profile reads out of a body: the part of a [`Report`] that the provider says.
#[derive(Debug, Clone, Default)]
pub struct Extract {
    /// See [`Report::status`].
    pub status: Option<String>,
    /// See [`Report::verdict`].
    pub verdict: Verdict,
    /// See [`Report::severity`].
    pub severity: Severity,
    /// See [`Report::score`].
    pub score: Option<f64>,
    /// See [`Report::confidence`].
    pub confidence: Option<f64>,
    /// See [`Report::subject`].
    pub subject: Subject,
    /// See [`Report::counts`].
    pub counts: BTreeMap<String, u64>,
    /// See [`Report::classes`].
    pub classes: Vec<String>,
    /// See [`Report::findings`].
    pub findings: Vec<Finding>,
    /// See [`Report::error`].
    pub error: Option<String>,
    /// See [`Report::link`].
    pub link: Option<String>,
    /// See [`Report::raw`].
    pub raw: Option<Box<RawValue>>,
}

/// What we know of a finished scan that the provider does not say.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Our id of the scan.
    pub id: Uuid,
    /// The provider's configured name.
    pub provider: String,
    /// The provider's ID of the scan.
    pub scan_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When the first request was accepted.
    pub requested_at: Timestamp,
    /// When it was seen finished.
    pub finished_at: Timestamp,
    /// How many polls it took.
    pub polls: u32,
}

impl Report {
    /// Puts together what we know and what the provider said. Labels come from the store.
    ///
    /// `raw` above `raw_limit` bytes is dropped, and the report says so. Only a completed scan has a verdict.
    pub fn new(facts: Facts, said: Extract, raw_limit: u64) -> Self {
        let raw_omitted = said.raw.as_ref().is_some_and(|raw| raw.get().len() as u64 > raw_limit);
        let completed = facts.outcome == Outcome::Completed;
        Self {
            id: facts.id,
            provider: facts.provider,
            scan_id: facts.scan_id,
            outcome: facts.outcome,
            status: said.status,
            verdict: if completed { said.verdict } else { Verdict::Unknown },
            severity: said.severity,
            score: said.score,
            confidence: said.confidence,
            subject: said.subject,
            counts: said.counts,
            classes: said.classes,
            findings: said.findings,
            error: said.error,
            link: said.link,
            labels: BTreeMap::new(),
            requested_at: facts.requested_at,
            finished_at: facts.finished_at,
            polls: facts.polls,
            raw: said.raw.filter(|_| !raw_omitted),
            raw_omitted,
        }
    }

    /// A copy that leaves `raw` behind: `raw` can be large and few readers look at it.
    pub fn without_raw(&self) -> Self {
        Self {
            id: self.id,
            provider: self.provider.clone(),
            scan_id: self.scan_id.clone(),
            outcome: self.outcome,
            status: self.status.clone(),
            verdict: self.verdict,
            severity: self.severity,
            score: self.score,
            confidence: self.confidence,
            subject: self.subject.clone(),
            counts: self.counts.clone(),
            classes: self.classes.clone(),
            findings: self.findings.clone(),
            error: self.error.clone(),
            link: self.link.clone(),
            labels: self.labels.clone(),
            requested_at: self.requested_at,
            finished_at: self.finished_at,
            polls: self.polls,
            raw: None,
            raw_omitted: self.raw_omitted,
        }
    }
}
