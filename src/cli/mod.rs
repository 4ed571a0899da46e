//! The command line: one file per command. Reads arguments, calls a room, prints, chooses the exit code.

pub mod args;
mod check;
mod daemon;
mod deliveries;
mod demo;
mod explain;
mod failure;
mod healthcheck;
mod print;
mod records;
mod render;
mod report;
mod run;
mod scans;
mod send_test;
mod simulate;
mod submit;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use crate::api::ApiProblem;
use crate::app::Plan;
use crate::config::{self, Config, Draft, LoadOptions};
use crate::problem::Problem;
use args::{Cli, Command};
use failure::{Done, Failure};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match std::panic::catch_unwind(|| start(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            let text = failure.to_string();
            if !text.is_empty() {
                print::note(text);
            }
            ExitCode::from(failure.code())
        }
        Err(_) => ExitCode::from(Failure::Bug(String::new()).code()),
    }
}

fn start(cli: Cli) -> Done {
    crate::egress::install_tls();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(cli.command, Command::Run) && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        runtime.worker_threads(beside_the_store());
    }
    let runtime = runtime.enable_all().build()?;
    let done = runtime.block_on(dispatch(cli));
    // A connection or a render that hangs must not keep a finished command.
    runtime.shutdown_background();
    done
}

/// How many threads the daemon works on. The store writes on one of its own, which gets a processor; and two that hand
/// each other little things cost more in waking and in locks of the allocator than they gain.
fn beside_the_store() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

async fn dispatch(cli: Cli) -> Done {
    let file = cli.config;
    match cli.command {
        Command::Run => run::run(plan(file)?).await,
        Command::Check(args) => check::run(&plan(file)?, &args).await,
        Command::Submit(args) => submit::run(&configuration(file)?, args).await,
        Command::Watch(args) => watch::run(&plan(file)?, args).await,
        Command::Render(args) => render::run(&plan(file)?, &args),
        Command::SendTest(args) => send_test::run(&plan(file)?, &args).await,
        Command::Explain(args) => explain::run(&plan(file)?, &args),
        Command::Scans(command) => scans::run(&configuration(file)?, command).await,
        Command::Deliveries(command) => deliveries::run(&configuration(file)?, command).await,
        Command::Simulate(args) => simulate::run(&args).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Schema => print::json(&config::schema()),
        Command::Completions { shell } => completions(shell),
        Command::Healthcheck => healthcheck::run(&configuration(file)?).await,
    }
}

fn completions(shell: clap_complete::Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "scanbell", &mut script);
    print::bytes(&script)
}

/// Reads the configuration, or says all that is wrong with it.
fn configuration(file: Option<PathBuf>) -> Result<Config, Failure> {
    Ok(config::load(&LoadOptions::of_process(file))?.config)
}

/// Reads the configuration and builds everything it describes, or says all that is wrong with both.
fn plan(file: Option<PathBuf>) -> Result<Plan, Failure> {
    let draft = Draft::of(&LoadOptions::of_process(file))?;
    match Plan::build(draft.config.clone(), &draft.destination_names) {
        Ok(mut plan) if draft.problems.is_empty() => {
            plan.warnings = plan.warnings.into_iter().map(|warning| draft.places.located_one(warning)).collect();
            plan.warnings.splice(0..0, draft.warnings);
            Ok(plan)
        }
        Ok(_) => Err(draft.problems.into()),
        Err(more) => Err(draft.all_problems(&more).into()),
    }
}

/// Query parameters as a query string.
fn encode(query: &[(&str, Option<&str>)]) -> String {
    let mut encoded = url::form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(query.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
    encoded.finish()
}

/// A wrong filter on the command line, in the words of the API.
fn usage(problem: &ApiProblem) -> Failure {
    Problem::new("arguments", problem.detail().replace("query parameter ", "").replace('_', "-")).into()
}

/// Prints a page of a list; 1 if nothing was found.
fn show_page(page: &Value, as_json: bool, head: &[&str], row: impl Fn(&Value) -> Vec<String>) -> Done {
    let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if as_json {
        print::json(page)?;
    } else if !items.is_empty() {
        print::table(head, items.iter().map(row))?;
        if let Some(next) = page.get("next").and_then(Value::as_str) {
            print::line(format!("more with --cursor {next}"))?;
        }
    }
    if items.is_empty() { Err(Failure::No("nothing found".to_owned())) } else { Ok(()) }
}
