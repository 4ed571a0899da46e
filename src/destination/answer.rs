//! What a receiver said, made fit to be kept: short, one line, without secrets and addresses.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::{NoExpand, Regex, RegexBuilder};
use unicode_segmentation::UnicodeSegmentation;
use url::Url;

/// So much of an answer is kept, in graphemes.
const KEPT: usize = 500;
/// A piece of a URL shorter than this is a word, not a credential.
const SHORTEST_PIECE: usize = 6;

/// Takes secrets and addresses out of what a receiver said.
#[derive(Debug, Clone, Default)]
pub(super) struct Redactor {
    /// Shown as `…`, longest first.
    secrets: Vec<String>,
    /// What to look for and what to put there.
    names: Vec<(Regex, String)>,
}

impl Redactor {
    /// Knows nothing but what an e-mail address looks like.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Shows `secret` as `…` from now on, also as base64 and percent-encoded. Two or three letters hide nothing and
    /// would tear words apart.
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.len() > 3 {
            let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
            let escaped = secret.escape_default().to_string();
            let base64 = STANDARD_NO_PAD.encode(secret);
            self.secrets.extend([secret.to_owned(), encoded, escaped, STANDARD.encode(secret), base64]);
            self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
            self.secrets.dedup();
        }
    }

    /// Hides a URL and all its parts that can be credentials: servers like to quote path and headers.
    pub(super) fn hide_url(&mut self, url: &Url) {
        let mut pieces = vec![url.as_str().to_owned(), url.path().to_owned()];
        pieces.extend(url.query().map(str::to_owned));
        pieces.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        pieces.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        pieces.extend(url.path_segments().into_iter().flatten().map(decoded));
        pieces.iter().filter(|piece| piece.len() >= SHORTEST_PIECE).for_each(|piece| self.hide(piece));
        if let Some(password) = url.password().map(decoded) {
            self.hide(&password);
            self.hide(&format!("{}:{password}", decoded(url.username()))); // as HTTP sends it: base64
        } else if !url.username().is_empty() {
            self.hide(&format!("{}:", decoded(url.username()))); // a token with no password
            self.hide(&decoded(url.username()));
        }
    }

    /// Shows a person's address, in any case, as `shown` from now on, and also what is before its `@`.
    pub(super) fn name_address(&mut self, address: &str, shown: &str) {
        let local = address.split('@').next().unwrap_or(address);
        for word in [address, local] {
            let pattern = RegexBuilder::new(&format!(r"\b{}\b", regex::escape(word))).case_insensitive(true).build();
            // Escaped text always compiles; only a gigantic one would be too large for the engine.
            self.names.extend(pattern.map(|pattern| (pattern, shown.to_owned())));
        }
    }

    /// The answer as it may be kept; `None` if there is nothing to keep.
    pub(super) fn clean(&self, said: &[u8]) -> Option<String> {
        let mut text = String::from_utf8_lossy(said).into_owned();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            if text.contains(secret) {
                text = text.replace(secret, "…");
            }
        }
        for (pattern, shown) in &self.names {
            text = pattern.replace_all(&text, NoExpand(shown)).into_owned();
        }
        if text.contains('@') {
            text = ADDRESS.replace_all(&text, NoExpand("<address>")).into_owned();
        }
        shorten(&text)
    }
}

/// A part of a URL as it was meant.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// One line of at most [`KEPT`] graphemes, marked where it was cut.
fn shorten(text: &str) -> Option<String> {
    let line: String = text.chars().map(|c| if is_unfit(c) { ' ' } else { c }).collect();
    let line = line.trim();
    let mut kept: String = line.graphemes(true).take(KEPT).collect();
    // A grapheme can be any number of code points.
    if let Some((end, _)) = kept.char_indices().find(|(at, _)| *at > 8 * KEPT) {
        kept.truncate(end);
    }
    if kept.len() < line.len() {
        kept.push('…');
    }
    (!kept.is_empty()).then_some(kept)
}

/// Control characters, line ends and what turns or hides text.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Any e-mail address: also those that are not ours, such as the one behind an alias.
#[expect(clippy::unwrap_used, reason = "a constant pattern that a test compiles")]
static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"[^\s<>"'(),;:\[\]@]+@[^\s<>"'(),;:@]*[^\s<>"'(),;:@.]"#).unwrap());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_their_pieces_and_addresses_do_not_stay_in_an_answer() {
        let mut redactor = Redactor::new();
        let url = "https://u:password1@hooks.example.com/services/T0000000/tok3nval?key=k3yvalue".parse().unwrap();
        redactor.hide_url(&url);
        redactor.name_address("Jane.Doe@example.com", "<recipient 1>");
        let said = b"Cannot POST /services/T0000000/tok3nval\r\nkey k3yvalue password1 tok3nval;\
                     <JANE.DOE@EXAMPLE.COM> is really <jd@internal.example> \x1b[31m, jane.doe";
        let kept = redactor.clean(said).unwrap();
        assert_eq!(kept, "Cannot POST …  key … … …;<<recipient 1>> is really <<address>>  [31m, <recipient 1>");
    }

    #[test]
    fn a_secret_does_not_stay_in_an_answer_in_other_clothes_either() {
        let mut redactor = Redactor::new();
        redactor.hide_url(&"https://anna:p%40ss%2Fw@example.com/in/a%20key%2Bvalue".parse().unwrap());
        redactor.hide("t\"k\\n:+");
        let said = "Basic YW5uYTpwQHNzL3c= p%40ss%2Fw p@ss/w cEBzcy93 a key+value a%20key%2Bvalue t\"k\\n:+ t\\\"k\\\\n:+ dCJrXG46Kw";
        assert_eq!(redactor.clean(said.as_bytes()).unwrap(), "Basic … … … … … … … … …");
        let mut token = Redactor::new();
        token.hide_url(&"https://t0kenvalue@example.com/".parse().unwrap());
        assert_eq!(token.clean(b"t0kenvalue dDBrZW52YWx1ZTo=").unwrap(), "… …");
    }

    #[test]
    fn a_long_answer_is_cut_between_graphemes_and_marked() {
        let kept = Redactor::new().clean("👩‍👩‍👧".repeat(600).as_bytes()).unwrap();
        assert!(kept.ends_with('…') && kept.len() <= 8 * KEPT + 7);
        assert_eq!(Redactor::new().clean("e\u{301}".repeat(100_000).as_bytes()).unwrap().graphemes(true).count(), 501);
        assert_eq!(Redactor::new().clean(b" \r\n "), None);
        let zalgo = format!("e{}", "\u{301}".repeat(1_000_000));
        assert!(Redactor::new().clean(zalgo.as_bytes()).unwrap().len() <= 8 * KEPT + 7);
    }
}
