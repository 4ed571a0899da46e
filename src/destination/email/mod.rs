//! E-mail: one message to several recipients, each with its own outcome.
//!
//! lettre gives up a whole message when one recipient is refused, so the dialogue is driven command by command
//! ([`dialogue`]): one refused recipient does not keep the mail from the others. A recipient that is refused *for
//! now* is tried again alone; who already has the message is remembered per delivery ([`memory`]) for the life of
//! this process. After a crash in between, those who had it get it a second time under the same Message-ID:
//! at least once, as everywhere.

mod dialogue;
mod memory;
mod message;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Redactor;
use super::http::wrong_form;
use super::settings::{secret, tls_files};
use super::{Common, Defaults, Retry, Sent};
use crate::domain::delivery::{Reason, Verdict};
use crate::domain::notification::{Content, Notification};
use crate::egress::{Limits, TlsFiles, tls_config};
use crate::problem::{Problem, Problems};
use crate::secret::{ExposeSecret, SecretString};
use dialogue::{Outcome, Pool, Trouble};
use memory::{Memory, Settled};
use wire::{Login, Mechanisms, Security, Server};

/// `kind = "email"`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Server: `smtp://host:587` or, with TLS from the first byte, `smtps://host:465`.
    pub smtp: Option<String>,
    /// Whether the connection must be encrypted.
    pub tls: Tls,
    /// How to sign in.
    pub auth: Auth,
    /// Who signs in; nobody does without it.
    pub username: Option<String>,
    /// Password, or the token for `xoauth2`.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// File that holds it.
    pub password_file: Option<PathBuf>,
    /// Sender: `Scanbell <scanbell@example.com>`.
    pub from: Option<String>,
    /// Recipients; all of them see each other.
    pub to: Vec<String>,
    /// Template; default `email/alert`.
    pub template: Option<String>,
    /// Pace of the retries.
    pub retry: Retry,
    /// Default: 2 at once, no rate.
    pub limits: Limits,
    /// Certificates to trust beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Client certificate (PEM).
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

/// `tls = "required" | "opportunistic" | "none"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Nothing is said without TLS.
    #[default]
    Required,
    /// TLS where the server offers it; a password is never sent without.
    Opportunistic,
    /// No TLS at all; a password, if there is one, is sent in plain text.
    None,
}

/// `auth = "auto" | "plain" | "login" | "xoauth2"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// PLAIN, else LOGIN, as the server offers.
    #[default]
    Auto,
    /// AUTH PLAIN.
    Plain,
    /// AUTH LOGIN.
    Login,
    /// AUTH XOAUTH2; the password is the token.
    Xoauth2,
}

const DEFAULTS: Defaults = Defaults { concurrency: 2, requests_per_second: None };
/// Until we are signed in.
const CONNECT: Duration = Duration::from_secs(30);
/// From MAIL to the answer after the final dot; servers that scan for viruses take their time there.
const TRANSACTION: Duration = Duration::from_secs(120);
/// Both, and a little for a pooled connection that turns out to be dead.
pub(super) const LONGEST_SEND: Duration = Duration::from_secs(160);

/// A mail destination, ready to send.
#[derive(Debug)]
pub struct Email {
    pub(super) common: Common,
    from: Mailbox,
    to: Vec<Mailbox>,
    pool: Pool,
    memory: Memory,
    redactor: Redactor,
    transaction: Duration,
}

impl Email {
    pub(super) fn build(name: &str, place: &str, settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let common = problems.collect(Common::check(name, place, settings.retry, settings.limits, &DEFAULTS));
        let server = problems.collect(server(place, settings));
        let from = match &settings.from {
            None => problems.collect(Err(Problem::new(place, "`from` is not set").into())),
            Some(from) => problems.collect(mailbox(place, "from", from)),
        };
        let to: Vec<Mailbox> = settings.to.iter().filter_map(|to| problems.collect(mailbox(place, "to", to))).collect();
        if settings.to.is_empty() {
            problems.push(Problem::new(place, "`to` names nobody").hint("to = [\"oncall@example.com\"]"));
        }
        match (common, server, from) {
            (Some(mut common), Some(server), Some(from)) if problems.is_empty() => {
                common.warnings = warnings(place, &server);
                let redactor = redactor(&from, &to);
                let pool = Pool::new(server, common.concurrency);
                Ok(Self { common, from, to, pool, memory: Memory::default(), redactor, transaction: TRANSACTION })
            }
            _ => Err(problems),
        }
    }

