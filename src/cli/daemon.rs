//! Talks to the running daemon over HTTP; where none runs, looks into the embedded store itself.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::failure::Failure;
use crate::config::Config;
use crate::egress::{Client, ClientOptions, Failure as Unsent, Request, TlsFiles};
use crate::problem::Problem;
use crate::secret::redact_url;

/// The largest answer that is read: a page of 500 reports is far smaller.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A daemon that may or may not be running.
pub struct Daemon {
    base: Url,
    client: Client,
    headers: HeaderMap,
}

/// What the daemon answered.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body; `null` if it is not JSON.
    pub body: Value,
}

impl Daemon {
    /// At `url`, or where the configuration says that it listens; with the configuration's token.
    pub fn new(config: &Config, url: Option<&str>) -> Result<Self, Failure> {
        let text = match url {
            Some(url) => url.to_owned(),
            None => format!("http://{}", reachable(config.server.listen.0)),
        };
        let base = base_url(&text)?;
        let options = ClientOptions {
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(60),
            guard: None,
            tls: TlsFiles::default(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = config.server.token("[server]")? {
            let token = token.read().map_err(|error| Failure::Unreachable(error.to_string()))?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                Failure::Unreachable("server.token has characters that a header cannot carry".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { base, client: Client::build("--url", &options)?, headers })
    }

    /// Asks; `Ok(None)` if nobody listens there.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Option<Reply>, Failure> {
        // Not `join`: a daemon behind a proxy may live below a path.
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| Failure::Bug(error.to_string()))?;
        let request = Request { method, url, headers: self.headers.clone(), body, max_body: MAX_BODY };
        match self.client.send(request).await {
            Ok(answer) => Ok(Some(Reply {
                status: answer.status,
                body: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
            })),
            Err(error) if error.failure == Unsent::Connect => Ok(None),
            Err(error) => Err(Failure::Unreachable(format!("{}: {error}", self.place()))),
        }
    }

    /// Where it should be, for messages.
    pub fn place(&self) -> String {
        redact_url(self.base.as_str())
    }

    /// Nobody listens there, and that was needed.
    pub fn not_running(&self) -> Failure {
        Failure::Unreachable(format!(
            "no daemon answers at {}: start one with `scanbell run`, or say where it is with --url",
            self.place()
        ))
    }
}

impl Reply {
    /// The body of a good answer; a problem becomes the failure that fits it.
    pub fn good(self) -> Result<Value, Failure> {
        match self.status {
            200..=299 => Ok(self.body),
            401 => Err(Failure::Unreachable(
                "the daemon wants another token: see server.token in the configuration".to_owned(),
            )),
            400 => Err(Problem::new("the daemon", self.detail()).into()),
            500.. => Err(Failure::Unreachable(self.detail())),
            _ => Err(Failure::No(self.detail())),
        }
    }

    /// The sentence of a problem.
    pub fn detail(&self) -> String {
        match self.body.get("detail").and_then(Value::as_str) {
            Some(detail) => super::print::clean(detail),
            None => format!("the daemon answered {}", self.status),
        }
    }
}

/// The daemon's address as a person gave it.
fn base_url(text: &str) -> Result<Url, Problem> {
    let wrong = |why: &str| Problem::new("--url", why).hint("write it like http://127.0.0.1:8642");
    let url = Url::parse(text).map_err(|error| wrong(&format!("this is not a URL: {error}")))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(wrong("it must begin with http:// or https://"))
    }
}

/// An address that listens everywhere is reached on loopback.
fn reachable(listen: std::net::SocketAddr) -> std::net::SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        let loopback = if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}
