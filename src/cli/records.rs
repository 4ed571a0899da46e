//! Scans and deliveries for `list`, `show` and `replay`: from the daemon, else from the embedded store itself.

use bytes::Bytes;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::DaemonArgs;
use super::daemon::Daemon;
use super::failure::Failure;
use crate::config::Config;
use crate::domain::delivery::DeliveryState;
use crate::store::{self, DeliveryFilter, ScanFilter, SharedStore};
use crate::time::Clock;

/// Where the rows come from.
pub enum Records {
    /// A running daemon.
    Daemon(Box<Daemon>),
    /// No daemon runs: the store, opened beside whoever else may use it.
    Store(SharedStore),
}

impl Records {
    /// The daemon if it answers or was named, else the store.
    pub async fn find(config: &Config, args: &DaemonArgs) -> Result<Self, Failure> {
        let daemon = Daemon::new(config, args.url.as_deref())?;
        if daemon.ask(Method::GET, "/healthz", Bytes::new()).await?.is_some() {
            return Ok(Self::Daemon(Box::new(daemon)));
        }
        let url = config.store.url("[store]")?.read().map_err(|error| Failure::Unreachable(error.to_string()))?;
        if args.url.is_some() || !store::exists(url.expose_secret()) {
            return Err(daemon.not_running());
        }
        Ok(Self::Store(store::open(url.expose_secret()).await?))
    }

    /// A page of scans, as the API shows it.
    pub async fn scans(&self, query: &[(&str, Option<&str>)], filter: ScanFilter) -> Result<Value, Failure> {
        match self {
            Self::Daemon(daemon) => get(daemon, &with_query("/v1/scans", query)).await,
            Self::Store(store) => value(&store.scans(filter).await?),
        }
    }

    /// One scan, by our id or the newest with this ID of the provider.
    pub async fn scan(&self, id: &str) -> Result<Option<Value>, Failure> {
        let Ok(uuid) = id.parse::<Uuid>() else { return self.newest(id).await };
        let found = match self {
            Self::Daemon(daemon) => get_or_none(daemon, &format!("/v1/scans/{uuid}")).await?,
            Self::Store(store) => store.scan(uuid).await?.map(|scan| value(&scan)).transpose()?,
        };
        match found {
            Some(scan) => Ok(Some(scan)),
            None => self.newest(id).await,
        }
    }

    async fn newest(&self, scan_id: &str) -> Result<Option<Value>, Failure> {
        let query = [("scan_id", Some(scan_id)), ("limit", Some("1"))];
        let filter = ScanFilter { scan_id: Some(scan_id.to_owned()), limit: 1, ..ScanFilter::default() };
        let page = self.scans(&query, filter).await?;
        let Some(id) = page.pointer("/items/0/id").and_then(Value::as_str).and_then(|id| id.parse::<Uuid>().ok())
        else {
            return Ok(None);
        };
        match self {
            Self::Daemon(daemon) => get_or_none(daemon, &format!("/v1/scans/{id}")).await,
            Self::Store(store) => store.scan(id).await?.map(|scan| value(&scan)).transpose(),
        }
    }

    /// A page of deliveries, as the API shows it.
    pub async fn deliveries(&self, query: &[(&str, Option<&str>)], filter: DeliveryFilter) -> Result<Value, Failure> {
        match self {
            Self::Daemon(daemon) => get(daemon, &with_query("/v1/deliveries", query)).await,
            Self::Store(store) => value(&store.deliveries(filter).await?),
        }
    }

    /// One delivery with its attempts.
    pub async fn delivery(&self, id: &str) -> Result<Option<Value>, Failure> {
        let Ok(id) = id.parse::<Uuid>() else { return Ok(None) };
        match self {
            Self::Daemon(daemon) => get_or_none(daemon, &format!("/v1/deliveries/{id}")).await,
            Self::Store(store) => {
                let Some((delivery, attempts)) = store.delivery(id).await? else { return Ok(None) };
                let mut shown = value(&delivery)?;
                shown["attempts"] = value(&attempts)?;
                Ok(Some(shown))
            }
        }
    }

    /// Sends one again; how many that made: 0 if there is none or it is pending anyway.
    pub async fn replay_one(&self, id: &str) -> Result<u64, Failure> {
        let Ok(id) = id.parse::<Uuid>() else { return Ok(0) };
        match self {
            Self::Daemon(daemon) => {
                let path = format!("/v1/deliveries/{id}/replay");
                let reply = daemon.ask(Method::POST, &path, Bytes::new()).await?.ok_or_else(|| daemon.not_running())?;
                if matches!(reply.status, 404 | 409) { Ok(0) } else { reply.good().map(|_| 1) }
            }
            Self::Store(store) => {
                Ok(u64::from(store.replay_one(id, clock_of(store).await?.now()).await? == Some(true)))
            }
        }
    }

    /// Sends all again that match; how many.
    pub async fn replay(&self, filter: DeliveryFilter) -> Result<u64, Failure> {
        let state = filter.state.unwrap_or(DeliveryState::Dead);
        match self {
            Self::Daemon(daemon) => {
                let body = json!({"state": state, "destination": filter.destination, "scan": filter.scan}).to_string();
                let reply = daemon.ask(Method::POST, "/v1/deliveries/replay", body.into()).await?;
                let body = reply.ok_or_else(|| daemon.not_running())?.good()?;
                Ok(body.get("replayed").and_then(Value::as_u64).unwrap_or(0))
            }
            Self::Store(store) => {
                let filter = DeliveryFilter { state: Some(state), ..filter };
                Ok(store.replay(filter, clock_of(store).await?.now()).await?)
            }
        }
    }
}

/// The clock that the times in the store are by.
async fn clock_of(store: &SharedStore) -> Result<Clock, Failure> {
    Ok(Clock::steady(store.clock().await?.as_ref()))
}

async fn get(daemon: &Daemon, path: &str) -> Result<Value, Failure> {
    daemon.ask(Method::GET, path, Bytes::new()).await?.ok_or_else(|| daemon.not_running())?.good()
}

async fn get_or_none(daemon: &Daemon, path: &str) -> Result<Option<Value>, Failure> {
    let reply = daemon.ask(Method::GET, path, Bytes::new()).await?.ok_or_else(|| daemon.not_running())?;
    if reply.status == 404 { Ok(None) } else { reply.good().map(Some) }
}

fn with_query(path: &str, query: &[(&str, Option<&str>)]) -> String {
    format!("{path}?{}", super::encode(query))
}

fn value(thing: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(thing).map_err(|error| Failure::Bug(error.to_string()))
}
