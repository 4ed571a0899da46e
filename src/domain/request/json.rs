//! JSON from strangers: bounded nesting, and words for what it is.

use serde_json::value::RawValue;

use super::{MAX_DEPTH, Refusal, RefusalReason};

/// Whether the text is to be read as JSON rather than as a bare ID.
pub(super) fn looks_like_json(text: &str) -> bool {
    text.starts_with(['{', '[', '"'])
}

/// One whole JSON value, nested no deeper than [`MAX_DEPTH`].
pub(super) fn check(text: &str) -> Result<&RawValue, Refusal> {
    // Does not recurse, whatever the nesting.
    let raw = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    if too_deep(text) { Err(nested()) } else { Ok(raw) }
}

/// The refusal of text that is not JSON, with the place but nothing of the text.
pub(super) fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(RefusalReason::NotJson, format!("the message is not valid JSON: {error}"))
}

/// The refusal of JSON that is nested too deep.
pub(super) fn nested() -> Refusal {
    Refusal::new(RefusalReason::NotJson, format!("the JSON is nested more than {MAX_DEPTH} deep"))
}

/// Whether valid JSON is nested deeper than [`MAX_DEPTH`].
pub(super) fn too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What a JSON value is, in a word.
pub(super) fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}
