//! A whole world in one process on loopback: both scan APIs, Slack, webhook receivers and a mail server.
//!
//! `scanbell simulate` and `scanbell demo` run it, the tests and the load run use the same code. It records who was
//! told what within bounds, answers as scripted (from code, or over `/_sim/…`), and misbehaves in every way that is
//! worth surviving. It knows nothing of how scanbell works: it is what scanbell meets.

mod blocks;
mod bodies;
mod configuration;
mod control;
pub mod demo;
mod destinations;
mod gzip;
mod inner;
mod ledger;
mod plug;
mod preset;
mod providers;
mod reply;
mod scans;
mod script;
mod smtp;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use configuration::{HOOK_SECRET, MAIL_TO, configuration, guide};
pub use ledger::{Arrival, Count, Envelope, Kind, Received, Record};
pub use preset::{Preset, State};
pub use scans::{Polls, Provider};
pub use script::{Answer, Body, Http, Script, Stage, Step};
pub use smtp::Tls;

use crate::time::Clock;
use inner::Inner;
use plug::{Plug, Socket};

/// The largest request, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;
/// What is in hand when the world ends may take so long; then its connections are cut.
const GRACE: Duration = Duration::from_secs(1);

/// How the world is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where HTTP listens; port 0 is any free one.
    pub api: SocketAddr,
    /// Where SMTP listens.
    pub smtp: SocketAddr,
    /// Encrypts SMTP.
    pub tls: Option<Tls>,
    /// The key that Sieve accepts at first.
    pub sieve_key: String,
    /// The key that Enkrypt accepts at first.
    pub enkrypt_key: String,
    /// The token that `chat.postMessage` accepts.
    pub slack_token: String,
    /// The user and password that SMTP wants; none: everybody may send, logged in or not.
    pub smtp_login: Option<(String, String)>,
    /// Hooks that check signatures, by name: any of its secrets will do.
    pub hook_secrets: BTreeMap<String, Vec<String>>,
    /// What is kept of arriving messages.
    pub record: Record,
    /// How long a scan takes from its first poll, where no script says otherwise.
    pub scans_take: Duration,
    /// Up to so much longer, spread by their IDs.
    pub spread: Duration,
    /// What scans without a script do; none: what the end of their ID says ([`Preset::of_id`]).
    pub usual: Option<Script>,
    /// How many scans without a script are remembered.
    pub most_scans: usize,
    /// Tells the time.
    pub clock: Clock,
}

impl Default for Options {
    /// Loopback, any ports, key `simulated` everywhere, the latest 10,000 messages.
    fn default() -> Self {
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            api: loopback,
            smtp: loopback,
            tls: None,
            sieve_key: "simulated".to_owned(),
            enkrypt_key: "simulated".to_owned(),
            slack_token: "simulated".to_owned(),
            smtp_login: None,
            hook_secrets: BTreeMap::from([("siem".to_owned(), vec![HOOK_SECRET.to_owned()])]),
            record: Record::All(10_000),
            scans_take: Duration::from_secs(1),
            spread: Duration::ZERO,
            usual: None,
            most_scans: 250_000,
            clock: Clock::real(),
        }
    }
}

/// What was waited for did not happen in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not within {waited:?}; {polls} polls and {received} messages came")]
pub struct NotInTime {
    /// How long.
    pub waited: Duration,
    /// Polls that came since the start.
    pub polls: u64,
    /// Messages that came since the start.
    pub received: u64,
}

/// The simulated world, running. Dropping it without [`World::stop`] ends it too, at once.
pub struct World {
    inner: Arc<Inner>,
    tasks: TaskTracker,
    cut: CancellationToken,
    api: SocketAddr,
    smtp: SocketAddr,
    implicit_tls: bool,
}

impl World {
    /// Starts all servers. An address that is taken or a certificate that cannot be read is an error.
    pub async fn start(options: Options) -> io::Result<Self> {
        let http = TcpListener::bind(options.api).await?;
        let mail = TcpListener::bind(options.smtp).await?;
        let (api, smtp) = (http.local_addr()?, mail.local_addr()?);
        let mail = smtp::Server::new(mail, options.tls.as_ref())?;
        let elsewhere = format!("http://localhost:{}/hooks/redirected", api.port());
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        let inner = Arc::new(Inner::new(&options, format!("http://{api}"), elsewhere, stopping));

        let tasks = TaskTracker::new();
        tasks.spawn(serve(Socket::new(http, cut.clone()), inner.clone()));
        tasks.spawn(mail.run(inner.clone(), tasks.clone()));
        let implicit_tls = options.tls.is_some_and(|tls| tls.implicit);
        Ok(Self { inner, tasks, cut, api, smtp, implicit_tls })
    }

