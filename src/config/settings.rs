//! The settings that belong to no other room, and the types they are written in.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::problem::Problem;
use crate::secret::{SecretSource, SecretString};
use crate::telemetry::LogFormat;
use crate::time::Span;

/// `[store]`: where everything is kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:` and a path, or `postgres://user@host/db` for several replicas.
    // Absent is absent, also where there is a default: `url_file` may stand in its place.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// A file that holds the URL.
    pub url_file: Option<PathBuf>,
    /// How long finished scans and their deliveries are kept.
    pub retention: Span,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: Some(Self::DEFAULT_URL.into()), url_file: None, retention: Span::secs(30 * 24 * 3600) }
    }
}

impl Store {
    const DEFAULT_URL: &str = "sqlite:scanbell.db";

    /// Where the URL comes from; `place` is that of the table.
    pub fn url(&self, place: &str) -> Result<SecretSource, Problem> {
        let source = SecretSource::from_pair(place, "url", self.url.as_ref(), self.url_file.as_deref())?;
        Ok(source.unwrap_or_else(|| SecretSource::Value(Self::DEFAULT_URL.into())))
    }
}

/// `[intake]`: what becomes of requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Intake {
    /// The provider of requests that name none; may be left out when one provider is configured.
    pub default_provider: Option<String>,
    /// How long after a scan finished the same request is counted and ignored.
    pub dedupe: Span,
}

impl Default for Intake {
    fn default() -> Self {
        Self { default_provider: None, dedupe: Span::secs(24 * 3600) }
    }
}

/// `[server]`: the HTTP that scanbell offers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: Listen,
    /// What callers must show; required unless `listen` is loopback.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A file that holds the token; read again when used again.
    pub token_file: Option<PathBuf>,
}

impl Server {
    /// Where the token comes from; `place` is that of the table.
    pub fn token(&self, place: &str) -> Result<Option<SecretSource>, Problem> {
        SecretSource::from_pair(place, "token", self.token.as_ref(), self.token_file.as_deref())
    }
}

/// `[log]`: what is written to standard error.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
    /// A level, or `target=level` separated by commas.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// `[operator]`: where scanbell reports its own trouble.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    /// Names of destinations.
    pub to: Vec<String>,
}

/// `[templates]`: files that replace the built-in ones of the same name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Templates {
    /// The folder; if nobody wrote it, it need not exist.
    pub dir: PathBuf,
}

impl Default for Templates {
    fn default() -> Self {
        Self { dir: "templates".into() }
    }
}

/// `[profiles]`: provider profiles beside the built-in ones.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Profiles {
    /// The folder; if nobody wrote it, it need not exist.
    pub dir: PathBuf,
}

impl Default for Profiles {
    fn default() -> Self {
        Self { dir: "profiles".into() }
    }
}

/// `[report]`: what is kept of a provider's answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// A provider's body above this is left out of the report (`raw_omitted` says so).
    pub raw_limit: Size,
}

impl Default for Report {
    fn default() -> Self {
        Self { raw_limit: Size(256_000) }
    }
}

/// `[shutdown]`: how it ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long what is in hand may take after a signal to stop.
    pub grace: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: Span::secs(25) }
    }
}

/// A number of bytes as people write it: `"256kB"`, `"1MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

impl Size {
    fn parse(text: &str) -> Result<Self, String> {
        let size = text.trim().parse::<bytesize::ByteSize>().ok().and_then(|size| usize::try_from(size.0).ok());
        let shown: String = text.chars().take(40).collect();
        size.map(Self).ok_or_else(|| format!("`{shown}` is not a size; write it like \"500B\", \"256kB\" or \"1MiB\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WrittenSize)
    }
}

/// Takes a size as text; anything else is told how to write one.
struct WrittenSize;

impl de::Visitor<'_> for WrittenSize {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in quotes, like \"256kB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).map_err(E::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of bytes: a number and B, kB, MB (thousands) or KiB, MiB (1024).",
            "examples": ["500B", "256kB", "1MiB"]
        })
    }
}

/// Address and port to listen on: `"127.0.0.1:8642"`, `"[::]:8642"`, `"localhost:8642"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Listen {
    fn parse(text: &str) -> Result<Self, String> {
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let address = local.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).or_else(|| text.parse().ok());
        let shown: String = text.chars().take(60).collect();
        address.map(Self).ok_or_else(|| {
            format!("`{shown}` is not an address and port; write it like \"127.0.0.1:8642\" or \"[::]:8642\"")
        })
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, 8642)))
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(text.trim()).map_err(de::Error::custom)
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Address and port to listen on.",
            "examples": ["127.0.0.1:8642", "[::]:8642"]
        })
    }
}
