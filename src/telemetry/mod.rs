//! Logs, and every metric registered once.

pub mod metrics;
