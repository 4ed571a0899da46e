//! `[amqp]`: where the broker is and what its queues are called.

use std::path::PathBuf;

use lapin::uri::{AMQPScheme, AMQPUri};
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::AmqpError;
use crate::egress::{TlsFiles, TlsSetup, tls_config};
use crate::problem::{Problem, Problems};
use crate::secret::{ExposeSecret, SecretSource, SecretString};

/// `[amqp]`; without the table there is no broker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `amqp://user:password@host:5672/%2f`, or `amqps://` for TLS. A secret: it holds the password.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// A file that holds the URL; read again at every connect.
    pub url_file: Option<PathBuf>,
    /// Where requests come from.
    pub queue: String,
    /// What both queues are declared as.
    pub queue_type: QueueType,
    /// Declare both queues; `false`: they are there already.
    pub declare: bool,
    /// Where refused messages go; `QUEUE.dead` where it is left out.
    pub dead_letter_queue: Option<String>,
    /// How many unacknowledged messages the broker sends ahead.
    pub prefetch: u16,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate chain (PEM), where the broker wants one.
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

/// What a queue is declared as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// Replicated, on disk: survives the loss of a node.
    #[default]
    Quorum,
    /// On one node.
    Classic,
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            queue: "scan.requests".to_owned(),
            queue_type: QueueType::default(),
            declare: true,
            dead_letter_queue: None,
            prefetch: 256,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

/// What a right URL looks like.
const URL_HINT: &str = "write it like amqp://user:password@host:5672/%2f, or amqps:// for TLS";
/// The protocol keeps names in strings of one length byte.
const LONGEST_NAME: usize = 255;
/// Notices a silent peer after twice this many seconds; the server's default of 60 would take two minutes.
const HEARTBEAT: u16 = 15;

impl Settings {
    /// Where refused messages go.
    pub fn dead_letter_queue(&self) -> String {
        self.dead_letter_queue.clone().unwrap_or_else(|| format!("{}.dead", self.queue))
    }

    /// Everything that is wrong, at `place` (`config/app.toml: [amqp]`). Reads files, connects to nothing.
    pub fn check(&self, place: &str) -> Problems {
        let mut problems = Problems::new();
        self.check_url(place, &mut problems);
        check_name(place, "queue", &self.queue, &mut problems);
        check_name(place, "dead_letter_queue", &self.dead_letter_queue(), &mut problems);
        if self.queue == self.dead_letter_queue() {
            problems.push(
                Problem::new(place, "`queue` and `dead_letter_queue` are the same: refused messages would come back")
                    .hint("leave `dead_letter_queue` out to get the queue's name with `.dead`"),
            );
        }
        if self.prefetch == 0 {
            problems.push(
                Problem::new(place, "`prefetch` is 0, which means without limit: all waiting messages at once")
                    .hint("1 to 65535; 256 is the default"),
            );
        }
        problems.collect(tls_config(place, &self.tls_files()));
        problems
    }

    fn check_url(&self, place: &str, problems: &mut Problems) {
        match SecretSource::from_pair(place, "url", self.url.as_ref(), self.url_file.as_deref()) {
            Err(problem) => problems.push(problem),
            Ok(None) => problems.push(Problem::new(place, "`url` is missing").hint(URL_HINT)),
            Ok(Some(source)) => match source.read() {
                Err(error) => problems.push(Problem::new(place, error.to_string())),
                Ok(url) if parse_url(url.expose_secret()).is_none() => {
                    problems.push(Problem::new(place, "`url` is not the URL of a broker").hint(URL_HINT));
                }
                Ok(_) => {}
            },
        }
    }

    fn tls_files(&self) -> TlsFiles {
        TlsFiles { ca_file: self.ca_file.clone(), cert_file: self.cert_file.clone(), key_file: self.key_file.clone() }
    }

