//! `scanbell run`: the daemon.

use super::failure::{Done, Failure};
use crate::app::{self, Plan};
use crate::telemetry;

/// Runs until SIGTERM or SIGINT.
pub async fn run(plan: Plan) -> Done {
    if let Some(problem) = plan.config.nothing_to_follow() {
        return Err(problem.into());
    }
    telemetry::init_logging(plan.config.log.format, &plan.config.log.filter)?;
    for warning in plan.warnings.iter().chain(&plan.config.nobody_to_tell()) {
        tracing::warn!(place = %warning.place, "{}", warning.fact);
    }
    app::run(plan).await.map_err(|error| Failure::Unreachable(error.to_string()))
}
