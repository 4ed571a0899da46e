//! `scanbell send-test`: one marked test message, sent by this process.

use serde_json::json;
use uuid::Uuid;

use super::args::SendTestArgs;
use super::failure::{Done, Failure};
use super::print;
use crate::app::Plan;
use crate::domain::delivery::Verdict;
use crate::domain::notification::Notification;
use crate::time::Clock;

/// Runs the command: 0 if it was delivered, 1 if not.
pub async fn run(plan: &Plan, args: &SendTestArgs) -> Done {
    let destination = plan.destination(&args.destination)?;
    let (id, now) = (Uuid::now_v7(), Clock::real().now());
    let content = plan.renderer.test(&args.destination, id, now).content;
    let notification = Notification { id, scan: None, destination: args.destination.clone(), created_at: now, content };
    let sent = destination.send(&notification, now).await;
    let delivered = matches!(sent.verdict, Verdict::Delivered { .. });
    if args.json {
        print::json(&json!({
            "destination": args.destination, "id": id, "delivered": delivered,
            "verdict": sent.verdict.as_str(), "reason": sent.verdict.reason(), "answer": sent.answer,
        }))?;
    } else if delivered {
        print::line(format!("{}: delivered", args.destination))?;
    }
    if delivered {
        return Ok(());
    }
    let answer = sent.answer.map(|answer| format!(": {}", print::clean(&answer))).unwrap_or_default();
    Err(Failure::No(format!("{}: not delivered, {}{answer}", args.destination, sent.verdict.reason())))
}
