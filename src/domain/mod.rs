//! What scanbell is about, without I/O and without a clock.
//!
//! In the order in which the data flows; a later file may use an earlier one, never the other way.

pub mod delivery;
pub mod notification;
pub mod report;
pub mod request;
pub mod scan;
