//! What every kind of destination is configured with: retries, limits, TLS files; and their checks.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::delivery::RetryPolicy;
use crate::egress::{Limits, TlsFiles};
use crate::problem::{Problem, Problems};
use crate::secret::{SecretSource, SecretString};
use crate::time::{Backoff, Span};

/// `retry = { first = "2s", growth = 2.0, max = "1h", give_up_after = "3d" }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The first wait after a failed attempt.
    pub first: Span,
    /// What each further wait is multiplied with.
    pub growth: f64,
    /// The longest wait.
    pub max: Span,
    /// After so long of trying a delivery is dead; waits that the receiver asks for do not count.
    pub give_up_after: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Span::secs(2), growth: 2.0, max: Span::secs(3600), give_up_after: Span::secs(3 * 86_400) }
    }
}

/// What a destination is, whatever its kind.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) name: String,
    pub(super) policy: RetryPolicy,
    pub(super) concurrency: usize,
    pub(super) requests_per_second: Option<f64>,
    pub(super) warnings: Vec<Problem>,
}

/// Limits of a kind where the configuration names none.
pub(super) struct Defaults {
    pub(super) concurrency: u32,
    pub(super) requests_per_second: Option<f64>,
}

impl Common {
    /// Checked; every value that cannot be used is a problem at `place`.
    pub(super) fn check(
        name: &str,
        place: &str,
        retry: Retry,
        limits: Limits,
        defaults: &Defaults,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        if !(retry.growth.is_finite() && retry.growth >= 1.0) {
            problems.push(Problem::new(place, "`retry.growth` is below 1").hint("waits must not shrink; 2.0 is usual"));
        }
        if retry.first.0.is_zero() || retry.max < retry.first {
            problems.push(Problem::new(place, "`retry.first` is zero or longer than `retry.max`"));
        }
        if limits.concurrency == Some(0) {
            problems.push(Problem::new(place, "`limits.concurrency` is 0").hint("1 sends one after the other"));
        }
        if limits.requests_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            problems.push(Problem::new(place, "`limits.requests_per_second` is not above 0").hint("0.5 is one in 2 s"));
        }
        problems.into_result(Self {
            name: name.to_owned(),
            policy: RetryPolicy {
                backoff: Backoff { first: retry.first.0, growth: retry.growth, max: retry.max.0 },
                give_up_after: retry.give_up_after.0,
            },
            concurrency: limits.concurrency.unwrap_or(defaults.concurrency).max(1) as usize,
            requests_per_second: limits.requests_per_second.or(defaults.requests_per_second),
            warnings: Vec::new(),
        })
    }
}

/// The three keys of TLS as one value.
pub(super) fn tls_files(ca: Option<&PathBuf>, cert: Option<&PathBuf>, key: Option<&PathBuf>) -> TlsFiles {
    TlsFiles { ca_file: ca.cloned(), cert_file: cert.cloned(), key_file: key.cloned() }
}

/// A secret from its pair of keys, read once so that a wrong file name is known before anything starts.
pub(super) fn secret(
    place: &str,
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<(SecretSource, SecretString)>, Problems> {
    let Some(source) = SecretSource::from_pair(place, name, value, file)? else { return Ok(None) };
    match source.read() {
        Ok(now) => Ok(Some((source, now))),
        Err(error) => Err(Problem::new(place, format!("`{name}_file`: {error}")).into()),
    }
}
