//! Standard Webhooks signatures: one secret or several, so that they can be rotated.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use standardwebhooks::Webhook;

use crate::secret::{ExposeSecret, SecretString};

/// One signing secret or a list of them.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// One to a line, as in a file.
    pub(super) fn joined(&self) -> SecretString {
        let lines: Vec<&str> = self.0.iter().map(ExposeSecret::expose_secret).collect();
        SecretString::from(lines.join("\n"))
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Secrets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a signing secret (whsec_…) or a list of them")
            }
            fn visit_str<E>(self, one: &str) -> Result<Secrets, E> {
                Ok(Secrets(vec![SecretString::from(one)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Secrets, A::Error> {
                let mut secrets = Vec::new();
                while let Some(secret) = list.next_element::<SecretString>()? {
                    secrets.push(secret);
                }
                Ok(Secrets(secrets))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Secrets {
    fn schema_name() -> Cow<'static, str> {
        "SigningSecrets".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A signing secret (whsec_…) or a list of them",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        })
    }
}

/// The value of `webhook-signature`: one signature per secret. The error names no secret.
pub(super) fn sign(secrets: &str, id: &str, at: i64, body: &[u8]) -> Result<String, String> {
    let signatures: Result<Vec<String>, String> =
        secrets.split_whitespace().map(|secret| one(secret, id, at, body)).collect();
    match signatures? {
        none if none.is_empty() => Err("`signing_secret` is empty".to_owned()),
        signatures => Ok(signatures.join(" ")),
    }
}

fn one(secret: &str, id: &str, at: i64, body: &[u8]) -> Result<String, String> {
    if secret.trim_start_matches("whsec_").is_empty() {
        return Err("`signing_secret` is empty".to_owned());
    }
    let webhook = Webhook::new(secret).map_err(|_| "`signing_secret` is not whsec_ and base64".to_owned())?;
    webhook.sign(id, at, body).map_err(|_| "the body is not UTF-8 and cannot be signed".to_owned())
}

/// Whether one of the secrets has fewer bytes than the specification asks for (24 to 64).
pub(super) fn is_short(secrets: &str) -> bool {
    secrets.split_whitespace().any(|secret| secret.trim_start_matches("whsec_").len() < 32)
}
