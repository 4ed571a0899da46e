//! What is measured.

mod archive;
mod burst;
mod mixed;
mod start;
mod steady;
mod waiting;

use serde_json::Value;

use super::{Failed, Plan};

/// In the order in which they run.
pub const NAMES: [&str; 6] = ["start", "burst", "steady", "waiting", "archive", "mixed"];

/// Runs one.
pub async fn run(name: &str, plan: &Plan) -> Result<Value, Failed> {
    match name {
        "start" => start::run(plan).await,
        "burst" => burst::run(plan).await,
        "steady" => steady::run(plan).await,
        "waiting" => waiting::run(plan).await,
        "archive" => archive::run(plan).await,
        _ => mixed::run(plan).await,
    }
}
