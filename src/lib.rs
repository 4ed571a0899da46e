//! **scanbell** rings when a scan is done: it takes scan IDs from a queue, follows each scan at its provider
//! until it is finished, and tells Slack, e-mail and webhooks what came out.
//!
//! The rooms, highest first. A module may use anything on a lower line, never a higher one, and the four steps
//! are blind to each other, as are the parts: `tests/architecture.rs` reads the sources and fails otherwise.
//!
//! ```text
//! main → cli → simulate → app → config → api
//!                                         ↓
//!         intake   watch   announce   deliver        steps: blind to each other
//!                                         ↓
//!         provider render routing destination store  parts: blind to each other
//!                                         ↓
//!         delivery → notification → report → scan → request      domain: later may use earlier
//!                                         ↓
//!         egress → telemetry → time → secret → problem           foundation
//! ```

// The foundation.
pub mod egress;
pub mod problem;
pub mod secret;
pub mod telemetry;
pub mod time;

// What it is about: pure, no I/O, no clock.
pub mod domain;

// The parts.
pub mod destination;
pub mod provider;
pub mod render;
pub mod routing;
pub mod store;

// The steps, in the order of the data.
pub mod announce;
pub mod deliver;
pub mod intake;
pub mod watch;

// The assembly.
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod simulate;
