//! The settings of one provider: `[providers.NAME]`, every key optional.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::egress::Limits;
use crate::secret::SecretString;
use crate::time::Span;

/// `[providers.NAME]`. What is left out comes from the profile, then from what is built in.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Provider")]
pub struct Settings {
    /// Name of the profile; the table's own name if left out.
    pub profile: Option<String>,
    /// Where the API is; the profile's if left out.
    pub base_url: Option<String>,
    /// The key. Better in a file.
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretString>,
    /// File that holds the key; read again when the key is refused.
    pub api_key_file: Option<PathBuf>,
    /// How often and how long to ask.
    pub poll: PollSettings,
    /// How much at once and each second.
    pub limits: Limits,
    /// PEM file with certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with a client certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file with its key.
    pub key_file: Option<PathBuf>,
}

/// `poll = { first = "1200ms", growth = 1.1, max = "30s", deadline = "30m", not_found_grace = "1m" }`.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Poll")]
pub struct PollSettings {
    /// The wait after the first poll, which is made at once.
    pub first: Option<Span>,
    /// What each further wait is multiplied with.
    pub growth: Option<f64>,
    /// The longest wait.
    pub max: Option<Span>,
    /// How long to follow a scan, counted from acceptance.
    pub deadline: Option<Span>,
    /// How long "not found" is taken for "not there yet".
    pub not_found_grace: Option<Span>,
}
