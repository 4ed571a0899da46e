//! Mail against a scripted server: each refusal, each way to break off, and the message as a mail reader sees it.

use std::time::{Duration, Instant};

use mail_parser::{MessageParser, MimeHeaders};
use rstest::rstest;

use super::*;
use crate::destination::testing::{React, SmtpStub, mail_notification};
use crate::secret::SecretString;

fn settings(stub: &SmtpStub, to: &[&str]) -> Settings {
    Settings {
        smtp: Some(format!("smtp://{}", stub.address)),
        tls: Tls::None,
        from: Some("Scanbell <scanbell@example.com>".to_owned()),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Settings::default()
    }
}

fn build(settings: &Settings) -> Email {
    Email::build("oncall", "[destinations.oncall]", settings).unwrap()
}

fn say(reply: &str) -> React {
    React::Say(reply.to_owned())
}

/// Sends one mail to A and B at a server that follows the script.
async fn sent(script: impl FnMut(&str) -> Option<React> + Send + 'static) -> (Sent, SmtpStub) {
    let stub = SmtpStub::start(script).await;
    let email = build(&settings(&stub, &["anna@example.com", "bert@example.com"]));
    (email.send(&mail_notification("oncall", "s", "t")).await, stub)
}

fn in_short(sent: &Sent) -> String {
    format!("{} {}", sent.verdict.as_str(), sent.verdict.reason())
}

#[tokio::test]
async fn a_mail_reader_finds_both_parts_and_the_headers_of_the_contract() {
    let stub = SmtpStub::start(|_| None).await;
    let email = build(&settings(&stub, &["Änne Bäcker <anna@example.com>", "bert@example.com"]));
    let text =
        "Grüße 👩‍👩‍👧\r\n.\r\nQUIT\r\n..dots\n.\nlone\rcr \u{0}nul <!channel> \u{202e}rtl ".to_owned() + &"x".repeat(5000);
    let mut notification = mail_notification("oncall", "a\rBcc: eve@example.com\n中", &text);
    notification.created_at = "2026-02-14T12:34:56Z".parse().unwrap();
    assert_eq!(in_short(&email.send(&notification).await), "delivered ok");
    assert_eq!(in_short(&email.send(&notification).await), "delivered ok");
    let mails = stub.mails();
    assert_eq!(mails[0], mails[1], "each attempt sends the same bytes");
    assert!(mails[0].is_ascii() && mails[0].lines().all(|line| line.len() < 998));
    let mail = MessageParser::default().parse(mails[0].as_bytes()).unwrap();
    assert_eq!(mail.subject().unwrap(), "a Bcc: eve@example.com 中");
    assert!(mail.bcc().is_none());
    assert_eq!(mail.message_id().unwrap(), format!("scanbell-{}@example.com", notification.id));
    assert_eq!(mail.date().unwrap().to_rfc3339(), "2026-02-14T12:34:56Z");
    assert_eq!(mail.header("Auto-Submitted").unwrap().as_text().unwrap(), "auto-generated");
    assert_eq!(mail.content_type().unwrap().subtype(), Some("alternative"));
    assert_eq!(mail.to().unwrap().first().unwrap().name(), Some("Änne Bäcker"));
    let read = mail.body_text(0).unwrap().replace("\r\n", "\n");
    assert!(read.starts_with("Grüße 👩‍👩‍👧\n.\nQUIT\n..dots\n.\nlone\ncr nul <!channel> \u{202e}rtl xxx"), "{read:?}");
    assert!(mail.body_html(0).unwrap().starts_with("<p>Grüße"));
}

#[tokio::test]
async fn connections_are_kept_for_the_next_mail_and_replaced_when_they_died() {
    let stub = SmtpStub::start(|_| None).await;
    let email = build(&settings(&stub, &["anna@example.com"]));
    for _ in 0..3 {
        email.send(&mail_notification("oncall", "s", "t")).await;
    }
    let connections = |said: &[String]| said.iter().filter(|line| *line == "(connection)").count();
    assert_eq!(connections(&stub.said()), 1);
    let mut noops = 0;
    let moody = SmtpStub::start(move |line| {
        noops += usize::from(line == "NOOP");
        (line == "NOOP" && noops == 1).then_some(React::HangUp)
    })
    .await;
    let email = build(&settings(&moody, &["anna@example.com"]));
    for _ in 0..3 {
        assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "delivered ok");
    }
    assert_eq!(connections(&moody.said()), 2);
}

