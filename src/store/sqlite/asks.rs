//! What the requests of one scan asked for: kept once each, given back in the order of acceptance.
//!
//! A scan that was asked for plainly (no labels, no destinations) has no rows here, which is the usual case.

use std::collections::BTreeMap;

use ring::digest;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::failure::Failure;
use crate::store::Ask;

/// More than one message can hold. A scan that is asked for again and again must not fill the memory.
const MOST: usize = 10_000;
/// The same in bytes of JSON.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// 16 bytes of SHA-256: enough that no two texts share them, and half as large an index.
pub(super) type Digest = [u8; 16];

/// Digest of a text that comes from outside and can have any length.
pub(super) fn digest_of(text: &str) -> Digest {
    let full = digest::digest(&digest::SHA256, text.as_bytes());
    let mut short = Digest::default();
    for (to, from) in short.iter_mut().zip(full.as_ref()) {
        *to = *from;
    }
    short
}

/// An ask as a row.
#[derive(Debug)]
pub(super) struct AskRow {
    digest: Digest,
    json: String,
}

impl AskRow {
    fn new(ask: &Ask) -> Result<Self, Failure> {
        let json = serde_json::to_string(ask)?;
        Ok(Self { digest: digest_of(&json), json })
    }

    /// The row of an ask; none for a plain one.
    pub(super) fn unless_plain(ask: &Ask) -> Result<Option<Self>, Failure> {
        if ask.labels.is_empty() && ask.destinations.is_none() { Ok(None) } else { Self::new(ask).map(Some) }
    }
}

fn plain() -> Ask {
    Ask { labels: BTreeMap::new(), destinations: None }
}

/// Adds an ask to the `count` that a scan has (0: one plain ask); answers how many there are then.
pub(super) fn add(connection: &Connection, scan: Uuid, count: u32, ask: Option<&AskRow>) -> Result<u32, Failure> {
    match (count, ask) {
        (0, None) => Ok(0),
        (0, Some(ask)) => {
            insert(connection, scan, 0, &AskRow::new(&plain())?)?;
            insert(connection, scan, 1, ask)
        }
        (count, None) => insert(connection, scan, count, &AskRow::new(&plain())?),
        (count, Some(ask)) => insert(connection, scan, count, ask),
    }
}

/// Inserts an ask as the one after `count` others, unless it is there; answers how many there are then.
pub(super) fn insert(connection: &Connection, scan: Uuid, count: u32, ask: &AskRow) -> Result<u32, Failure> {
    let added = connection
        .prepare_cached("INSERT OR IGNORE INTO asks (scan, digest, number, ask) VALUES (?, ?, ?, ?)")?
        .execute(params![scan.as_bytes(), ask.digest, count, ask.json])?;
    Ok(count.saturating_add(u32::from(added > 0)))
}

/// The asks of a scan that has `count` rows of them, as JSON.
pub(super) fn read(connection: &Connection, scan: Uuid, count: u32) -> Result<Vec<String>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached("SELECT ask FROM asks WHERE scan = ? ORDER BY number")?;
    let mut rows = statement.query([scan.as_bytes()])?;
    let (mut asks, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let ask: String = row.get(0)?;
        bytes = bytes.saturating_add(ask.len());
        if asks.len() == MOST || bytes > MOST_BYTES {
            tracing::warn!(scan.id = %scan, asks = count, used = asks.len(), "too many different requests for one scan");
            break;
        }
        asks.push(ask);
    }
    Ok(asks)
}

/// Back from [`read`].
pub(super) fn parse(asks: &[String]) -> Result<Vec<Ask>, Failure> {
    if asks.is_empty() {
        return Ok(vec![plain()]);
    }
    asks.iter().map(|ask| Ok(serde_json::from_str(ask)?)).collect()
}

/// The labels of all; the earlier one wins.
pub(super) fn merge_labels(asks: &[Ask]) -> BTreeMap<String, String> {
    let mut merged = BTreeMap::new();
    for (name, value) in asks.iter().flat_map(|ask| &ask.labels) {
        if !merged.contains_key(name) {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}
