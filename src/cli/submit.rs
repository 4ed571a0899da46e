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
    let requests = requests(&args)?;
    match &args.amqp {
        Some(url) => publish(config, url, requests).await,
        None => post(config, &args, requests).await,
    }
}

/// `--amqp` takes a URL or none: in `submit --amqp ID` what follows it is the first ID.
fn id_after_amqp(args: &mut SubmitArgs) {
    let is_url = |word: &str| word.is_empty() || (word.contains("://") && !looks_like_json(word));
    if let Some(word) = args.amqp.take_if(|word| !is_url(word)) {
        args.ids.insert(0, word);
        args.amqp = Some(String::new());
    }
}

/// What is asked for, in any of the forms that AMQP and HTTP take; `-` stands for standard input.
fn requests(args: &SubmitArgs) -> Result<Vec<Value>, Failure> {
    let mut requests = Vec::new();
    for given in &args.ids {
        if given == "-" {
            requests.extend(read_many(&standard_input()?)?);
        } else {
            requests.extend(read(given)?);
        }
    }
    if requests.is_empty() {
        return Err(Failure::No("no scan IDs to submit".to_owned()));
    }
    Ok(requests.into_iter().map(|request| with_options(request, args)).collect())
}

fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().take(MAX_INPUT + 1).read_to_end(&mut bytes)?;
    let wrong =
        |fact: &str| Problem::new("standard input", fact).hint("write one scan ID a line, or JSON, as UTF-8 text");
    if bytes.len() as u64 > MAX_INPUT {
        return Err(wrong("is larger than 64 MiB").into());
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not text").into())
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
            entry["scan_id"] = chunk.get(index).map_or(Value::Null, shown);
            entry["index"] = json!(before + index);
            entry
        }));
        before += chunk.len();
    }
    show(args.daemon.json, &accepted, &refused)
}

/// What a refused request is called: its ID, or else the whole of it.
fn shown(request: &Value) -> Value {
    let names = ["scan_id", "scanId", "job_id"].map(|name| request.get(name));
    names.into_iter().flatten().find(|id| id.is_string()).unwrap_or(request).clone()
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
        let json = r#"{"scan_id":"a","labels":{"from":"https://ci"}}"#;
        assert_eq!(read(&["--amqp", json]), (vec![json.to_owned()], Some(String::new())));
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