#[tokio::test]
async fn one_refused_recipient_does_not_keep_the_mail_from_the_other() {
    let (sent, stub) =
        sent(|line| line.contains("anna").then(|| React::Say("550 5.1.1 <Anna@Example.com> unknown".into()))).await;
    assert_eq!(in_short(&sent), "delivered partly_refused");
    assert_eq!(stub.mails().len(), 1);
    let answer = sent.answer.unwrap();
    assert_eq!(answer, "<recipient 1>: 550 5.1.1 <<recipient 1>> unknown; <recipient 2>: 250 2.0.0 queued as 4711");
}

#[tokio::test]
async fn who_is_refused_for_now_is_tried_again_alone() {
    let mut tries = 0;
    let stub = SmtpStub::start(move |line| {
        tries += usize::from(line.contains("RCPT TO:<anna"));
        (line.contains("RCPT TO:<anna") && tries == 1).then(|| React::Say("450 4.2.0 greylisted".into()))
    })
    .await;
    let email = build(&settings(&stub, &["anna@example.com", "bert@example.com"]));
    let notification = mail_notification("oncall", "s", "t");
    assert_eq!(in_short(&email.send(&notification).await), "retry server_error");
    assert_eq!(in_short(&email.send(&notification).await), "delivered ok");
    let berts = stub.said().iter().filter(|line| line.contains("bert")).count();
    assert_eq!((stub.mails().len(), berts), (2, 1), "bert got it once");
    // A replay is a new start.
    assert_eq!(in_short(&email.send(&notification).await), "delivered ok");
    assert_eq!(stub.said().iter().filter(|line| line.contains("bert")).count(), 2);
}

#[rstest]
#[case::all_unknown("RCPT", "550 5.1.1 unknown", "reject rejected")]
#[case::sender_refused("MAIL", "553 5.7.1 not you", "reject rejected")]
#[case::spam(".", "554 5.7.1 spam", "reject rejected")]
#[case::too_large("DATA", "552 5.3.4 too large", "reject rejected")]
#[case::full(".", "452 4.3.1 disk full", "retry server_error")]
#[case::closing("MAIL", "421 4.3.2 shutting down", "retry rate_limited")]
#[case::sign_in_first("MAIL", "530 5.7.0 sign in first", "retry unauthorized")]
#[case::no_welcome("(greeting)", "554 no service", "retry server_error")]
#[case::no_hello("EHLO", "550 who are you", "retry server_error")]
#[case::garbage("RCPT", "what?", "retry bad_answer")]
#[tokio::test]
async fn each_refusal_means_what_the_contract_says(
    #[case] at: &'static str,
    #[case] reply: &'static str,
    #[case] expected: &str,
) {
    let (sent, stub) = sent(move |line| line.starts_with(at).then(|| React::Say(reply.into()))).await;
    assert_eq!(in_short(&sent), expected, "{sent:?}");
    assert!(stub.mails().is_empty());
    assert!(sent.answer.unwrap().len() > 3);
}

#[rstest]
#[case::while_greeting("(greeting)", "retry connect")]
#[case::at_mail("MAIL", "retry interrupted")]
#[case::at_the_second_recipient("RCPT TO:<bert", "retry interrupted")]
#[case::after_the_final_dot(".", "retry interrupted")]
#[tokio::test]
async fn a_server_that_hangs_up_leaves_the_outcome_open(#[case] at: &'static str, #[case] expected: &str) {
    let (sent, _stub) = sent(move |line| line.starts_with(at).then_some(React::HangUp)).await;
    assert_eq!(in_short(&sent), expected, "{sent:?}");
}

#[tokio::test]
async fn a_server_that_hangs_or_never_stops_talking_is_given_up() {
    let stub = SmtpStub::start(|line| line.starts_with("MAIL").then_some(React::Hang)).await;
    let mut email = build(&settings(&stub, &["anna@example.com"]));
    email.transaction = Duration::from_millis(200);
    let began = Instant::now();
    assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "retry timeout");
    assert!(began.elapsed() < Duration::from_secs(5));
    let (sent, _stub) =
        sent(|line| line.starts_with("RCPT").then(|| React::Say("250 ".to_owned() + &"x".repeat(3_000_000)))).await;
    assert_eq!(sent.verdict.as_str(), "retry");
}

#[tokio::test]
async fn nobody_listening_is_no_connection() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = Settings {
        smtp: Some(format!("smtp://{address}")),
        tls: Tls::None,
        from: Some("a@example.com".into()),
        to: vec!["b@example.com".into()],
        ..Settings::default()
    };
    assert_eq!(in_short(&build(&settings).send(&mail_notification("oncall", "s", "t")).await), "retry connect");
}

