//! Requests: whatever bytes and headers come, each entry is a usable request or a refusal with a reason.
//!
//! An input reads like HTTP: `content-type:`, `message-id:` and event headers, an empty line, the body.

use bytes::Bytes;
use scanbell::domain::request::{
    Entry, Envelope, MAX_BYTES, MAX_DESTINATIONS, MAX_ENTRIES, MAX_KEY, MAX_LABEL_NAME, MAX_LABEL_VALUE, MAX_LABELS,
    Refusal, Request, parse,
};

/// The sentence goes into a header of the dead-lettered message and into an answer of the API.
const LONGEST_SENTENCE: usize = 500;

pub fn every_entry_is_read_or_refused(data: &[u8]) {
    let (envelope, body) = read(data);
    match parse(&body, &envelope) {
        Err(refusal) => explained(&refusal),
        Ok(entries) => {
            assert!((1..=MAX_ENTRIES).contains(&entries.len()), "{} entries", entries.len());
            assert!(body.len() <= MAX_BYTES);
            for entry in &entries {
                of_the_body(entry, &body);
                match &entry.request {
                    Ok(request) => usable(request),
                    Err(refusal) => explained(refusal),
                }
            }
            // Headers of an event around it say how its entries are read.
            let bare = envelope.content_type.is_none() && envelope.headers.is_empty();
            if bare && body.trim_ascii_start().starts_with(b"[") {
                entries.iter().for_each(reads_the_same_alone);
            }
        }
    }
}

fn read(data: &[u8]) -> (Envelope, Bytes) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((&[][..], data), |end| (&data[..end], &data[end + 2..]));
    let mut envelope = Envelope::default();
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "content-type" => envelope.content_type = Some(value.to_owned()),
            "message-id" => envelope.message_id = Some(value.to_owned()),
            name => drop(envelope.headers.insert(name.to_owned(), value.to_owned())),
        }
    }
    (envelope, Bytes::copy_from_slice(body))
}

fn usable(request: &Request) {
    assert!(!request.scan_id.trim().is_empty(), "an empty scan ID");
    assert!(request.labels.len() <= MAX_LABELS);
    for (name, value) in &request.labels {
        assert!(name.len() <= MAX_LABEL_NAME && value.len() <= MAX_LABEL_VALUE, "a label of {} bytes", value.len());
    }
    assert!(request.destinations.as_ref().is_none_or(|names| names.len() <= MAX_DESTINATIONS));
    assert!(request.id.as_ref().is_none_or(|id| id.len() <= MAX_KEY && !id.is_empty()));
}

fn explained(refusal: &Refusal) {
    let sentence = &refusal.error;
    assert!(!sentence.trim().is_empty(), "a refusal without a sentence");
    assert!(sentence.len() <= LONGEST_SENTENCE, "a sentence of {} bytes: {sentence}", sentence.len());
    assert!(!sentence.chars().any(char::is_control), "a control character in {sentence:?}");
}

/// What is dead-lettered is what came: the body or a piece of it, or of the data inside an event.
fn of_the_body(entry: &Entry, body: &Bytes) {
    let inside = body.windows(entry.bytes.len().max(1)).any(|piece| piece == entry.bytes) || entry.bytes.is_empty();
    let decoded = body.windows(11).any(|piece| piece == b"data_base64");
    assert!(inside || decoded, "an entry that is not of the body: {:?}", entry.bytes);
}

/// An entry of an array is a message of its own: published again alone, it means the same.
fn reads_the_same_alone(entry: &Entry) {
    if !matches!(entry.bytes.first(), Some(b'{' | b'"')) {
        return;
    }
    let alone = parse(&entry.bytes, &Envelope::default());
    let alone = alone.map_or_else(Err, |mut entries| entries.swap_remove(0).request);
    match (&entry.request, &alone) {
        (Ok(here), Ok(there)) => assert_eq!(here, there),
        // An event may carry bytes, or an array, only where it is the whole message.
        (Err(_), _) if has(&entry.bytes, "data_base64") || has(&entry.bytes, "data") => {}
        (Err(here), Err(there)) => assert_eq!(here.reason, there.reason, "{here} / {there}"),
        (Err(here), Ok(there)) => panic!("{there:?} is refused in an array: {here}"),
        (Ok(here), Err(there)) => panic!("{here:?} is refused when it is alone: {there}"),
    }
}

fn has(object: &[u8], field: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(object).is_ok_and(|value| value.get(field).is_some())
}
