//! What others may know of a provider: whether it is paused, since when and why.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::time::Timestamp;

/// A pause: the provider refuses our key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// What it answered; one sentence without URL and secret.
    pub reason: String,
}

/// A handle on the state of one provider, for readiness and `GET /v1/providers`.
#[derive(Debug, Clone)]
pub struct ProviderHealth {
    name: Arc<str>,
    paused: Arc<Mutex<Option<Paused>>>,
}

impl ProviderHealth {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), paused: Arc::default() }
    }

    /// The provider's configured name.
    pub fn provider(&self) -> &str {
        &self.name
    }

    /// The pause, if it is paused.
    pub fn paused(&self) -> Option<Paused> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, paused: Option<Paused>) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = paused;
    }
}
