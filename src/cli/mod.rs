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
    let threads = threads(std::env::var(THREADS).ok().as_deref(), matches!(cli.command, Command::Run))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let done = runtime.block_on(dispatch(cli));
    // A connection or a render that hangs must not keep a finished command.
    runtime.shutdown_background();
    done
}

/// Sets how many threads work. The runtime's own name for it; read here, for the runtime panics where it makes no sense.
const THREADS: &str = "TOKIO_WORKER_THREADS";
/// More than any machine has a use for.
const MOST_THREADS: usize = 256;

/// One for each processor. The daemon leaves one to the thread that writes the store: threads that hand each other little
/// things cost more in waking and in locks of the allocator than they gain.
fn threads(wanted: Option<&str>, is_daemon: bool) -> Result<usize, Problem> {
    match wanted.map(|text| text.trim().parse()) {
        Some(Ok(count @ 1..=MOST_THREADS)) => Ok(count),
        Some(_) => Err(Problem::new(THREADS, format!("it is not a number from 1 to {MOST_THREADS}"))
            .hint("write how many threads are to work, or unset it")),
        None => {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            Ok(processors.saturating_sub(usize::from(is_daemon)).clamp(1, MOST_THREADS))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_threads_that_makes_no_sense_is_a_problem_and_no_panic() {
        assert_eq!(threads(Some(" 3 "), true).unwrap(), 3);
        for wrong in ["0", "-1", "many", "", "257", "99999999999999999999"] {
            assert_eq!(threads(Some(wrong), true).unwrap_err().place, THREADS, "{wrong}");
        }
        let (all, daemon) = (threads(None, false).unwrap(), threads(None, true).unwrap());
        assert!(daemon >= 1 && (daemon == all - 1 || all == 1), "one is left to the store: {daemon} of {all}");
    }
}
