//! Who was told what: the messages that arrived, within bounds, and counts of all of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use axum::body::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::time::Timestamp;

/// What is kept of arriving messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The latest messages, at most so many (and at most 64 MiB of them).
    All(usize),
    /// Only counts and times of arrival: for load runs.
    CountOnly,
}

/// Bodies are kept up to this sum, in bytes.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// Times of arrival are kept for so many webhook ids.
const MOST_ARRIVALS: usize = 500_000;
/// Names are counted one by one up to here.
const MOST_NAMES: usize = 10_000;

/// Which kind of destination a message came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Slack's incoming webhook or `chat.postMessage`.
    Slack,
    /// A webhook.
    Webhook,
    /// SMTP.
    Email,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Email => "email",
        })
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "slack" => Ok(Self::Slack),
            "webhook" => Ok(Self::Webhook),
            "email" => Ok(Self::Email),
            _ => Err("kind is one of slack, webhook, email".to_owned()),
        }
    }
}

/// A message as it arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// Counts all messages from 1, also those that are no longer kept.
    pub number: u64,
    /// Which kind of destination.
    pub kind: Kind,
    /// Slack: the last part of the webhook's path, or the channel. Webhook: the hook. E-mail: the first recipient.
    pub name: String,
    /// When, in milliseconds since 1970.
    #[serde(rename = "at_ms", serialize_with = "as_millis")]
    pub at: Timestamp,
    /// HTTP method; `DATA` for mail.
    pub method: String,
    /// HTTP headers, names in lower case; empty for mail.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(String, String)>,
    /// The body; for mail the raw message with the dots unstuffed.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
    /// Whether the Standard Webhooks signature is right; none where no secret is registered.
    pub verified: Option<bool>,
    /// The status it was answered with (HTTP or SMTP); 0 where there was no answer.
    pub answered: u16,
    /// For mail.
    pub envelope: Option<Envelope>,
}

/// What SMTP says around a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Envelope {
    /// `MAIL FROM`.
    pub from: String,
    /// The accepted `RCPT TO`.
    pub to: Vec<String>,
    /// The user who logged in.
    pub user: Option<String>,
    /// Whether the connection was encrypted.
    pub tls: bool,
}

impl Received {
    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the receiver took it.
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.answered)
    }

    fn size(&self) -> usize {
        self.body.len() + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// How often something came to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All messages, refused ones too.
    pub received: u64,
    /// Those that were taken.
    pub accepted: u64,
    /// The first, in milliseconds since 1970.
    #[serde(rename = "first_ms", serialize_with = "as_millis")]
    pub first: Timestamp,
    /// The last.
    #[serde(rename = "last_ms", serialize_with = "as_millis")]
    pub last: Timestamp,
}

/// When one notification arrived, known by its `webhook-id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// `webhook-id`.
    pub id: Box<str>,
    /// The hook.
    pub name: Box<str>,
    /// The provider's ID, where the body says it.
    pub scan_id: Option<Box<str>>,
    /// First taken then, in milliseconds since 1970.
    #[serde(rename = "at_ms", serialize_with = "as_millis")]
    pub at: Timestamp,
    /// How often it was taken; more than 1 is a duplicate.
    pub count: u32,
}

/// Everything that arrived.
#[derive(Debug)]
pub(super) struct Ledger {
    record: Record,
    kept: VecDeque<Received>,
    kept_bytes: usize,
    numbered: u64,
    counts: BTreeMap<(Kind, String), Count>,
    arrivals: HashMap<Box<str>, Arrival>,
}

impl Ledger {
    pub(super) fn new(record: Record) -> Self {
        Self {
            record,
            kept: VecDeque::new(),
            kept_bytes: 0,
            numbered: 0,
            counts: BTreeMap::new(),
            arrivals: HashMap::new(),
        }
    }

    /// Whether messages are kept: if not, nobody needs to copy headers.
    pub(super) fn keeps_messages(&self) -> bool {
        matches!(self.record, Record::All(_))
    }

    /// Forgets everything; numbers go on.
    pub(super) fn clear(&mut self) {
        *self = Self { numbered: self.numbered, ..Self::new(self.record) };
    }

    /// Takes one in. `arrival` is its webhook id and scan ID, if it has them.
    pub(super) fn add(&mut self, mut received: Received, arrival: Option<(Box<str>, Option<Box<str>>)>) {
        self.numbered += 1;
        received.number = self.numbered;
        self.count(&received);
        if let (Some((id, scan_id)), true) = (arrival, received.accepted()) {
            self.arrive(id, scan_id, &received);
        }
        if let Record::All(most) = self.record {
            self.keep(received, most);
        }
    }

