//! From the bytes of a message to requests.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use scanbell::domain::request::{Envelope, parse};
use serde_json::{Value, json};

use super::bodies::SIEVE_ID;

/// An object with what a submitter usually says.
fn request(scan_id: &str) -> Value {
    json!({
        "scan_id": scan_id,
        "provider": "sieve",
        "labels": { "team": "platform", "repository": "payments" },
        "id": format!("upload-{scan_id}"),
    })
}

fn scan_id(number: usize) -> String {
    format!("2b2f7b8b-7f2c-4b2d-9a5f-{number:012x}")
}

/// Parses `message`, of which every entry is a request.
fn bench(bencher: Bencher, message: impl Into<Bytes>, envelope: &Envelope) {
    let message = message.into();
    let entries = parse(&message, envelope).unwrap();
    assert!(entries.iter().all(|entry| entry.request.is_ok()));
    bencher
        .counter(ItemsCount::new(entries.len()))
        .counter(BytesCount::of_slice(&message))
        .bench(|| parse(black_box(&message), black_box(envelope)));
}

#[divan::bench]
fn bare_id(bencher: Bencher) {
    bench(bencher, SIEVE_ID, &Envelope::default());
}

#[divan::bench]
fn object(bencher: Bencher) {
    bench(bencher, request(SIEVE_ID).to_string(), &Envelope::default());
}

#[divan::bench]
fn array_of_1000_ids(bencher: Bencher) {
    let ids: Vec<String> = (0..1000).map(scan_id).collect();
    bench(bencher, json!(ids).to_string(), &Envelope::default());
}

#[divan::bench]
fn array_of_1000_objects(bencher: Bencher) {
    let requests: Vec<Value> = (0..1000).map(|number| request(&scan_id(number))).collect();
    bench(bencher, json!(requests).to_string(), &Envelope::default());
}

#[divan::bench]
fn cloud_event(bencher: Bencher) {
    let event = json!({
        "specversion": "1.0",
        "id": "7f1c",
        "source": "/uploads",
        "type": "com.example.upload.scanned",
        "time": "2026-02-14T12:34:56Z",
        "datacontenttype": "application/json",
        "data": request(SIEVE_ID),
    });
    let content_type = Some("application/cloudevents+json; charset=utf-8".to_owned());
    bench(bencher, event.to_string(), &Envelope { content_type, ..Envelope::default() });
}
