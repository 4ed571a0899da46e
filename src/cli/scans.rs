//! `scanbell scans list|show`.

use serde_json::Value;

use super::args::{ScansCommand, ScansListArgs, ShowArgs};
use super::failure::{Done, Failure};
use super::print;
use super::records::Records;
use crate::api::query;
use crate::config::Config;

/// Runs the command.
pub async fn run(config: &Config, command: ScansCommand) -> Done {
    match command {
        ScansCommand::List(args) => list(config, args).await,
        ScansCommand::Show(args) => show(config, args).await,
    }
}

async fn list(config: &Config, args: ScansListArgs) -> Done {
    let limit = args.page.limit.to_string();
    let query = [
        ("state", args.state.as_deref()),
        ("provider", args.provider.as_deref()),
        ("outcome", args.outcome.as_deref()),
        ("scan_id", args.scan_id.as_deref()),
        ("limit", Some(limit.as_str())),
        ("cursor", args.page.cursor.as_deref()),
    ];
    let filter = query::scans(&super::encode(&query)).map_err(|problem| super::usage(&problem))?;
    let page = Records::find(config, &args.page.daemon).await?.scans(&query, filter).await?;
    super::show_page(
        &page,
        args.page.daemon.json,
        &["id", "provider", "scan id", "state", "outcome", "verdict", "severity", "subject"],
        |row| {
            [
                "/id",
                "/provider",
                "/scan_id",
                "/state",
                "/outcome",
                "/report/verdict",
                "/report/severity",
                "/report/subject/name",
            ]
            .iter()
            .map(|pointer| print::field(row, pointer))
            .collect()
        },
    )
}

async fn show(config: &Config, args: ShowArgs) -> Done {
    let records = Records::find(config, &args.daemon).await?;
    let scan = records
        .scan(&args.id)
        .await?
        .ok_or_else(|| Failure::No(format!("there is no scan {}", print::clean(&args.id))))?;
    if args.daemon.json {
        return print::json(&scan);
    }
    for (name, pointer) in [
        ("id", "/id"),
        ("provider", "/provider"),
        ("scan id", "/scan_id"),
        ("state", "/state"),
        ("requested", "/requested_at"),
        ("next poll", "/next_poll_at"),
        ("deadline", "/deadline_at"),
        ("polls", "/polls"),
    ] {
        print::line(format!("{name:<11} {}", print::field(&scan, pointer)))?;
    }
    match scan.get("report") {
        None | Some(Value::Null) => Ok(()),
        Some(report) => super::report::print(report),
    }
}
