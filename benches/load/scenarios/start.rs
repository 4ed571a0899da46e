//! `start`: how long until ready with an empty store, what an idle daemon costs, how large the binary is.

use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, Shape, configure, two_hooks};
use crate::numbers::{median, round};
use crate::world::World;
use crate::{Failed, Plan};

/// How long it is left alone.
const IDLE: Duration = Duration::from_secs(10);

pub async fn run(_: &Plan) -> Result<Value, Failed> {
    let world = World::start("1s", "0s").await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("scanbell.toml");
    let rest = two_hooks(&world.url);
    configure(&config, None, &world.url, &Shape { rest: &rest, ..Shape::default() })?;
    let mut ready = Vec::new();
    for _ in 0..5 {
        let daemon = Daemon::start(&config).await?;
        ready.push(daemon.ready_after.as_secs_f64() * 1000.0);
        daemon.stop()?;
        std::fs::remove_file(folder.path().join("scanbell.db"))?;
    }
    let daemon = Daemon::start(&config).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = daemon.cpu()?;
    tokio::time::sleep(IDLE).await;
    let idle = (daemon.cpu()? - before) / IDLE.as_secs_f64() * 100.0;
    let memory = daemon.memory_kb()?.0;
    daemon.stop()?;
    Ok(json!({
        "ready_ms_empty_store": median(ready).round(), "idle_kb": memory, "idle_cpu_percent": round(idle),
        "binary_bytes": std::fs::metadata(env!("CARGO_BIN_EXE_scanbell"))?.len(),
    }))
}
