//! MAIL, RCPT for each, DATA once if anybody was accepted; on connections that are kept for the next message.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::commands::{Data, Mail, Noop, Quit, Rcpt, Rset};

use super::memory::Settled;
use super::wire::{Meter, Server, Session};
use crate::domain::delivery::Reason;
use crate::egress::tls_trouble;

/// Servers close idle connections after a minute or more.
const IDLE: Duration = Duration::from_secs(30);
/// Some servers refuse the hundredth message on one connection.
const MOST_MESSAGES: u32 = 50;
/// For asking an idle connection whether it lives, and for a farewell.
const SHORT: Duration = Duration::from_secs(5);

/// Why there is no outcome for anybody: to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: Reason,
    /// Raw: still to be redacted.
    pub(super) said: String,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted { said: String },
    Refused { said: String },
    Later { reason: Reason, said: String },
}

impl Outcome {
    pub(super) fn settled(&self) -> Option<Settled> {
        match self {
            Self::Accepted { .. } => Some(Settled::Accepted),
            Self::Refused { .. } => Some(Settled::Refused),
            Self::Later { .. } => None,
        }
    }

    pub(super) fn said(&self) -> &str {
        match self {
            Self::Accepted { said } | Self::Refused { said } | Self::Later { said, .. } => said,
        }
    }

    /// From a refusal (RFC 5321 and 4954). 421 and 450–452 ask for patience, 53x for a better sign-in.
    fn of(trouble: Trouble) -> Self {
        let said = trouble.said;
        match trouble.reason {
            Reason::Rejected => Self::Refused { said },
            reason => Self::Later { reason, said },
        }
    }
}

impl Trouble {
    pub(super) fn new(reason: Reason, said: impl Into<String>) -> Self {
        Self { reason, said: said.into() }
    }

    /// A negative reply, or no reply at all, to a command of a message.
    fn of(error: &Error, meter: &Meter) -> Self {
        if let Some(said) = tls_trouble(error) {
            return Self::new(Reason::Tls, said); // TLS 1.3: our certificate is judged after the handshake
        }
        let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        let Some(code) = error.status().map(u16::from) else {
            let (reason, what) = match error {
                _ if meter.ended() => (Reason::Interrupted, "the server hung up"),
                error if error.is_timeout() => (Reason::Timeout, "no answer in time"),
                error if error.is_response() => (Reason::BadAnswer, "the server's answer is not SMTP"),
                error if error.is_client() => (Reason::Internal, "the command cannot be sent"),
                _ => (Reason::Interrupted, "the connection was lost"),
            };
            return Self::new(reason, format!("{what}: {text}"));
        };
        let reason = match code {
            421 => Reason::RateLimited,
            530 | 534 | 535 | 538 => Reason::Unauthorized,
            500..=599 => Reason::Rejected,
            _ => Reason::ServerError,
        };
        Self::new(reason, format!("{code} {text}"))
    }

    /// Before the first MAIL nothing was said about a message, so nothing is refused for good.
    pub(super) fn before_mail(error: &Error, meter: &Meter) -> Self {
        let trouble = Self::of(error, meter);
        let reason = match trouble.reason {
            Reason::Rejected => Reason::ServerError,
            Reason::Interrupted => Reason::Connect,
            reason => reason,
        };
        Self { reason, ..trouble }
    }

    /// Any refusal at AUTH is about the sign-in, also one that lettre makes up ("no compatible mechanism").
    pub(super) fn at_sign_in(error: &Error, meter: &Meter) -> Self {
        let trouble = Self::before_mail(error, meter);
        if error.is_permanent() || error.is_client() {
            return Self { reason: Reason::Unauthorized, ..trouble };
        }
        trouble
    }
}

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    server: Server,
    idle: Mutex<Vec<Idle>>,
    most: usize,
}

#[derive(Debug)]
struct Idle {
    session: Session,
    since: Instant,
    messages: u32,
}

