//! `scanbell demo`: the whole path in one process, with an embedded store, real HTTP and real SMTP on loopback.
//!
//! It asks as an outsider would, over HTTP or through a broker, and believes only what the daemon's own API and the
//! simulated receivers say.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{DemoArgs, DemoOutput};
use super::daemon::Daemon as Client;
use super::failure::{Done, Failure};
use super::print::{self, field};
use super::report;
use crate::app::{Daemon, Ending, Plan};
use crate::config::{self, Config, LoadOptions};
use crate::domain::request;
use crate::intake::amqp;
use crate::simulate::demo::{Scene, cast, stage};
use crate::simulate::{Options, World, configuration};
use crate::telemetry;

/// A demo that takes longer than this has failed.
const AT_MOST: Duration = Duration::from_secs(60);
/// How often the daemon is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The queue of a demo through a broker; it stays there, empty.
const QUEUE: &str = "scanbell.demo";

/// Runs the command: 0 if every scan ended as it should and everybody was told.
pub async fn run(args: &DemoArgs) -> Done {
    let world = World::start(Options::default()).await?;
    stage(&world);
    let folder = tempfile::tempdir()?;
    let config = configure(&world, folder.path(), args.amqp.as_deref())?;
    telemetry::init_logging(config.log.format, "error")?;
    let names: Vec<String> = config.destinations.keys().cloned().collect();
    let plan = Plan::build(config.clone(), &names)?;
    let daemon = Daemon::start(plan).await.map_err(|error| Failure::Unreachable(error.to_string()))?;
    let client = Client::new(&config, Some(&format!("http://{}", daemon.address)))?;

    let stage = Stage { client, scenes: cast(), quiet: args.output == DemoOutput::Json };
    let played = stage.play(&config).await;
    let graceful = daemon.stop(std::future::pending()).await == Ending::Graceful;
    let told = played?;
    let problems = stage.judge(&told, &world, graceful);
    world.stop().await;
    match args.output {
        DemoOutput::Text => stage.summary(&told)?,
        DemoOutput::Json => print::json(&json!({"scans": told, "problems": problems}))?,
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::No(problems.join("\n"))) }
}

