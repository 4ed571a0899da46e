//! The running daemon: opens the store, listens, starts the steps, waits for a signal, drains.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

use super::housekeeping::{self, Names};
use super::{Ending, Plan, Signals, Stop, drain};
use crate::announce::Announcer;
use crate::api::{self, Api, DestinationEntry, ProviderEntry};
use crate::deliver::Deliverer;
use crate::intake::{Intake, ProviderRule, Rules, amqp};
use crate::store::{self, SharedStore, StoreError};
use crate::telemetry::metrics;
use crate::time::{Clock, Wake};
use crate::watch::Watcher;

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address of `server.listen`.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The signals.
    #[error("cannot take over SIGTERM and SIGINT: {0}")]
    Signals(std::io::Error),
}

/// A started daemon.
pub struct Daemon {
    /// Where HTTP listens.
    pub address: SocketAddr,
    store: SharedStore,
    stop: Stop,
    grace: std::time::Duration,
}

/// Starts, waits for SIGTERM or SIGINT, drains.
pub async fn run(plan: Plan) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let daemon = Daemon::start(plan).await?;
    let signal = signals.next().await;
    tracing::info!(signal, "stopping: taking nothing more, finishing what is in hand");
    let ending = daemon
        .stop(async {
            let _ = signals.next().await;
        })
        .await;
    match ending {
        Ending::Graceful => tracing::info!("stopped gracefully"),
        Ending::OutOfTime => tracing::warn!(
            "stopped before everything in hand was finished: shutdown.grace was over; nothing is lost, the rest goes \
             on at the next start"
        ),
        Ending::AtOnce => tracing::warn!(
            "stopped before everything in hand was finished: a second signal came; nothing is lost, the rest goes on \
             at the next start"
        ),
    }
    Ok(())
}

impl Daemon {
    /// Opens the store, listens, and starts every step. Returns when requests are taken.
    pub async fn start(plan: Plan) -> Result<Self, RunError> {
        let recorder = metrics::install();
        let names = (plan.providers.keys().map(String::as_str), plan.destinations.keys().map(String::as_str));
        metrics::start(names.0, names.1, plan.config.amqp.is_some());
        let listen = plan.config.server.listen.0;
        let store = store::open(&store_url(&plan)?).await?;
        store.take_over().await?;
        let clock = Clock::steady(store.clock().await?.as_ref());
        housekeeping::keep_clock(&store, &clock).await; // before anything is written down by it
        let listener = TcpListener::bind(listen).await.map_err(|error| RunError::Listen(listen, error))?;
        let address = listener.local_addr().map_err(|error| RunError::Listen(listen, error))?;
        let stop = Stop::default();
        let grace = plan.config.shutdown.grace.0;
        let api = start_steps(&plan, &store, &clock, &stop, recorder);
        stop.tasks.spawn(api::serve(listener, api::router(Arc::new(api)), stop.token.clone()));
        tracing::info!(
            address = %address, providers = plan.providers.len(), destinations = plan.destinations.len(),
            broker = plan.config.amqp.is_some(), "scanbell {} is running", env!("CARGO_PKG_VERSION")
        );
        Ok(Self { address, store, stop, grace })
    }

    /// Stops; says whether everything in hand was finished or handed back in time. `at_once` cuts the waiting short.
    pub async fn stop(self, at_once: impl Future<Output = ()>) -> Ending {
        let mut at_once = std::pin::pin!(at_once.fuse());
        let ending = self.stop.drain(self.grace, at_once.as_mut()).await;
        if ending != Ending::AtOnce {
            drain::close(self.store.close(), at_once).await;
        }
        ending
    }
}

fn store_url(plan: &Plan) -> Result<String, StoreError> {
    let url = plan.store.read().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(url.expose_secret().to_owned())
}

/// One wake-up for each name.
fn wakes<'a>(names: impl Iterator<Item = &'a String>) -> HashMap<String, Wake> {
    names.map(|name| (name.clone(), Wake::new())).collect()
}

