//! Which scan IDs a provider can have. IDs come from a queue: hostile text until this says otherwise.

use regex::Regex;

/// The rule of a profile, on top of what no ID may contain.
#[derive(Debug, Clone)]
pub enum IdRule {
    /// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, any version, any case.
    Uuid,
    /// A pattern, anchored at both ends.
    Pattern {
        /// Compiled with the anchors.
        regex: Regex,
        /// As it was written, for messages.
        written: String,
        /// In characters.
        max_length: usize,
    },
}

/// IDs are at most this long, whatever a profile says, in characters.
pub const MAX_LENGTH: usize = 512;

impl IdRule {
    /// A pattern, anchored here so that no profile can forget it.
    pub fn pattern(written: &str, max_length: usize) -> Result<Self, String> {
        let regex = Regex::new(&format!(r"\A(?:{written})\z")).map_err(|error| {
            let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            format!("not a regular expression: {last}")
        })?;
        Ok(Self::Pattern { regex, written: written.to_owned(), max_length: max_length.min(MAX_LENGTH) })
    }

    /// Whether an ID may be asked for; the error is one sentence with at most a few characters of it.
    pub fn check(&self, id: &str) -> Result<(), String> {
        let max = match self {
            Self::Uuid => 36,
            Self::Pattern { max_length, .. } => *max_length,
        };
        if id.chars().nth(max).is_some() {
            return Err(format!("the ID is longer than {max} characters"));
        }
        if let Some(bad) = id.chars().find(|c| is_never_allowed(*c)) {
            return Err(format!("{} contains {bad:?}, which no ID may contain", quoted(id)));
        }
        // Percent-encoding does not help here: `%2e%2e` is a step up to URL parsers too.
        if id == "." || id.contains("..") {
            return Err(format!("{} reads as a step through folders", quoted(id)));
        }
        match self {
            Self::Uuid if !is_uuid(id) => Err(format!("{} is not a UUID", quoted(id))),
            Self::Pattern { regex, written, .. } if !regex.is_match(id) => {
                Err(format!("{} does not match the profile's pattern `{written}`", quoted(id)))
            }
            _ => Ok(()),
        }
    }

    /// Whether an echoed ID is the one that was asked for.
    pub fn same(&self, asked: &str, echoed: &str) -> bool {
        match self {
            Self::Uuid => asked.eq_ignore_ascii_case(echoed),
            Self::Pattern { .. } => asked == echoed,
        }
    }
}

fn is_never_allowed(c: char) -> bool {
    c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%' | '\\')
}

fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Enough of an ID to recognise it by, safe to show.
fn quoted(id: &str) -> String {
    let shown: String = id.chars().take(40).flat_map(char::escape_debug).collect();
    let more = if id.chars().nth(40).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_uuid_of_any_case_and_version_is_allowed() {
        assert_eq!(IdRule::Uuid.check("2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e"), Ok(()));
        assert_eq!(IdRule::Uuid.check("2B2F7B8B-7F2C-0B2D-9A5F-5C0C4C3C9D4E"), Ok(()));
    }

    #[rstest]
    #[case("")]
    #[case("2b2f7b8b7f2c4b2d9a5f5c0c4c3c9d4e")]
    #[case("../../../../../../../../../admin/user")]
    #[case("2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e\n")]
    #[case("2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4/")]
    #[case("%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fab")]
    #[case("２b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4")]
    fn what_is_not_a_uuid_is_refused(#[case] id: &str) {
        assert!(IdRule::Uuid.check(id).is_err());
    }

    #[rstest]
    #[case("..")]
    #[case(".")]
    #[case("a/../b")]
    #[case("a b")]
    #[case("a\r\nX-Evil: 1")]
    #[case("a?b")]
    #[case("a%2e")]
    #[case("a\0")]
    fn no_pattern_can_allow_what_changes_a_request(#[case] id: &str) {
        assert!(IdRule::pattern("(?s:.*)", 100).unwrap().check(id).is_err());
    }

    #[test]
    fn a_pattern_is_anchored_even_with_alternatives() {
        let rule = IdRule::pattern("a|b", 100).unwrap();
        assert_eq!(rule.check("a"), Ok(()));
        assert!(rule.check("ab").is_err());
    }

    #[test]
    fn an_enormous_id_is_refused_without_being_quoted_whole() {
        let error = IdRule::pattern(".*", 100).unwrap().check(&"x".repeat(10_000)).unwrap_err();
        assert!(error.len() < 200, "{error}");
    }
}
