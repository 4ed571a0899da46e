//! Load runs: scanbell as a process of its own, between a real RabbitMQ and the simulator, beside the leanest program
//! that does the same without durability. `scripts/bench` starts the broker and calls this.
//!
//! Ratios within one run are the result; absolute figures belong to the machine they were taken on.

mod bare;
mod broker;
mod daemon;
mod http;
mod machine;
mod numbers;
mod scenarios;
mod world;

use std::io::Write;

use serde_json::{Value, json};

/// What anything here may fail with.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What a run is asked for.
#[derive(Debug, Clone)]
struct Plan {
    broker: String,
    quick: bool,
    only: Vec<String>,
    scans: Option<usize>,
    json: Option<String>,
}

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    scanbell::egress::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.first().is_some_and(|word| word == "bare") {
        return runtime.block_on(bare::main(&args));
    }
    let Some(broker) = value("--amqp") else {
        // `cargo test --benches` runs this too: there is nothing to measure without a broker.
        println!("no --amqp URL: run scripts/bench");
        return Ok(());
    };
    let plan = Plan {
        broker,
        quick: args.iter().any(|arg| arg == "--quick"),
        only: value("--only").map(|words| words.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        scans: value("--scans").map(|text| text.parse()).transpose()?,
        json: value("--json"),
    };
    runtime.block_on(run(&plan))
}

async fn run(plan: &Plan) -> Result<(), Failed> {
    let mut results = serde_json::Map::new();
    for name in scenarios::NAMES {
        if !plan.only.is_empty() && !plan.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("{name} …");
        let result = scenarios::run(name, plan).await?;
        numbers::table(name, &result);
        std::io::stdout().flush()?;
        results.insert(name.to_owned(), result);
    }
    let all: Value =
        json!({"quick": plan.quick, "cores": std::thread::available_parallelism()?.get(), "results": results});
    match &plan.json {
        Some(file) => std::fs::write(file, serde_json::to_string_pretty(&all)?)?,
        None => println!("{}", serde_json::to_string(&all)?),
    }
    Ok(())
}
