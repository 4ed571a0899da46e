//! What must hold whatever strangers write: one function for each door, over bytes.
//!
//! `tests/hostile` runs them over the kept corpora and over random bytes; `fuzz/` runs the same functions under
//! libFuzzer. Each panics where its property does not hold. Judges are other people's parsers where there are some:
//! html5ever for HTML, mail-parser for mails, the AMQP client's own reader for frames.

mod configuration;
mod escaping;
mod frames;
mod generate;
mod mail;
mod profile;
mod request;
mod retry_after;
mod slack;

/// A property and the name of its fuzz target and corpus.
pub type Property = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Property; 10] = [
    ("configuration", configuration::problems_have_a_place),
    ("escaping", escaping::a_value_stays_a_value),
    ("frames", frames::a_frame_stays_a_frame),
    ("mail", mail::headers_are_ours),
    ("profile", profile::a_body_is_read_as_the_profile_says),
    ("profile_text", configuration::profiles_have_a_place_for_each_problem),
    ("request", request::every_entry_is_read_or_refused),
    ("retry_after", retry_after::a_wait_is_bounded),
    ("routes", configuration::rules_never_panic),
    ("slack", slack::a_message_is_inside_the_limits),
];

/// The property of that name.
pub fn named(name: &str) -> fn(&[u8]) {
    ALL.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no property `{name}`")).1
}
