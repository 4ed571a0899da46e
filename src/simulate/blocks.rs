//! Slack's documented limits: what an incoming webhook or `chat.postMessage` refuses, by Slack's own words.
//!
//! Lengths are counted in characters. Only what scanbell may send is known in detail; other blocks only by number.

use serde_json::Value;

/// `chat.postMessage` refuses a longer text; a webhook cuts it, which a sender should not rely on.
const TEXT: usize = 40_000;
const BLOCKS: usize = 50;
const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELDS: usize = 10;
const FIELD: usize = 2_000;
const CONTEXT_ELEMENTS: usize = 10;
const ACTION_ELEMENTS: usize = 25;
const BUTTON: usize = 75;
const URL: usize = 3_000;
const BLOCK_ID: usize = 255;
const ATTACHMENTS: usize = 100;

/// Slack's word, and what of the message it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Objection {
    pub word: &'static str,
    pub detail: String,
}

fn object(word: &'static str, detail: impl Into<String>) -> Result<(), Objection> {
    Err(Objection { word, detail: detail.into() })
}

/// Whether Slack would take this message.
pub(super) fn check(message: &Value) -> Result<(), Objection> {
    if !message.is_object() {
        return object("invalid_payload", "not a JSON object");
    }
    let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
    let (blocks, attachments) = (list(message, "blocks")?, list(message, "attachments")?);
    if text.is_empty() && blocks.is_empty() && attachments.is_empty() {
        return object("no_text", "neither text nor blocks nor attachments");
    }
    if text.chars().count() > TEXT {
        return object("msg_too_long", format!("text is longer than {TEXT}"));
    }
    if attachments.len() > ATTACHMENTS {
        return object("too_many_attachments", format!("more than {ATTACHMENTS} attachments"));
    }
    every_block(blocks)?;
    attachments.iter().try_for_each(|attachment| every_block(list(attachment, "blocks")?))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], Objection> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Objection { word: "invalid_blocks", detail: format!("{name} is not a list") }),
    }
}

fn every_block(blocks: &[Value]) -> Result<(), Objection> {
    if blocks.len() > BLOCKS {
        return object("invalid_blocks", format!("{} blocks, {BLOCKS} are allowed", blocks.len()));
    }
    for (number, block) in blocks.iter().enumerate() {
        one_block(block).map_err(|detail| Objection {
            word: "invalid_blocks",
            detail: format!("{detail} [json-pointer:/blocks/{number}]"),
        })?;
    }
    Ok(())
}

fn one_block(block: &Value) -> Result<(), String> {
    if block.get("block_id").is_some() {
        string(block, "block_id", 1, BLOCK_ID)?;
    }
    match block.get("type").and_then(Value::as_str) {
        Some("header") => text_object(block.get("text"), &["plain_text"], HEADER),
        Some("section") => section(block),
        Some("context") => elements(block, CONTEXT_ELEMENTS, |element| match element.get("type") {
            Some(Value::String(kind)) if kind == "image" => image(element),
            _ => text_object(Some(element), &["plain_text", "mrkdwn"], SECTION),
        }),
        Some("actions") => elements(block, ACTION_ELEMENTS, button),
        Some("image") => image(block),
        Some("divider" | "rich_text" | "video" | "file" | "input" | "table" | "markdown") => Ok(()),
        Some(other) => Err(format!("unsupported block type: {}", other.chars().take(40).collect::<String>())),
        None => Err("block without a type".to_owned()),
    }
}

fn section(block: &Value) -> Result<(), String> {
    let fields = match block.get("fields") {
        None => &[][..],
        Some(Value::Array(fields)) => fields,
        Some(_) => return Err("fields is not a list".to_owned()),
    };
    match (block.get("text"), fields) {
        (None, []) => return Err("section without text and fields".to_owned()),
        (None, _) => {}
        (text, _) => text_object(text, &["plain_text", "mrkdwn"], SECTION)?,
    }
    if fields.len() > FIELDS {
        return Err(format!("more than {FIELDS} fields"));
    }
    fields.iter().try_for_each(|field| text_object(Some(field), &["plain_text", "mrkdwn"], FIELD))?;
    block.get("accessory").map_or(Ok(()), |accessory| match accessory.get("type").and_then(Value::as_str) {
        Some("button") => button(accessory),
        Some("image") => image(accessory),
        _ => Ok(()),
    })
}

