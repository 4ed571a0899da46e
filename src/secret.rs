//! Secrets from a value or a file, and the redaction of URLs. Never in `Debug`, never in an error.

use std::path::{Path, PathBuf};

pub use secrecy::{ExposeSecret, SecretString};

use crate::problem::Problem;

/// Where a secret comes from: `x = "…"` or `x_file = "/run/secrets/x"`.
///
/// A file is read again at every [`SecretSource::read`], so that a replaced secret works without a restart.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Written in the configuration or the environment.
    Value(SecretString),
    /// A file that holds it; the line end at its end does not count.
    File(PathBuf),
}

/// Why a secret could not be read. Names the file, never the content.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the secret file {path}: {source}", path = path.display())]
pub struct SecretError {
    path: PathBuf,
    source: std::io::Error,
}

/// A secret file larger than this is a mistake, not a secret.
const LARGEST: u64 = 64 * 1024;

impl SecretSource {
    /// From the pair of keys `name` and `name_file`; both at once is a problem, neither is `None`.
    pub fn from_pair(
        place: &str,
        name: &str,
        value: Option<&SecretString>,
        file: Option<&Path>,
    ) -> Result<Option<Self>, Problem> {
        match (value, file) {
            (Some(_), Some(_)) => {
                Err(Problem::new(place, format!("both `{name}` and `{name}_file` are set")).hint("keep one of them"))
            }
            (Some(value), None) => Ok(Some(Self::Value(value.clone()))),
            (None, Some(file)) => Ok(Some(Self::File(file.to_owned()))),
            (None, None) => Ok(None),
        }
    }

    /// The secret as it is now.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => read_file(path).map_err(|source| SecretError { path: path.clone(), source }),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<SecretString> {
    if std::fs::metadata(path)?.len() > LARGEST {
        return Err(std::io::Error::other("larger than 64 kB"));
    }
    let text = std::fs::read_to_string(path)?;
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

/// A URL that may be shown: scheme, host and port; user, password, path and query can be credentials.
pub fn redact_url(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => {
            let host = url.host_str().unwrap_or("…");
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let rest = if url.path().len() > 1 || url.query().is_some() { "/…" } else { "" };
            format!("{}://{host}{port}{rest}", url.scheme())
        }
        Err(_) => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_keeps_only_where_it_goes() {
        assert_eq!(
            redact_url("https://u:p@hooks.slack.com:8443/services/T0/B0/tok?x=1"),
            "https://hooks.slack.com:8443/…"
        );
        assert_eq!(redact_url("amqp://guest:guest@localhost"), "amqp://localhost");
        assert_eq!(redact_url("not a url"), "…");
    }

    #[test]
    fn a_secret_file_is_read_again_when_used_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = SecretSource::File(file.path().to_owned());
        std::fs::write(file.path(), "first\n").unwrap();
        assert_eq!(source.read().unwrap().expose_secret(), "first");
        std::fs::write(file.path(), "second\r\n").unwrap();
        assert_eq!(source.read().unwrap().expose_secret(), "second");
    }

    #[test]
    fn debug_shows_no_secret() {
        let source = SecretSource::Value(SecretString::from("hunter2"));
        assert!(!format!("{source:?}").contains("hunter2"));
    }
}
