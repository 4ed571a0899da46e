use std::time::Duration;

use proptest::prelude::*;

use super::super::{MAX_DEPTH, MAX_LABELS};
use super::*;

fn parse_text(text: &str) -> Result<Vec<Entry>, Refusal> {
    parse(&Bytes::copy_from_slice(text.as_bytes()), &Envelope::default())
}

fn with_type(text: &str, content_type: &str) -> Result<Vec<Entry>, Refusal> {
    let envelope = Envelope { content_type: Some(content_type.to_owned()), ..Envelope::default() };
    parse(&Bytes::copy_from_slice(text.as_bytes()), &envelope)
}

/// The scan ID of each entry, or the reason of its refusal.
fn ids(entries: Result<Vec<Entry>, Refusal>) -> Vec<String> {
    match entries {
        Ok(entries) => entries
            .into_iter()
            .map(|entry| entry.request.map_or_else(|refusal| refusal.reason.to_string(), |request| request.scan_id))
            .collect(),
        Err(refusal) => vec![format!("whole: {}", refusal.reason)],
    }
}

fn one_request(text: &str) -> Request {
    let mut entries = parse_text(text).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0).request.unwrap()
}

fn refusal(text: &str) -> (RefusalReason, String) {
    match parse_text(text) {
        Err(refusal) => (refusal.reason, refusal.error),
        Ok(mut entries) => {
            assert_eq!(entries.len(), 1);
            let refusal = entries.remove(0).request.unwrap_err();
            (refusal.reason, refusal.error)
        }
    }
}

#[test]
fn a_bare_id_is_the_text_without_the_space_around_it() {
    assert_eq!(ids(parse_text("2b2f7b8b-1")), ["2b2f7b8b-1"]);
    assert_eq!(ids(parse_text(" \r\n2b2f7b8b-1\n")), ["2b2f7b8b-1"]);
    assert_eq!(ids(parse_text("\u{feff}2b2f7b8b-1")), ["2b2f7b8b-1"]);
    assert_eq!(ids(parse_text("12345")), ["12345"]);
    assert_eq!(ids(parse_text("null")), ["null"]);
}