/// Starts the four steps and housekeeping; what HTTP needs of them comes back.
fn start_steps(plan: &Plan, store: &SharedStore, clock: &Clock, stop: &Stop, recorder: metrics::Handle) -> Api {
    let watch_wakes = wakes(plan.providers.keys());
    let deliver_wakes = wakes(plan.destinations.keys());
    let announce_wake = Wake::new();
    let providers = start_watchers(plan, store, clock, stop, &watch_wakes, &announce_wake);
    start_announcer(plan, store, clock, stop, announce_wake, &deliver_wakes);
    let destinations = start_deliverers(plan, store, clock, stop, &deliver_wakes);
    let rules = rules(plan, &watch_wakes);
    let intake = Arc::new(Intake::new(store.clone(), rules, clock.clone(), plan.config.intake.dedupe.0));
    let broker = plan.config.amqp.as_ref().map(|settings| {
        let consumer = amqp::Amqp::new(settings.clone(), intake.clone());
        let health = consumer.health();
        stop.tasks.spawn(consumer.run(stop.token.clone()));
        health
    });
    start_housekeeping(plan, store, clock, stop, recorder.clone());
    Api {
        store: store.clone(),
        intake,
        renderer: plan.renderer.clone(),
        providers,
        destinations,
        broker,
        token: plan.token.clone(),
        metrics: recorder,
        clock: clock.clone(),
        wake_delivery: Box::new(move |name| {
            deliver_wakes
                .iter()
                .filter(|(known, _)| name.is_none_or(|name| name == known.as_str()))
                .for_each(|(_, wake)| wake.wake());
        }),
    }
}

/// What a request may ask for.
fn rules(plan: &Plan, wakes: &HashMap<String, Wake>) -> Rules {
    let rule = |(name, provider): (&String, &Arc<crate::provider::Provider>)| {
        let checker = provider.clone();
        let rule = ProviderRule {
            deadline: provider.pace().deadline,
            wake: wakes.get(name).cloned().unwrap_or_default(),
            check_id: Box::new(move |scan_id| checker.check_id(scan_id)),
        };
        (name.clone(), rule)
    };
    Rules {
        providers: plan.providers.iter().map(rule).collect(),
        default_provider: plan.config.intake.default_provider.clone(),
        destinations: plan.destinations.keys().cloned().collect(),
    }
}

fn start_watchers(
    plan: &Plan,
    store: &SharedStore,
    clock: &Clock,
    stop: &Stop,
    wakes: &HashMap<String, Wake>,
    announce: &Wake,
) -> Vec<ProviderEntry> {
    let raw_limit = plan.config.report.raw_limit.0 as u64;
    let start = |(name, provider): (&String, &Arc<crate::provider::Provider>)| {
        let watcher = Watcher::new(store.clone(), provider.clone(), clock.clone(), announce.clone(), raw_limit);
        let health = watcher.health();
        let wake = wakes.get(name).cloned().unwrap_or_default();
        stop.tasks.spawn(watcher.run(wake, stop.token.clone()));
        ProviderEntry { provider: provider.clone(), health }
    };
    plan.providers.iter().map(start).collect()
}

fn start_announcer(
    plan: &Plan,
    store: &SharedStore,
    clock: &Clock,
    stop: &Stop,
    wake: Wake,
    wakes: &HashMap<String, Wake>,
) {
    let announcer = Announcer::new(
        store.clone(),
        plan.renderer.clone(),
        plan.router.clone(),
        plan.config.operator.to.clone(),
        plan.destinations.keys().cloned().collect(),
        clock.clone(),
        wakes.clone(),
    );
    stop.tasks.spawn(announcer.run(wake, stop.token.clone()));
}

fn start_deliverers(
    plan: &Plan,
    store: &SharedStore,
    clock: &Clock,
    stop: &Stop,
    wakes: &HashMap<String, Wake>,
) -> Vec<DestinationEntry> {
    let start = |(name, destination): (&String, &Arc<crate::destination::Destination>)| {
        let deliverer = Deliverer::new(store.clone(), destination.clone(), clock.clone());
        let health = deliverer.health();
        let wake = wakes.get(name).cloned().unwrap_or_default();
        stop.tasks.spawn(deliverer.run(wake, stop.token.clone()));
        DestinationEntry { destination: destination.clone(), health }
    };
    plan.destinations.iter().map(start).collect()
}

fn start_housekeeping(plan: &Plan, store: &SharedStore, clock: &Clock, stop: &Stop, recorder: metrics::Handle) {
    let names = Names {
        providers: plan.providers.keys().cloned().collect(),
        destinations: plan.destinations.keys().cloned().collect(),
    };
    stop.tasks.spawn(housekeeping::gauges(store.clone(), clock.clone(), recorder, names, stop.token.clone()));
    let configured: Vec<String> = plan.destinations.keys().cloned().collect();
    stop.tasks.spawn(housekeeping::orphans(store.clone(), clock.clone(), configured, stop.token.clone()));
    let retention = plan.config.store.retention.0;
    stop.tasks.spawn(housekeeping::clock(store.clone(), clock.clone(), stop.token.clone()));
    stop.tasks.spawn(housekeeping::purge(store.clone(), clock.clone(), retention, stop.token.clone()));
}