    fn count(&mut self, received: &Received) {
        let key = (received.kind, received.name.clone());
        if self.counts.len() >= MOST_NAMES && !self.counts.contains_key(&key) {
            return;
        }
        let fresh = Count { received: 0, accepted: 0, first: received.at, last: received.at };
        let count = self.counts.entry(key).or_insert(fresh);
        count.received += 1;
        count.accepted += u64::from(received.accepted());
        count.last = received.at;
    }

    fn arrive(&mut self, id: Box<str>, scan_id: Option<Box<str>>, received: &Received) {
        if let Some(arrival) = self.arrivals.get_mut(&id) {
            arrival.count = arrival.count.saturating_add(1);
        } else if self.arrivals.len() < MOST_ARRIVALS {
            let name = received.name.clone().into_boxed_str();
            let arrival = Arrival { id: id.clone(), name, scan_id, at: received.at, count: 1 };
            self.arrivals.insert(id, arrival);
        }
    }

    fn keep(&mut self, received: Received, most: usize) {
        self.kept_bytes += received.size();
        self.kept.push_back(received);
        while self.kept.len() > most || self.kept_bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.size();
        }
    }

    /// The kept messages of a kind and a name, oldest first; `None` is any.
    pub(super) fn received<'a>(
        &'a self,
        kind: Option<Kind>,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Received> {
        self.kept
            .iter()
            .filter(move |message| kind.is_none_or(|kind| kind == message.kind))
            .filter(move |message| name.is_none_or(|name| is_for(message, name)))
    }

    /// Counts by kind and name.
    pub(super) fn counts(&self) -> &BTreeMap<(Kind, String), Count> {
        &self.counts
    }

    /// Arrivals in no order.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.arrivals.values()
    }

    /// How many messages ever came.
    pub(super) fn numbered(&self) -> u64 {
        self.numbered
    }
}

/// A mail is for each of its recipients.
fn is_for(message: &Received, name: &str) -> bool {
    message.name == name || message.envelope.as_ref().is_some_and(|envelope| envelope.to.iter().any(|to| to == name))
}

fn as_millis<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(at.as_millisecond())
}

fn as_text<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

/// Headers as an object; one that came twice is joined as HTTP allows.
fn as_map<S: Serializer>(headers: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let entry = joined.entry(name).or_default();
        if !entry.is_empty() {
            entry.push_str(", ");
        }
        entry.push_str(value);
    }
    let mut map = serializer.serialize_map(Some(joined.len()))?;
    joined.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    fn message(name: &str, size: usize, answered: u16) -> Received {
        Received {
            number: 0,
            kind: Kind::Webhook,
            name: name.to_owned(),
            at: from_millis(5),
            method: "POST".to_owned(),
            headers: vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
            body: Bytes::from(vec![b'x'; size]),
            verified: None,
            answered,
            envelope: None,
        }
    }

    #[test]
    fn only_the_latest_messages_are_kept_but_all_are_counted() {
        let mut ledger = Ledger::new(Record::All(2));
        (0..5).for_each(|_| ledger.add(message("siem", 1, 200), None));
        let numbers: Vec<u64> = ledger.received(None, Some("siem")).map(|message| message.number).collect();
        assert_eq!(numbers, [4, 5]);
        assert_eq!(ledger.counts()[&(Kind::Webhook, "siem".to_owned())].received, 5);
    }

    #[test]
    fn many_large_messages_do_not_fill_the_memory() {
        let mut ledger = Ledger::new(Record::All(1000));
        (0..10).for_each(|_| ledger.add(message("siem", 10 * 1024 * 1024, 200), None));
        assert_eq!(ledger.received(None, None).count(), 6);
    }

    #[test]
    fn a_load_run_keeps_only_when_what_arrived_and_how_often() {
        let mut ledger = Ledger::new(Record::CountOnly);
        let arrival = || Some(("msg-1".into(), Some("scan-1".into())));
        ledger.add(message("siem", 1, 503), arrival());
        ledger.add(message("siem", 1, 200), arrival());
        ledger.add(message("siem", 1, 200), arrival());
        assert_eq!(ledger.received(None, None).count(), 0);
        let arrivals: Vec<&Arrival> = ledger.arrivals().collect();
        assert_eq!((arrivals.len(), arrivals[0].count, arrivals[0].scan_id.as_deref()), (1, 2, Some("scan-1")));
        let count = ledger.counts()[&(Kind::Webhook, "siem".to_owned())];
        assert_eq!((count.received, count.accepted), (3, 2));
    }

    #[test]
    fn a_message_reads_well_as_json() {
        let shown = serde_json::to_value(message("siem", 1, 200)).unwrap();
        assert_eq!(shown["headers"]["a"], "1, 2");
        assert_eq!(shown["at_ms"], 5);
        assert_eq!(shown["body"], "x");
    }
}