fn signing_in(stub: &SmtpStub, auth: Auth, tls: Tls) -> Email {
    build(&Settings {
        username: Some("anna@corp.example".into()),
        password: Some(SecretString::from("hunter2-password")),
        auth,
        tls,
        ..settings(stub, &["anna@example.com"])
    })
}

#[rstest]
#[case(Auth::Auto, "AUTH PLAIN AGFubmFAY29ycC5leGFtcGxlAGh1bnRlcjItcGFzc3dvcmQ=")]
#[case(Auth::Login, "AUTH LOGIN")]
#[case(Auth::Xoauth2, "AUTH XOAUTH2 dXNlcj1hbm5hQGNvcnAuZXhhbXBsZQFhdXRoPUJlYXJlciBodW50ZXIyLXBhc3N3b3JkAQE=")]
#[tokio::test]
async fn each_way_to_sign_in_says_what_it_must(#[case] auth: Auth, #[case] expected: &str) {
    let stub = SmtpStub::start(|line| match line {
        "AUTH LOGIN" => Some(say("334 VXNlcm5hbWU6")),
        "YW5uYUBjb3JwLmV4YW1wbGU=" => Some(say("334 UGFzc3dvcmQ6")),
        "aHVudGVyMi1wYXNzd29yZA==" => Some(say("235 welcome")),
        _ => None,
    })
    .await;
    let email = signing_in(&stub, auth, Tls::None);
    assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "delivered ok");
    assert!(stub.said().iter().any(|line| line == expected), "{:?}", stub.said());
    assert!(email.probe().await.unwrap().contains("signed in"));
}

#[rstest]
#[case("535 5.7.8 hunter2-password of anna@corp.example is wrong", "retry unauthorized")]
#[case("535 no dXNlcj1hbm5hQGNvcnAuZXhhbXBsZQFhdXRoPUJlYXJlciBodW50ZXIyLXBhc3N3b3JkAQE= here", "retry unauthorized")]
#[case("334 eyJzdGF0dXMiOiI0MDAifQ==", "retry unauthorized")]
#[case("454 4.7.0 later", "retry server_error")]
#[tokio::test]
async fn a_refused_sign_in_is_for_people_to_mend_and_shows_no_secret(
    #[case] reply: &'static str,
    #[case] expected: &str,
) {
    let stub = SmtpStub::start(move |line| line.starts_with("AUTH").then(|| React::Say(reply.into()))).await;
    let email = signing_in(&stub, Auth::Xoauth2, Tls::None);
    let sent = email.send(&mail_notification("oncall", "s", "t")).await;
    assert_eq!(in_short(&sent), expected);
    let answer = sent.answer.unwrap();
    assert!(!answer.contains("hunter2") && !answer.contains("anna"), "{answer}");
    assert!(!answer.contains("dXNlcj1hbm5h"), "{answer}");
}

#[tokio::test]
async fn a_password_that_was_replaced_in_its_file_is_used_by_the_next_attempt() {
    let new = "AUTH PLAIN AHNjYW5iZWxsAG5ldy1wYXNzd29yZA=="; // scanbell, new-password
    let stub =
        SmtpStub::start(move |line| (line.starts_with("AUTH") && line != new).then(|| say("535 5.7.8 no"))).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old-password\n").unwrap();
    let email = build(&Settings {
        username: Some("scanbell".into()),
        password_file: Some(file.path().to_owned()),
        ..settings(&stub, &["anna@example.com"])
    });
    assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "retry unauthorized");
    std::fs::write(file.path(), "new-password\n").unwrap();
    assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "delivered ok");
}

#[rstest]
#[case::implicit("smtps")]
#[case::starttls("smtp")]
#[tokio::test]
async fn a_mail_server_that_never_finishes_the_handshake_is_left_in_time(#[case] scheme: &str) {
    let stub = SmtpStub::start(|line| match line.split(' ').next() {
        Some("EHLO") => Some(say("250-stub\r\n250 STARTTLS")),
        Some("STARTTLS") => Some(say("220 go")),
        Some("(greeting)" | "MAIL") => None,
        _ => Some(React::Hang),
    })
    .await;
    let (_, ca) = crate::destination::testing::tls_server();
    let mut email = build(&Settings {
        smtp: Some(format!("{scheme}://localhost:{}", stub.address.port())),
        tls: Tls::Required,
        ca_file: Some(ca.path().to_owned()),
        ..settings(&stub, &["anna@example.com"])
    });
    email.pool.hurry(Duration::from_millis(500));
    let began = Instant::now();
    let sent = email.send(&mail_notification("oncall", "s", "t")).await;
    assert!(["retry connect", "retry tls"].contains(&in_short(&sent).as_str()), "{sent:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn without_tls_nothing_is_sent_when_it_is_required_and_no_password_ever() {
    for tls in [Tls::Required, Tls::Opportunistic] {
        let stub = SmtpStub::start(|_| None).await;
        let email = signing_in(&stub, Auth::Auto, tls);
        assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "retry tls");
        assert!(!stub.said().iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")));
    }
    let stub = SmtpStub::start(|_| None).await;
    let email = build(&Settings { tls: Tls::Opportunistic, ..settings(&stub, &["anna@example.com"]) });
    assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "delivered ok");
}