    /// Where to connect to, with the secret read now.
    pub(super) fn uri(&self) -> Result<AMQPUri, AmqpError> {
        let source = SecretSource::from_pair("[amqp]", "url", self.url.as_ref(), self.url_file.as_deref())
            .map_err(|problem| AmqpError::settings(problem.fact))?
            .ok_or_else(|| AmqpError::settings("no `url` of a broker is configured"))?;
        let url = source.read().map_err(|error| AmqpError::settings(error.to_string()))?;
        parse_url(url.expose_secret()).ok_or_else(|| AmqpError::settings("`url` is not the URL of a broker"))
    }

    /// What `amqps://` is encrypted with, the PEM files as they are now; `None` for `amqp://`.
    pub(super) fn tls(&self, uri: &AMQPUri) -> Result<Option<TlsSetup>, AmqpError> {
        if uri.scheme != AMQPScheme::AMQPS {
            return Ok(None);
        }
        let setup = tls_config("[amqp]", &self.tls_files()).map_err(|problems| {
            let facts: Vec<&str> = problems.iter().map(|problem| problem.fact.as_str()).collect();
            AmqpError::settings(facts.join("; "))
        })?;
        if setup.no_roots { Err(AmqpError::settings(TlsSetup::NO_ROOTS)) } else { Ok(Some(setup)) }
    }
}

/// A URL as it is meant: `/` alone is the default virtual host, and a host may be an IPv6 address.
fn parse_url(url: &str) -> Option<AMQPUri> {
    let host = url::Url::parse(url).ok()?.host_str()?.trim_matches(['[', ']']).to_owned();
    let mut uri: AMQPUri = url.parse().ok()?;
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    if host.contains(':') {
        uri.authority.host = host;
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    matches!(uri.scheme, AMQPScheme::AMQP | AMQPScheme::AMQPS).then_some(uri)
}

fn check_name(place: &str, key: &str, name: &str, problems: &mut Problems) {
    let fact = match name {
        "" => format!("`{key}` is empty"),
        _ if name.len() > LONGEST_NAME => format!("`{key}` is longer than {LONGEST_NAME} bytes"),
        _ if name.starts_with("amq.") => format!("`{key}` begins with `amq.`, which belongs to the broker"),
        _ => return,
    };
    problems.push(Problem::new(place, fact).hint("the name of a queue, like \"scan.requests\""));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Settings {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_url_is_all_it_takes() {
        let settings = settings(r#"url = "amqp://guest:guest@127.0.0.1:5672/%2f""#);
        assert!(settings.check("[amqp]").is_empty());
        assert_eq!(settings.dead_letter_queue(), "scan.requests.dead");
        assert_eq!((settings.queue_type, settings.prefetch, settings.declare), (QueueType::Quorum, 256, true));
    }

    #[test]
    fn every_problem_is_found_at_once_and_no_password_is_shown() {
        let settings = settings(
            r#"
            url = "http://guest:hunter2@127.0.0.1"
            queue = "amq.x"
            dead_letter_queue = "amq.x"
            prefetch = 0
            cert_file = "/nonexistent/cert.pem"
            "#,
        );
        let problems = settings.check("app.toml: [amqp]").to_string();
        for part in [
            "`url` is not the URL of a broker",
            "`queue` begins",
            "are the same",
            "`prefetch` is 0",
            "`cert_file` is set and `key_file` is not",
        ] {
            assert!(problems.contains(part), "{part} is not in {problems}");
        }
        assert!(!format!("{problems}{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_url_file_is_read_and_excludes_a_url() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "amqps://u:p@mq.example.com/scans\n").unwrap();
        let mut settings = Settings { url_file: Some(file.path().to_owned()), ..Settings::default() };
        assert!(settings.check("[amqp]").is_empty());
        assert_eq!(settings.uri().unwrap().vhost, "scans");
        settings.url = Some("amqp://x".into());
        assert_eq!(settings.check("[amqp]").len(), 1);
    }

    #[test]
    fn a_bare_slash_is_the_default_virtual_host_and_an_ipv6_host_is_kept() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(parse_url(url).unwrap().vhost, "/", "{url}");
        }
        assert_eq!(parse_url("amqp://[::1]:5672/").unwrap().authority.host, "::1");
        assert_eq!(parse_url("amqp://h?heartbeat=5").unwrap().query.heartbeat, Some(5));
    }
}
