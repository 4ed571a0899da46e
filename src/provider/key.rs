//! The key of one provider: kept in memory, read again when it was refused.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memchr::memmem;
use reqwest::header::HeaderValue;

use super::profile::Auth;
use crate::secret::{ExposeSecret, SecretSource, SecretString};

/// A key shorter than this is a word that an answer may well hold.
const SHORTEST: usize = 8;

/// The key and how it is sent.
#[derive(Debug)]
pub(super) struct Key {
    auth: Auth,
    source: SecretSource,
    cached: Mutex<Option<Cached>>,
}

/// The key as it is sent.
#[derive(Debug, Clone)]
struct Cached {
    /// Marked sensitive, so that `Debug` hides it.
    header: HeaderValue,
    /// How an answer may quote it: as it is, and inside JSON. None if it is too short to be told from a word.
    quoted: Arc<[SecretString]>,
}

impl Key {
    pub(super) fn new(auth: Auth, source: SecretSource) -> Self {
        Self { auth, source, cached: Mutex::default() }
    }

    /// The header that carries it; the error is one sentence without the secret.
    pub(super) fn header(&self) -> Result<(reqwest::header::HeaderName, HeaderValue), String> {
        let value = match self.cached() {
            Some(cached) => cached.header,
            None => self.read()?,
        };
        Ok((self.auth.header.clone(), value))
    }

    /// Reads it again; on an error the old one is kept.
    pub(super) fn reload(&self) -> Result<(), String> {
        self.read().map(drop)
    }

    /// Reads it again and says whether it is another than the one that was just refused.
    pub(super) fn replaced(&self, refused: &HeaderValue) -> bool {
        self.read().is_ok_and(|value| value != *refused)
    }

    /// A body without the key: some servers quote what they were asked with, and a body is kept and told to others.
    pub(super) fn hidden_in(&self, body: Bytes) -> Bytes {
        let Some(cached) = self.cached() else { return body };
        let forms = || cached.quoted.iter().map(ExposeSecret::expose_secret);
        if !forms().any(|form| memmem::find(&body, form.as_bytes()).is_some()) {
            return body;
        }
        let Ok(text) = std::str::from_utf8(&body) else { return body };
        forms().fold(text.to_owned(), |text, form| text.replace(form, "…")).into()
    }

    fn cached(&self) -> Option<Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self) -> Result<HeaderValue, String> {
        let secret = self.source.read().map_err(|error| error.to_string())?;
        if secret.expose_secret().trim().is_empty() {
            return Err("the key is empty".to_owned());
        }
        let text = self.auth.value.replace("{secret}", secret.expose_secret());
        let mut value =
            HeaderValue::try_from(text).map_err(|_| "the key has characters that no header can carry".to_owned())?;
        value.set_sensitive(true);
        let cached = Cached { header: value.clone(), quoted: forms(secret.expose_secret()) };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
        Ok(value)
    }
}

/// How a key may be quoted.
fn forms(secret: &str) -> Arc<[SecretString]> {
    let json = serde_json::Value::from(secret).to_string();
    let mut forms = vec![secret, json.trim_matches('"')];
    forms.dedup();
    forms.retain(|form| form.len() >= SHORTEST);
    forms.into_iter().map(SecretString::from).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;
    use crate::secret::SecretString;

    fn key(value: &str, source: SecretSource) -> Key {
        Key::new(Auth { header: HeaderName::from_static("authorization"), value: value.to_owned() }, source)
    }

    #[test]
    fn the_template_decides_how_the_key_is_sent_and_debug_does_not_show_it() {
        let key = key("Bearer {secret}", SecretSource::Value(SecretString::from("hunter2")));
        let (_, value) = key.header().unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer hunter2");
        assert!(!format!("{key:?}").contains("hunter2"));
    }

    #[test]
    fn a_key_is_read_once_and_again_only_when_it_was_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let key = key("{secret}", SecretSource::File(file.path().to_owned()));
        let (_, old) = key.header().unwrap();
        std::fs::write(file.path(), "new\n").unwrap();
        assert_eq!(key.header().unwrap().1, old);
        assert!(key.replaced(&old));
        assert_eq!(key.header().unwrap().1, "new");
        assert!(!key.replaced(&key.header().unwrap().1));
    }

    #[test]
    fn a_key_that_an_answer_quotes_is_taken_out_of_it() {
        let key = key("Bearer {secret}", SecretSource::Value(SecretString::from("hunter2\"hunter2")));
        assert_eq!(key.hidden_in("hunter2\"hunter2".into()), "hunter2\"hunter2", "it was never sent");
        key.header().unwrap();
        let body = r#"{"error":"key hunter2\"hunter2 is wrong","more":"hunter2"}"#;
        assert_eq!(key.hidden_in(body.into()), r#"{"error":"key … is wrong","more":"hunter2"}"#);
        let other = Bytes::from_static(b"\xff other");
        assert_eq!(key.hidden_in(other.clone()), other);
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_a_sentence_without_it() {
        let error = key("{secret}", SecretSource::Value(SecretString::from("hun\nter2"))).header().unwrap_err();
        assert!(!error.contains("ter2"), "{error}");
        assert!(key("{secret}", SecretSource::Value(SecretString::from("  "))).header().is_err());
    }
}
