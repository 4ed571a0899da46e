//! What a Slack message must be, whatever a template made: inside Slack's limits, no links out of names, mentions
//! only where the configuration asks for them.
//!
//! Works on the parsed JSON, so that nothing here can break it. The limits are Slack's documented ones; a message
//! over one of them is refused whole (`invalid_blocks`), which would lose an alert.

use serde_json::{Map, Value, json};
use unicode_segmentation::UnicodeSegmentation;

use super::escape;
use crate::problem::Problem;

/// Blocks in a message.
const BLOCKS: usize = 50;
/// Characters in the text of a section.
const TEXT: usize = 3_000;
/// Characters in a field of a section, and fields in a section.
const FIELD: usize = 2_000;
const FIELDS: usize = 10;
/// Characters in a header.
const HEADER: usize = 150;
/// Elements of a context block, and of an actions block.
const CONTEXT: usize = 10;
const ACTIONS: usize = 25;
/// Characters on a button, and in a URL.
const BUTTON: usize = 75;
const URL: usize = 3_000;
/// Characters of the top-level text that Slack recommends; 40,000 is where it cuts by itself.
const FALLBACK_TEXT: usize = 4_000;

/// What is around a message: what the template does not decide.
pub(super) struct Around<'a> {
    /// The text of the notification where the template gave none; plain.
    pub(super) title: &'a str,
    /// `C0123` or `#alerts` in bot mode.
    pub(super) channel: Option<&'a str>,
    /// `<!here>`, `<@U…>`: already checked, only for what is urgent.
    pub(super) mentions: &'a [String],
    /// Marks it as a test.
    pub(super) test: bool,
}

/// The message with everything in its place and inside the limits.
pub(super) fn finish(mut message: Map<String, Value>, around: &Around) -> Map<String, Value> {
    let own_text = message.get("text").and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let text = own_text.map_or_else(|| plain(around.title), str::to_owned);
    let mut blocks = tidy_blocks(message.remove("blocks"));
    if let Some(Value::Array(attachments)) = message.get_mut("attachments") {
        for attachment in attachments.iter_mut().filter_map(Value::as_object_mut) {
            let tidied = tidy_blocks(attachment.remove("blocks"));
            attachment.insert("blocks".into(), tidied.into());
        }
    }
    // A message without blocks would have its text searched for links.
    if blocks.is_empty() {
        blocks.push(section(&cut(&text, TEXT)));
    }
    if !around.mentions.is_empty() {
        let after_header = usize::from(blocks.first().is_some_and(|block| block["type"] == "header"));
        blocks.insert(after_header, section(&cut(&around.mentions.join(" "), TEXT)));
    }
    if around.test {
        blocks.insert(0, note("🧪 This is a test message from scanbell. Nothing was scanned."));
    }
    limit_blocks(&mut blocks);
    let mark = if around.test { "[Test] " } else { "" };
    message.insert("text".into(), cut(&format!("{mark}{text}"), FALLBACK_TEXT).into());
    message.insert("blocks".into(), blocks.into());
    for quiet in ["unfurl_links", "unfurl_media"] {
        message.entry(quiet).or_insert(false.into());
    }
    if let Some(channel) = around.channel {
        message.insert("channel".into(), channel.into());
    }
    message
}

/// A message of lines, the first of them a heading; plain text.
pub(super) fn of_lines(title: &str, lines: &[String]) -> Map<String, Value> {
    let mut blocks =
        vec![json!({"type": "header", "text": {"type": "plain_text", "text": plain(title), "emoji": true}})];
    blocks.extend(lines.iter().map(|line| section(&plain(line))));
    Map::from_iter([("text".to_owned(), plain(title).into()), ("blocks".to_owned(), blocks.into())])
}