/// The simulator's configuration, with a store of its own and any free port.
fn configure(world: &World, folder: &Path, broker: Option<&str>) -> Result<Config, Failure> {
    let file = folder.join("scanbell.toml");
    std::fs::write(&file, configuration(world))?;
    let mut env = vec![
        ("SCANBELL_STORE__URL".to_owned(), format!("sqlite:{}", folder.join("demo.db").display())),
        ("SCANBELL_SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    if let Some(url) = broker {
        env.push(("SCANBELL_AMQP__URL".to_owned(), url.to_owned()));
        env.push(("SCANBELL_AMQP__QUEUE".to_owned(), QUEUE.to_owned()));
        env.push(("SCANBELL_AMQP__DEAD_LETTER_QUEUE".to_owned(), format!("{QUEUE}.dead")));
        env.push(("SCANBELL_AMQP__QUEUE_TYPE".to_owned(), "classic".to_owned()));
    }
    Ok(config::load(&LoadOptions { file: Some(file), env, candidates: Vec::new() })?.config)
}

struct Stage {
    client: Client,
    scenes: Vec<Scene>,
    quiet: bool,
}

impl Stage {
    /// Asks for all scenes and waits until everybody has been told of each. The scans, each with its deliveries.
    async fn play(&self, config: &Config) -> Result<Vec<Value>, Failure> {
        let through = if config.amqp.is_some() { "RabbitMQ" } else { "HTTP" };
        self.say(format!("Following {} scans, asked for over {through}:", self.scenes.len()))?;
        self.ask(config).await?;
        let spinner = self.spinner();
        let played = tokio::time::timeout(AT_MOST, self.wait(spinner.as_ref())).await;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        played.unwrap_or_else(|_| Err(Failure::No(format!("not done within {AT_MOST:?}"))))
    }

    async fn ask(&self, config: &Config) -> Done {
        let requests: Vec<Value> = self.scenes.iter().map(request).collect();
        if let Some(settings) = &config.amqp {
            let bodies = requests.iter().map(|request| Bytes::from(request.to_string())).collect();
            return amqp::publish_requests(settings, bodies)
                .await
                .map_err(|error| Failure::Unreachable(error.to_string()));
        }
        let reply = self.client.ask(Method::POST, "/v1/requests", Bytes::from(json!(requests).to_string())).await?;
        reply.ok_or_else(|| self.client.not_running())?.good().map(drop)
    }

    async fn wait(&self, spinner: Option<&ProgressBar>) -> Result<Vec<Value>, Failure> {
        let mut done: Vec<Option<Value>> = vec![None; self.scenes.len()];
        loop {
            for (scene, slot) in self.scenes.iter().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
                *slot = self.look(scene).await?;
                if let Some(scan) = slot {
                    let line = format!("  {:<44} {}", scene.title, report::headline(&scan["report"]));
                    match spinner {
                        Some(spinner) => spinner.suspend(|| self.say(&line))?,
                        None => self.say(&line)?,
                    }
                }
            }
            if done.iter().all(Option::is_some) {
                return Ok(done.into_iter().flatten().collect());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The scan of a scene with its deliveries, once it is finished and nothing is left to be delivered.
    async fn look(&self, scene: &Scene) -> Result<Option<Value>, Failure> {
        let page = self.get(&format!("/v1/scans?scan_id={}&limit=1", scene.scan_id)).await?;
        let Some(found) = page.pointer("/items/0").filter(|scan| scan["state"] == "finished") else { return Ok(None) };
        let deliveries = self.get(&format!("/v1/deliveries?scan={}", field(found, "/id"))).await?;
        let Some(deliveries) = deliveries["items"].as_array().filter(|list| !list.is_empty()) else { return Ok(None) };
        if deliveries.iter().any(|delivery| delivery["state"] == "pending") {
            return Ok(None);
        }
        let mut scan = self.get(&format!("/v1/scans/{}", field(found, "/id"))).await?;
        scan["deliveries"] = json!(deliveries);
        Ok(Some(scan))
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.client.ask(Method::GET, path, Bytes::new()).await?.ok_or_else(|| self.client.not_running())?.good()
    }

    /// What did not go as it should.
    fn judge(&self, told: &[Value], world: &World, graceful: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for (scene, scan) in self.scenes.iter().zip(told) {
            let (outcome, verdict) = (field(scan, "/report/outcome"), field(scan, "/report/verdict"));
            if (outcome.as_str(), verdict.as_str()) != (scene.outcome.as_str(), scene.verdict.as_str()) {
                problems.push(format!("{}: ended as {outcome}, {verdict}", scene.title));
            }
        }
        let deliveries: Vec<&Value> = told.iter().filter_map(|scan| scan["deliveries"].as_array()).flatten().collect();
        problems.extend(deliveries.iter().filter(|delivery| delivery["state"] != "delivered").map(|delivery| {
            format!("{} was not told: {}", field(delivery, "/destination"), field(delivery, "/reason"))
        }));
        let received = world.received(None, None);
        if received.len() != deliveries.len() {
            problems.push(format!("{} messages arrived where {} were sent", received.len(), deliveries.len()));
        }
        if received.iter().any(|message| message.verified == Some(false)) {
            problems.push("a webhook's signature is wrong".to_owned());
        }
        if !graceful {
            problems.push("the daemon did not stop gracefully".to_owned());
        }
        problems
    }

    fn summary(&self, told: &[Value]) -> Done {
        print::line("\nWho was told what:\n")?;
        let rows = self.scenes.iter().zip(told).map(|(scene, scan)| {
            let deliveries = scan["deliveries"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut names: Vec<String> = deliveries
                .iter()
                .map(|delivery| format!("{} {}", field(delivery, "/destination"), field(delivery, "/state")))
                .collect();
            names.sort_unstable();
            vec![scene.title.to_owned(), report::headline(&scan["report"]), field(scan, "/polls"), names.join(", ")]
        });
        print::table(&["scan", "ended", "polls", "told"], rows)?;
        print::line(
            "\nsecops is a Slack channel, oncall a mailbox, siem a signed webhook: simulated, over real HTTP and SMTP.",
        )?;
        print::line("Next: `scanbell simulate` prints a configuration to try the daemon with.")
    }

    fn say(&self, text: impl AsRef<str>) -> Done {
        if self.quiet { Ok(()) } else { print::line(text) }
    }

    fn spinner(&self) -> Option<ProgressBar> {
        (!self.quiet && std::io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner().with_message("waiting for the scans");
            spinner.set_style(
                ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        })
    }
}

fn request(scene: &Scene) -> Value {
    let mut request =
        json!({"scan_id": scene.scan_id, "provider": scene.provider.as_str(), "labels": {"demo": "true"}});
    if let Some(deadline) = scene.deadline {
        request["deadline"] = json!(crate::time::Span(deadline));
    }
    // The forms of a request are the contract's; this one is checked like any other.
    debug_assert!(request::parse(&request.to_string().into(), &request::Envelope::default()).is_ok());
    request
}
