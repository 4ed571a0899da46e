//! One SMTP dialogue (RFC 5321), with a scripted failure at any of its places.
//!
//! Faults are looked up under a recipient's address and under the name `smtp`, which stands for the whole server.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio_rustls::TlsAcceptor;

use super::super::inner::Inner;
use super::super::ledger::{Envelope, Kind, Received};
use super::super::reply::wait;
use super::super::script::{Answer, Body, Stage, Step};
use super::{Wire, encrypt, mailbox};

/// Faults of the whole server.
const SERVER: &str = "smtp";
/// More recipients than this are refused.
const MOST_RECIPIENTS: usize = 1_000;

/// Whether the dialogue goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Close,
}

/// What a scripted step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing is wrong here.
    None,
    /// Refused with this code.
    Answered(u16),
    /// The connection is over.
    Close,
}

/// One connection.
pub(super) struct Session {
    inner: Arc<Inner>,
    wire: BufReader<Box<dyn Wire>>,
    starttls: Option<TlsAcceptor>,
    greeted: bool,
    mail: Option<Envelope>,
    user: Option<String>,
    encrypted: bool,
}

impl Session {
    pub(super) fn new(inner: Arc<Inner>, wire: Box<dyn Wire>, encrypted: bool, starttls: Option<TlsAcceptor>) -> Self {
        let wire = BufReader::new(wire);
        Self { inner, wire, starttls, greeted: false, mail: None, user: None, encrypted }
    }

    /// From greeting to end. An error is a connection that broke.
    pub(super) async fn run(mut self) -> io::Result<()> {
        if self.fault(&[SERVER], Stage::Connect).await? != Fault::None {
            return Ok(());
        }
        self.say("220 simulated ESMTP").await?;
        while let Some(line) = mailbox::line(&mut self.wire).await? {
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if self.command(&verb.to_ascii_uppercase(), argument.trim()).await? == Flow::Close {
                break;
            }
        }
        self.wire.get_mut().shutdown().await
    }

    async fn say(&mut self, line: &str) -> io::Result<Flow> {
        self.wire.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        self.wire.get_mut().flush().await?;
        Ok(Flow::Next)
    }