    /// The whole message as it goes over the wire, dots not yet stuffed.
    pub(super) fn bytes(&self, notification: &Notification, mail: &Mail) -> Result<Vec<u8>, String> {
        message::format(notification, mail, &self.from, &self.to)
    }

    pub(super) async fn send(&self, notification: &Notification) -> Sent {
        let Content::Mail(mail) = &notification.content else { return wrong_form() };
        let message = match self.bytes(notification, mail) {
            Ok(message) => message,
            Err(sentence) => return Sent::ours(Verdict::Reject { reason: Reason::Internal }, sentence),
        };
        let mut standing = self.memory.of(notification.id, self.to.len());
        let open: Vec<(usize, Address)> = standing
            .iter()
            .zip(&self.to)
            .enumerate()
            .filter(|(_, (settled, _))| settled.is_none())
            .map(|(index, (_, mailbox))| (index, mailbox.email.clone()))
            .collect();
        match self.pool.send(&self.from.email, &open, &message, self.transaction).await {
            Err(trouble) => self.in_trouble(&trouble),
            Ok(outcomes) => {
                for (index, outcome) in &outcomes {
                    if let Some(settled) = standing.get_mut(*index) {
                        *settled = outcome.settled();
                    }
                }
                let verdict = verdict(&standing, &outcomes);
                match verdict {
                    Verdict::Retry { .. } => self.memory.keep(notification.id, standing),
                    _ => self.memory.forget(notification.id),
                }
                Sent { verdict, answer: self.redactor.clean(describe(&outcomes).as_bytes()) }
            }
        }
    }

    fn in_trouble(&self, trouble: &Trouble) -> Sent {
        let mut redactor = self.redactor.clone();
        self.pool.server().hide_secrets(&mut redactor);
        Sent { verdict: Verdict::retry(trouble.reason), answer: redactor.clean(trouble.said.as_bytes()) }
    }

    pub(super) async fn probe(&self) -> Result<String, String> {
        match self.pool.probe().await {
            Ok(sentence) => Ok(sentence),
            Err(trouble) => Err(self.in_trouble(&trouble).answer.unwrap_or_default()),
        }
    }
}

/// From where every recipient stands to what becomes of the delivery.
fn verdict(standing: &[Option<Settled>], outcomes: &[(usize, Outcome)]) -> Verdict {
    let later = outcomes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Later { reason, .. } => Some(*reason),
        _ => None,
    });
    let refused = standing.iter().filter(|settled| **settled == Some(Settled::Refused)).count();
    match later {
        Some(reason) => Verdict::retry(reason),
        None if refused == standing.len() => Verdict::Reject { reason: Reason::Rejected },
        None if refused > 0 => Verdict::Delivered { reason: Reason::PartlyRefused },
        None => Verdict::OK,
    }
}

