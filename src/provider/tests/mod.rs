//! What a poll sees, over real sockets: every trap that a scan API was ever seen to set.

mod answers;
mod build;
mod key;
mod steps;