#[tokio::test]
async fn an_answer_smuggled_in_before_the_handshake_is_noticed() {
    let stub = SmtpStub::start(|line| match line.split(' ').next() {
        Some("EHLO") => Some(say("250-stub\r\n250 STARTTLS")),
        Some("STARTTLS") => Some(say("220 go\r\n250-stub\r\n250 AUTH PLAIN")),
        _ => None,
    })
    .await;
    let email = signing_in(&stub, Auth::Auto, Tls::Required);
    let sent = email.send(&mail_notification("oncall", "s", "t")).await;
    assert!(["retry bad_answer", "retry tls"].contains(&in_short(&sent).as_str()), "{sent:?}");
}

#[test]
fn names_from_a_hostile_hand_neither_panic_nor_add_headers() {
    let place = "[destinations.oncall]";
    for name in
        ["Bad\r\nBcc: eve@example.com <a@example.com>", "\u{0} <a@example.com>", "\"q\\\" <x>\" <a@example.com>"]
    {
        if let Ok(mailbox) = mailbox(place, "from", name) {
            let bytes = message::format(
                &mail_notification("oncall", "s", "t"),
                &crate::domain::notification::Mail { subject: "s".into(), text: "t".into(), html: "h".into() },
                &mailbox,
                &[],
            );
            let bytes = bytes.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
            assert!(!bytes.lines().any(|line| line.starts_with("Bcc")), "{bytes}");
        }
    }
    assert!(mailbox(place, "to", "a@b@c").is_err());
    assert!(mailbox(place, "to", "").is_err());
    assert_eq!(mailbox(place, "to", "a@bücher.example").unwrap().email.domain(), "xn--bcher-kva.example");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let said = |settings: &Settings| Email::build("oncall", "[destinations.oncall]", settings).unwrap_err().to_string();
    let empty = said(&Settings::default());
    assert!(empty.ends_with("3 problems. Nothing was started."), "{empty}");
    let wrong = said(&Settings {
        smtp: Some("smtp://user:hunter2@mail.example.com".into()),
        from: Some("nobody".into()),
        to: vec!["also nobody".into(), "ok@example.com".into()],
        password: Some(SecretString::from("hunter2")),
        ca_file: Some("/nonexistent.pem".into()),
        ..Settings::default()
    });
    assert!(wrong.ends_with("5 problems. Nothing was started."), "{wrong}");
    assert!(!wrong.contains("hunter2"));
    let torn = Settings { smtp: Some("smtps://mail.example.com".into()), tls: Tls::None, ..Settings::default() };
    assert!(said(&torn).contains("says smtps:// and `tls` says none"));
}

#[rstest]
#[case::implicit(true)]
#[case::starttls(false)]
#[tokio::test]
async fn a_mail_goes_through_tls_to_a_server_whose_ca_is_named_and_to_no_other(#[case] implicit: bool) {
    let (stub, ca) = SmtpStub::start_tls(implicit).await;
    let scheme = if implicit { "smtps" } else { "smtp" };
    let trusting = Settings {
        smtp: Some(format!("{scheme}://localhost:{}", stub.address.port())),
        tls: Tls::Required,
        ca_file: Some(ca.path().to_owned()),
        username: Some("scanbell".into()),
        password: Some(SecretString::from("hunter2")),
        ..settings(&stub, &["anna@example.com"])
    };
    let email = build(&trusting);
    assert_eq!(in_short(&email.send(&mail_notification("oncall", "s", "t")).await), "delivered ok");
    assert_eq!(email.probe().await.unwrap(), "connected, encrypted, signed in; nothing was sent");
    let strangers = build(&Settings { ca_file: None, ..trusting });
    let sent = strangers.send(&mail_notification("oncall", "s", "t")).await;
    assert_eq!(in_short(&sent), "retry tls", "{sent:?}");
    assert_eq!(stub.mails().len(), 1);
}
