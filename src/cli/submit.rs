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
use crate::domain::request::MAX_BYTES;
use crate::intake::amqp;
use crate::problem::Problem;

/// The most IDs read from standard input, in bytes.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// The most requests handed over at once: far below what one message may hold, so that an answer comes soon.
const ENTRIES: usize = 1000;

/// Runs the command.
pub async fn run(config: &Config, mut args: SubmitArgs) -> Done {
    id_after_amqp(&mut args);
    if args.ids.is_empty() {
        return Err(Problem::new("arguments", "no scan ID is given").hint("scanbell submit ID --amqp").into());
    }
    let requests: Vec<Value> = ids(&args.ids)?.iter().map(|id| request(id, &args)).collect();
    match &args.amqp {
        Some(url) => publish(config, url, requests).await,
        None => post(config, &args, requests).await,
    }
}

/// `--amqp` takes a URL or none: in `submit --amqp ID` what follows it is the first ID.
fn id_after_amqp(args: &mut SubmitArgs) {
    if let Some(word) = args.amqp.take_if(|word| !word.is_empty() && !word.contains("://")) {
        args.ids.insert(0, word);
        args.amqp = Some(String::new());
    }
}

/// The IDs as given; `-` stands for the lines of standard input.
fn ids(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for id in given {
        if id == "-" {
            let text = standard_input()?;
            ids.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        } else {
            ids.push(id.clone());
        }
    }
    if ids.is_empty() { Err(Failure::No("no scan IDs to submit".to_owned())) } else { Ok(ids) }
}

fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().take(MAX_INPUT + 1).read_to_end(&mut bytes)?;
    let wrong = |fact: &str| Problem::new("standard input", fact).hint("write one scan ID a line, as UTF-8 text");
    if bytes.len() as u64 > MAX_INPUT {
        return Err(wrong("is larger than 64 MiB").into());
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not text").into())
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
    let problems = settings.check(if url.is_empty() { "[amqp]" } else { "--amqp" });
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let count = requests.len();
    let bodies = requests.into_iter().map(|request| Bytes::from(request.to_string())).collect();
    amqp::publish_requests(&settings, bodies).await.map_err(|error| Failure::Unreachable(error.to_string()))?;
    print::line(format!("{count} published to {}", settings.queue))
}

async fn post(config: &Config, args: &SubmitArgs, requests: Vec<Value>) -> Done {
    let daemon = Daemon::new(config, args.daemon.url.as_deref())?;
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    let mut before = 0;
    for chunk in messages(&requests) {
        let body = Bytes::from(json!(chunk).to_string());
        let reply = daemon.ask(Method::POST, "/v1/requests", body).await?.ok_or_else(|| daemon.not_running())?;
        let (taken, not_taken) = split(reply)?;
        accepted.extend(taken);
        refused.extend(not_taken.into_iter().map(|mut entry| {
            let index = entry.get("index").and_then(Value::as_u64).unwrap_or(0) as usize;
            entry["scan_id"] = chunk.get(index).map_or(Value::Null, |request| request["scan_id"].clone());
            entry["index"] = json!(before + index);
            entry
        }));
        before += chunk.len();
    }
    show(args.daemon.json, &accepted, &refused)
}

/// The requests in order, cut where a message would have too many entries or bytes.
fn messages(requests: &[Value]) -> Vec<&[Value]> {
    let mut messages = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, request) in requests.iter().enumerate() {
        // With the comma behind it.
        let more = request.to_string().len() + 1;
        if at > start && (at - start == ENTRIES || size + more > MAX_BYTES - 2) {
            messages.push((start, at));
            (start, size) = (at, 0);
        }
        size += more;
    }
    messages.push((start, requests.len()));
    messages.into_iter().filter_map(|(from, to)| requests.get(from..to)).collect()
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    #[test]
    fn an_id_after_amqp_is_an_id_and_no_url() {
        let read = |words: &[&str]| {
            let cli = Cli::try_parse_from([&["scanbell", "submit"], words].concat()).unwrap();
            let Command::Submit(mut args) = cli.command else { panic!("another command") };
            id_after_amqp(&mut args);
            (args.ids, args.amqp)
        };
        let default = Some(String::new());
        assert_eq!(read(&["--amqp", "a"]), (vec!["a".to_owned()], default.clone()));
        assert_eq!(read(&["--amqp", "a", "b"]), (vec!["a".to_owned(), "b".to_owned()], default.clone()));
        assert_eq!(read(&["a", "--amqp"]), (vec!["a".to_owned()], default));
        assert_eq!(read(&["--amqp", "amqp://h", "a"]), (vec!["a".to_owned()], Some("amqp://h".to_owned())));
        assert_eq!(read(&["a"]), (vec!["a".to_owned()], None));
    }

    #[test]
    fn many_ids_become_messages_that_the_daemon_takes_and_none_is_left_out() {
        let label = "x".repeat(2000);
        let requests: Vec<Value> =
            (0..2500).map(|id| json!({"scan_id": id.to_string(), "labels": {"l": label}})).collect();
        let messages = messages(&requests);
        assert_eq!(messages.concat(), requests);
        assert!(messages.iter().all(|message| json!(message).to_string().len() <= MAX_BYTES));
        let small: Vec<Value> = (0..2500).map(|id| json!(id)).collect();
        assert_eq!(super::messages(&small).iter().map(|message| message.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
    }
}
