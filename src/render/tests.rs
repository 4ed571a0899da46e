use super::*;
use crate::domain::report::{Severity, SubjectKind, Verdict};
use crate::domain::scan::Outcome;

fn voices() -> Vec<Voice> {
    let voice = |name: &str, kind, format| Voice {
        name: name.into(),
        kind,
        format,
        template: None,
        channel: None,
        mentions: Vec::new(),
    };
    vec![
        voice("slack", Kind::Slack, WebhookFormat::Standard),
        voice("mail", Kind::Email, WebhookFormat::Standard),
        voice("hook", Kind::Webhook, WebhookFormat::Standard),
        voice("cloud", Kind::Webhook, WebhookFormat::CloudEvents),
        Voice { template: Some("webhook/example".into()), ..voice("own", Kind::Webhook, WebhookFormat::Template) },
    ]
}

#[test]
fn dump() {
    let renderer = Renderer::build(None, &voices()).unwrap_or_else(|problems| panic!("{problems}"));
    let mut hostile = sample_report();
    hostile.subject.name = Some("<!channel> <http://x|y> \"} {{x}} \u{202e}fdp.exe\0 *a* `b`\r\nBcc: x".into());
    hostile.labels = [("<b>".into(), "*x*".into()), ("owner".into(), "alice & bob".into())].into();
    let mut clean = sample_report();
    clean.verdict = Verdict::Clean;
    clean.severity = Severity::Low;
    clean.findings.clear();
    clean.classes.clear();
    let mut critical = sample_report();
    critical.severity = Severity::Critical;
    critical.findings = (0..12).map(|i| crate::domain::report::Finding { title: Some(format!("Finding number {i} with a rather long title that goes on and on and wraps around the line of a narrow client")), severity: Severity::ALL[i % 6], location: Some(format!("src/very/deep/path/to/module_{i}.py:{}", i * 17)) }).collect();
    critical.subject.kind = SubjectKind::Repository;
    critical.subject.name = Some("user/mcp-server".into());
    critical.subject.size = None;
    critical.subject.media_type = None;
    critical.subject.sha256 = None;
    critical.score = None;
    let mut failed = sample::bare_report(Outcome::Failed);
    failed.error = Some("archive is encrypted; cannot extract\nat line 3".into());
    failed.subject.name = Some("quarterly-report.zip".into());
    let reports = [
        ("threat", sample_report()),
        ("hostile", hostile),
        ("clean", clean),
        ("critical", critical),
        ("failed", failed),
        ("timed_out", sample::bare_report(Outcome::TimedOut)),
        ("unsupported", sample::bare_report(Outcome::Unsupported)),
        ("not_found", sample::bare_report(Outcome::NotFound)),
        ("unknown", sample::bare_report(Outcome::Completed)),
    ];
    std::fs::create_dir_all("/tmp/look").unwrap();
    for (name, report) in reports {
        for voice in ["slack", "mail", "own"] {
            let rendered = renderer.report(voice, &report, Uuid::nil(), report.finished_at);
            assert_eq!(rendered.fallback, None);
            match rendered.content {
                Content::Http { body, .. } => std::fs::write(format!("/tmp/look/{voice}-{name}.json"), body).unwrap(),
                Content::Mail(mail) => {
                    std::fs::write(format!("/tmp/look/{name}.html"), &mail.html).unwrap();
                    std::fs::write(format!("/tmp/look/{name}.txt"), format!("{}\n=====\n{}", mail.subject, mail.text))
                        .unwrap();
                }
            }
        }
    }
}
