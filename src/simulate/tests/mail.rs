//! The mail server, spoken to by hand and by lettre.

use std::sync::Arc;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as ClientTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::io::AsyncWriteExt;

use super::client::{Smtp, put};
use super::*;

async fn connect(world: &World) -> Smtp {
    let mut smtp = Smtp::connect(world.smtp_address()).await;
    assert_eq!(smtp.hear().await, "220 simulated ESMTP\r\n");
    smtp
}

async fn greeted(world: &World) -> Smtp {
    let mut smtp = connect(world).await;
    let said = smtp.say("EHLO me").await;
    for word in ["PIPELINING", "8BITMIME", "SIZE 10485760", "AUTH PLAIN LOGIN XOAUTH2"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("STARTTLS"));
    smtp
}

#[tokio::test]
async fn a_mail_is_recorded_with_its_envelope_and_its_dots() {
    let world = world().await;
    let mut smtp = greeted(&world).await;
    smtp.say("MAIL FROM:<scanbell@example.com> BODY=8BITMIME SIZE=40").await;
    assert!(smtp.say("RCPT TO:<a@example.com>").await.starts_with("250"));
    assert!(smtp.say("RCPT TO:<b@example.com>").await.starts_with("250"));
    assert!(smtp.say("DATA").await.starts_with("354"));
    assert!(smtp.say("Subject: é\r\n\r\n..dot\r\n.").await.starts_with("250"));
    assert!(smtp.say("QUIT").await.starts_with("221"));
    let got = &world.received(Kind::Email, Some("b@example.com"))[0];
    assert_eq!(got.body, "Subject: é\r\n\r\n.dot\r\n");
    let envelope = got.envelope.clone().unwrap();
    assert_eq!(
        (envelope.from.as_str(), envelope.to),
        ("scanbell@example.com", vec!["a@example.com".to_owned(), "b@example.com".to_owned()])
    );
    world.stop().await;
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let world = world().await;
    let mut smtp = greeted(&world).await;
    let first = smtp.say("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nNOOP\r\nDATA").await;
    let mut codes = vec![first[..3].to_owned()];
    for _ in 0..3 {
        codes.push(smtp.hear().await[..3].to_owned());
    }
    assert_eq!(codes, ["250", "250", "250", "354"]);
    world.stop().await;
}

#[tokio::test]
async fn one_recipient_is_refused_as_scripted_and_the_others_are_not() {
    let world = world().await;
    put(
        world.api_address(),
        "/_sim/destinations/gone@example.com",
        r#"{"answers":[{"status":550,"body":"no such user"}]}"#,
    )
    .await;
    world.script_destination("full@example.com", [Step::status(452)]);
    let mut smtp = greeted(&world).await;
    smtp.say("MAIL FROM:<a@example.com>").await;
    assert_eq!(smtp.say("RCPT TO:<gone@example.com>").await, "550 no such user\r\n");
    assert_eq!(smtp.say("RCPT TO:<full@example.com>").await, "452 4.0.0 simulated refusal\r\n");
    assert!(smtp.say("RCPT TO:<there@example.com>").await.starts_with("250"));
    assert!(smtp.say("RCPT TO:<full@example.com>").await.starts_with("250"), "once only");
    world.stop().await;
}

#[tokio::test]
async fn the_whole_server_fails_at_the_place_that_was_scripted() {
    let world = world().await;
    let steps =
        r#"{"answers":[{"status":421,"at":"connect"},{"status":451,"at":"mail"},{"status":452},{"special":"drop"}]}"#;
    put(world.api_address(), "/_sim/destinations/smtp", steps).await;
    let mut refused = Smtp::connect(world.smtp_address()).await;
    assert!(refused.hear().await.starts_with("421"));
    assert_eq!(refused.hear().await, "");
    let mut smtp = greeted(&world).await;
    assert!(smtp.say("MAIL FROM:<a@example.com>").await.starts_with("451"));
    for expected in ["452", "", "250"] {
        if expected == "250" {
            smtp = greeted(&world).await;
        }
        smtp.say("MAIL FROM:<a@example.com>").await;
        smtp.say("RCPT TO:<b@example.com>").await;
        smtp.say("DATA").await;
        let said = smtp.say("x\r\n.").await;
        assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{said:?} is not {expected}");
    }
    let answered: Vec<u16> = world.received(Kind::Email, None).iter().map(|got| got.answered).collect();
    assert_eq!(answered, [452, 0, 250], "after the dot a dropped mail is here all the same");
    world.stop().await;
}

