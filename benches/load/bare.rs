//! The bare reference: the leanest loop with the same libraries. Consumes, asks until finished, formats, posts to the
//! same two destinations, acknowledges. No store, no retries, no templates: what it has in hand dies with it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::{Failed, machine};

/// As many polls at once as scanbell makes by default.
const AT_ONCE: usize = 64;
/// As much prefetched as scanbell prefetches by default.
const PREFETCH: u16 = 256;

/// `bare BROKER QUEUE WORLD SCANS PAUSE_MS`; prints its own CPU time and peak memory as JSON.
pub async fn main(args: &[String]) -> Result<(), Failed> {
    let [_, broker, queue, world, scans, pause, ..] = args else {
        return Err("bare BROKER QUEUE WORLD SCANS PAUSE_MS".into());
    };
    let (scans, pause): (usize, u64) = (scans.parse()?, pause.parse()?);
    let connection = Connection::connect(broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    // Where scans take their time, all that wait are in memory and unacknowledged: that is what being bare means.
    let (at_once, prefetch) = if pause == 0 { (AT_ONCE, PREFETCH) } else { (usize::MAX, u16::MAX) };
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(
        queue.as_str().into(),
        "bare".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let http = Arc::new(client()?);
    consumer
        .await?
        .take(scans)
        .for_each_concurrent(Some(at_once), |delivery| {
            let http = http.clone();
            async move {
                let Ok(delivery) = delivery else { return };
                let id = String::from_utf8_lossy(&delivery.data).into_owned();
                if let Err(error) = follow(&http, world, &id, Duration::from_millis(pause)).await {
                    eprintln!("bare: {error}");
                }
                let _ = delivery.ack(BasicAckOptions::default()).await;
            }
        })
        .await;
    let me = std::process::id();
    println!("{}", json!({"cpu": machine::cpu_seconds(me)?, "peak_kb": machine::memory_kb(me)?.1}));
    Ok(())
}

async fn follow(http: &reqwest::Client, world: &str, id: &str, pause: Duration) -> Result<(), reqwest::Error> {
    let body = loop {
        let answer = http.get(format!("{world}/api/scans/{id}")).header("X-API-Key", "simulated").send().await?;
        let body = answer.text().await?;
        if body.contains(r#""status":"completed""#) {
            break body;
        }
        tokio::time::sleep(pause).await;
    };
    let post = |hook: &'static str| {
        let message = format!(r#"{{"type":"scan.completed","data":{{"scan_id":"{id}","raw":{body}}}}}"#);
        http.post(format!("{world}/hooks/{hook}"))
            .header("content-type", "application/json")
            .header("webhook-id", format!("{id}-{hook}"))
            .body(message)
            .send()
    };
    let (first, second) = futures::join!(post("first"), post("second"));
    first?;
    second?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the reference is not scanbell, and has no room to keep to")]
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().build()
}