#[test]
fn a_json_string_and_an_object_ask_for_the_same() {
    assert_eq!(ids(parse_text(r#""abc""#)), ["abc"]);
    assert_eq!(ids(parse_text(" \u{feff}\"abc\" ")), ["\u{feff}\"abc\""], "a mark inside is a bare ID's affair");
    assert_eq!(ids(parse_text("\u{feff} {\"scan_id\": \"abc\"}")), ["abc"]);
    assert_eq!(ids(parse_text(r#"{"scanId":"abc"}"#)), ["abc"]);
    assert_eq!(ids(parse_text(r#"{"job_id":"abc"}"#)), ["abc"]);
    assert_eq!(ids(parse_text(r#"{"job_id":"third","scanId":"second","scan_id":null}"#)), ["second"]);
}

#[test]
fn every_field_of_an_object_arrives() {
    let request = one_request(
        r#"{"scan_id":"a\u0041","provider":"sieve","destinations":["siem","oncall","siem"],
            "labels":{"team":"platform","gone":null},"deadline":"45m","force":true,"id":"k-1","unknown":[{"x":1}]}"#,
    );
    assert_eq!(request.scan_id, "aA");
    assert_eq!(request.provider.as_deref(), Some("sieve"));
    assert_eq!(request.destinations, Some(vec!["siem".to_owned(), "oncall".to_owned()]));
    assert_eq!(request.labels, [("team".to_owned(), "platform".to_owned())].into());
    assert_eq!(request.deadline, Some(Duration::from_secs(2700)));
    assert!(request.force);
    assert_eq!(request.id.as_deref(), Some("k-1"));
}

#[test]
fn null_fields_and_an_empty_key_are_as_good_as_absent() {
    let nulls =
        r#"{"scan_id":"a","provider":null,"destinations":null,"labels":null,"deadline":null,"force":null,"id":null}"#;
    assert_eq!(one_request(nulls), fields::of_scan_id("a".to_owned()));
    assert_eq!(one_request(r#"{"scan_id":"a","id":""}"#).id, None);
}

#[test]
fn a_wrong_field_is_refused_by_its_name() {
    for (text, field) in [
        (r#"{"scan_id":5}"#, "`scan_id` must be a string, not a number"),
        (r#"{"job_id":["a"]}"#, "`job_id` must be a string, not an array"),
        (r#"{"scan_id":"a","provider":{}}"#, "`provider` must be a string, not an object"),
        (r#"{"scan_id":"a","destinations":"siem"}"#, "`destinations` must be a list of names, not a string"),
        (r#"{"scan_id":"a","destinations":["siem",1]}"#, "every entry must be a string"),
        (r#"{"scan_id":"a","labels":["x"]}"#, "`labels` must be an object of strings, not an array"),
        (r#"{"scan_id":"a","labels":{"n":1}}"#, "`labels.n` must be a string, not a number"),
        (r#"{"scan_id":"a","deadline":45}"#, "`deadline` must be a string like \"45m\", not a number"),
        (r#"{"scan_id":"a","deadline":"soon"}"#, "`deadline` is not a duration"),
        (r#"{"scan_id":"a","force":"yes"}"#, "`force` must be true or false, not a string"),
        (r#"{"scan_id":"a","id":7}"#, "`id` must be a string, not a number"),
        (r#"{"scan_id":"a","scan_id":"b"}"#, "duplicate field `scan_id`"),
    ] {
        let (reason, error) = refusal(text);
        assert_eq!(reason, RefusalReason::InvalidField, "{text}: {error}");
        assert!(error.contains(field), "{text}: {error}");
    }
}

#[test]
fn what_is_too_much_is_refused_by_its_name() {
    let many: Vec<String> = (0..=MAX_LABELS).map(|n| format!(r#""l{n}":"x""#)).collect();
    let long = "x".repeat(5000);
    for (text, field) in [
        (format!(r#"{{"scan_id":"a","labels":{{{}}}}}"#, many.join(",")), "`labels` has 65 labels"),
        (format!(r#"{{"scan_id":"a","labels":{{"{long}":"x"}}}}"#), "`labels` has a name longer than 256"),
        (format!(r#"{{"scan_id":"a","labels":{{"l":"{long}"}}}}"#), "`labels.l` is longer than 4096"),
        (format!(r#"{{"scan_id":"a","id":"{long}"}}"#), "`id` is longer than 1024"),
    ] {
        let (reason, error) = refusal(&text);
        assert_eq!(reason, RefusalReason::InvalidField);
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn nothing_to_follow_is_a_missing_scan_id() {
    for text in
        ["", " \n", "\u{feff}", "[]", "{}", r#""""#, r#"" ""#, r#"{"scan_id":""}"#, r#"{"scan_id":null}"#, "[null]"]
    {
        assert_eq!(refusal(text).0, RefusalReason::MissingScanId, "{text:?}");
    }
}

#[test]
fn broken_json_is_not_json_and_shows_nothing_of_itself() {
    for text in
        ["{", "[", "\"", r#"{"scan_id":"a"} x"#, r#"["a",]"#, r#"{scan_id:"a"}"#, "{\"a\u{0}\":1}", r#""\ud800""#]
    {
        assert_eq!(refusal(text).0, RefusalReason::NotJson, "{text:?}");
    }
    assert!(!refusal(r#"{"hunter2": hunter2}"#).1.contains("hunter2"));
}

#[test]
fn what_is_not_text_is_not_json() {
    for body in [&b"\xff\xfe{\0"[..], b"abc\xff", b"{\"scan_id\":\"\xc3\"}"] {
        let refusal = parse(&Bytes::from_static(body), &Envelope::default()).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::NotJson);
    }
}

#[test]
fn ten_thousand_deep_json_is_refused_cleanly_in_one_piece() {
    let deep =
        |open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(10_000), close.repeat(10_000));
    for text in [
        deep("[", "", "]"),
        deep("[", "\"a\"", "]"),
        deep(r#"{"a":"#, "1", "}"),
        deep(r#"{"data":"#, "1", "}"),
        "[".repeat(1_000_000),
        format!(r#"{{"scan_id":"a","x":{}}}"#, deep("[", "", "]")),
    ] {
        assert_eq!(parse_text(&text).unwrap_err().reason, RefusalReason::NotJson);
    }
    let good = format!("{}{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    assert_eq!(ids(parse_text(&format!(r#"{{"scan_id":"a","x":{good}}}"#))), ["a"]);
}

#[test]
fn one_deep_entry_does_not_harm_the_others() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(ids(parse_text(&format!(r#"["a",{deep},"b"]"#))), ["a", "not-json", "b"]);
}

#[test]
fn a_message_that_is_too_large_is_refused_as_a_whole() {
    let largest = format!("\"{}\"", "x".repeat(MAX_BYTES - 2));
    assert_eq!(ids(parse_text(&largest)).len(), 1);
    assert_eq!(parse_text(&format!("{largest} ")).unwrap_err().reason, RefusalReason::TooLarge);
    let entries = |count| format!("[{}]", vec!["\"a\""; count].join(","));
    assert_eq!(ids(parse_text(&entries(MAX_ENTRIES))).len(), MAX_ENTRIES);
    assert_eq!(parse_text(&entries(MAX_ENTRIES + 1)).unwrap_err().reason, RefusalReason::TooLarge);
}

#[test]
fn an_array_is_read_entry_by_entry_and_keeps_the_bytes_of_each() {
    let entries = parse_text(r#" [ "a" , {"scan_id": "b"}, 7, {"x": [ 1 ]}, ["c"], null, "\ud800" ] "#).unwrap();
    let bytes: Vec<&[u8]> = entries.iter().map(|entry| entry.bytes.as_ref()).collect();
    assert_eq!(
        bytes,
        [&b"\"a\""[..], b"{\"scan_id\": \"b\"}", b"7", b"{\"x\": [ 1 ]}", b"[\"c\"]", b"null", b"\"\\ud800\""]
    );
    assert_eq!(
        ids(Ok(entries)),
        ["a", "b", "invalid-field", "missing-scan-id", "invalid-field", "missing-scan-id", "not-json"]
    );
}

#[test]
fn a_structured_event_carries_any_form() {
    let event = |data: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"e1","source":"/ci","type":"scan.started",{data}}}"#);
        ids(with_type(&text, "application/CloudEvents+JSON; charset=utf-8"))
    };
    assert_eq!(event(r#""data":"abc""#), ["abc"]);
    assert_eq!(event(r#""data":{"scan_id":"abc"}"#), ["abc"]);
    assert_eq!(event(r#""data":["abc",{"job_id":"d"},1]"#), ["abc", "d", "invalid-field"]);
    assert_eq!(event(r#""data_base64":"YWJj""#), ["abc"]);
    assert_eq!(event(r#""data_base64":"WyJhIiwiYiJd""#), ["a", "b"]);
    assert_eq!(event(r#""data_base64":"!""#), ["invalid-field"]);
    assert_eq!(event(r#""data":5"#), ["invalid-field"]);
    assert_eq!(event(r#""data":null"#), ["missing-scan-id"]);
    assert_eq!(event(r#""x":1"#), ["missing-scan-id"]);
}

#[test]
fn a_structured_event_must_be_json_of_version_one() {
    let event = |text: &str| ids(with_type(text, "application/cloudevents+json"));
    assert_eq!(event("abc"), ["whole: not-json"]);
    assert_eq!(event(r#"{"specversion":"0.3","data":"abc"}"#), ["invalid-field"]);
    assert_eq!(event(r#"{"data":"abc"}"#), ["invalid-field"]);
    assert_eq!(event(r#"{"specversion":1.0,"data":"abc"}"#), ["invalid-field"]);
}

#[test]
fn an_event_is_an_event_without_the_content_type_and_in_a_batch() {
    let event = r#"{"specversion":"1.0","id":"e1","source":"/ci","type":"t","data":{"scan_id":"abc"}}"#;
    assert_eq!(ids(parse_text(event)), ["abc"]);
    assert_eq!(ids(with_type(&format!("[{event},{event}]"), "application/cloudevents-batch+json")), ["abc", "abc"]);
}

#[test]
fn a_refused_entry_of_an_event_is_still_readable_under_the_content_type_it_keeps() {
    assert_eq!(ids(with_type(r#"{"scan_id":"abc"}"#, "application/cloudevents+json")), ["abc"]);
    assert_eq!(ids(with_type(r#""abc""#, "application/cloudevents+json")), ["abc"]);
}

#[test]
fn a_refused_event_goes_out_whole() {
    let event = r#"{"specversion":"1.0","id":"e1","source":"/ci","type":"t","data":{"scan_id":5}}"#;
    assert_eq!(parse_text(event).unwrap()[0].bytes, event);
    let event = r#"{"specversion":"1.0","id":"e1","source":"/ci","type":"t","data_base64":"e30="}"#;
    assert_eq!(parse_text(event).unwrap()[0].bytes, event);
}

#[test]
fn the_message_offers_a_key_and_the_event_one_of_its_own() {
    let keys = |text: &str, message_id: Option<&str>, headers: &[(&str, &str)]| -> Vec<Option<String>> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let envelope = Envelope { message_id: message_id.map(str::to_owned), headers, ..Envelope::default() };
        let entries = parse(&Bytes::copy_from_slice(text.as_bytes()), &envelope).unwrap();
        entries.into_iter().map(|entry| entry.envelope_key).collect()
    };
    let some = |key: &str| Some(key.to_owned());
    assert_eq!(keys("abc", None, &[]), [None]);
    assert_eq!(keys("abc", Some(""), &[]), [None]);
    assert_eq!(keys("abc", Some("m1"), &[]), [some("m1")]);
    assert_eq!(keys(r#"["a","b"]"#, Some("m1"), &[]), [some("m1#0"), some("m1#1")]);
    for prefix in ["cloudEvents_", "cloudEvents:", "ce-", "CE-"] {
        let headers = ["specversion", "id", "source"].map(|name| format!("{prefix}{name}"));
        let headers = [(&*headers[0], "1.0"), (&*headers[1], "e1"), (&*headers[2], "/ci")];
        assert_eq!(keys("abc", None, &headers), [some("/ci e1")], "{prefix}");
        assert_eq!(keys(r#"["a","b"]"#, None, &headers), [some("/ci e1#0"), some("/ci e1#1")]);
        assert_eq!(keys("abc", Some("m1"), &headers), [some("m1")]);
    }
    let event = r#"{"specversion":"1.0","id":"e1","source":"/ci","type":"t","data":["a","b"]}"#;
    assert_eq!(keys(event, None, &[]), [some("/ci e1#0"), some("/ci e1#1")]);
    assert_eq!(keys(event, Some("m1"), &[]), [some("m1#0"), some("m1#1")]);
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let types = ["application/cloudevents+json", "application/cloudevents-batch+json", "text/plain", "\u{0};;"];
    (proptest::option::of(proptest::sample::select(types.to_vec())), any::<bool>()).prop_map(
        |(content_type, binary)| {
            let headers = binary.then(|| ("ce-specversion".to_owned(), "1.0".to_owned())).into_iter().collect();
            Envelope { content_type: content_type.map(str::to_owned), headers, message_id: None }
        },
    )
}

/// Pieces of requests in any order: far more often almost right than random bytes are.
fn almost_requests() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        " ",
        "\"",
        "\\",
        "\\u",
        "\u{feff}",
        "null",
        "5",
        "\"a\"",
        "\"scan_id\"",
        "\"job_id\"",
        "\"specversion\":\"1.0\"",
        "\"data\":",
        "\"data_base64\":\"WyJhIl0=\"",
        "\"labels\":",
        "\u{0}",
        "\"destinations\":[",
        "\"deadline\":\"9m\"",
        "é",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..40).prop_map(|it| it.concat().into_bytes())
}

fn holds(body: &[u8], envelope: &Envelope) {
    if let Ok(entries) = parse(&Bytes::copy_from_slice(body), envelope) {
        assert!(!entries.is_empty());
        for entry in entries {
            let decoded = body.windows(11).any(|part| part == b"data_base64");
            let bytes = entry.bytes.as_ref();
            assert!(decoded || body.windows(bytes.len().max(1)).any(|part| part == bytes));
            assert!(entry.request.map_or(true, |request| !request.scan_id.trim().is_empty()));
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300), envelope in envelopes()) {
        holds(&body, &envelope);
    }

    #[test]
    fn no_near_miss_makes_it_panic_and_entries_are_pieces_of_the_input(body in almost_requests(), envelope in envelopes()) {
        holds(&body, &envelope);
    }
}