#[tokio::test]
async fn who_must_log_in_must_log_in_right() {
    let smtp_login = Some(("user".to_owned(), "pass".to_owned()));
    let world = World::start(Options { smtp_login, ..Options::default() }).await.unwrap();
    let mut smtp = greeted(&world).await;
    assert!(smtp.say("MAIL FROM:<a@example.com>").await.starts_with("530"));
    assert!(smtp.say("AUTH PLAIN AHVzZXIAd3Jvbmc=").await.starts_with("535"));
    assert!(smtp.say("AUTH LOGIN").await.starts_with("334"));
    assert!(smtp.say("dXNlcg==").await.starts_with("334"));
    assert!(smtp.say("cGFzcw==").await.starts_with("235"));
    assert!(smtp.say("MAIL FROM:<a@example.com>").await.starts_with("250"));
    world.stop().await;
}

#[tokio::test]
async fn a_hanging_mail_dialogue_ends_with_the_world() {
    let world = world().await;
    world.script_destination("smtp", [Step::new(super::super::Answer::Hang(Duration::from_secs(600))).at(Stage::Mail)]);
    let smtp = greeted(&world).await;
    let mut stream = smtp.into_inner();
    stream.write_all(b"MAIL FROM:<a@example.com>\r\n").await.unwrap();
    tokio::time::timeout(SOON, world.stop()).await.unwrap();
}

fn certificate(implicit: bool) -> Tls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Tls { cert_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem(), implicit }
}

async fn sent_by_lettre(implicit: bool) -> Envelope {
    // lettre asks for the process's default; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = certificate(implicit);
    let ca = Certificate::from_pem(tls.cert_pem.as_bytes()).unwrap();
    let world = World::start(Options { tls: Some(tls), ..Options::default() }).await.unwrap();
    let parameters = TlsParameters::builder("localhost".to_owned()).add_root_certificate(ca).build_rustls().unwrap();
    let tls = if implicit { ClientTls::Wrapper(parameters) } else { ClientTls::Required(parameters) };
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("localhost")
        .port(world.smtp_address().port())
        .tls(tls)
        .credentials(Credentials::new("user".to_owned(), "pass".to_owned()))
        .build();
    let message = Message::builder().from("a@example.com".parse().unwrap()).to("b@example.com".parse().unwrap());
    transport.send(message.body("hello\n.\n".to_owned()).unwrap()).await.unwrap();
    let got = world.received(Kind::Email, None);
    assert!(got[0].text().ends_with("hello\r\n.\r\n\r\n"), "{:?}", got[0].text());
    let envelope = got[0].envelope.clone().unwrap();
    world.stop().await;
    envelope
}

#[tokio::test]
async fn a_real_client_sends_over_starttls_and_over_implicit_tls() {
    for implicit in [false, true] {
        let envelope = sent_by_lettre(implicit).await;
        assert!(envelope.tls);
        assert_eq!(envelope.user.as_deref(), Some("user"));
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_an_error_at_the_start() {
    let tls = Some(Tls { cert_pem: "x".to_owned(), key_pem: "y".to_owned(), implicit: false });
    assert!(World::start(Options { tls, ..Options::default() }).await.is_err());
}

#[tokio::test]
async fn many_clients_are_served_at_once() {
    let world = Arc::new(world().await);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..50 {
        let world = world.clone();
        clients.spawn(async move {
            let mut smtp = greeted(&world).await;
            smtp.say("MAIL FROM:<a@example.com>").await;
            smtp.say(&format!("RCPT TO:<{number}@example.com>")).await;
            smtp.say("DATA").await;
            smtp.say("x\r\n.").await
        });
    }
    while let Some(said) = clients.join_next().await {
        assert!(said.unwrap().starts_with("250"));
    }
    assert_eq!(world.received(Kind::Email, None).len(), 50);
}
