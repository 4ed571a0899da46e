//! A load run: scan IDs on a real RabbitMQ, the simulator at the other end, scanbell as its own process between.
//!
//! `scripts/bench` starts the broker and calls this. It measures scans a second to two webhook destinations and the
//! CPU time that scanbell itself takes for a scan, from `/proc`. Figures belong to the machine they were taken on.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use scanbell::egress::{Client, ClientOptions, Request, TlsFiles, install_tls};
use scanbell::intake::amqp;
use scanbell::secret::SecretString;
use serde_json::{Value, json};

/// A run that takes longer than this has failed.
const AT_MOST: Duration = Duration::from_secs(600);
/// How often the simulator is asked how much has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long scanbell is left alone before its idle memory and CPU are read.
const IDLE: Duration = Duration::from_secs(5);
/// Clock ticks a second of `/proc/PID/stat`: fixed on Linux (`sysconf(_SC_CLK_TCK)`).
const TICKS: f64 = 100.0;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let Some(broker) = value("--amqp") else {
        // `cargo test --benches` runs this too: there is nothing to measure without a broker.
        println!("no --amqp URL: run scripts/bench");
        return Ok(());
    };
    let scans = value("--scans").map_or(Ok(20_000), |text| text.parse())?;
    install_tls();
    tokio::runtime::Runtime::new()?.block_on(run(&broker, scans))
}

