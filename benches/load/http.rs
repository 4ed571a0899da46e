//! Asking the simulator and the daemon how far they are.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use scanbell::egress::{Client, ClientOptions, Request, TlsFiles};
use serde_json::Value;

use super::Failed;

/// A client of this process.
#[derive(Clone)]
pub struct Http(Client);

impl Http {
    /// With room for the lists of a hundred thousand scans.
    pub fn new() -> Result<Self, Failed> {
        let seconds = Duration::from_secs;
        let tls = TlsFiles::default();
        let options = ClientOptions { connect_timeout: seconds(2), total_timeout: seconds(30), guard: None, tls };
        Ok(Self(Client::build("load", &options)?))
    }

    /// The body of an answer, as text.
    pub async fn text(&self, method: Method, url: &str, body: &str) -> Result<String, Failed> {
        let request = Request {
            method,
            url: url.parse()?,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            max_body: 512 * 1024 * 1024,
        };
        let answer = self.0.send(request).await?;
        if answer.status >= 400 {
            return Err(format!("{} at {url}", answer.status).into());
        }
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The JSON of an answer.
    pub async fn get(&self, url: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.text(Method::GET, url, "").await?)?)
    }

    /// Waits until somebody answers there; how long that took.
    pub async fn answers(&self, url: &str) -> Result<Duration, Failed> {
        let started = Instant::now();
        while self.text(Method::GET, url, "").await.is_err() {
            if started.elapsed() > Duration::from_secs(60) {
                return Err(format!("nobody answers at {url}").into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(started.elapsed())
    }
}

/// An address that nobody listens on now.
pub fn free_address() -> Result<String, Failed> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
