//! The client itself: one request out, one bounded answer in.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::redirect;

use super::guard::GuardedResolver;
use super::{Answer, ClientOptions, Failure, Guard, Request, SendError, TlsSetup, tls_config};
use crate::problem::{Problem, Problems};

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("scanbell/", env!("CARGO_PKG_VERSION"));
/// Idle connections are closed before most servers and balancers close them on us (60 s and up).
const POOL_IDLE: Duration = Duration::from_secs(50);
/// Finds connections that a firewall forgot.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client of one destination or provider: its own connections, its own rules.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    guard: Option<Guard>,
    no_roots: bool,
}

impl Client {
    /// Builds it; unreadable PEM files are problems at `place`.
    #[expect(clippy::disallowed_methods, reason = "this is the room that owns outgoing HTTP")]
    pub fn build(place: &str, options: &ClientOptions) -> Result<Self, Problems> {
        let TlsSetup { config, no_roots } = tls_config(place, &options.tls)?;
        let mut tls = Arc::unwrap_or_clone(config);
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
            .dns_resolver(GuardedResolver { guard: options.guard.clone() })
            .build()
            .map_err(|error| Problem::new(place, format!("no HTTP client can be made: {}", error.without_url())))?;
        Ok(Self { inner, guard: options.guard.clone(), no_roots })
    }

    /// Sends one request and reads its answer.
    pub async fn send(&self, request: Request) -> Result<Answer, SendError> {
        self.check(&request.url)?;
        let mut out = self.inner.request(request.method, request.url).headers(request.headers);
        if !request.body.is_empty() {
            out = out.body(request.body);
        }
        let answer = out.send().await.map_err(SendError::sort)?;
        let status = answer.status().as_u16();
        read(answer, request.max_body).await.map_err(|error| SendError { status: Some(status), ..error })
    }

    /// What can be refused before anything is sent.
    fn check(&self, url: &url::Url) -> Result<(), SendError> {
        if let Some(guard) = &self.guard {
            guard
                .check_host(url.host().as_ref())
                .map_err(|blocked| SendError::new(Failure::BlockedAddress, blocked.to_string()))?;
        }
        match url.scheme() {
            "https" if self.no_roots => Err(SendError::new(Failure::Tls, TlsSetup::NO_ROOTS)),
            "http" | "https" => Ok(()),
            _ => Err(SendError::new(Failure::Connect, "only http:// and https:// can be called")),
        }
    }
}

/// Reads at most `max_body` bytes and lets go of the rest.
async fn read(mut answer: reqwest::Response, max_body: usize) -> Result<Answer, SendError> {
    let (status, headers) = (answer.status().as_u16(), std::mem::take(answer.headers_mut()));
    let mut body = BytesMut::new();
    let mut cut = false;
    while let Some(chunk) = answer.chunk().await.map_err(SendError::sort)? {
        let room = max_body - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]); // room < chunk.len()
            cut = true;
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: body.freeze(), cut })
}
