//! A body as it came, and as a value: parsed once, mended where strangers can break it.
//!
//! File names in a report are written by attackers. A lone surrogate or a stray byte in one must not make the whole
//! report unreadable, which would turn a threat into a time-out.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

/// A readable body.
#[derive(Debug)]
pub struct Body {
    /// What it says.
    pub value: Value,
    /// The JSON as received, byte for byte; mended only where it could not be read otherwise.
    pub raw: Box<RawValue>,
}

impl Body {
    /// Reads JSON. Depth is limited by `serde_json` (128). The error is a few words without any of the body.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches('\u{feff}');
        parse(text).or_else(|error| match replace_lone_surrogates(text) {
            Cow::Owned(mended) => parse(&mended),
            Cow::Borrowed(_) => Err(error),
        })
    }
}

fn parse(text: &str) -> Result<Body, String> {
    let value = serde_json::from_str(text).map_err(|error| describe(text, &error))?;
    // Cannot fail where the line above did not; both read the same text.
    let raw = serde_json::from_str::<&RawValue>(text).map_err(|error| describe(text, &error))?.to_owned();
    Ok(Body { value, raw })
}

/// Says what is wrong; never quotes the body, which may hold anything.
fn describe(text: &str, error: &serde_json::Error) -> String {
    let start = text.trim_start();
    if start.is_empty() {
        "the body is empty".to_owned()
    } else if start.starts_with('<') {
        "the body is HTML or XML, not JSON".to_owned()
    } else if error.is_eof() {
        "the body ends in the middle".to_owned()
    } else if error.to_string().starts_with("recursion limit") {
        "the body is nested too deeply".to_owned()
    } else {
        "the body is not JSON".to_owned()
    }
}

/// Replaces `\uD800`‥`\uDFFF` escapes that are no pair by `\uFFFD`; borrowed where there are none.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += found;
        match escape(bytes, at) {
            Some(0xD800..=0xDBFF) if matches!(escape(bytes, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                // Both ends are ASCII (`\` and a hexadecimal digit), so this is no cut through a character.
                out.push_str(text.get(kept..at).unwrap_or_default());
                out.push_str("\\ufffd");
                at += 6;
                kept = at;
            }
            // Any other escape: skip the escaped character too, so that `\\ud800` stays what it is.
            _ => at += 2,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// The code unit of a `\uXXXX` at `at`.
fn escape(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_body_is_kept_byte_for_byte() {
        let text = "{ \"b\":1.50,\n\t\"a\" : \"\\u003c!channel>\" }";
        assert_eq!(Body::read(text.as_bytes()).unwrap().raw.get(), text);
    }

    #[rstest]
    #[case("", "empty")]
    #[case(" \n", "empty")]
    #[case("<!doctype html><html></html>", "HTML")]
    #[case("{\"status\":\"comp", "ends in the middle")]
    #[case("{status: 1}", "not JSON")]
    #[case("{} {}", "not JSON")]
    fn what_is_not_json_is_an_error_in_plain_words(#[case] body: &str, #[case] expected: &str) {
        let error = Body::read(body.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn ten_thousand_levels_are_an_error_and_not_a_crash() {
        let body = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(Body::read(body.as_bytes()).unwrap_err().contains("nested too deeply"));
    }

    #[rstest]
    #[case(br#"{"fileName":"a\ud800.pdf"}"#, "a\u{fffd}.pdf")]
    #[case(br#"{"fileName":"\udc00\ud83d\ude00"}"#, "\u{fffd}\u{1f600}")]
    #[case(br#"{"fileName":"\\ud800\ud800"}"#, "\\ud800\u{fffd}")]
    #[case(b"{\"fileName\":\"a\xff.pdf\"}", "a\u{fffd}.pdf")]
    #[case(b"\xef\xbb\xbf{\"fileName\":\"bom\"}", "bom")]
    fn a_broken_file_name_does_not_hide_the_report(#[case] body: &[u8], #[case] expected: &str) {
        let body = Body::read(body).unwrap();
        assert_eq!(body.value["fileName"], expected);
        assert!(serde_json::from_str::<Value>(body.raw.get()).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>) {
            let _ = Body::read(&bytes);
        }

        #[test]
        fn mending_leaves_whole_pairs_and_plain_text_alone(text in ".*") {
            let json = serde_json::Value::from(text.as_str()).to_string();
            proptest::prop_assert_eq!(Body::read(json.as_bytes()).unwrap().value, text);
        }
    }
}