impl Pool {
    pub(super) fn new(server: Server, most: usize) -> Self {
        Self { server, idle: Mutex::default(), most }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// A test has less patience.
    #[cfg(test)]
    pub(super) fn hurry(&mut self, connect: Duration) {
        self.server.connect = connect;
    }

    /// Sends one message; answers what became of each recipient. A `Trouble` says that of nobody anything is known.
    pub(super) async fn send(
        &self,
        from: &Address,
        to: &[(usize, Address)],
        message: &[u8],
        within: Duration,
    ) -> Result<Vec<(usize, Outcome)>, Trouble> {
        let (mut session, messages) = match self.take().await {
            Some(idle) => (idle.session, idle.messages),
            None => (self.server.open().await?, 0),
        };
        session.meter.reset();
        let late = |_| Trouble::new(Reason::Timeout, "no answer in time");
        let outcomes =
            tokio::time::timeout(within, transact(&mut session, from, to, message)).await.map_err(late)??;
        self.give_back(session, messages + 1).await;
        Ok(outcomes)
    }

    /// Connects, signs in and says goodbye.
    pub(super) async fn probe(&self) -> Result<String, Trouble> {
        let session = self.server.open().await?;
        let encrypted = if session.encrypted { ", encrypted" } else { ", not encrypted" };
        let signed_in = if self.server.login.is_some() { ", signed in" } else { "" };
        farewell(session).await;
        Ok(format!("connected{encrypted}{signed_in}; nothing was sent"))
    }

    /// A kept connection that still answers.
    async fn take(&self) -> Option<Idle> {
        loop {
            let mut idle = self.lock().pop()?;
            if idle.since.elapsed() < IDLE
                && matches!(tokio::time::timeout(SHORT, idle.session.smtp.command(Noop)).await, Ok(Ok(_)))
            {
                return Some(idle);
            }
        }
    }

    async fn give_back(&self, session: Session, messages: u32) {
        if session.meter.ended() || session.smtp.has_broken() {
            return;
        }
        if messages >= MOST_MESSAGES {
            return farewell(session).await;
        }
        let mut idle = self.lock();
        idle.retain(|kept| kept.since.elapsed() < IDLE);
        if idle.len() < self.most {
            idle.push(Idle { session, since: Instant::now(), messages });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn farewell(mut session: Session) {
    let _ = tokio::time::timeout(SHORT, session.smtp.command(Quit)).await;
}

/// One message. A negative reply is an outcome; a connection that is lost is a `Trouble`, whoever was accepted
/// before: without an answer after the final dot nobody is known to have it.
async fn transact(
    session: &mut Session,
    from: &Address,
    to: &[(usize, Address)],
    message: &[u8],
) -> Result<Vec<(usize, Outcome)>, Trouble> {
    let everybody = |outcome: &Outcome| to.iter().map(|(index, _)| (*index, outcome.clone())).collect();
    if let Some(refusal) = command(session, Mail::new(Some(from.clone()), vec![])).await? {
        return Ok(everybody(&refusal));
    }
    let mut outcomes = Vec::with_capacity(to.len());
    let mut accepted = Vec::new();
    for (index, address) in to {
        match command(session, Rcpt::new(address.clone(), vec![])).await? {
            None => accepted.push(*index),
            Some(refusal) => outcomes.push((*index, refusal)),
        }
    }
    if accepted.is_empty() {
        command(session, Rset).await?;
        return Ok(outcomes);
    }
    let outcome = match command(session, Data).await? {
        Some(refusal) => refusal,
        None => finish(session, message).await?,
    };
    outcomes.extend(accepted.into_iter().map(|index| (index, outcome.clone())));
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(outcomes)
}

/// The bytes, the dot, and the answer that decides.
async fn finish(session: &mut Session, message: &[u8]) -> Result<Outcome, Trouble> {
    match session.smtp.message(message).await {
        Ok(reply) => {
            let text = reply.message().collect::<Vec<_>>().join(" ");
            Ok(Outcome::Accepted { said: format!("{} {text}", reply.code()) })
        }
        Err(error) => refusal(&error, &session.meter),
    }
}

/// `None`: go on.
async fn command<C: std::fmt::Display>(session: &mut Session, command: C) -> Result<Option<Outcome>, Trouble> {
    match session.smtp.command(command).await {
        Ok(_) => Ok(None),
        Err(error) => refusal(&error, &session.meter).map(Some),
    }
}

fn refusal(error: &Error, meter: &Meter) -> Result<Outcome, Trouble> {
    let trouble = Trouble::of(error, meter);
    if error.status().is_some() { Ok(Outcome::of(trouble)) } else { Err(trouble) }
}
