//! The only outgoing HTTP client: limits on time and size, no redirects, address guard.
//!
//! No error of this room names a URL: it may be a credential. Mail borrows [`tls_config`] for its own wire,
//! so that private CAs and a machine without certificates behave the same everywhere.

mod client;
mod failure;
mod guard;
mod handshake;
mod probe;
mod retry_after;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use client::Client;
pub use failure::{Failure, Head, SendError};
pub use guard::Guard;
pub use handshake::tls_trouble;
pub use retry_after::{parse_retry_after, retry_after};
pub use tls::{TlsSetup, install_tls, tls_config};

/// `limits = { concurrency = 8, requests_per_second = 50 }`: what one destination or provider may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How many at once.
    pub concurrency: Option<u32>,
    /// How many each second, on average; fractions are allowed (0.5 is one every two seconds).
    pub requests_per_second: Option<f64>,
}

/// Private CA and client certificate: PEM files, read when the client is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate chain.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// How to build a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Until the connection stands.
    pub connect_timeout: Duration,
    /// Until the answer is read to its end.
    pub total_timeout: Duration,
    /// `None`: every address may be called.
    pub guard: Option<Guard>,
    /// Private CA, client certificate.
    pub tls: TlsFiles,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: reqwest::Method,
    /// Where.
    pub url: url::Url,
    /// Secret values are marked sensitive.
    pub headers: HeaderMap,
    /// Empty for none.
    pub body: Bytes,
    /// The answer's body is read up to here, in bytes after decompression.
    pub max_body: usize,
}

/// An answer, of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most `max_body` bytes.
    pub body: Bytes,
    /// The body was longer than `max_body` and was cut.
    pub cut: bool,
}

#[cfg(test)]
mod tests;
