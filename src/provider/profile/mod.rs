//! A provider profile: a TOML file that describes a scan API. Read, checked and compiled once.
//!
//! Two are built in, a folder of the user's own stands beside them; a file there replaces a built-in profile of the
//! same name. Knows no configuration and makes no call.

mod id;
mod read;
mod read_report;
mod read_rule;
mod reader;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;
use url::Url;

use super::rule::{Condition, Pointer};
use crate::domain::report::{Severity, SubjectKind, Verdict};
use crate::egress::Limits;
use crate::problem::{Problem, Problems, did_you_mean};
pub use id::IdRule;
pub(super) use read::base_url;

/// Profiles that are compiled in: name and text.
const BUILT_IN: [(&str, &str); 2] = [
    ("enkrypt", include_str!("../../../config/profiles/enkrypt.toml")),
    ("sieve", include_str!("../../../config/profiles/sieve.toml")),
];

/// A profile file larger than this is a mistake.
const LARGEST: u64 = 256 * 1024;

/// What a profile says, compiled.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The file's name without `.toml`.
    pub name: String,
    /// Where the API is, unless the configuration says otherwise.
    pub base_url: Option<Url>,
    /// How the key is sent; `None`: this API needs none.
    pub auth: Option<Auth>,
    /// Headers of every request; values may contain `{id}`.
    pub headers: Vec<(HeaderName, String)>,
    /// Which IDs there can be.
    pub id: IdRule,
    /// An ID to ask for when only the connection and the key are tried.
    pub probe_id: Option<String>,
    /// Where the answer repeats the ID.
    pub echo_id: Option<Pointer>,
    /// Where the status word is.
    pub status: Option<Pointer>,
    /// The request of every poll.
    pub request: Step,
    /// A second one, once the first says that the scan is ready.
    pub result: Option<ResultStep>,
    /// What HTTP statuses mean where no rule names them.
    pub http: HttpMap,
    /// How the report is read out of the body.
    pub reading: Reading,
    /// Where a person reads more; contains `{id}`.
    pub human_link: Option<String>,
    /// The pace, where it differs from the built-in one.
    pub poll: PaceDefaults,
    /// What the API takes at once and each second.
    pub limits: Limits,
    /// The largest body that is read, in bytes.
    pub max_body: usize,
    /// Until the connection stands.
    pub connect_timeout: Duration,
    /// Until the answer is read to its end.
    pub total_timeout: Duration,
}

/// `header: value`, where `{secret}` in the value is the key.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The header's name.
    pub header: HeaderName,
    /// Its value with `{secret}`: `{secret}`, `Bearer {secret}`, `Token {secret}`.
    pub value: String,
}

/// One request and how its answer is judged.
#[derive(Debug, Clone)]
pub struct Step {
    /// `GET` or `POST`.
    pub method: Method,
    /// Where, below the base URL.
    pub url: StepUrl,
    /// A body with `{id}`, and its media type.
    pub body: Option<(String, String)>,
    /// What the answer means: the first rule that holds decides; none is "not finished yet".
    pub ready: Vec<ReadyRule>,
}

/// Where a step's request goes.
#[derive(Debug, Clone)]
pub enum StepUrl {
    /// A path with `{id}`, always percent-encoded, below the base URL.
    Path(String),
    /// A URL that stands in the first answer; only of the base URL's origin.
    Captured(Pointer),
}

/// The second request.
#[derive(Debug, Clone)]
pub struct ResultStep {
    /// The request.
    pub step: Step,
    /// Make it also when the first request was answered with "not found".
    pub when_not_found: bool,
}

/// A rule of readiness.
#[derive(Debug, Clone)]
pub struct ReadyRule {
    /// When it holds.
    pub when: Condition,
    /// What it means.
    pub means: Means,
}

/// What an answer says about the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Finished, with a result.
    Ok,
    /// Finished without one.
    Failed,
    /// Not scanned, on principle.
    Unsupported,
    /// Not finished yet.
    Pending,
}

/// What HTTP statuses mean where no rule names them. 2xx that is not listed is read, everything else tried again.
#[derive(Debug, Clone)]
pub struct HttpMap {
    /// Not finished yet.
    pub pending: Vec<u16>,
    /// The key is refused.
    pub auth: Vec<u16>,
    /// Not known, perhaps not yet.
    pub not_found: Vec<u16>,
    /// Not known any more.
    pub gone: Vec<u16>,
}

