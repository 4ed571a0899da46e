//! The key of one provider: kept in memory, read again when it was refused.

use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderValue;

use super::profile::Auth;
use crate::secret::{ExposeSecret, SecretSource};

/// The key and how it is sent.
#[derive(Debug)]
pub(super) struct Key {
    auth: Auth,
    source: SecretSource,
    /// The header's value as it is sent; marked sensitive, so that `Debug` hides it.
    cached: Mutex<Option<HeaderValue>>,
}

impl Key {
    pub(super) fn new(auth: Auth, source: SecretSource) -> Self {
        Self { auth, source, cached: Mutex::default() }
    }

    /// The header that carries it; the error is one sentence without the secret.
    pub(super) fn header(&self) -> Result<(reqwest::header::HeaderName, HeaderValue), String> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let value = match cached {
            Some(value) => value,
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

    fn read(&self) -> Result<HeaderValue, String> {
        let secret = self.source.read().map_err(|error| error.to_string())?;
        if secret.expose_secret().trim().is_empty() {
            return Err("the key is empty".to_owned());
        }
        let text = self.auth.value.replace("{secret}", secret.expose_secret());
        let mut value =
            HeaderValue::try_from(text).map_err(|_| "the key has characters that no header can carry".to_owned())?;
        value.set_sensitive(true);
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.clone());
        Ok(value)
    }
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
    fn a_key_that_cannot_be_sent_is_a_sentence_without_it() {
        let error = key("{secret}", SecretSource::Value(SecretString::from("hun\nter2"))).header().unwrap_err();
        assert!(!error.contains("ter2"), "{error}");
        assert!(key("{secret}", SecretSource::Value(SecretString::from("  "))).header().is_err());
    }
}
