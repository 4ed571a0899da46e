//! `steady`: 200 scans a second, each 2 to 10 s long, at the default pace.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::burst::AT_MOST;
use crate::broker::Broker;
use crate::daemon::{Daemon, Shape, configure, two_hooks};
use crate::numbers::{round, told};
use crate::world::World;
use crate::{Failed, Plan};

const RATE: usize = 200;
/// How long the bare reference pauses between two polls of a scan: about what scanbell does by default.
const BARE_PAUSE_MS: u64 = 1700;

pub async fn run(plan: &Plan) -> Result<Value, Failed> {
    let during = Duration::from_secs(if plan.quick { 15 } else { 60 });
    let world = World::start("2s", "8s").await?;
    let broker = Broker::connect(&plan.broker).await?;
    let bare = bare(plan, &broker, &world, during).await?;
    let ours = ours(plan, &broker, &world, during).await?;
    Ok(json!({"scans_per_second": RATE, "seconds": during.as_secs(), "bare": bare, "scanbell": ours}))
}

async fn bare(plan: &Plan, broker: &Broker, world: &World, during: Duration) -> Result<Value, Failed> {
    let queue = format!("scanbell.bare.{}", std::process::id());
    let scans = RATE * during.as_secs() as usize;
    broker.declare(&queue).await?;
    world.forget().await?;
    let reference = Command::new(std::env::current_exe()?)
        .args(["bare", &plan.broker, &queue, &world.url, &scans.to_string(), &BARE_PAUSE_MS.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let published = broker.pour(&queue, RATE, during).await?;
    broker.fill(&queue, scans.saturating_sub(published)).await?;
    let output = reference.wait_with_output()?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    broker.delete(&queue).await?;
    let mut row = told(&world.told().await?, scans * 2);
    row.insert(
        "cpu_us_per_scan".to_owned(),
        json!((said["cpu"].as_f64().unwrap_or(f64::NAN) * 1e6 / scans as f64).round()),
    );
    row.insert("peak_kb".to_owned(), said["peak_kb"].clone());
    Ok(Value::Object(row))
}

async fn ours(plan: &Plan, broker: &Broker, world: &World, during: Duration) -> Result<Value, Failed> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("scanbell.toml");
    let queue = format!("scanbell.load.{}", std::process::id());
    let rest = two_hooks(&world.url);
    configure(&config, Some((&plan.broker, &queue)), &world.url, &Shape { rest: &rest, ..Shape::default() })?;
    let daemon = Daemon::start(&config).await?;
    daemon.wait_until_ready().await?;
    world.forget().await?;
    let before = world.cpu()?;
    let scans = broker.pour(&queue, RATE, during).await?;
    world.wait_for(&[], scans as u64 * 2, AT_MOST).await?;
    let mut row = told(&world.told().await?, scans * 2);
    row.insert("cpu_us_per_scan".to_owned(), json!((daemon.cpu()? * 1e6 / scans as f64).round()));
    row.insert("simulator_cpu_us_per_scan".to_owned(), json!(((world.cpu()? - before) * 1e6 / scans as f64).round()));
    row.insert("peak_kb".to_owned(), json!(daemon.memory_kb()?.1));
    let (commits, fsyncs) = daemon.commits().await?;
    row.insert("store_commits_per_scan".to_owned(), json!(round(commits / scans as f64)));
    row.insert("fsyncs_per_scan".to_owned(), json!(round(fsyncs / scans as f64)));
    daemon.stop()?;
    broker.delete(&queue).await?;
    broker.delete(&format!("{queue}.dead")).await?;
    Ok(Value::Object(row))
}
