//! The world over real sockets, as a stranger's client sees it.

mod client;
mod clients;
mod http;
mod mail;
mod readers;

use std::time::Duration;

use super::*;

/// Nothing on loopback takes so long unless it hangs.
const SOON: Duration = Duration::from_secs(10);

async fn world() -> World {
    World::start(Options { scans_take: Duration::ZERO, ..Options::default() }).await.unwrap()
}
