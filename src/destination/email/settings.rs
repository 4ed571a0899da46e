//! What a mail destination is configured with, and the checks of it.

use std::path::PathBuf;

use lettre::Address;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CONNECT;
use super::wire::{self, Login, Mechanisms, Security, Server};
use crate::destination::Retry;
use crate::destination::settings::{secret, tls_files};
use crate::egress::{Limits, TlsFiles, tls_config};
use crate::problem::{Problem, Problems};
use crate::secret::{ExposeSecret, SecretString};

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

/// An address with or without a name. Control characters do not survive: lettre panics at a line end in a name.
pub(super) fn mailbox(place: &str, key: &str, text: &str) -> Result<Mailbox, Problems> {
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

pub(super) fn server(place: &str, settings: &Settings) -> Result<Server, Problems> {
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

pub(super) fn warnings(place: &str, server: &Server) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if server.security == Security::None && server.login.is_some() {
        let fact = "`tls = \"none\"` sends the password in plain text";
        warnings.push(Problem::new(place, fact).hint("use tls = \"required\""));
    }
    warnings
}
