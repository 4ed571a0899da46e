//! `mixed`: Slack, e-mail and webhooks, ten routes, one destination that takes a second for each message. Does the
//! slow one delay the others?

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::burst::AT_MOST;
use crate::broker::Broker;
use crate::daemon::{Daemon, Shape, configure, hook};
use crate::numbers::told;
use crate::world::{Told, World};
use crate::{Failed, Plan};

const SLOW: Duration = Duration::from_secs(1);

pub async fn run(plan: &Plan) -> Result<Value, Failed> {
    let scans = plan.scans.unwrap_or(if plan.quick { 500 } else { 3_000 });
    let world = World::start("0s", "0s").await?;
    let broker = Broker::connect(&plan.broker).await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("scanbell.toml");
    let queue = format!("scanbell.load.{}", std::process::id());
    let rest = configuration(&world);
    configure(&config, Some((&plan.broker, &queue)), &world.url, &Shape { rest: &rest, ..Shape::default() })?;
    let first = Daemon::start(&config).await?;
    first.wait_until_ready().await?;
    first.stop()?;
    broker.fill(&queue, scans).await?;
    world.slow("slow", SLOW, scans).await?;
    let started = Instant::now();
    let daemon = Daemon::start(&config).await?;
    // Everybody but the slow one: a webhook, a channel, a mailbox.
    world.wait_for(&["quick", "channel", "oncall@example.com"], scans as u64 * 3, AT_MOST).await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = daemon.cpu()?;
    let quick: Vec<Told> = world.told().await?.into_iter().filter(|one| one.hook == "quick").collect();
    let slow = world.taken(&["slow"]).await?;
    let peak = daemon.memory_kb()?.1;
    let (_, fsyncs) = daemon.commits().await?;
    daemon.kill()?;
    broker.delete(&queue).await?;
    broker.delete(&format!("{queue}.dead")).await?;
    Ok(json!({
        "scans": scans, "scans_per_second": (scans as f64 / seconds).round(), "cpu_us_per_scan": (cpu * 1e6 / scans as f64).round(),
        "peak_kb": peak, "fsyncs": fsyncs, "webhook": told(&quick, scans), "told_by_the_slow_one_meanwhile": slow,
    }))
}

fn configuration(world: &World) -> String {
    let slow = hook(&world.url, "slow", 4);
    let quick = hook(&world.url, "quick", 16);
    let routes: Vec<String> = (0..9)
        .map(|number| {
            format!(
                "[[routes]]\nname = \"rule {number}\"\nwhen = 'verdict == \"threat\" && severity >= high && labels.team == \"t{number}\"'\n\
                 to = [\"channel\"]\n"
            )
        })
        .collect();
    format!(
        "{slow}{quick}[destinations.channel]\nkind = \"slack\"\nwebhook_url = \"{0}/services/T/B/channel\"\n\
         limits = {{ concurrency = 8, requests_per_second = 10000 }}\n[destinations.mail]\nkind = \"email\"\nsmtp = \"{1}\"\n\
         tls = \"none\"\nfrom = \"scanbell@example.com\"\nto = [\"oncall@example.com\"]\nlimits = {{ concurrency = 4 }}\n{2}\
         [[routes]]\nname = \"everything\"\nto = [\"slow\", \"quick\", \"channel\", \"mail\"]\n",
        world.url,
        world.smtp,
        routes.concat()
    )
}
