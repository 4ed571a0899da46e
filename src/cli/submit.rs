//! `scanbell submit`: hands requests to a running daemon, or to the broker.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::args::SubmitArgs;
use super::daemon::{Daemon, Reply};
use super::failure::{Done, Failure};
use super::print::{self, field};
use crate::config::Config;
use crate::domain::request::MAX_ENTRIES;
use crate::intake::amqp;
use crate::problem::Problem;

/// The most IDs read from standard input, in bytes.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// Runs the command.
pub async fn run(config: &Config, args: SubmitArgs) -> Done {
    let requests: Vec<Value> = ids(&args.ids)?.iter().map(|id| request(id, &args)).collect();
    match &args.amqp {
        Some(url) => publish(config, url, requests).await,
        None => post(config, &args, requests).await,
    }
}

/// The IDs as given; `-` stands for the lines of standard input.
fn ids(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for id in given {
        if id == "-" {
            let mut text = String::new();
            std::io::stdin().take(MAX_INPUT).read_to_string(&mut text)?;
            ids.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        } else {
            ids.push(id.clone());
        }
    }
    if ids.is_empty() { Err(Failure::No("no scan IDs to submit".to_owned())) } else { Ok(ids) }
}

fn request(id: &str, args: &SubmitArgs) -> Value {
    let mut request = json!({"scan_id": id});
    if let Some(provider) = &args.provider {
        request["provider"] = json!(provider);
    }
    if !args.destinations.is_empty() {
        request["destinations"] = json!(args.destinations);
    }
    if !args.labels.is_empty() {
        request["labels"] = json!(args.labels.iter().cloned().collect::<BTreeMap<_, _>>());
    }
    if let Some(deadline) = args.deadline {
        request["deadline"] = json!(deadline);
    }
    if args.force {
        request["force"] = json!(true);
    }
    request
}

async fn publish(config: &Config, url: &str, requests: Vec<Value>) -> Done {
    let mut settings = match (&config.amqp, url) {
        (Some(settings), _) => settings.clone(),
        (None, "") => {
            return Err(Problem::new("[amqp]", "no broker is configured")
                .hint("say which with --amqp URL, or add an [amqp] table to the configuration")
                .into());
        }
        (None, _) => amqp::Settings::default(),
    };
    if !url.is_empty() {
        settings.url = Some(SecretString::from(url));
        settings.url_file = None;
    }
    let count = requests.len();
    let bodies = requests.into_iter().map(|request| Bytes::from(request.to_string())).collect();
    amqp::publish_requests(&settings, bodies).await.map_err(|error| Failure::Unreachable(error.to_string()))?;
    print::line(format!("{count} published to {}", settings.queue))
}

async fn post(config: &Config, args: &SubmitArgs, requests: Vec<Value>) -> Done {
    let daemon = Daemon::new(config, args.daemon.url.as_deref())?;
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (chunk_number, chunk) in requests.chunks(MAX_ENTRIES.min(1000)).enumerate() {
        let body = Bytes::from(json!(chunk).to_string());
        let reply = daemon.ask(Method::POST, "/v1/requests", body).await?.ok_or_else(|| daemon.not_running())?;
        let (taken, not_taken) = split(reply)?;
        accepted.extend(taken);
        refused.extend(not_taken.into_iter().map(|mut entry| {
            let index = entry.get("index").and_then(Value::as_u64).unwrap_or(0) as usize;
            entry["scan_id"] = chunk.get(index).map_or(Value::Null, |request| request["scan_id"].clone());
            entry["index"] = json!(chunk_number * chunk.len() + index);
            entry
        }));
    }
    show(args.daemon.json, &accepted, &refused)
}

/// The two lists of an answer; an answer that has neither is a failure.
fn split(reply: Reply) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let list = |name: &str| reply.body.get(name).and_then(Value::as_array).cloned();
    match (reply.status, list("accepted"), list("refused")) {
        (200..=299, Some(accepted), refused) => Ok((accepted, refused.unwrap_or_default())),
        (400 | 422, _, Some(refused)) => Ok((Vec::new(), refused)),
        _ => Err(reply
            .good()
            .err()
            .unwrap_or_else(|| Failure::Unreachable("the daemon's answer cannot be read".to_owned()))),
    }
}

fn show(as_json: bool, accepted: &[Value], refused: &[Value]) -> Done {
    if as_json {
        print::json(&json!({"accepted": accepted, "refused": refused}))?;
    } else {
        for entry in accepted {
            print::line(format!(
                "{:<9}  {}  {} {}",
                field(entry, "/state"),
                field(entry, "/id"),
                field(entry, "/provider"),
                field(entry, "/scan_id")
            ))?;
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let lines = refused.iter().map(|entry| {
        format!("refused    {}: {}: {}", field(entry, "/scan_id"), field(entry, "/reason"), field(entry, "/error"))
    });
    Err(Failure::No(lines.collect::<Vec<_>>().join("\n")))
}
