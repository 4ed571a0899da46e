//! Idempotency keys: what makes one request the repetition of another.

use std::fmt::Write as _;
use std::time::Duration;

use ring::digest::{Context, SHA256};

use super::Asked;
use crate::domain::request::Request;
use crate::domain::scan::ScanKey;

/// With a dedupe window of at least this, a message that is delivered again finds its scan followed or finished
/// inside the window: nothing more need be kept to recognise it. It is the default window.
const ORDINARY_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The key to keep for a request, and whether it is kept without being looked up (`NewRequest::first_sight`).
///
/// The caller's own `id` counts wherever it comes from and whatever it asks for. A message's ID counts for that
/// scan only: publishers number messages without thinking of us, and a number used twice must not lose a scan.
/// A message without any ID is known by its digest, where joining and the dedupe window cannot tell: the digest is
/// kept at its first delivery and looked up only when the broker says that it delivers the message again. (An equal
/// message that is itself delivered again before its first commit is taken for the other's redelivery.)
pub(super) fn of(asked: &Asked, request: &Request, scan: &ScanKey, dedupe: Duration) -> (Option<String>, bool) {
    match (&request.id, &asked.envelope_key, &asked.sighting) {
        (Some(id), _, _) => (Some(format!("id:{id}")), false),
        (None, Some(key), _) => (Some(scoped("message", scan, key)), false),
        (None, None, Some(sighting)) if request.force || dedupe < ORDINARY_WINDOW => {
            (Some(scoped("sighting", scan, &sighting.digest)), !sighting.redelivered)
        }
        _ => (None, false),
    }
}

/// A key that counts for one scan only, of fixed length whatever a stranger sent.
fn scoped(kind: &str, scan: &ScanKey, key: &str) -> String {
    format!("{kind}:{}", digest([scan.provider.as_bytes(), scan.scan_id.as_bytes(), key.as_bytes()]))
}

/// SHA-256 over parts, told apart by their lengths, in hex.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes everything
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::super::Sighting;
    use super::*;

    fn key(id: Option<&str>, envelope: Option<&str>, redelivered: Option<bool>, force: bool) -> (Option<String>, bool) {
        let request = Request { id: id.map(str::to_owned), force, ..Request::default() };
        let asked = Asked {
            request: Ok(request.clone()),
            envelope_key: envelope.map(str::to_owned),
            sighting: redelivered.map(|redelivered| Sighting { digest: "d".to_owned(), redelivered }),
        };
        let scan = ScanKey { provider: "sieve".to_owned(), scan_id: "a".to_owned() };
        of(&asked, &request, &scan, ORDINARY_WINDOW)
    }

    #[test]
    fn the_callers_own_id_comes_first_and_is_looked_up() {
        assert_eq!(key(Some("k"), Some("m"), Some(false), true), (Some("id:k".to_owned()), false));
    }

    #[test]
    fn a_message_id_counts_for_one_scan_only_and_is_no_callers_id() {
        let (message, first_sight) = key(None, Some("k"), Some(false), false);
        assert!(!first_sight);
        assert_ne!(message, key(Some("k"), None, None, false).0);
        let scan = |id: &str| ScanKey { provider: "sieve".to_owned(), scan_id: id.to_owned() };
        assert_ne!(scoped("message", &scan("a"), "k"), scoped("message", &scan("b"), "k"));
    }

    #[test]
    fn a_message_without_any_id_is_kept_at_first_and_looked_up_when_it_comes_again() {
        let (first, first_sight) = key(None, None, Some(false), true);
        let (again, second_sight) = key(None, None, Some(true), true);
        assert_eq!(first, again);
        assert_eq!((first_sight, second_sight), (true, false));
    }

    #[test]
    fn nothing_is_kept_where_the_dedupe_window_is_enough() {
        assert_eq!(key(None, None, Some(false), false), (None, false));
        assert_eq!(key(None, None, None, true), (None, false));
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(digest([&b"ab"[..], b"c"]), digest([&b"a"[..], b"bc"]));
    }
}
