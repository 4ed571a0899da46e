//! `scanbell submit`: hands requests to a running daemon, or to the broker.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

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
    let requests = requests(&args)?;
    match &args.amqp {
        Some(url) => publish(config, url, requests).await,
        None => post(config, &args, requests).await,
    }
}

/// What is asked for, in any of the forms that AMQP and HTTP take; `-` stands for standard input.
fn requests(args: &SubmitArgs) -> Result<Vec<Value>, Failure> {
    let mut requests = Vec::new();
    for given in &args.ids {
        if given == "-" {
            let mut text = String::new();
            std::io::stdin().take(MAX_INPUT).read_to_string(&mut text)?;
            requests.extend(read_many(&text)?);
        } else {
            requests.extend(read(given)?);
        }
    }
    if requests.is_empty() {
        return Err(Failure::No("no scan IDs to submit".to_owned()));
    }
    Ok(requests.into_iter().map(|request| with_options(request, args)).collect())
}

/// Standard input: one JSON document, or a request in each line.
fn read_many(text: &str) -> Result<Vec<Value>, Failure> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if looks_like_json(text) && serde_json::from_str::<Value>(text).is_ok() {
        return read(text);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(read).collect::<Result<Vec<_>, _>>()?.concat())
}

/// The requests in one text: what begins like JSON is JSON, anything else is a bare ID.
fn read(text: &str) -> Result<Vec<Value>, Failure> {
    if !looks_like_json(text) {
        return Ok(vec![json!({"scan_id": text})]);
    }
    let value = serde_json::from_str(text).map_err(|error| {
        Problem::new("<ID>", format!("begins like JSON and is none: {error}"))
            .hint("an ID, a JSON string, an object with `scan_id`, or an array of these")
    })?;
    Ok(match value {
        Value::Array(entries) => entries,
        // One event for several requests: in the array that is sent, each stands for itself.
        Value::Object(mut event) if is_event(&event) && event["data"].is_array() => match event["data"].take() {
            Value::Array(entries) => entries,
            other => vec![other],
        },
        one => vec![one],
    })
}

fn is_event(object: &Map<String, Value>) -> bool {
    object.contains_key("specversion") && object.contains_key("data")
}

fn looks_like_json(text: &str) -> bool {
    text.starts_with(['{', '[', '"'])
}

/// The options, where the request does not say otherwise itself. What is neither a string nor an object is for the
/// daemon to judge.
fn with_options(request: Value, args: &SubmitArgs) -> Value {
    match request {
        Value::String(id) => with_options(json!({"scan_id": id}), args),
        Value::Object(mut event) if is_event(&event) => {
            let data = event["data"].take();
            event.insert("data".to_owned(), with_options(data, args));
            Value::Object(event)
        }
        Value::Object(mut fields) => {
            for (name, value) in options(args) {
                fields.entry(name).or_insert(value);
            }
            Value::Object(fields)
        }
        other => other,
    }
}

/// The options that were given, as fields of a request.
fn options(args: &SubmitArgs) -> Vec<(&'static str, Value)> {
    let labels: BTreeMap<_, _> = args.labels.iter().cloned().collect();
    let given = [
        ("provider", args.provider.as_ref().map(|provider| json!(provider))),
        ("destinations", (!args.destinations.is_empty()).then(|| json!(args.destinations))),
        ("labels", (!labels.is_empty()).then(|| json!(labels))),
        ("deadline", args.deadline.map(|deadline| json!(deadline))),
        ("force", args.force.then_some(Value::Bool(true))),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
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
            entry["scan_id"] = chunk.get(index).map_or(Value::Null, shown);
            entry["index"] = json!(chunk_number * chunk.len() + index);
            entry
        }));
    }
    show(args.daemon.json, &accepted, &refused)
}

/// What a refused request is called: its ID, or else the whole of it.
fn shown(request: &Value) -> Value {
    let names = ["scan_id", "scanId", "job_id"].map(|name| request.get(name));
    names.into_iter().flatten().find(|id| id.is_string()).unwrap_or(request).clone()
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

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SubmitArgs,
    }

    fn asked(line: &[&str]) -> Vec<Value> {
        let line = Line::parse_from([&["submit"][..], line].concat());
        requests(&line.args).unwrap()
    }

    #[test]
    fn submit_takes_the_forms_that_amqp_and_http_take() {
        assert_eq!(asked(&["abc", "\"abc\""]), [json!({"scan_id": "abc"}), json!({"scan_id": "abc"})]);
        assert_eq!(asked(&[r#"{"scan_id":"a","force":true}"#]), [json!({"scan_id": "a", "force": true})]);
        assert_eq!(asked(&[r#"["a",{"job_id":"b"},7]"#]), [json!({"scan_id": "a"}), json!({"job_id": "b"}), json!(7)]);
        let event = |data: Value| json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": data});
        assert_eq!(asked(&[&event(json!("a")).to_string()]), [event(json!({"scan_id": "a"}))]);
        assert_eq!(asked(&[&event(json!(["a", "b"])).to_string()]).len(), 2);
    }

    #[test]
    fn options_of_submit_fill_in_what_a_request_does_not_say() {
        let line = ["--provider", "enkrypt", "--force", r#"{"scan_id":"a","provider":"sieve"}"#, "b"];
        let expected = [
            json!({"scan_id": "a", "provider": "sieve", "force": true}),
            json!({"scan_id": "b", "provider": "enkrypt", "force": true}),
        ];
        assert_eq!(asked(&line), expected);
    }

    #[test]
    fn standard_input_of_submit_is_one_document_or_a_request_in_each_line() {
        let document = "[\n  \"a\",\n  {\"scan_id\": \"b\"}\n]\n";
        assert_eq!(read_many(document).unwrap(), [json!("a"), json!({"scan_id": "b"})]);
        let lines = "a\n\n{\"scan_id\":\"b\"}\r\n\"c\"\n";
        assert_eq!(read_many(lines).unwrap(), [json!({"scan_id": "a"}), json!({"scan_id": "b"}), json!("c")]);
        assert!(read_many("{\"scan_id\":").is_err());
    }
}
