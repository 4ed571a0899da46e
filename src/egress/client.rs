//! The client itself: one request out, one bounded answer in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::redirect;
use rustls::ClientConfig;

use super::guard::{GuardedResolver, Names};
use super::{Answer, ClientOptions, Failure, Head, Request, SendError, TlsSetup, tls_config};
use crate::problem::{Problem, Problems};

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("scanbell/", env!("CARGO_PKG_VERSION"));
/// Idle connections are closed before most servers and balancers close them on us (60 s and up), and soon after a
/// burst: each is a file descriptor that others may need.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// Finds connections that a firewall forgot.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client of one destination or provider: its own connections, its own rules.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    pub(super) resolver: GuardedResolver,
    pub(super) tls: TlsSetup,
    pub(super) connect_timeout: Duration,
}

impl Client {
    /// Builds it; unreadable PEM files are problems at `place`.
    pub fn build(place: &str, options: &ClientOptions) -> Result<Self, Problems> {
        Self::with_names(place, options, Names::System)
    }

    /// The same, told by whom names are known.
    #[expect(clippy::disallowed_methods, reason = "this is the room that owns outgoing HTTP")]
    pub(super) fn with_names(place: &str, options: &ClientOptions, names: Names) -> Result<Self, Problems> {
        let resolver = GuardedResolver { guard: options.guard.clone(), names };
        let setup = tls_config(place, &options.tls)?;
        let mut tls = ClientConfig::clone(&setup.config);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy() // a proxy would resolve names behind the guard's back
            .referer(false)
            .retry(reqwest::retry::never()) // retries are durable and counted, never silent
            .connect_timeout(options.connect_timeout)
            .timeout(options.total_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(KEEPALIVE)
            .dns_resolver(resolver.clone())
            .build()
            .map_err(|error| Problem::new(place, format!("no HTTP client can be made: {}", error.without_url())))?;
        Ok(Self { inner, resolver, tls: setup, connect_timeout: options.connect_timeout })
    }

    /// Sends one request and reads its answer.
    pub async fn send(&self, request: Request) -> Result<Answer, SendError> {
        self.check(&request.url)?;
        let Request { method, url, headers, body, max_body } = request;
        let mut out = if url.username().is_empty() && url.password().is_none() {
            reqwest::Request::new(method, url)
        } else {
            // Only the builder takes them out of the URL and sends them as `Authorization` (RFC 7617).
            self.inner.request(method, url).build().map_err(SendError::sort)?
        };
        out.headers_mut().extend(headers);
        if !body.is_empty() {
            *out.body_mut() = Some(body.into());
        }
        let mut answer = self.inner.execute(out).await.map_err(SendError::sort)?;
        let head = Head { status: answer.status().as_u16(), headers: std::mem::take(answer.headers_mut()) };
        match read(answer, max_body).await {
            Ok((body, cut)) => Ok(Answer { status: head.status, headers: head.headers, body, cut }),
            Err(error) => Err(SendError { head: Some(Box::new(head)), ..SendError::sort(error) }),
        }
    }

    /// What can be refused before anything is sent.
    pub(super) fn check(&self, url: &url::Url) -> Result<(), SendError> {
        if let Some(guard) = &self.resolver.guard {
            guard
                .check_host(url.host().as_ref())
                .map_err(|blocked| SendError::new(Failure::BlockedAddress, blocked.to_string()))?;
        }
        match url.scheme() {
            "https" if self.tls.no_roots => Err(SendError::new(Failure::Tls, TlsSetup::NO_ROOTS)),
            "http" | "https" => Ok(()),
            _ => Err(SendError::new(Failure::Connect, "only http:// and https:// can be called")),
        }
    }
}

/// Reads at most `max_body` bytes and lets go of the rest; true if there was more.
async fn read(mut answer: reqwest::Response, max_body: usize) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = max_body - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]); // room < chunk.len()
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}
