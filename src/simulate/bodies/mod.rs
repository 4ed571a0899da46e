//! Complete reference bodies of both providers: every documented field, plausible and varied content.
//!
//! The same scan always says the same: what is made up is drawn from the scan's ID.

pub(super) mod enkrypt;
pub(super) mod sieve;

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::time::Timestamp;

/// What a body is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The provider's ID, as it was asked for.
    pub scan_id: &'a str,
    /// When it was asked for first.
    pub created: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// An answer's status, headers and body.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Reference {
    fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }
}

/// Numbers that belong to an ID.
pub(super) struct Seed([u8; 32]);

impl Seed {
    pub(super) fn of(scan_id: &str) -> Self {
        let mut bytes = [0; 32];
        let hash = digest(&SHA256, scan_id.as_bytes());
        bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// One of `list`, by the byte at `place`.
    pub(super) fn pick<'a, T: ?Sized>(&self, place: usize, list: &[&'a T]) -> Option<&'a T> {
        list.get(self.number(place, list.len().max(1))).copied()
    }

    /// A number below `below`.
    pub(super) fn number(&self, place: usize, below: usize) -> usize {
        let byte = |at: usize| usize::from(self.0.get(at % 32).copied().unwrap_or_default());
        (byte(place) * 256 + byte(place + 1)) % below.max(1)
    }

    /// 64 hexadecimal digits.
    pub(super) fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Merges `set` into `body`, object by object; a null sets null. Then removes `unset` at the top.
pub(super) fn edit(body: &mut Value, set: &Map<String, Value>, unset: &[String]) {
    let Value::Object(fields) = body else { return };
    for (name, value) in set {
        match (fields.get_mut(name), value) {
            (Some(there @ Value::Object(_)), Value::Object(inner)) => edit(there, inner, &[]),
            _ => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    fields.retain(|name, _| !unset.contains(name));
}

/// Merges the fields of `set`, if it is an object.
fn edit_with(body: &mut Value, set: Value) {
    if let Value::Object(set) = set {
        edit(body, &set, &[]);
    }
}

/// Text that means harm to whoever prints it unescaped.
pub(super) const HOSTILE: &str = "inv\u{202e}fdp.exe <!channel> <@U012AB3CD> <http://evil.example|bank.example> \
     </td><script>alert(1)</script> {{report.secret}} \"}],\r\nBcc: victim@example.com\r\n\u{0}\u{7}*_~`\u{200b}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    #[test]
    fn edits_merge_objects_set_nulls_and_leave_fields_out() {
        let mut body = serde_json::json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 4});
        let Value::Object(set) = serde_json::json!({"a": {"b": null}, "d": "x"}) else { panic!() };
        edit(&mut body, &set, &["e".to_owned()]);
        assert_eq!(body, serde_json::json!({"a": {"b": null, "c": 2}, "d": "x"}));
    }

    #[test]
    fn the_same_id_always_says_the_same_and_another_says_otherwise() {
        let at = |scan_id| {
            let subject = Subject { scan_id, created: from_millis(0), now: from_millis(0) };
            sieve::scan(super::super::preset::State::Threat, subject).body
        };
        assert_eq!(at("a"), at("a"));
        assert_ne!(at("a")["fileHash"], at("b")["fileHash"]);
    }
}
