//! `scanbell check`: every problem at once; with `--online` also whether everything answers.

use secrecy::ExposeSecret;

use super::args::CheckArgs;
use super::failure::{Done, Failure};
use super::print;
use crate::app::Plan;
use crate::intake::amqp;
use crate::secret::redact_url;
use crate::store;
use crate::time::Clock;

/// Runs the command on a plan that could be built: the problems of one that could not were shown already.
pub async fn run(plan: &Plan, args: &CheckArgs) -> Done {
    for warning in plan.warnings.iter().chain(&plan.config.nobody_to_tell()) {
        print::note(format!("warning: {warning}"));
    }
    // The daemon would not start.
    if let Some(problem) = plan.config.nothing_to_follow() {
        return Err(problem.into());
    }
    print::line(format!(
        "The configuration is good: {}, {}, {}{}.",
        counted(plan.providers.len(), "provider"),
        counted(plan.destinations.len(), "destination"),
        counted(plan.config.routes.len(), "route"),
        if plan.config.amqp.is_some() { ", a broker" } else { ", no broker" },
    ))?;
    if args.online { online(plan).await } else { Ok(()) }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

async fn online(plan: &Plan) -> Done {
    let now = Clock::real().now();
    let mut failed = 0;
    let mut say = |what: &str, answer: Result<String, String>| {
        let (mark, text) = match &answer {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        failed += u32::from(answer.is_err());
        print::line(format!("{mark}  {what}: {}", print::clean(text)))
    };
    say("store", probe_store(plan).await)?;
    if let Some(settings) = &plan.config.amqp {
        let answer = amqp::probe(settings).await;
        say("broker", answer.map(|waiting| format!("{waiting} requests wait")).map_err(|error| error.to_string()))?;
    }
    for (name, provider) in &plan.providers {
        say(&format!("provider {name}"), provider.probe(now).await)?;
    }
    for (name, destination) in &plan.destinations {
        say(&format!("destination {name}"), destination.probe().await)?;
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Unreachable(format!("{} cannot be used", counted(failed as usize, "part"))))
}

async fn probe_store(plan: &Plan) -> Result<String, String> {
    let url = plan.store.read().map_err(|error| error.to_string())?;
    let url = url.expose_secret();
    store::probe(url).await.map(|()| redact_store(url)).map_err(|error| error.to_string())
}

/// A file's name is no secret; a server's URL may hold one.
fn redact_store(url: &str) -> String {
    if url.starts_with("sqlite:") { url.to_owned() } else { redact_url(url) }
}
