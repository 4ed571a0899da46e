//! `scanbell deliveries list|show|replay`.

use serde_json::{Value, json};

use super::args::{DeliveriesCommand, DeliveriesListArgs, DeliveryFilterArgs, ReplayArgs, ShowArgs};
use super::failure::{Done, Failure};
use super::print;
use super::records::Records;
use crate::api::query;
use crate::config::Config;

/// Runs the command.
pub async fn run(config: &Config, command: DeliveriesCommand) -> Done {
    match command {
        DeliveriesCommand::List(args) => list(config, args).await,
        DeliveriesCommand::Show(args) => show(config, args).await,
        DeliveriesCommand::Replay(args) => replay(config, args).await,
    }
}

fn filter_query(filter: &DeliveryFilterArgs) -> [(&'static str, Option<&str>); 3] {
    [
        ("state", filter.state.as_deref()),
        ("destination", filter.destination.as_deref()),
        ("scan", filter.scan.as_deref()),
    ]
}

async fn list(config: &Config, args: DeliveriesListArgs) -> Done {
    let limit = args.page.limit.to_string();
    let mut query = filter_query(&args.filter).to_vec();
    query.push(("limit", Some(limit.as_str())));
    query.push(("cursor", args.page.cursor.as_deref()));
    let filter = query::deliveries(&super::encode(&query)).map_err(|problem| super::usage(&problem))?;
    let page = Records::find(config, &args.page.daemon).await?.deliveries(&query, filter).await?;
    super::show_page(
        &page,
        args.page.daemon.json,
        &["id", "destination", "state", "attempts", "reason", "due", "created"],
        |row| {
            ["/id", "/destination", "/state", "/attempt_count", "/reason", "/due_at", "/created_at"]
                .iter()
                .map(|pointer| print::field(row, pointer))
                .collect()
        },
    )
}

async fn show(config: &Config, args: ShowArgs) -> Done {
    let records = Records::find(config, &args.daemon).await?;
    let delivery = records
        .delivery(&args.id)
        .await?
        .ok_or_else(|| Failure::No(format!("there is no delivery {}", print::clean(&args.id))))?;
    if args.daemon.json {
        return print::json(&delivery);
    }
    for (name, pointer) in [
        ("id", "/id"),
        ("scan", "/scan"),
        ("destination", "/destination"),
        ("state", "/state"),
        ("reason", "/reason"),
        ("created", "/created_at"),
        ("due", "/due_at"),
        ("finished", "/finished_at"),
    ] {
        print::line(format!("{name:<12} {}", print::field(&delivery, pointer)))?;
    }
    let attempts = delivery.get("attempts").and_then(Value::as_array).cloned().unwrap_or_default();
    if attempts.is_empty() {
        return Ok(());
    }
    print::line("")?;
    print::table(
        &["attempt", "at", "verdict", "reason", "ms", "answer"],
        attempts.iter().map(|attempt| {
            ["/number", "/at", "/verdict", "/reason", "/duration_ms", "/answer"]
                .iter()
                .map(|pointer| print::field(attempt, pointer))
                .collect()
        }),
    )
}

async fn replay(config: &Config, args: ReplayArgs) -> Done {
    let filter =
        query::deliveries(&super::encode(&filter_query(&args.filter))).map_err(|problem| super::usage(&problem))?;
    let records = Records::find(config, &args.daemon).await?;
    let mut replayed = 0;
    if args.ids.is_empty() {
        replayed = records.replay(filter).await?;
    }
    for id in &args.ids {
        replayed += records.replay_one(id).await?;
    }
    if args.daemon.json {
        print::json(&json!({"replayed": replayed}))?;
    } else {
        print::line(format!("{replayed} will be sent again"))?;
    }
    if replayed == 0 {
        Err(Failure::No("nothing to replay: no such delivery, or it is pending anyway".to_owned()))
    } else {
        Ok(())
    }
}
