//! `waiting`: very many scans in flight at once, each ten minutes long. What do they cost while nothing happens, and
//! is there a herd after a restart?

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::daemon::{Daemon, Shape, configure, two_hooks};
use crate::numbers::spread;
use crate::world::World;
use crate::{Failed, Plan};

/// What docs/performance.md recommends for scans of many minutes.
const PACE: &str = "poll = { first = \"20s\", growth = 1.5, max = \"60s\", deadline = \"1h\" }";
/// How many must be followed within this time.
const TAKEN_WITHIN: Duration = Duration::from_secs(300);

pub async fn run(plan: &Plan) -> Result<Value, Failed> {
    let scans = plan.scans.unwrap_or(if plan.quick { 10_000 } else { 100_000 });
    let watched = Duration::from_secs(if plan.quick { 20 } else { 90 });
    let world = World::start("600s", "0s").await?;
    let broker = Broker::connect(&plan.broker).await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("scanbell.toml");
    let queue = format!("scanbell.load.{}", std::process::id());
    let rest = two_hooks(&world.url);
    configure(&config, Some((&plan.broker, &queue)), &world.url, &Shape { provider: PACE, rest: &rest })?;
    let daemon = Daemon::start(&config).await?;
    daemon.wait_until_ready().await?;

    let tenth = take(&daemon, &broker, &queue, scans / 10, scans / 10).await?;
    let started = Instant::now();
    let all = take(&daemon, &broker, &queue, scans - scans / 10, scans).await?;
    let taken_in = started.elapsed().as_secs_f64();
    let (polls_before, cpu_before) = (world.polls().await?, daemon.cpu()?);
    // What came together is polled together at first; how soon does that wear off?
    let (at_first, mut memory) = watch(&world, &daemon, watched).await?;
    let (later, more_memory) = watch(&world, &daemon, watched).await?;
    memory.extend(more_memory);
    let polls = world.polls().await? - polls_before;
    let cpu_us_per_poll = (daemon.cpu()? - cpu_before) * 1e6 / polls.max(1) as f64;
    let (now, peak) = daemon.memory_kb()?;

    daemon.kill()?;
    let daemon = Daemon::start(&config).await?;
    let restart_ms = daemon.ready_after.as_millis() as u64;
    let (after_restart, memory_after) = watch(&world, &daemon, watched).await?;
    let (_, peak_after) = daemon.memory_kb()?;
    daemon.kill()?;
    broker.delete(&queue).await?;
    broker.delete(&format!("{queue}.dead")).await?;
    Ok(json!({
        "scans": scans, "taken_in_seconds": taken_in.round(), "peak_kb": peak.max(peak_after), "memory_kb": now,
        "bytes_per_further_scan": (all as f64 - tenth as f64).max(0.0) * 1024.0 / (scans as f64 * 0.9),
        "memory_kb_every_15_s": memory, "memory_kb_every_15_s_after_restart": memory_after,
        "polls_per_second_at_first": spread(at_first), "polls_per_second_later": spread(later),
        "cpu_us_per_poll": cpu_us_per_poll.round(),
        "restart_ms": restart_ms, "polls_per_second_after_restart": spread(after_restart),
    }))
}

/// Publishes so many more and waits until so many are followed and polled once; memory then, in kB.
async fn take(daemon: &Daemon, broker: &Broker, queue: &str, more: usize, wanted: usize) -> Result<u64, Failed> {
    broker.fill(queue, more).await?;
    let started = Instant::now();
    loop {
        let active = daemon.metric("scanbell_scans_active").await?;
        let polled = daemon.metric("scanbell_polls_total").await?;
        if active >= wanted as f64 && polled >= wanted as f64 {
            return Ok(daemon.memory_kb()?.0);
        }
        if started.elapsed() > TAKEN_WITHIN {
            return Err(format!("only {active} of {wanted} are followed").into());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Polls in each second, and the memory in kB now and then.
async fn watch(world: &World, daemon: &Daemon, during: Duration) -> Result<(Vec<i64>, Vec<u64>), Failed> {
    let (mut rates, mut memory) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut last = world.polls().await?;
    for second in 1..=during.as_secs() {
        ticks.tick().await;
        let now = world.polls().await?;
        rates.push((now - last) as i64);
        last = now;
        if second % 15 == 0 {
            memory.push(daemon.memory_kb()?.0);
        }
    }
    Ok((rates, memory))
}
