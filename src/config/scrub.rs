//! Keeps values out of what is said about them.
//!
//! A type's own complaint quotes the value ("`5 minits` is not a duration"). That helps where the value is in a file
//! and no secret; it must not happen where it came from the environment or may be a credential or an address.

use figment::value::Value;

use super::fault::Step;

/// Keys whose values are secrets, may carry one, or name a person.
const SENSITIVE: [&str; 10] =
    ["token", "password", "secret", "key", "url", "smtp", "username", "headers", "from", "to"];

/// A piece of a value that is long enough to give it away.
const TELLING: usize = 6;

/// The complaint, without the value if that may not be shown.
pub(super) fn scrubbed(text: &str, value: Option<&Value>, path: &[Step], from_environment: bool) -> String {
    if !from_environment && !path.iter().any(is_sensitive) {
        return text.to_owned();
    }
    let mut values = Vec::new();
    if let Some(value) = value {
        texts(value, &mut values);
    }
    let quoted = without_quotes(text, &values);
    let tells = values.iter().any(|value| gives_away(&quoted, value));
    if tells { "the value does not fit here".to_owned() } else { quoted }
}

fn is_sensitive(step: &Step) -> bool {
    match step {
        Step::Key(key) => SENSITIVE.iter().any(|word| key == word || key.split('_').any(|part| part == *word)),
        Step::Index(_) => false,
    }
}

/// Every text in the value.
fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(_, text) => into.push(text),
        Value::Array(_, list) => list.iter().for_each(|value| texts(value, into)),
        Value::Dict(_, table) => table.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

/// The text with every quotation (`…`) of a value replaced.
fn without_quotes(text: &str, values: &[&str]) -> String {
    let quotes_value = |quoted: &str| {
        let quoted = quoted.trim_end_matches('…');
        values.iter().any(|value| value.contains(quoted) || quoted.contains(value))
    };
    let pieces = text.split('`').enumerate().map(|(at, piece)| match (at % 2, quotes_value(piece)) {
        (0, _) => piece.to_owned(),
        (_, true) => "the value".to_owned(),
        (_, false) => format!("`{piece}`"),
    });
    pieces.collect()
}

/// Whether a telling piece of `value` stands in `text`.
fn gives_away(text: &str, value: &str) -> bool {
    let letters: Vec<char> = value.chars().collect();
    letters.windows(TELLING).any(|piece| text.contains(&piece.iter().collect::<String>()))
        || (!value.is_empty() && letters.len() < TELLING && text.split_whitespace().any(|word| word == value))
}
