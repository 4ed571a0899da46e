//! `scanbell explain`: which routes match a report, and why.

use super::args::ExplainArgs;
use super::failure::{Done, Failure};
use super::{print, render};
use crate::app::Plan;

/// Runs the command: 1 if nobody would be told.
pub fn run(plan: &Plan, args: &ExplainArgs) -> Done {
    let report = render::read_report(args.report.as_deref())?;
    let routing = plan.router.route(&report);
    if args.json {
        print::json(&routing)?;
    } else {
        let subject = report.subject.name.as_deref().unwrap_or("-");
        print::line(format!(
            "{} · verdict {} · severity {} · {}",
            report.outcome,
            report.verdict,
            report.severity,
            print::clean(subject)
        ))?;
        for step in &routing.steps {
            let mark = if step.matched { "✓" } else { "·" };
            let end = if step.stopped { " (the search ends here)" } else { "" };
            print::line(format!("{mark} {}: {}{end}", print::clean(&step.route), print::clean(&step.why)))?;
        }
        print::line(format!(
            "→ {}",
            if routing.destinations.is_empty() { "nobody".to_owned() } else { routing.destinations.join(", ") }
        ))?;
    }
    if routing.destinations.is_empty() {
        return Err(Failure::No("nobody would be told".to_owned()));
    }
    Ok(())
}
