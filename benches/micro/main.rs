//! What each piece of work costs by itself: reading requests, reading a provider's answers, routing, rendering, and
//! committing to a store whose file is on a real disk.
//!
//! `cargo bench --bench micro` measures, `cargo bench --bench micro -- store` only what has that in its name.
//! Without `--bench`, as `cargo test --benches` calls it, everything runs once and nothing is measured.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared cannot be measured: stop and say where")]

mod bodies;
mod profiles;
mod requests;
mod routes;
mod store;
mod templates;

fn main() {
    scanbell::egress::install_tls();
    divan::main();
}