/// A value as Slack text.
fn plain(value: &str) -> String {
    escape::Dialect::Slack.value(value)
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

fn note(text: &str) -> Value {
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": true}]})
}

fn limit_blocks(blocks: &mut Vec<Value>) {
    if blocks.len() > BLOCKS {
        let more = blocks.len() - (BLOCKS - 1);
        blocks.truncate(BLOCKS - 1);
        blocks.push(note(&format!("… {more} more blocks did not fit into one message")));
    }
}

fn tidy_blocks(blocks: Option<Value>) -> Vec<Value> {
    let Some(Value::Array(mut blocks)) = blocks else { return Vec::new() };
    blocks.retain_mut(tidy_block);
    limit_blocks(&mut blocks);
    blocks
}

/// Brings one block inside the limits; false if nothing is left of it to show.
fn tidy_block(block: &mut Value) -> bool {
    let Some(block) = block.as_object_mut() else { return false };
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    limit_string(block, "block_id", 255);
    match kind.as_str() {
        "header" => tidy_text(block, "text", HEADER),
        "section" => tidy_section(block),
        "context" => tidy_list(block, "elements", CONTEXT, tidy_context_element),
        "actions" => tidy_list(block, "elements", ACTIONS, tidy_element),
        "image" => tidy_image(block),
        _ => {
            block.values_mut().for_each(tidy_anything);
            !kind.is_empty()
        }
    }
}

fn tidy_section(block: &mut Map<String, Value>) -> bool {
    let text = tidy_text(block, "text", TEXT);
    let fields = tidy_list(block, "fields", FIELDS, |field| tidy_text_object(field, FIELD));
    if block.get_mut("accessory").is_some_and(|accessory| !tidy_element(accessory)) {
        block.remove("accessory");
    }
    text || fields
}

fn tidy_context_element(element: &mut Value) -> bool {
    match element.as_object_mut() {
        Some(image) if image.get("type").is_some_and(|kind| kind == "image") => tidy_image(image),
        Some(_) => tidy_text_object(element, FIELD),
        None => false,
    }
}

fn tidy_image(image: &mut Map<String, Value>) -> bool {
    tidy_text(image, "title", FIELD);
    limit_string(image, "alt_text", FIELD);
    image.contains_key("slack_file") || image.get("image_url").is_some_and(is_web_url)
}

/// A button or another element of an actions block.
fn tidy_element(element: &mut Value) -> bool {
    let Some(element) = element.as_object_mut() else { return false };
    limit_string(element, "value", FIELD);
    limit_string(element, "action_id", 255);
    if element.get("type").is_some_and(|kind| kind == "button") {
        // A button without its link would do nothing: Slack would ask us what to do.
        let leads_somewhere = element.get("url").is_none_or(is_web_url);
        return tidy_text(element, "text", BUTTON) && leads_somewhere;
    }
    if element.get("type").is_some_and(|kind| kind == "image") {
        return tidy_image(element);
    }
    element.values_mut().for_each(tidy_anything);
    true
}

fn is_web_url(url: &Value) -> bool {
    url.as_str().is_some_and(|url| {
        url.len() <= URL && url::Url::parse(url).is_ok_and(|parsed| matches!(parsed.scheme(), "http" | "https"))
    })
}

/// Keeps what `tidy` keeps of a list, at most `most`; false if nothing is left, and the list is gone.
fn tidy_list(block: &mut Map<String, Value>, key: &str, most: usize, tidy: impl FnMut(&mut Value) -> bool) -> bool {
    let Some(Value::Array(items)) = block.get_mut(key) else {
        block.remove(key);
        return false;
    };
    items.retain_mut(tidy);
    items.truncate(most);
    let some = !items.is_empty();
    if !some {
        block.remove(key);
    }
    some
}

/// Keeps a text object inside `limit`; false if it is empty, and it is gone.
fn tidy_text(block: &mut Map<String, Value>, key: &str, limit: usize) -> bool {
    let some = block.get_mut(key).is_some_and(|text| tidy_text_object(text, limit));
    if !some {
        block.remove(key);
    }
    some
}

fn tidy_text_object(object: &mut Value, limit: usize) -> bool {
    let Some(object) = object.as_object_mut() else { return false };
    let Some(text) = object.get("text").and_then(Value::as_str) else { return false };
    if text.trim().is_empty() {
        return false;
    }
    let text = cut(text, limit);
    object.insert("text".into(), text.into());
    if object.get("type").is_some_and(|kind| kind == "mrkdwn") {
        // Without it Slack makes links and channel names out of anything that looks like one: `invoice.zip`.
        object.insert("verbatim".into(), true.into());
    }
    true
}

/// Text objects anywhere in a block of a kind that is not known here.
fn tidy_anything(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "mrkdwn" || kind == "plain_text") {
                tidy_text_object(value, TEXT);
            } else {
                fields.values_mut().for_each(tidy_anything);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy_anything),
        _ => {}
    }
}

fn limit_string(object: &mut Map<String, Value>, key: &str, limit: usize) {
    if let Some(Value::String(text)) = object.get_mut(key) {
        *text = cut(text, limit);
    }
}

