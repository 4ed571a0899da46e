//! A provider: a configured scan API. Carries out one poll as its profile says, and knows nothing of stores or queues.
//!
//! [`Provider::poll`] never fails: whatever comes back, or does not, is an [`Observation`].

mod body;
mod build;
mod extract;
mod key;
mod look;
mod poll;
mod probe;
pub mod profile;
mod rule;
mod settings;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use crate::domain::report::Extract;
use crate::domain::scan::{Observation, Pace};
use crate::egress::Client;
pub use extract::cut;
use key::Key;
pub use profile::{Profile, Profiles};
pub use settings::{PollSettings, Settings};

/// Unknown status words that are remembered as already logged.
const MOST_WORDS: usize = 100;

/// One configured scan API, ready to be polled. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Provider {
    name: String,
    profile: Profile,
    base: Url,
    client: Client,
    key: Option<Key>,
    pace: Pace,
    concurrency: usize,
    requests_per_second: Option<f64>,
    warnings: Vec<String>,
    unknown_words: Mutex<BTreeSet<String>>,
}

/// What one poll saw.
#[derive(Debug)]
pub struct Seen {
    /// What it means for the scan.
    pub observation: Observation,
    /// What the body said, where one could be read; of an unfinished scan too.
    pub extract: Option<Extract>,
    /// The provider's status word.
    pub status: Option<String>,
    /// What happened, for logs and for the report of a scan that timed out. No URL, no secret, no body.
    pub detail: String,
    /// The provider asked us to slow down: 429, or 503 with `Retry-After`.
    pub throttled: bool,
    /// How many HTTP requests it took.
    pub requests: u32,
}

impl Provider {
    /// Its configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its profile.
    pub fn profile(&self) -> &str {
        &self.profile.name
    }

    /// Whether an ID may be asked for; the error is one sentence.
    pub fn check_id(&self, scan_id: &str) -> Result<(), String> {
        self.profile.id.check(scan_id)
    }

    /// How often and how long to ask.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// How many polls at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How many requests each second, if that is limited.
    pub fn requests_per_second(&self) -> Option<f64> {
        self.requests_per_second
    }

    /// A poll takes no longer than this.
    pub fn longest_poll(&self) -> Duration {
        let steps = if self.profile.result.is_some() { 2 } else { 1 };
        // Each may be repeated once with a key that was just replaced.
        self.profile.total_timeout * steps * 2
    }

    /// What is not wrong but should be known; one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where a person reads more about a scan.
    pub fn link(&self, scan_id: &str) -> Option<String> {
        Some(self.profile.human_link.as_ref()?.replace("{id}", &poll::encoded(scan_id)))
    }

    /// Reads the key again; the error names the file.
    pub fn reload_secret(&self) -> Result<(), String> {
        self.key.as_ref().map_or(Ok(()), Key::reload)
    }

    /// Says once for each status word that no rule knows that it is taken for "not finished yet".
    fn note_unknown(&self, word: &str) {
        let mut words = self.unknown_words.lock().unwrap_or_else(PoisonError::into_inner);
        let word = cut(word, 60);
        if words.len() < MOST_WORDS && words.insert(word.clone()) {
            tracing::warn!(provider.name = %self.name, status = ?word, "unknown status word: taken for not finished yet");
        }
    }
}

#[cfg(test)]
mod tests;
