//! From a report to the message for one destination: every template that is built in, and the webhook bodies that
//! need none.

use divan::{Bencher, black_box};
use scanbell::domain::notification::{Kind, WebhookFormat};
use scanbell::render::{Renderer, Voice, sample_report};
use scanbell::time::from_millis;
use uuid::Uuid;

/// Renders a report of a threat with every field filled.
fn bench(bencher: Bencher, kind: Kind, format: WebhookFormat, template: Option<&str>) {
    let template = template.map(str::to_owned);
    let voice = Voice { name: "it".into(), kind, format, template, channel: None, mentions: vec!["<!here>".into()] };
    let renderer = Renderer::build(None, &[voice]).unwrap_or_else(|problems| panic!("{problems}"));
    let (report, id, now) = (sample_report(), Uuid::from_u128(1), from_millis(1_771_072_510_000));
    assert_eq!(renderer.report("it", &report, id, now).fallback, None);
    bencher.bench_local(|| renderer.report("it", black_box(&report), id, now));
}

#[divan::bench]
fn slack_alert(bencher: Bencher) {
    bench(bencher, Kind::Slack, WebhookFormat::Standard, Some("slack/alert"));
}

#[divan::bench]
fn email_alert(bencher: Bencher) {
    bench(bencher, Kind::Email, WebhookFormat::Standard, Some("email/alert"));
}

#[divan::bench]
fn webhook_example(bencher: Bencher) {
    bench(bencher, Kind::Webhook, WebhookFormat::Template, Some("webhook/example"));
}

#[divan::bench]
fn webhook_standard(bencher: Bencher) {
    bench(bencher, Kind::Webhook, WebhookFormat::Standard, None);
}

#[divan::bench]
fn webhook_cloudevents(bencher: Bencher) {
    bench(bencher, Kind::Webhook, WebhookFormat::CloudEvents, None);
}