/// At most `limit` characters (as Slack counts: UTF-16), cut between graphemes and never inside `&amp;` or `<…>`,
/// the cut marked.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit || text.encode_utf16().count() <= limit {
        return text.to_owned();
    }
    let (mut end, mut units) = (0, 0);
    while let Some(token) = next_token(text.get(end..).unwrap_or_default()) {
        units += token.encode_utf16().count();
        if units >= limit {
            break;
        }
        end += token.len();
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// What must stay together at the beginning of `text`: an entity, a link or mention, a grapheme.
fn next_token(text: &str) -> Option<&str> {
    let close = match text.chars().next()? {
        '&' => text.find(';').filter(|end| *end <= 5),
        '<' => text.find(['>', '\n']),
        _ => None,
    };
    // What combines with the closing character belongs to it.
    let from = close.unwrap_or(0);
    let last = text.get(from..)?.graphemes(true).next()?;
    text.get(..from + last.len())
}

/// Mentions as Slack writes them, from the configuration.
pub(super) fn check_mention(place: &str, mention: &str) -> Result<(), Problem> {
    let id = |text: &str, first: &[char]| {
        text.starts_with(first) && text.len() > 1 && text.chars().all(|character| character.is_ascii_alphanumeric())
    };
    let inner = mention.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
    let good = matches!(inner, "!here" | "!channel" | "!everyone")
        || inner.strip_prefix('@').is_some_and(|user| id(user, &['U', 'W']))
        || inner.strip_prefix("!subteam^").is_some_and(|team| id(team, &['S']));
    if good {
        return Ok(());
    }
    Err(Problem::new(place, format!("`{mention}` is not a mention"))
        .hint("write it as Slack does: \"<!here>\", \"<!channel>\", \"<@U0123>\" for a person, \"<!subteam^S0123>\" for a group"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Around<'static> {
        Around { title: "title", channel: None, mentions: &[], test: false }
    }

    fn finished(message: Value) -> Value {
        let Value::Object(message) = message else { panic!() };
        Value::Object(finish(message, &around()))
    }

    #[test]
    fn a_cut_splits_no_entity_no_link_and_no_grapheme() {
        assert_eq!(cut("abc&amp;def", 11), "abc&amp;def");
        assert_eq!(cut("abc&amp;def", 7), "abc…");
        assert_eq!(cut("abc&amp;def", 9), "abc&amp;…");
        assert_eq!(cut("a <https://x.example|link> tail", 20), "a …");
        assert_eq!(cut("ab👩\u{200d}🚀cdef", 6), "ab…");
        assert_eq!(cut(&"😀".repeat(10), 7), "😀😀😀…");
    }

    #[test]
    fn a_message_over_every_limit_comes_out_inside_them() {
        let long = "x".repeat(10_000);
        let text = |kind: &str| json!({"type": kind, "text": long});
        let blocks: Vec<Value> = (0..60)
            .flat_map(|_| {
                [
                    json!({"type": "header", "text": text("plain_text")}),
                    json!({"type": "section", "text": text("mrkdwn"), "fields": vec![text("mrkdwn"); 20]}),
                    json!({"type": "context", "elements": vec![text("mrkdwn"); 20]}),
                    json!({"type": "actions", "elements": [{"type": "button", "text": text("plain_text"), "url": "https://x.example"}]}),
                ]
            })
            .collect();
        let message = finished(json!({"text": "y".repeat(50_000), "blocks": blocks}));
        let blocks = message["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 50);
        assert_eq!(blocks[0]["text"]["text"].as_str().unwrap().chars().count(), 150);
        assert_eq!(blocks[1]["text"]["text"].as_str().unwrap().chars().count(), 3000);
        assert_eq!(blocks[1]["fields"].as_array().unwrap().len(), 10);
        assert_eq!(blocks[1]["fields"][0]["text"].as_str().unwrap().chars().count(), 2000);
        assert_eq!(blocks[2]["elements"].as_array().unwrap().len(), 10);
        assert_eq!(blocks[3]["elements"][0]["text"]["text"].as_str().unwrap().chars().count(), 75);
        assert_eq!(message["text"].as_str().unwrap().chars().count(), 4000);
        assert!(blocks[49].to_string().contains("191 more"));
    }

    #[test]
    fn what_slack_would_refuse_as_empty_is_left_out() {
        let message = finished(json!({"blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "  "}},
            {"type": "section", "text": {"type": "mrkdwn", "text": ""}, "fields": [{"type": "mrkdwn", "text": "kept"}, {"type": "mrkdwn", "text": ""}]},
            {"type": "context", "elements": []},
            {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "javascript:alert(1)"}]},
        ]}));
        assert_eq!(
            message["blocks"],
            json!([{"type": "section", "fields": [{"type": "mrkdwn", "text": "kept", "verbatim": true}]}])
        );
        assert_eq!(message["text"], "title");
    }

    #[test]
    fn a_message_without_blocks_gets_one_whose_text_is_not_searched_for_links() {
        let message = finished(json!({"text": "invoice.zip"}));
        assert_eq!(message["blocks"][0]["text"]["verbatim"], true);
    }

    #[test]
    fn a_mention_stands_after_the_header_and_is_written_as_slack_writes_it() {
        let mentions = ["<!here>".to_owned(), "<@U0123>".to_owned()];
        let Value::Object(message) =
            json!({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "h"}}, {"type": "divider"}]})
        else {
            panic!()
        };
        let message = finish(message, &Around { mentions: &mentions, channel: Some("#sec"), ..around() });
        assert_eq!(message["blocks"][1]["text"]["text"], "<!here> <@U0123>");
        assert_eq!(message["channel"], "#sec");
        for good in ["<!here>", "<!channel>", "<!everyone>", "<@U0123ABC>", "<@W1>", "<!subteam^S01>"] {
            assert!(check_mention("x", good).is_ok(), "{good}");
        }
        for bad in ["@here", "<@>", "<!subteam^U1>", "<@U1> <!here>", "<https://x>", ""] {
            assert!(check_mention("x", bad).is_err(), "{bad}");
        }
    }
}
