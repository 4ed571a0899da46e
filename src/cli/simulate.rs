//! `scanbell simulate`: scan APIs and recording destinations on loopback, until a signal.

use std::net::SocketAddr;

use super::args::SimulateArgs;
use super::failure::{Done, Failure};
use super::print;
use crate::app::Signals;
use crate::simulate::{Options, Record, Script, World, configuration};

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: &SimulateArgs) -> Done {
    let mut signals = Signals::listen()?;
    let smtp =
        args.smtp.unwrap_or_else(|| SocketAddr::new(args.listen.ip(), if args.listen.port() == 0 { 0 } else { 2525 }));
    let mut options = Options { api: args.listen, smtp, ..Options::default() };
    if args.count_only {
        options.record = Record::CountOnly;
    }
    if let Some(preset) = args.usual {
        options.usual = Some(Script::preset(preset, args.takes.0));
    }
    (options.scans_take, options.spread) = (args.takes.0, args.spread.0);
    let world = World::start(options)
        .await
        .map_err(|error| Failure::Unreachable(format!("cannot listen on {} and {smtp}: {error}", args.listen)))?;
    print::line(format!(
        "# Simulated scan APIs, Slack and webhooks at {}, mail at {}.",
        world.url(),
        world.smtp_url()
    ))?;
    print::line(format!("# What was received: {}/_sim/received · end with Ctrl-C.\n", world.url()))?;
    print::bytes(configuration(&world).as_bytes())?;
    signals.next().await;
    world.stop().await;
    Ok(())
}
