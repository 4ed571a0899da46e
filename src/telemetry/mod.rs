//! Logs, and every metric registered once.

pub mod logging;
pub mod metrics;
mod recorder;

pub use logging::{LogFormat, check_filter, init_logging};