/// One sentence if all fared the same, else one for each recipient.
fn describe(outcomes: &[(usize, Outcome)]) -> String {
    let same = outcomes.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
    match outcomes.first() {
        Some((_, outcome)) if same => outcome.said().to_owned(),
        _ => {
            let one = |(index, outcome): &(usize, Outcome)| format!("<recipient {}>: {}", index + 1, outcome.said());
            outcomes.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}

fn redactor(from: &Mailbox, to: &[Mailbox]) -> Redactor {
    let mut redactor = Redactor::new();
    for (index, mailbox) in to.iter().enumerate() {
        redactor.name_address(mailbox.email.as_ref(), &format!("<recipient {}>", index + 1));
    }
    redactor.name_address(from.email.as_ref(), "<sender>");
    redactor
}

/// An address with or without a name. Control characters do not survive: lettre panics at a line end in a name.
fn mailbox(place: &str, key: &str, text: &str) -> Result<Mailbox, Problems> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let wrong =
        |why: &str| Problem::new(place, format!("`{key}` holds something that {why}")).hint("Name <name@example.com>");
    let mailbox: Mailbox = clean.trim().parse().map_err(|_| wrong("is not an e-mail address"))?;
    let domain = url::Host::parse(mailbox.email.domain()).map_err(|_| wrong("has no usable domain after the @"))?;
    if !mailbox.email.user().is_ascii() {
        return Err(wrong("is not ASCII before the @; such addresses are not supported").into());
    }
    let domain = match domain {
        url::Host::Domain(name) if !mailbox.email.domain().is_ascii() => name,
        _ => mailbox.email.domain().to_owned(),
    };
    let address = Address::new(mailbox.email.user(), domain).map_err(|_| wrong("is not an e-mail address"))?;
    Ok(Mailbox::new(mailbox.name, address))
}

fn server(place: &str, settings: &Settings) -> Result<Server, Problems> {
    let mut problems = Problems::new();
    let address = problems.collect(address(place, settings));
    let login = problems.collect(login(place, settings));
    let files: TlsFiles = tls_files(settings.ca_file.as_ref(), settings.cert_file.as_ref(), settings.key_file.as_ref());
    let tls = problems.collect(tls_config(place, &files));
    match (address, login, tls) {
        (Some((host, port, security)), Some(login), Some(tls)) => {
            Ok(Server { host, port, security, login, tls, hello: wire::hello(), connect: CONNECT })
        }
        _ => Err(problems),
    }
}

fn address(place: &str, settings: &Settings) -> Result<(String, u16, Security), Problems> {
    let form = "smtp = \"smtp://mail.example.com:587\" or \"smtps://mail.example.com:465\"";
    let Some(text) = &settings.smtp else { return Err(Problem::new(place, "`smtp` is not set").hint(form).into()) };
    let wrong = |fact: &str| Problems::from(Problem::new(place, format!("`smtp` {fact}")).hint(form));
    let url = url::Url::parse(text).map_err(|_| wrong("is not a URL"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user; write it as `username` and `password_file`"));
    }
    let (port, security) = match (url.scheme(), settings.tls) {
        ("smtps", Tls::None) => return Err(wrong("says smtps:// and `tls` says none")),
        ("smtps", _) => (465, Security::Implicit),
        ("smtp", Tls::Required) => (587, Security::StartTls),
        ("smtp", Tls::Opportunistic) => (587, Security::Opportunistic),
        ("smtp", Tls::None) => (25, Security::None),
        _ => return Err(wrong("does not begin with smtp:// or smtps://")),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(port), security))
}

fn login(place: &str, settings: &Settings) -> Result<Option<Login>, Problems> {
    let password = secret(place, "password", settings.password.as_ref(), settings.password_file.as_deref())?;
    match (&settings.username, password) {
        (None, None) => Ok(None),
        (Some(username), Some((password, now))) => {
            if now.expose_secret().is_empty() {
                return Err(Problem::new(place, "`password` is empty").into());
            }
            let mechanisms = match settings.auth {
                Auth::Auto => Mechanisms::Auto,
                Auth::Plain => Mechanisms::Plain,
                Auth::Login => Mechanisms::Login,
                Auth::Xoauth2 => Mechanisms::Xoauth2,
            };
            Ok(Some(Login { username: username.clone(), password, mechanisms }))
        }
        (Some(_), None) => {
            Err(Problem::new(place, "`username` is set and no password").hint("add `password_file`").into())
        }
        (None, Some(_)) => {
            Err(Problem::new(place, "`password` is set and no `username`").hint("add `username`").into())
        }
    }
}

fn warnings(place: &str, server: &Server) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if server.security == Security::None && server.login.is_some() {
        let fact = "`tls = \"none\"` sends the password in plain text";
        warnings.push(Problem::new(place, fact).hint("use tls = \"required\""));
    }
    warnings
}

#[cfg(test)]
mod tests;
