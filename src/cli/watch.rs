//! `scanbell watch`: follows one scan in the foreground, without store and daemon.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::args::WatchArgs;
use super::failure::{Done, Failure};
use super::print;
use crate::app::Plan;
use crate::domain::report::{Facts, Report, Severity, Verdict};
use crate::domain::scan::{self, Next, Observation, Outcome, Tracking};
use crate::problem::{Problem, did_you_mean};
use crate::provider::{Provider, Seen};
use crate::time::{Clock, after, chance, until};
use crate::watch::report;

/// Runs the command.
pub async fn run(plan: &Plan, args: WatchArgs) -> Done {
    let provider = choose(plan, args.provider.as_deref())?;
    provider.check_id(&args.id).map_err(|why| Problem::new("ID", why))?;
    let progress = Progress::new(&args.id);
    let report = follow(plan, provider, &args, &progress).await?;
    progress.end();
    show(&report, args.json)?;
    verdict(&report, args.fail_on)
}

fn choose<'a>(plan: &'a Plan, named: Option<&str>) -> Result<&'a Provider, Failure> {
    let Some(name) = named.or(plan.default_provider()) else {
        let hint = format!("name one with --provider; {}", did_you_mean("", plan.providers.keys().map(String::as_str)));
        return Err(Problem::new("--provider", "several providers are configured, or none").hint(hint).into());
    };
    plan.providers.get(name).map(AsRef::as_ref).ok_or_else(|| {
        Problem::new("--provider", format!("no provider `{name}` is configured"))
            .hint(did_you_mean(name, plan.providers.keys().map(String::as_str)))
            .into()
    })
}

async fn follow(plan: &Plan, provider: &Provider, args: &WatchArgs, progress: &Progress) -> Result<Report, Failure> {
    let clock = Clock::real();
    let requested_at = clock.now();
    let deadline = args.deadline.map_or(provider.pace().deadline, |span| span.0);
    let mut tracking = Tracking { deadline_at: after(requested_at, deadline), polls: 0, not_found_since: None };
    loop {
        let seen = provider.poll(&args.id, clock.now()).await;
        if seen.observation == Observation::Unauthorized {
            return Err(Failure::Unreachable(format!("{} refuses the key: {}", provider.name(), seen.detail)));
        }
        let now = clock.now();
        match scan::next(provider.pace(), tracking, &seen.observation, now, chance()) {
            Next::Poll { at, tracking: next } => {
                progress.poll(next.polls, &seen, until(requested_at, now));
                tracking = next;
                tokio::time::sleep(until(now, at)).await;
            }
            Next::Finish(outcome) => {
                let facts = Facts {
                    id: Uuid::now_v7(),
                    provider: provider.name().to_owned(),
                    scan_id: args.id.clone(),
                    outcome,
                    requested_at,
                    finished_at: now,
                    polls: tracking.polls + 1,
                };
                return Ok(report(provider, facts, seen, plan.config.report.raw_limit.0 as u64));
            }
        }
    }
}

fn show(report: &Report, as_json: bool) -> Done {
    if as_json {
        return print::json(report);
    }
    let value = serde_json::to_value(report).map_err(|error| Failure::Bug(error.to_string()))?;
    super::report::print(&value)
}

/// The exit code that the report stands for.
fn verdict(report: &Report, fail_on: Option<Severity>) -> Done {
    match report.outcome {
        Outcome::Completed if fail_on.is_some_and(|threshold| found_at_least(report, threshold)) => {
            Err(Failure::Own(3))
        }
        Outcome::Completed => Ok(()),
        Outcome::Failed | Outcome::Unsupported | Outcome::NotFound => Err(Failure::Own(4)),
        Outcome::TimedOut => Err(Failure::Own(5)),
    }
}

/// A clean scan found nothing, whatever its severity says; a threat of unknown severity is no reason to pass.
fn found_at_least(report: &Report, threshold: Severity) -> bool {
    match (report.verdict, report.severity) {
        (Verdict::Clean, _) => false,
        (Verdict::Threat, Severity::Unknown) => true,
        (_, severity) => severity >= threshold,
    }
}

/// A spinner on a terminal, plain lines elsewhere; both on stderr, so that stdout is the report alone.
struct Progress {
    bar: Option<ProgressBar>,
    id: String,
}

impl Progress {
    fn new(id: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(format!("{}: first poll", print::clean(id)));
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, id: print::clean(id) }
    }

    fn poll(&self, polls: u32, seen: &Seen, elapsed: Duration) {
        let what = print::clean(seen.status.as_deref().unwrap_or(&seen.detail));
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {what}, poll {polls}", self.id)),
            None => print::note(format!("{}: {what}, poll {polls}, {} s", self.id, elapsed.as_secs())),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict, severity: Severity) -> Report {
        Report { verdict, severity, ..crate::render::sample_report() }
    }

    #[test]
    fn fail_on_counts_findings_and_not_severity_words_of_clean_scans() {
        assert!(!found_at_least(&report(Verdict::Clean, Severity::Low), Severity::Low));
        assert!(found_at_least(&report(Verdict::Threat, Severity::High), Severity::High));
        assert!(!found_at_least(&report(Verdict::Suspicious, Severity::Medium), Severity::High));
        assert!(found_at_least(&report(Verdict::Threat, Severity::Unknown), Severity::Critical));
    }
}
