//! Slack messages: whatever a template made, what goes out is inside the limits that Slack documents.
//!
//! An input is a message in JSON, or else bytes that a message is made of.

use scanbell::render::fuzzing::slack_message;
use serde_json::{Map, Value};

use super::generate::Source;

const WORDS: [&str; 38] = [
    "type",
    "text",
    "blocks",
    "fields",
    "elements",
    "accessory",
    "attachments",
    "block_id",
    "header",
    "section",
    "context",
    "actions",
    "divider",
    "image",
    "button",
    "mrkdwn",
    "plain_text",
    "image_url",
    "alt_text",
    "title",
    "url",
    "value",
    "action_id",
    "verbatim",
    "emoji",
    "style",
    "rich_text",
    "video",
    "option_groups",
    "options",
    "slack_file",
    "channel",
    "https://scans.example.com/",
    "<https://scans.example.com|report>",
    "&amp;&lt;&gt;",
    "<!channel>",
    "👩\u{200d}👩\u{200d}👧",
    "unfurl_links",
];

pub fn a_message_is_inside_the_limits(data: &[u8]) {
    let mentions = ["<!here>".to_owned(), "<@U0123>".to_owned()];
    for (mentions, test) in [(&mentions[..0], false), (&mentions[..], true)] {
        let message = slack_message(message_of(data), "title", Some("C0123"), mentions, test);
        let message = Value::Object(message);
        let text = serde_json::to_string(&message).expect("JSON");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), message);
        judge(&message);
        assert_eq!(message["channel"], "C0123");
        let called = (0..3).any(|at| message["blocks"][at]["text"]["text"] == "<!here> <@U0123>");
        assert_eq!(called, !mentions.is_empty(), "{message}");
        assert!(!test || text.contains("This is a test message"));
    }
}

fn message_of(data: &[u8]) -> Map<String, Value> {
    if let Ok(Value::Object(message)) = serde_json::from_slice(data) {
        return message;
    }
    let mut source = Source(data);
    let mut message = Map::new();
    message.insert("text".to_owned(), source.json(&WORDS, 1));
    let blocks = (0..source.byte() % 64).map(|_| block_of(&mut source)).collect::<Vec<_>>();
    message.insert("blocks".to_owned(), blocks.into());
    if source.byte() % 4 == 0 {
        let blocks = (0..source.byte() % 64).map(|_| block_of(&mut source)).collect::<Vec<_>>();
        message.insert("attachments".to_owned(), serde_json::json!([{"blocks": blocks}, source.json(&WORDS, 3)]));
    }
    message
}

fn block_of(source: &mut Source) -> Value {
    let mut text = |kind: &str| serde_json::json!({"type": kind, "text": source.long_text()});
    let (plain, mrkdwn) = (text("plain_text"), text("mrkdwn"));
    let many = usize::from(source.byte() % 40);
    match source.byte() % 7 {
        0 => serde_json::json!({"type": "header", "text": plain, "block_id": source.long_text()}),
        1 => serde_json::json!({"type": "section", "text": mrkdwn, "fields": vec![plain; many]}),
        2 => serde_json::json!({"type": "section", "text": mrkdwn, "accessory": source.json(&WORDS, 3)}),
        3 => serde_json::json!({"type": "context", "elements": vec![mrkdwn; many]}),
        4 => {
            let url = format!("https://scans.example.com/{}", source.long_text());
            let button = serde_json::json!({"type": "button", "text": plain, "url": url, "value": source.long_text(),
                "action_id": source.long_text()});
            serde_json::json!({"type": "actions", "elements": vec![button; many]})
        }
        5 => serde_json::json!({"type": "image", "image_url": "https://scans.example.com/a.png",
            "alt_text": source.long_text(), "title": plain}),
        _ => source.json(&WORDS, 4),
    }
}

/// Slack's documented limits, written down a second time.
fn judge(message: &Value) {
    text_within(&message["text"], 1, 40_000);
    blocks(&message["blocks"]);
    if let Some(attachments) = message["attachments"].as_array() {
        assert!(attachments.len() <= 100, "{} attachments", attachments.len());
        attachments.iter().filter(|attachment| attachment.get("blocks").is_some()).for_each(|a| blocks(&a["blocks"]));
    }
}

fn blocks(blocks: &Value) {
    let blocks = blocks.as_array().expect("a list of blocks");
    assert!(blocks.len() <= 50, "{} blocks", blocks.len());
    for block in blocks {
        assert!(block["type"].as_str().is_some_and(|kind| !kind.is_empty()), "a block without a type: {block}");
        optional(block, "block_id", 255);
        match block["type"].as_str().unwrap_or_default() {
            "header" => text_within(&block["text"]["text"], 1, 150),
            "section" => section(block),
            "context" => list(&block["elements"], 10, |element| match element["type"].as_str() {
                Some("image") => image(element),
                _ => text_within(&element["text"], 1, 2_000),
            }),
            "actions" => list(&block["elements"], 25, element),
            "image" => image(block),
            _ => {}
        }
    }
}

fn section(block: &Value) {
    assert!(block.get("text").is_some() || block.get("fields").is_some(), "an empty section");
    if let Some(text) = block.get("text") {
        text_within(&text["text"], 1, 3_000);
    }
    if let Some(fields) = block.get("fields") {
        list(fields, 10, |field| text_within(&field["text"], 1, 2_000));
    }
    if let Some(accessory) = block.get("accessory") {
        element(accessory);
    }
}

fn element(element: &Value) {
    assert!(element.is_object(), "{element} is no element");
    optional(element, "action_id", 255);
    optional(element, "value", 2_000);
    if element["type"] == "button" {
        text_within(&element["text"]["text"], 1, 75);
        optional(element, "url", 3_000);
    }
}

fn image(image: &Value) {
    assert!(image.get("slack_file").is_some() || image["image_url"].as_str().is_some_and(|url| url.len() <= 3_000));
    optional(image, "alt_text", 2_000);
    if let Some(title) = image.get("title") {
        text_within(&title["text"], 1, 2_000);
    }
}

fn list(list: &Value, most: usize, each: impl Fn(&Value)) {
    let items = list.as_array().expect("a list");
    assert!((1..=most).contains(&items.len()), "{} items, {most} are allowed", items.len());
    items.iter().for_each(each);
}

/// A string of so many characters, counted the way that counts more. That no entity is cut is for `escaping` to say:
/// here the template itself may have written half of one.
fn text_within(text: &Value, least: usize, most: usize) {
    let text = text.as_str().unwrap_or_else(|| panic!("{text} is no text"));
    let count = text.encode_utf16().count();
    assert!((least..=most).contains(&count), "{count} characters, {least} to {most} are allowed");
}

fn optional(object: &Value, name: &str, most: usize) {
    if let Some(text) = object.get(name).filter(|value| value.is_string()) {
        text_within(text, 0, most);
    }
}