async fn run(broker: &str, scans: usize) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let world = World::start().await?;
    let config = folder.path().join("load.toml");
    let queue = format!("scanbell.load.{}", std::process::id());
    let listen = free_address()?;
    std::fs::write(&config, configuration(&world.url, broker, &queue, &listen))?;
    let http = client()?;

    // The first start declares the queue and tells what an idle daemon costs.
    let first = Daemon::start(&config, &listen, &http).await?;
    let before = first.cpu_seconds()?;
    tokio::time::sleep(IDLE).await;
    let idle_cpu = (first.cpu_seconds()? - before) / IDLE.as_secs_f64();
    let idle_memory = first.memory("VmRSS:")?;
    first.stop()?;

    publish(broker, &queue, scans).await?;
    let world_before = cpu_seconds(world.process.id())?;
    let started = Instant::now();
    let daemon = Daemon::start(&config, &listen, &http).await?;
    let start_to_ready = started.elapsed();
    let received = wait_for(&http, &world.url, scans * 2).await?;
    let took = started.elapsed();
    let cpu = daemon.cpu_seconds()?;
    let world_cpu = cpu_seconds(world.process.id())? - world_before;
    let peak = daemon.memory("VmHWM:")?;
    daemon.stop()?;

    let per_scan = |seconds: f64| (seconds * 1e6 / scans as f64).round();
    let result = json!({
        "scans": scans, "destinations": 2, "delivered": received,
        "seconds": took.as_secs_f64(), "scans_per_second": (scans as f64 / took.as_secs_f64()).round(),
        "cpu_us_per_scan": per_scan(cpu), "simulator_cpu_us_per_scan": per_scan(world_cpu),
        "peak_memory_kb": peak, "idle_memory_kb": idle_memory, "idle_cpu_percent": idle_cpu * 100.0,
        "start_to_ready_ms": start_to_ready.as_millis() as u64,
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}

fn configuration(world: &str, broker: &str, queue: &str, listen: &str) -> String {
    format!(
        r#"
[store]
url = "sqlite:load.db"
[server]
listen = "{listen}"
[log]
filter = "warn"
[amqp]
url = "{broker}"
queue = "{queue}"
dead_letter_queue = "{queue}.dead"
[providers.sieve]
base_url = "{world}"
api_key = "simulated"
[destinations.first]
kind = "webhook"
url = "{world}/hooks/first"
limits = {{ concurrency = 16 }}
[destinations.second]
kind = "webhook"
url = "{world}/hooks/second"
limits = {{ concurrency = 16 }}
"#
    )
}

/// Publishes so many requests, each with an ID of its own.
async fn publish(broker: &str, queue: &str, scans: usize) -> Result<(), Failed> {
    let settings = amqp::Settings {
        url: Some(SecretString::from(broker)),
        queue: queue.to_owned(),
        dead_letter_queue: Some(format!("{queue}.dead")),
        ..amqp::Settings::default()
    };
    let bodies = (0..scans).map(|_| Bytes::from(uuid::Uuid::now_v7().to_string())).collect();
    amqp::publish_requests(&settings, bodies).await?;
    Ok(())
}

/// Waits until so many messages were taken; how many were.
async fn wait_for(http: &Client, world: &str, wanted: usize) -> Result<u64, Failed> {
    let deadline = Instant::now() + AT_MOST;
    loop {
        let summary = get(http, &format!("{world}/_sim/summary")).await?;
        let counts = summary["destinations"].as_array().cloned().unwrap_or_default();
        let accepted: u64 = counts.iter().filter_map(|count| count["accepted"].as_u64()).sum();
        if accepted >= wanted as u64 {
            return Ok(accepted);
        }
        if Instant::now() > deadline {
            return Err(format!("only {accepted} of {wanted} arrived").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn client() -> Result<Client, Failed> {
    let seconds = Duration::from_secs;
    let options = ClientOptions {
        connect_timeout: seconds(2),
        total_timeout: seconds(20),
        guard: None,
        tls: TlsFiles::default(),
    };
    Ok(Client::build("load", &options)?)
}

async fn get(http: &Client, url: &str) -> Result<Value, Failed> {
    let request = Request {
        method: Method::GET,
        url: url.parse()?,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        max_body: 64 * 1024 * 1024,
    };
    let answer = http.send(request).await?;
    Ok(serde_json::from_slice(&answer.body)?)
}

/// The simulator as a process of its own, so that its CPU time is its own.
struct World {
    process: Child,
    url: String,
}

impl World {
    async fn start() -> Result<Self, Failed> {
        let (api, smtp) = (free_address()?, free_address()?);
        let process = Command::new(binary())
            .args(["simulate", "--listen", &api, "--smtp", &smtp, "--count-only", "--usual", "clean", "--takes", "0s"])
            .stdout(Stdio::null())
            .spawn()?;
        let world = Self { process, url: format!("http://{api}") };
        answers(&client()?, &format!("{}/_sim/summary", world.url)).await?;
        Ok(world)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `scanbell run` as a process of its own.
struct Daemon {
    process: Child,
}

impl Daemon {
    async fn start(config: &Path, listen: &str, http: &Client) -> Result<Self, Failed> {
        let folder = config.parent().ok_or("no folder")?;
        let process = Command::new(binary()).arg("run").arg("--config").arg(config).current_dir(folder).spawn()?;
        let daemon = Self { process };
        answers(http, &format!("http://{listen}/healthz")).await?;
        Ok(daemon)
    }

    fn cpu_seconds(&self) -> Result<f64, Failed> {
        cpu_seconds(self.process.id())
    }

    /// A line of `/proc/PID/status`, in kB.
    fn memory(&self, line: &str) -> Result<u64, Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let value = status.lines().find_map(|text| text.strip_prefix(line)).ok_or("no such line")?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    }

    fn stop(mut self) -> Result<(), Failed> {
        Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status()?;
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { Err(format!("scanbell ended with {status}").into()) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// User and system time of a process so far (fields 14 and 15 of `/proc/PID/stat`, proc(5)).
fn cpu_seconds(process: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(") ").ok_or("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).ok_or("no such field in stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

async fn answers(http: &Client, url: &str) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while get(http, url).await.is_err() {
        if Instant::now() > deadline {
            return Err(format!("nobody answers at {url}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// An address that nobody listens on now.
fn free_address() -> Result<String, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_scanbell"))
}
