//! The only outgoing HTTP client: limits on time and size, no redirects, address guard.
//!
//! No error of this room names a URL: it may be a credential.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problems;
use crate::time::Timestamp;

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

/// Which addresses may be called (SSRF guard). Public ones always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// Everything may be called.
    pub allow_private: bool,
    /// These ranges may be called too.
    pub allow_cidrs: Vec<IpNet>,
    /// Loopback may be called: the configuration names it itself.
    pub allow_loopback: bool,
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

/// A client of one destination or provider: its own connections, its own rules.
#[derive(Debug, Clone)]
pub struct Client {}

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
}

impl Client {
    /// Builds it; unreadable PEM files are problems at `place`.
    pub fn build(place: &str, options: &ClientOptions) -> Result<Self, Problems> {
        let _ = (place, options);
        todo!()
    }

    /// Sends one request and reads its answer.
    pub async fn send(&self, request: Request) -> Result<Answer, SendError> {
        let _ = request;
        todo!()
    }
}

impl Guard {
    /// Whether this address may be called.
    pub fn allows(&self, address: IpAddr) -> bool {
        let _ = address;
        todo!()
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds or an HTTP date; a bad value is none.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let _ = (headers, now);
    todo!()
}
