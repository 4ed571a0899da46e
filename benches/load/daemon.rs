//! `scanbell run` as a process of its own.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::http::{Http, free_address};
use super::{Failed, machine};

/// A running daemon.
pub struct Daemon {
    process: Child,
    listen: String,
    http: Http,
    /// From its start until it was ready.
    pub ready_after: Duration,
}

/// What is different from scenario to scenario.
#[derive(Default)]
pub struct Shape<'a> {
    /// TOML of the provider beside its URL and key.
    pub provider: &'a str,
    /// TOML of destinations and routes.
    pub rest: &'a str,
}

/// Two webhooks of the simulator, to which everything goes.
pub fn two_hooks(world: &str) -> String {
    ["first", "second"].map(|name| hook(world, name, 16)).concat()
}

/// One webhook of the simulator.
pub fn hook(world: &str, name: &str, concurrency: u32) -> String {
    format!(
        "[destinations.{name}]\nkind = \"webhook\"\nurl = \"{world}/hooks/{name}\"\nlimits = {{ concurrency = {concurrency} }}\n"
    )
}

/// Writes the configuration; the store is `scanbell.db` beside it.
pub fn configure(file: &Path, broker: Option<(&str, &str)>, world: &str, shape: &Shape<'_>) -> Result<(), Failed> {
    let amqp = broker.map_or_else(String::new, |(url, queue)| {
        format!("[amqp]\nurl = \"{url}\"\nqueue = \"{queue}\"\ndead_letter_queue = \"{queue}.dead\"\n")
    });
    let text = format!(
        "[store]\nurl = \"sqlite:scanbell.db\"\n[log]\nfilter = \"warn\"\n{amqp}[providers.sieve]\nbase_url = \"{world}\"\n\
         api_key = \"simulated\"\n{}\n{}",
        shape.provider, shape.rest
    );
    Ok(std::fs::write(file, text)?)
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub async fn start(config: &Path) -> Result<Self, Failed> {
        let listen = free_address()?;
        let folder = config.parent().ok_or("no folder")?;
        let started = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_scanbell"))
            .arg("run")
            .arg("--config")
            .arg(config)
            .env("SCANBELL_SERVER__LISTEN", &listen)
            .current_dir(folder)
            .spawn()?;
        let mut daemon = Self { process, listen, http: Http::new()?, ready_after: Duration::ZERO };
        daemon.http.answers(&format!("http://{}/healthz", daemon.listen)).await?;
        daemon.ready_after = started.elapsed();
        Ok(daemon)
    }

    /// Waits until the broker and all else is there.
    pub async fn wait_until_ready(&self) -> Result<(), Failed> {
        self.http.answers(&format!("http://{}/readyz", self.listen)).await.map(drop)
    }

    /// CPU time so far, in seconds.
    pub fn cpu(&self) -> Result<f64, Failed> {
        machine::cpu_seconds(self.process.id())
    }

    /// Memory now and at its peak, in kB.
    pub fn memory_kb(&self) -> Result<(u64, u64), Failed> {
        machine::memory_kb(self.process.id())
    }

    /// The sum of a metric over all its labels.
    pub async fn metric(&self, name: &str) -> Result<f64, Failed> {
        let text = self.http.text(reqwest::Method::GET, &format!("http://{}/metrics", self.listen), "").await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        Ok(text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Transactions of the store so far, and how many of them were flushed to the disk.
    pub async fn commits(&self) -> Result<(f64, f64), Failed> {
        let name = "scanbell_store_commits_total";
        Ok((self.metric(name).await?, self.metric(&format!("{name}{{result=\"flushed\"}}")).await?))
    }

    /// Ends it as a service manager would.
    pub fn stop(mut self) -> Result<(), Failed> {
        Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status()?;
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { Err(format!("scanbell ended with {status}").into()) }
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<(), Failed> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