/// How a report is read out of a body. Pointers in a list: the first that finds a usable value wins.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The first rule that holds decides; none is `unknown`.
    pub verdict: Vec<(Condition, Verdict)>,
    /// Where the severity word is.
    pub severity: Vec<Pointer>,
    /// Words of this API beside the contract's own, in lower case.
    pub severity_words: BTreeMap<String, Severity>,
    /// A number.
    pub score: Vec<Pointer>,
    /// A number.
    pub confidence: Vec<Pointer>,
    /// The first alternative whose condition holds.
    pub subject: Vec<SubjectReading>,
    /// Name of a count and where it is.
    pub counts: BTreeMap<String, Pointer>,
    /// Lists of strings, joined in this order.
    pub classes: Vec<Pointer>,
    /// A list of things found.
    pub findings: Option<FindingsReading>,
    /// The first non-empty string.
    pub error_text: Vec<Pointer>,
}

/// One way to read the subject.
#[derive(Debug, Clone)]
pub struct SubjectReading {
    /// When this way is meant; `None`: always.
    pub when: Option<Condition>,
    /// What kind of thing it is then.
    pub kind: SubjectKind,
    /// The first non-empty string.
    pub name: Vec<Pointer>,
    /// A string.
    pub sha256: Vec<Pointer>,
    /// A whole number of bytes.
    pub size: Vec<Pointer>,
    /// A string.
    pub media_type: Vec<Pointer>,
}

/// Where findings are, and the fields of one, relative to it.
#[derive(Debug, Clone)]
pub struct FindingsReading {
    /// The list.
    pub list: Pointer,
    /// A string.
    pub title: Vec<Pointer>,
    /// A severity word.
    pub severity: Vec<Pointer>,
    /// A string.
    pub location: Vec<Pointer>,
}

/// A profile's own pace; what it leaves out is built in.
#[derive(Debug, Clone, Copy, Default)]
pub struct PaceDefaults {
    /// The first wait.
    pub first: Option<Duration>,
    /// What each further wait is multiplied with.
    pub growth: Option<f64>,
    /// The longest wait.
    pub max: Option<Duration>,
    /// How long to follow.
    pub deadline: Option<Duration>,
    /// How long "not found" is taken for "not there yet".
    pub not_found_grace: Option<Duration>,
}

impl Profile {
    /// Reads and checks a profile; `file` is how problems name it.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Problems> {
        read::profile(name, file, text)
    }
}

/// Every profile there is, by name.
#[derive(Debug, Clone)]
pub struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    /// The built-in ones and those in `dir`; all problems of all files at once.
    pub fn load(dir: Option<&Path>) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut profiles = BTreeMap::new();
        let built_in =
            BUILT_IN.map(|(name, text)| (name.to_owned(), format!("built-in profile {name}"), text.to_owned()));
        let own = dir.map(|dir| files(dir, &mut problems)).unwrap_or_default();
        for (name, file, text) in built_in.into_iter().chain(own) {
            if let Some(profile) = problems.collect(Profile::parse(&name, &file, &text)) {
                profiles.insert(name, profile);
            }
        }
        problems.into_result(Self(profiles))
    }

    /// The profile of that name; the error says which there are.
    pub fn get(&self, name: &str) -> Result<&Profile, String> {
        self.0.get(name).ok_or_else(|| did_you_mean(name, self.names()))
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Name, shown path and text of every `*.toml` in `dir`, in the order of names.
fn files(dir: &Path, problems: &mut Problems) -> Vec<(String, String, String)> {
    let mut unreadable = |path: &Path, error: std::io::Error| {
        problems.push(Problem::new(path.display().to_string(), format!("cannot be read: {error}")));
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            unreadable(dir, error);
            return Vec::new();
        }
    };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match read_bounded(&path) {
            Ok(text) => files.push((name, path.display().to_string(), text)),
            Err(error) => unreadable(&path, error),
        }
    }
    files
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > LARGEST {
        return Err(std::io::Error::other("larger than 256 kB"));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