fn elements(block: &Value, most: usize, check: impl Fn(&Value) -> Result<(), String>) -> Result<(), String> {
    match block.get("elements").and_then(Value::as_array) {
        Some(elements) if (1..=most).contains(&elements.len()) => elements.iter().try_for_each(check),
        _ => Err(format!("elements must be a list of 1 to {most}")),
    }
}

fn button(element: &Value) -> Result<(), String> {
    if element.get("type").and_then(Value::as_str) != Some("button") {
        return Ok(());
    }
    if element.get("url").is_some() {
        string(element, "url", 1, URL)?;
    }
    text_object(element.get("text"), &["plain_text"], BUTTON)
}

fn image(block: &Value) -> Result<(), String> {
    string(block, "alt_text", 1, 2_000)?;
    if block.get("slack_file").is_some() { Ok(()) } else { string(block, "image_url", 1, URL) }
}

fn text_object(text: Option<&Value>, kinds: &[&str], most: usize) -> Result<(), String> {
    let text = text.ok_or("text is missing")?;
    let kind = text.get("type").and_then(Value::as_str).ok_or("text without a type")?;
    if !kinds.contains(&kind) {
        return Err(format!("text must be {}", kinds.join(" or ")));
    }
    if kind == "mrkdwn" && text.get("emoji").is_some() {
        return Err("emoji is only allowed in plain_text".to_owned());
    }
    string(text, "text", 1, most)
}

fn string(value: &Value, name: &str, least: usize, most: usize) -> Result<(), String> {
    let length = value.get(name).and_then(Value::as_str).map(|text| text.chars().count());
    match length {
        Some(length) if length < least => Err(format!("{name} must be at least {least} characters")),
        Some(length) if length > most => Err(format!("{name} must be less than {} characters", most + 1)),
        Some(_) => Ok(()),
        None => Err(format!("{name} is not a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn word(message: &Value) -> &'static str {
        check(message).map_or_else(|objection| objection.word, |()| "ok")
    }

    #[test]
    fn a_message_inside_the_limits_is_taken() {
        let message = json!({"text": "hi", "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "ü".repeat(150), "emoji": true}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(3000)},
             "fields": [{"type": "mrkdwn", "text": "a"}]},
            {"type": "divider"},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "b"}]},
            {"type": "actions", "elements": [
                {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "https://x.example"}]}]});
        assert_eq!(check(&message), Ok(()));
    }

    #[test]
    fn what_slack_refuses_is_refused_by_its_own_word() {
        let section = |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
        let blocks = |blocks: Value| json!({"text": "t", "blocks": blocks});
        assert_eq!(word(&json!([])), "invalid_payload");
        assert_eq!(word(&json!({})), "no_text");
        assert_eq!(word(&json!({"text": "x".repeat(40_001)})), "msg_too_long");
        assert_eq!(word(&blocks(json!("x"))), "invalid_blocks");
        assert_eq!(word(&blocks(json!([section("x".repeat(3001))]))), "invalid_blocks");
        assert_eq!(word(&blocks(json!([section(String::new())]))), "invalid_blocks");
        assert_eq!(word(&blocks(Value::Array(vec![section("x".to_owned()); 51]))), "invalid_blocks");
        assert_eq!(
            word(&blocks(json!([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]))),
            "invalid_blocks"
        );
        let long = "x".repeat(151);
        assert_eq!(
            word(&blocks(json!([{"type": "header", "text": {"type": "plain_text", "text": long}}]))),
            "invalid_blocks"
        );
        assert_eq!(word(&blocks(json!([{"type": "context", "elements": []}]))), "invalid_blocks");
        assert_eq!(word(&blocks(json!([{"type": "surprise"}]))), "invalid_blocks");
    }
}
