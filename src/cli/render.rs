//! `scanbell render`: the exact bytes that a destination would be sent.

use std::io::Read;
use std::path::Path;

use uuid::Uuid;

use super::args::RenderArgs;
use super::failure::{Done, Failure};
use super::print;
use crate::app::Plan;
use crate::domain::notification::Notification;
use crate::domain::report::Report;
use crate::problem::Problem;
use crate::render::sample_report;
use crate::time::Clock;

/// The largest report that is read.
const MAX_REPORT: u64 = 16 * 1024 * 1024;

/// Runs the command.
pub fn run(plan: &Plan, args: &RenderArgs) -> Done {
    let destination = plan.destination(&args.destination)?;
    let report = read_report(args.report.as_deref())?;
    let (id, now) = (Uuid::now_v7(), Clock::real().now());
    let rendered = plan.renderer.report(&args.destination, &report, id, now);
    let notification = Notification {
        id,
        scan: Some(report.id),
        destination: args.destination.clone(),
        created_at: now,
        content: rendered.content,
    };
    let bytes = destination.bytes(&notification).map_err(Failure::No)?;
    print::bytes(&bytes)?;
    if !bytes.ends_with(b"\n") {
        print::note("");
    }
    match rendered.fallback {
        None => Ok(()),
        Some(why) => {
            Err(Failure::No(format!("the template failed, and the plain message would be sent instead: {why}")))
        }
    }
}

/// A report from a file or standard input: itself, or what carries one (a scan of the API, a webhook's body).
pub fn read_report(path: Option<&Path>) -> Result<Report, Failure> {
    let Some(path) = path else { return Ok(sample_report()) };
    let place = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_REPORT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_REPORT).read_to_string(&mut text))
    };
    read.map_err(|error| Problem::new(&place, error.to_string()))?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| Problem::new(&place, format!("is not JSON: {error}")))?;
    for wrapper in ["report", "data"] {
        if let Some(inner) = value.get_mut(wrapper).filter(|inner| inner.is_object()) {
            value = inner.take();
        }
    }
    // Through text: `raw` is kept as it is written, which only the parser of text can do.
    serde_json::from_str(&value.to_string()).map_err(|error| {
        Problem::new(&place, format!("is not a report: {error}"))
            .hint("`scanbell scans show ID --json` prints one under `report`")
            .into()
    })
}
