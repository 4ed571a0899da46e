//! `scanbell healthcheck`: for container health checks, where there is no shell and no curl.

use bytes::Bytes;
use reqwest::Method;

use super::daemon::Daemon;
use super::failure::{Done, Failure};
use crate::config::Config;

/// 0 if the daemon of this configuration answers, 1 if not.
pub async fn run(config: &Config) -> Done {
    let daemon = Daemon::new(config, None)?;
    match daemon.ask(Method::GET, "/healthz", Bytes::new()).await {
        Ok(Some(reply)) if reply.status == 200 => Ok(()),
        _ => Err(Failure::No(format!("no daemon answers at {}", daemon.place()))),
    }
}