    async fn command(&mut self, verb: &str, argument: &str) -> io::Result<Flow> {
        match verb {
            "EHLO" | "HELO" => self.hello(verb).await,
            "STARTTLS" => self.upgrade().await,
            "AUTH" => self.auth(argument).await,
            "MAIL" => self.mail(argument).await,
            "RCPT" => self.recipient(argument).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.mail = None;
                self.say("250 2.0.0 ok").await
            }
            "NOOP" => self.say("250 2.0.0 ok").await,
            "VRFY" => self.say("252 2.0.0 cannot verify").await,
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                Ok(Flow::Close)
            }
            _ => self.say("500 5.5.1 what?").await,
        }
    }

    async fn hello(&mut self, verb: &str) -> io::Result<Flow> {
        if let Some(flow) = self.stopped(&[SERVER], Stage::Ehlo).await? {
            return Ok(flow);
        }
        (self.greeted, self.mail) = (true, None);
        if verb == "HELO" {
            return self.say("250 simulated").await;
        }
        let mut lines = vec!["250-simulated", "250-PIPELINING", "250-8BITMIME", "250-SMTPUTF8"];
        let size = format!("250-SIZE {}", mailbox::LARGEST);
        lines.push(&size);
        if self.starttls.is_some() && !self.encrypted {
            lines.push("250-STARTTLS");
        }
        lines.push("250 AUTH PLAIN LOGIN XOAUTH2");
        self.say(&lines.join("\r\n")).await
    }

    async fn upgrade(&mut self) -> io::Result<Flow> {
        let Some(acceptor) = self.starttls.clone().filter(|_| !self.encrypted) else {
            return self.say("502 5.5.1 no TLS here").await;
        };
        self.say("220 2.0.0 go ahead").await?;
        // What was sent before TLS stands is thrown away with the buffer: it could be anybody's.
        let plain: Box<dyn Wire> = Box::new(tokio::io::empty());
        let plain = std::mem::replace(&mut self.wire, BufReader::new(plain)).into_inner();
        self.wire = BufReader::new(encrypt(&acceptor, plain).await?);
        (self.encrypted, self.greeted, self.mail, self.user) = (true, false, None, None);
        Ok(Flow::Next)
    }

    async fn auth(&mut self, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.stopped(&[SERVER], Stage::Auth).await? {
            return Ok(flow);
        }
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let login = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => mailbox::plain(&self.response(initial, "334 ").await?),
            "XOAUTH2" => mailbox::xoauth2(&self.response(initial, "334 ").await?),
            "LOGIN" => {
                let user = mailbox::decoded(&self.response(initial, "334 VXNlcm5hbWU6").await?);
                let password = mailbox::decoded(&self.response("", "334 UGFzc3dvcmQ6").await?);
                user.zip(password)
            }
            _ => return self.say("504 5.5.4 unknown mechanism").await,
        };
        match login.filter(|login| self.inner.smtp_login.as_ref().is_none_or(|known| known == login)) {
            Some((user, _)) => {
                self.user = Some(user);
                self.say("235 2.7.0 welcome").await
            }
            None => self.say("535 5.7.8 wrong user or password").await,
        }
    }

    /// What came with the command, or the answer to our question.
    async fn response(&mut self, initial: &str, question: &str) -> io::Result<String> {
        if !initial.is_empty() {
            return Ok(initial.to_owned());
        }
        self.say(question).await?;
        mailbox::line(&mut self.wire).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn mail(&mut self, argument: &str) -> io::Result<Flow> {
        if let Some(flow) = self.stopped(&[SERVER], Stage::Mail).await? {
            return Ok(flow);
        }
        if !self.greeted {
            return self.say("503 5.5.1 say EHLO first").await;
        }
        if self.inner.smtp_login.is_some() && self.user.is_none() {
            return self.say("530 5.7.0 log in first").await;
        }
        let Some(from) = mailbox::address(argument, "FROM:") else {
            return self.say("501 5.1.7 no sender").await;
        };
        self.mail = Some(Envelope { from, to: Vec::new(), user: self.user.clone(), tls: self.encrypted });
        self.say("250 2.1.0 ok").await
    }

    async fn recipient(&mut self, argument: &str) -> io::Result<Flow> {
        let Some(to) = mailbox::address(argument, "TO:").filter(|to| !to.is_empty()) else {
            return self.say("501 5.1.3 no recipient").await;
        };
        if let Some(flow) = self.stopped(&[&to, SERVER], Stage::Rcpt).await? {
            return Ok(flow);
        }
        match &mut self.mail {
            None => self.say("503 5.5.1 MAIL first").await,
            Some(mail) if mail.to.len() >= MOST_RECIPIENTS => self.say("452 4.5.3 too many recipients").await,
            Some(mail) => {
                mail.to.push(to);
                self.say("250 2.1.5 ok").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<Flow> {
        if let Some(flow) = self.stopped(&[SERVER], Stage::Data).await? {
            return Ok(flow);
        }
        let Some(mail) = self.mail.take().filter(|mail| !mail.to.is_empty()) else {
            return self.say("503 5.5.1 RCPT first").await;
        };
        self.say("354 end with a dot").await?;
        match mailbox::message(&mut self.wire).await? {
            None => self.say("552 5.3.4 too large").await,
            Some(message) => self.take_in(mail, message).await,
        }
    }

    /// The message is here; what the script says of it decides whether the client hears so.
    async fn take_in(&mut self, mail: Envelope, message: Bytes) -> io::Result<Flow> {
        let names: Vec<&str> = std::iter::once(SERVER).chain(mail.to.iter().map(String::as_str)).collect();
        let fault = self.fault(&names, Stage::Dot).await?;
        let answered = match fault {
            Fault::None => 250,
            Fault::Answered(code) => code,
            Fault::Close => 0,
        };
        let received = Received {
            number: 0,
            kind: Kind::Email,
            name: mail.to.first().cloned().unwrap_or_default(),
            at: self.inner.now(),
            method: "DATA".to_owned(),
            headers: Vec::new(),
            body: self.inner.kept(&message),
            verified: None,
            answered,
            envelope: Some(mail),
        };
        self.inner.record(received, None);
        match fault {
            Fault::None => self.say("250 2.0.0 taken").await,
            fault => Ok(flow(fault)),
        }
    }

    /// What to do when a fault came in the way.
    async fn stopped(&mut self, names: &[&str], stage: Stage) -> io::Result<Option<Flow>> {
        let fault = self.fault(names, stage).await?;
        Ok((fault != Fault::None).then(|| flow(fault)))
    }

    /// Plays the first scripted step that these names have for this place.
    async fn fault(&mut self, names: &[&str], stage: Stage) -> io::Result<Fault> {
        let step = names.iter().find_map(|name| {
            let default = if *name == SERVER { Stage::Dot } else { Stage::Rcpt };
            self.inner.smtp_fault(name, stage, default)
        });
        match step {
            Some(step) => self.play(step).await,
            None => Ok(Fault::None),
        }
    }

    async fn play(&mut self, step: Step) -> io::Result<Fault> {
        let stopping = self.inner.stopping.clone();
        wait(step.delay, &stopping).await;
        match step.answer {
            Answer::Http(http) => match http.status.unwrap_or(250) {
                code @ 400..=599 => {
                    self.say(&refusal(code, &http.body)).await?;
                    Ok(Fault::Answered(code))
                }
                _ => Ok(Fault::None),
            },
            Answer::Hang(time) => {
                wait(time, &stopping).await;
                Ok(Fault::Close)
            }
            _ => Ok(Fault::Close),
        }
    }
}

/// 421 closes the connection, as RFC 5321 says.
fn flow(fault: Fault) -> Flow {
    if matches!(fault, Fault::Close | Fault::Answered(421)) { Flow::Close } else { Flow::Next }
}

fn refusal(code: u16, body: &Body) -> String {
    match body {
        Body::Text { text, .. } | Body::Json(serde_json::Value::String(text)) => {
            format!("{code} {}", text.replace(['\r', '\n'], " "))
        }
        _ => format!("{code} {}.0.0 simulated refusal", code / 100),
    }
}
