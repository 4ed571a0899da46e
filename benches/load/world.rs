//! The simulator as a process of its own, so that its CPU time is its own.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::http::{Http, free_address};
use super::{Failed, machine};

/// How often it is asked how much has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The running simulator.
pub struct World {
    process: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// `smtp://127.0.0.1:PORT`
    pub smtp: String,
    http: Http,
}

/// One notification as it arrived, and the scan it speaks of as the provider knows it. Times are milliseconds.
pub struct Told {
    /// Which hook.
    pub hook: String,
    /// When it arrived first.
    pub at: i64,
    /// How often it arrived.
    pub count: u64,
    /// When the scan was over at the provider.
    pub over: i64,
    /// When the provider first said so.
    pub said: i64,
    /// How often it was polled.
    pub polls: u64,
}

impl World {
    /// Every scan ends clean after `takes`, and up to `spread` longer.
    pub async fn start(takes: &str, spread: &str) -> Result<Self, Failed> {
        let (api, smtp) = (free_address()?, free_address()?);
        let process = Command::new(env!("CARGO_BIN_EXE_scanbell"))
            .args(["simulate", "--listen", &api, "--smtp", &smtp, "--count-only", "--usual", "clean"])
            .args(["--takes", takes, "--spread", spread])
            .stdout(Stdio::null())
            .spawn()?;
        let world = Self { process, url: format!("http://{api}"), smtp: format!("smtp://{smtp}"), http: Http::new()? };
        world.http.answers(&format!("{}/_sim/summary", world.url)).await?;
        Ok(world)
    }

    /// CPU time so far, in seconds.
    pub fn cpu(&self) -> Result<f64, Failed> {
        machine::cpu_seconds(self.process.id())
    }

    /// Forgets what arrived.
    pub async fn forget(&self) -> Result<(), Failed> {
        self.http.text(Method::DELETE, &format!("{}/_sim/received", self.url), "").await.map(drop)
    }

    /// One destination answers so slowly.
    pub async fn slow(&self, hook: &str, each: Duration, times: usize) -> Result<(), Failed> {
        let body = format!(r#"{{"answers":[{{"status":200,"delay_ms":{},"repeat":{times}}}]}}"#, each.as_millis());
        self.http.text(Method::PUT, &format!("{}/_sim/destinations/{hook}", self.url), &body).await.map(drop)
    }

    /// Polls so far.
    pub async fn polls(&self) -> Result<u64, Failed> {
        let summary = self.http.get(&format!("{}/_sim/summary", self.url)).await?;
        Ok(summary["polls"].as_u64().unwrap_or(0))
    }

    /// Messages taken so far by the hooks of these names; all if there are none.
    pub async fn taken(&self, hooks: &[&str]) -> Result<u64, Failed> {
        let summary = self.http.get(&format!("{}/_sim/summary", self.url)).await?;
        let all = summary["destinations"].as_array().cloned().unwrap_or_default();
        let wanted = all.iter().filter(|one| hooks.is_empty() || hooks.iter().any(|hook| one["name"] == **hook));
        Ok(wanted.filter_map(|one| one["accepted"].as_u64()).sum())
    }

    /// Waits until so many were taken.
    pub async fn wait_for(&self, hooks: &[&str], wanted: u64, at_most: Duration) -> Result<(), Failed> {
        let started = Instant::now();
        loop {
            let taken = self.taken(hooks).await?;
            if taken >= wanted {
                return Ok(());
            }
            if started.elapsed() > at_most {
                return Err(format!("only {taken} of {wanted} arrived within {at_most:?}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Everything that arrived at webhooks, with what the provider knows of its scan.
    pub async fn told(&self) -> Result<Vec<Told>, Failed> {
        let polls = self.http.get(&format!("{}/_sim/polls", self.url)).await?;
        let by_scan: HashMap<&str, &Value> =
            polls.as_array().into_iter().flatten().filter_map(|scan| Some((scan["scan_id"].as_str()?, scan))).collect();
        let arrivals = self.http.get(&format!("{}/_sim/arrivals", self.url)).await?;
        let told = arrivals.as_array().into_iter().flatten().filter_map(|arrival| {
            let scan = by_scan.get(arrival["scan_id"].as_str()?)?;
            Some(Told {
                hook: arrival["name"].as_str()?.to_owned(),
                at: arrival["at_ms"].as_i64()?,
                count: arrival["count"].as_u64()?,
                over: scan["over_ms"].as_i64()?,
                said: scan["ended_ms"].as_i64()?,
                polls: scan["polls"].as_u64()?,
            })
        });
        Ok(told.collect())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