    /// `http://127.0.0.1:41234`: Sieve at `/api`, Enkrypt at `/mcp-hub`, Slack at `/services/…` and `/slack/api`,
    /// webhooks at `/hooks/{name}`, control at `/_sim`.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// `smtp://127.0.0.1:41235`.
    pub fn smtp_url(&self) -> String {
        format!("{}://{}", if self.implicit_tls { "smtps" } else { "smtp" }, self.smtp)
    }

    /// Where HTTP listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Where SMTP listens.
    pub fn smtp_address(&self) -> SocketAddr {
        self.smtp
    }

    /// Gives a scan a script from its beginning; both endpoints of Enkrypt follow it. False: there are too many.
    pub fn script(&self, provider: Provider, scan_id: &str, script: Script) -> bool {
        self.inner.scans().script(provider, scan_id, script, self.inner.now())
    }

    /// Gives Enkrypt's `/results` of a scan a script of its own; a later [`World::script`] takes it away.
    pub fn script_results(&self, scan_id: &str, script: Script) -> bool {
        self.inner.scans().script_results(scan_id, script, self.inner.now())
    }

    /// A whole provider answers so, whatever the scan and the key, then normally again.
    pub fn script_provider(&self, provider: Provider, steps: impl IntoIterator<Item = Step>) {
        self.inner.set_provider(provider, Script::steps(steps).then_normal());
    }

    /// A destination answers so, then normally again. Its name is that of [`Received::name`]; for mail a recipient's
    /// address, or `smtp` for the whole server. False: there are too many.
    pub fn script_destination(&self, name: &str, steps: impl IntoIterator<Item = Step>) -> bool {
        self.inner.set_destination(name, Script::steps(steps).then_normal())
    }

    /// The keys that a provider accepts from now on.
    pub fn set_keys(&self, provider: Provider, accepted: impl IntoIterator<Item = String>) {
        let mut keys = self.inner.keys();
        match provider {
            Provider::Sieve => keys.sieve = accepted.into_iter().collect(),
            Provider::Enkrypt => keys.enkrypt = accepted.into_iter().collect(),
        }
    }

    /// What a wrong key is answered with from now on: 401, or 403.
    pub fn refuse_keys_with(&self, status: u16) {
        self.inner.keys().refuse_with = status;
    }

    /// The secrets that a hook's signatures are checked with from now on. False: there are too many.
    pub fn set_hook_secrets(&self, name: &str, secrets: impl IntoIterator<Item = String>) -> bool {
        self.inner.set_secrets(name, secrets.into_iter().collect())
    }

    /// The kept messages of a kind and a name, oldest first; none is any.
    pub fn received(&self, kind: impl Into<Option<Kind>>, name: Option<&str>) -> Vec<Received> {
        self.inner.ledger().received(kind.into(), name).cloned().collect()
    }

    /// How often something came to a destination; none if never.
    pub fn count(&self, kind: Kind, name: &str) -> Option<Count> {
        self.inner.ledger().counts().get(&(kind, name.to_owned())).copied()
    }

    /// When which notification arrived at a webhook, by its `webhook-id`; in no order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.inner.ledger().arrivals().cloned().collect()
    }

    /// How often one scan was polled; none if it is unknown.
    pub fn polls(&self, provider: Provider, scan_id: &str) -> Option<Polls> {
        self.inner.scans().polls_of(provider, scan_id)
    }

    /// All scans that were polled, in no order.
    pub fn all_polls(&self) -> Vec<Polls> {
        self.inner.scans().polls()
    }

    /// Forgets what was received.
    pub fn forget(&self) {
        self.inner.ledger().clear();
    }

    /// Waits until the world is as wanted; looks again after every poll and every message.
    pub async fn wait_for(&self, wanted: impl Fn(&Self) -> bool, at_most: Duration) -> Result<(), NotInTime> {
        let watching = async {
            loop {
                let changed = self.inner.changed.notified();
                tokio::pin!(changed);
                // Before looking, so that nothing between looking and waiting is missed.
                changed.as_mut().enable();
                if wanted(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(at_most, watching).await.map_err(|_| NotInTime {
            waited: at_most,
            polls: self.inner.scans().total(),
            received: self.inner.ledger().numbered(),
        })
    }

    /// Ends everything: no new connections, what is in hand is finished, what hangs is cut.
    pub async fn stop(self) {
        self.inner.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.inner.stopping.cancel();
        self.cut.cancel();
    }
}

/// Serves HTTP until the world ends.
async fn serve(socket: Socket, inner: Arc<Inner>) {
    let stopping = inner.stopping.clone();
    let service = Router::new()
        .merge(providers::routes())
        .merge(destinations::routes())
        .merge(control::routes())
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(inner)
        .into_make_service_with_connect_info::<Plug>();
    // Serving never fails by itself: our listener waits out what goes wrong with accepting.
    let _ = axum::serve(socket, service).with_graceful_shutdown(stopping.cancelled_owned()).await;
}

#[cfg(test)]
mod tests;
