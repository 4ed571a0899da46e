//! See `tests/hostile/properties`.
#![no_main]

#[path = "../../tests/hostile/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::named("profile")(data));
