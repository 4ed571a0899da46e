//! What all parts of the world share: clock, keys, scans, faults, secrets, the ledger.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::ledger::{Ledger, Received};
use super::scans::{Provider, Scans, Usual};
use super::script::{Cursor, Script, Stage, Step};
use crate::time::{Clock, Timestamp};

/// Names with faults or secrets; more are refused.
const MOST_NAMES: usize = 10_000;

/// The keys that are accepted, and what the others are told.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub sieve: Vec<String>,
    pub enkrypt: Vec<String>,
    pub refuse_with: u16,
}

impl Keys {
    pub(super) fn accepts(&self, provider: Provider, key: Option<&str>) -> bool {
        let known = match provider {
            Provider::Sieve => &self.sieve,
            Provider::Enkrypt => &self.enkrypt,
        };
        key.is_some_and(|key| known.iter().any(|known| known == key))
    }
}

/// Scripts of destinations and of whole providers.
#[derive(Debug, Default)]
pub(super) struct Faults {
    destinations: HashMap<String, (Script, Cursor)>,
    providers: HashMap<Provider, (Script, Cursor)>,
}

/// The shared state. Each lock is held for a few steps, never across an await, and never two at once.
pub(super) struct Inner {
    pub clock: Clock,
    pub url: String,
    pub elsewhere: String,
    pub smtp_login: Option<(String, String)>,
    pub slack_token: String,
    pub stopping: CancellationToken,
    pub changed: Notify,
    keys: Mutex<Keys>,
    scans: Mutex<Scans>,
    faults: Mutex<Faults>,
    secrets: Mutex<BTreeMap<String, Vec<String>>>,
    ledger: Mutex<Ledger>,
}

/// A panic in a test's predicate must not take the world with it.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(super) fn new(options: &Options, url: String, elsewhere: String, stopping: CancellationToken) -> Self {
        let usual = options.usual.clone().map_or(Usual::ById(options.scans_take), Usual::Same);
        let keys = Keys {
            sieve: vec![options.sieve_key.clone()],
            enkrypt: vec![options.enkrypt_key.clone()],
            refuse_with: 401,
        };
        Self {
            clock: options.clock.clone(),
            url,
            elsewhere,
            smtp_login: options.smtp_login.clone(),
            slack_token: options.slack_token.clone(),
            stopping,
            changed: Notify::new(),
            keys: Mutex::new(keys),
            scans: Mutex::new(Scans::new(usual, options.spread, options.most_scans)),
            faults: Mutex::default(),
            secrets: Mutex::new(options.hook_secrets.clone()),
            ledger: Mutex::new(Ledger::new(options.record)),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Keys> {
        hold(&self.keys)
    }

    pub(super) fn scans(&self) -> MutexGuard<'_, Scans> {
        hold(&self.scans)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        hold(&self.ledger)
    }

    pub(super) fn usual_time(&self) -> Duration {
        self.scans().usual_time()
    }

    /// Takes a message in and wakes whoever waits for it.
    pub(super) fn record(&self, received: Received, arrival: Option<(Box<str>, Option<Box<str>>)>) {
        self.ledger().add(received, arrival);
        self.changed.notify_waiters();
    }

    /// The scripted answer of a destination to the next request, if it is not well.
    pub(super) fn destination_fault(&self, name: &str) -> Option<Step> {
        let now = self.now();
        let mut faults = hold(&self.faults);
        let (script, cursor) = faults.destinations.get_mut(name)?;
        script.next(cursor, now)
    }

    /// The same at one place of the SMTP dialogue; steps that name no place belong to `default`.
    pub(super) fn smtp_fault(&self, name: &str, stage: Stage, default: Stage) -> Option<Step> {
        let now = self.now();
        let mut faults = hold(&self.faults);
        let (script, cursor) = faults.destinations.get_mut(name)?;
        script.next_at(cursor, stage, default, now)
    }

    /// The scripted answer of a whole provider to the next request, if it is not well.
    pub(super) fn provider_fault(&self, provider: Provider) -> Option<Step> {
        let now = self.now();
        let mut faults = hold(&self.faults);
        let (script, cursor) = faults.providers.get_mut(&provider)?;
        script.next(cursor, now)
    }

    /// From now on this destination answers so; false when there are too many.
    pub(super) fn set_destination(&self, name: &str, script: Script) -> bool {
        let destinations = &mut hold(&self.faults).destinations;
        let room = destinations.len() < MOST_NAMES || destinations.contains_key(name);
        if room {
            destinations.insert(name.to_owned(), (script, Cursor::default()));
        }
        room
    }

    /// From now on this provider answers so, whatever the scan.
    pub(super) fn set_provider(&self, provider: Provider, script: Script) {
        hold(&self.faults).providers.insert(provider, (script, Cursor::default()));
    }

    /// From now on this hook wants one of these signatures; false when there are too many.
    pub(super) fn set_secrets(&self, name: &str, secrets: Vec<String>) -> bool {
        let mut known = hold(&self.secrets);
        let room = known.len() < MOST_NAMES || known.contains_key(name);
        if room {
            known.insert(name.to_owned(), secrets);
        }
        room
    }

    /// The secrets of this hook, if it wants a signature.
    pub(super) fn secrets(&self, name: &str) -> Option<Vec<String>> {
        hold(&self.secrets).get(name).cloned()
    }

    /// Whether messages are kept whole.
    pub(super) fn keeps_messages(&self) -> bool {
        self.ledger().keeps_messages()
    }

    /// The body as it will be kept: none where nothing is.
    pub(super) fn kept(&self, body: &Bytes) -> Bytes {
        if self.keeps_messages() { body.clone() } else { Bytes::new() }
    }
}
