//! Escaping by destination: what a value becomes before it stands in a Slack text, a JSON string, HTML or a mail.
//!
//! Values are written by strangers: a file name is `<!channel>`, a title ends with `"}`, a repository is called
//! after a right-to-left override. The author of a template need not know; each registry of templates escapes
//! every value with [`Dialect::escape`] by itself.

use unicode_segmentation::UnicodeSegmentation;

/// How the text around a value reads: one registry of templates for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Dialect {
    /// Slack's JSON: mrkdwn inside JSON strings.
    Slack,
    /// JSON of a webhook template: values as they are.
    Json,
    /// The subject of a mail: one line.
    Subject,
    /// The text part of a mail.
    Text,
    /// The HTML part of a mail.
    Html,
}

impl Dialect {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Slack, Self::Json, Self::Subject, Self::Text, Self::Html];

    /// The folder its templates are in, which is also the kind of destination.
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Json => "webhook",
            Self::Subject | Self::Text | Self::Html => "email",
        }
    }

    /// What the file of a template is called after its name.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Slack | Self::Json => ".json.hbs",
            Self::Subject => ".subject.hbs",
            Self::Text => ".txt.hbs",
            Self::Html => ".html.hbs",
        }
    }

    /// Whether what it makes must be JSON.
    pub(super) const fn is_json(self) -> bool {
        matches!(self, Self::Slack | Self::Json)
    }

    /// One value as it stands in the rendered text.
    pub(super) fn escape(self, value: &str) -> String {
        match self {
            Self::Slack => json_inner(&self.value(value)),
            Self::Json => json_inner(value),
            Self::Html => html(&self.value(value)),
            Self::Subject | Self::Text => self.value(value),
        }
    }

    /// One value as the reader sees it, before the syntax around it is thought of.
    pub(super) fn value(self, value: &str) -> String {
        match self {
            Self::Slack => slack(&shorten(&clean(value), LONGEST)),
            Self::Json => value.to_owned(),
            Self::Html | Self::Subject | Self::Text => shorten(&clean(value), LONGEST),
        }
    }
}

/// The longest value, in characters, that a person is shown: no message is refused or unreadable for one name.
const LONGEST: usize = 4_000;

/// Shown where something stood that must not act: a control character, an override of the reading direction.
const REPLACED: char = '\u{fffd}';

/// Makes everything visible that would act on the text around it: controls, line breaks, direction overrides.
pub(super) fn clean(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        out.push(visible(character));
    }
    out
}

fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '↵',
        // Embeddings, overrides and isolates turn the order of what follows around: `gpj.exe`.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Invisible and without a use in a name. The joiners stay: scripts and emoji need them.
        | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' | '\u{180e}' => REPLACED,
        other if other.is_control() => REPLACED,
        other => other,
    }
}

/// At most `longest` characters, cut between graphemes, the cut marked.
pub(super) fn shorten(value: &str, longest: usize) -> String {
    if value.len() <= longest || value.chars().nth(longest).is_none() {
        return value.to_owned();
    }
    let (mut end, mut taken) = (0, 0);
    for grapheme in value.graphemes(true) {
        taken += grapheme.chars().count();
        if taken >= longest {
            break;
        }
        end += grapheme.len();
    }
    format!("{}…", value.get(..end).unwrap_or_default())
}

/// The three characters that mean something in Slack's texts, as Slack asks for them.
pub(super) fn slack(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

/// HTML text and attribute values.
pub(super) fn html(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The inside of a JSON string.
fn json_inner(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_is_made_visible() {
        assert_eq!(clean("a\r\nb\nc\rd\te\0f"), "a↵b↵c↵d e\u{fffd}f");
        assert_eq!(clean("a\u{202e}gpj.exe"), "a\u{fffd}gpj.exe");
        assert_eq!(clean("👩\u{200d}🚀 می\u{200c}خواهم"), "👩\u{200d}🚀 می\u{200c}خواهم");
    }

    #[test]
    fn a_cut_is_marked_and_splits_no_grapheme() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(shorten(&format!("ab{family}cd"), 6), "ab…");
        assert_eq!(shorten(&format!("x{}", "\u{301}".repeat(50)), 10), "…");
    }

    #[test]
    fn slack_values_cannot_mention_or_disguise_a_link() {
        assert_eq!(Dialect::Slack.escape("<!channel> & \"x\""), "&lt;!channel&gt; &amp; \\\"x\\\"");
    }

    #[test]
    fn webhook_values_are_carried_exactly() {
        let value = "a\r\nb\0\u{202e}\"}";
        let json: String = serde_json::from_str(&format!("\"{}\"", Dialect::Json.escape(value))).unwrap();
        assert_eq!(json, value);
    }
}
