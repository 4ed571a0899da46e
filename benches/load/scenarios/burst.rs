//! `burst`: requests are queued, scans are finished at the first poll, two webhooks are told. scanbell and the bare
//! reference take turns.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::daemon::{Daemon, Shape, configure, two_hooks};
use crate::numbers::{median, round, told};
use crate::world::World;
use crate::{Failed, Plan};

/// A burst that takes longer than this has failed.
pub const AT_MOST: Duration = Duration::from_secs(300);

/// One turn of either.
#[derive(Default)]
pub struct Turn {
    /// From its start to the last message.
    pub seconds: f64,
    /// Its own CPU time for a scan.
    pub cpu_us: f64,
    /// At its peak.
    pub peak_kb: u64,
    /// The simulator's CPU time for a scan.
    pub world_cpu_us: f64,
    /// Transactions of the store, and those of them that were flushed to the disk.
    pub commits: (f64, f64),
    /// Lag, own delay, lost, doubled.
    pub told: serde_json::Map<String, Value>,
}

pub async fn run(plan: &Plan) -> Result<Value, Failed> {
    let scans = plan.scans.unwrap_or(if plan.quick { 4_000 } else { 20_000 });
    let rounds = if plan.quick { 1 } else { 3 };
    let world = World::start("0s", "0s").await?;
    let broker = Broker::connect(&plan.broker).await?;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(bare_turn(plan, &broker, &world, scans).await?);
        let folder = tempfile::tempdir()?;
        ours.push(our_turn(plan, &broker, &world, scans, folder.path()).await?);
    }
    let of = |turns: &[Turn], figure: fn(&Turn) -> f64| median(turns.iter().map(figure).collect());
    let rate = |turns: &[Turn]| scans as f64 / of(turns, |turn| turn.seconds);
    let cpu = |turns: &[Turn]| of(turns, |turn| turn.cpu_us);
    let side = |turns: &[Turn]| {
        json!({
            "scans_per_second": rate(turns).round(), "cpu_us_per_scan": cpu(turns).round(),
            "peak_kb": of(turns, |turn| turn.peak_kb as f64), "simulator_cpu_us_per_scan": of(turns, |turn| turn.world_cpu_us).round(),
            "store_commits": of(turns, |turn| turn.commits.0), "fsyncs": of(turns, |turn| turn.commits.1), "arrivals": turns.last().map(|turn| turn.told.clone()),
        })
    };
    Ok(json!({
        "scans": scans, "rounds": rounds, "bare": side(&bare), "scanbell": side(&ours),
        "ratio": {"cpu": round(cpu(&ours) / cpu(&bare)), "scans_per_second": round(rate(&ours) / rate(&bare))},
    }))
}

async fn bare_turn(plan: &Plan, broker: &Broker, world: &World, scans: usize) -> Result<Turn, Failed> {
    let queue = format!("scanbell.bare.{}", std::process::id());
    broker.declare(&queue).await?;
    broker.fill(&queue, scans).await?;
    world.forget().await?;
    let (before, started) = (world.cpu()?, Instant::now());
    let output = Command::new(std::env::current_exe()?)
        .args(["bare", &plan.broker, &queue, &world.url, &scans.to_string(), "0"])
        .stderr(Stdio::inherit())
        .output()?;
    let seconds = started.elapsed().as_secs_f64();
    let said: Value = serde_json::from_slice(&output.stdout)?;
    broker.delete(&queue).await?;
    Ok(Turn {
        seconds,
        cpu_us: said["cpu"].as_f64().unwrap_or(f64::NAN) * 1e6 / scans as f64,
        peak_kb: said["peak_kb"].as_u64().unwrap_or(0),
        world_cpu_us: (world.cpu()? - before) * 1e6 / scans as f64,
        commits: (0.0, 0.0),
        told: told(&world.told().await?, scans * 2),
    })
}

/// A first start declares the queue; the measured one finds it full.
pub async fn our_turn(
    plan: &Plan,
    broker: &Broker,
    world: &World,
    scans: usize,
    folder: &Path,
) -> Result<Turn, Failed> {
    let config = folder.join("scanbell.toml");
    let queue = format!("scanbell.load.{}", std::process::id());
    let rest = two_hooks(&world.url);
    configure(&config, Some((&plan.broker, &queue)), &world.url, &Shape { rest: &rest, ..Shape::default() })?;
    let first = Daemon::start(&config).await?;
    first.wait_until_ready().await?;
    first.stop()?;
    broker.fill(&queue, scans).await?;
    world.forget().await?;
    let (before, started) = (world.cpu()?, Instant::now());
    let daemon = Daemon::start(&config).await?;
    world.wait_for(&[], scans as u64 * 2, AT_MOST).await?;
    let seconds = started.elapsed().as_secs_f64();
    let turn = Turn {
        seconds,
        cpu_us: daemon.cpu()? * 1e6 / scans as f64,
        peak_kb: daemon.memory_kb()?.1,
        world_cpu_us: (world.cpu()? - before) * 1e6 / scans as f64,
        commits: daemon.commits().await?,
        told: told(&world.told().await?, scans * 2),
    };
    daemon.stop()?;
    broker.delete(&queue).await?;
    broker.delete(&format!("{queue}.dead")).await?;
    Ok(turn)
}
