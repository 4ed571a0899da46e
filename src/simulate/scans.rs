//! The scans of both providers: which script each has, where it stands, how often it was polled.
//!
//! A scan exists from its first poll or its script on. Those without a script are forgotten, oldest first, above a
//! bound; asked for again, they begin anew.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::preset::Preset;
use super::script::{Answer, Body, Cursor, Script, Step};
use crate::time::{Timestamp, after};

/// A simulated scan API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Sieve.
    Sieve,
    /// Enkrypt's MCP hub.
    Enkrypt,
}

impl Provider {
    /// The name of its profile.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sieve => "sieve",
            Self::Enkrypt => "enkrypt",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "sieve" => Ok(Self::Sieve),
            "enkrypt" => Ok(Self::Enkrypt),
            _ => Err("provider is one of sieve, enkrypt".to_owned()),
        }
    }
}

/// How often a scan was polled, and what the last poll was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Polls {
    /// The provider.
    pub provider: Provider,
    /// Its ID of the scan.
    pub scan_id: String,
    /// How many, of all its endpoints, refused keys not counted.
    pub polls: u64,
    /// The HTTP status of the last; 0 where there was no answer.
    pub last_status: u16,
    /// The first, in milliseconds since 1970.
    pub first_ms: i64,
    /// The last.
    pub last_ms: i64,
    /// When it was first told that the scan is over.
    pub ended_ms: Option<i64>,
    /// When the scan was over, told or not; for lives that are counted in time.
    pub over_ms: Option<i64>,
}

/// Above this many scans with a script, more are refused.
const MOST_SCRIPTS: usize = 200_000;

#[derive(Debug)]
struct Entry {
    script: Script,
    cursor: Cursor,
    results: Option<Box<(Script, Cursor)>>,
    scripted: bool,
    polls: u64,
    last_status: u16,
    first: Option<Timestamp>,
    last: Timestamp,
    ended: Option<Timestamp>,
}

/// What a poll is told, and when the scan was seen first.
pub(super) struct Turn {
    pub step: Step,
    pub created: Timestamp,
}

/// All scans.
#[derive(Debug)]
pub(super) struct Scans {
    sieve: HashMap<Box<str>, Entry>,
    enkrypt: HashMap<Box<str>, Entry>,
    unscripted: VecDeque<(Provider, Box<str>)>,
    scripts: usize,
    most: usize,
    usual: Usual,
    spread: Duration,
    total: u64,
}

/// What scans without a script do.
#[derive(Debug, Clone)]
pub(super) enum Usual {
    /// What their ID says ([`Preset::of_id`]), over that long.
    ById(Duration),
    /// The same for all.
    Same(Script),
}

impl Usual {
    fn script(&self, scan_id: &str) -> Script {
        match self {
            Self::ById(after) => Script::preset(Preset::of_id(scan_id), *after),
            Self::Same(script) => script.clone(),
        }
    }
}

impl Entry {
    fn new(script: Script, scripted: bool, now: Timestamp) -> Self {
        Self {
            script,
            cursor: Cursor::default(),
            results: None,
            scripted,
            polls: 0,
            last_status: 0,
            first: None,
            last: now,
            ended: None,
        }
    }

    fn turn(&mut self, results: bool, now: Timestamp) -> Option<Turn> {
        let created = *self.first.get_or_insert(now);
        let (script, cursor) = match &mut self.results {
            Some(own) if results => (&own.0, &mut own.1),
            _ => (&self.script, &mut self.cursor),
        };
        let step = script.next(cursor, now)?;
        self.polls += 1;
        (self.last, self.last_status) = (now, step.answered(200));
        if self.ended.is_none() && ends(&step) {
            self.ended = Some(now);
        }
        Some(Turn { step, created })
    }
}

fn ends(step: &Step) -> bool {
    match &step.answer {
        Answer::Http(http) => matches!(&http.body, Body::Reference { state, .. } if state.is_terminal()),
        _ => false,
    }
}

impl Scans {
    /// Scans without a script take up to `spread` longer than they would; their ID says how much.
    pub(super) fn new(usual: Usual, spread: Duration, most: usize) -> Self {
        Self {
            sieve: HashMap::new(),
            enkrypt: HashMap::new(),
            unscripted: VecDeque::new(),
            scripts: 0,
            most: most.max(1),
            usual,
            spread,
            total: 0,
        }
    }

    /// What scans without a script do from now on; those already begun go on as they were.
    pub(super) fn set_usual(&mut self, usual: Usual) {
        self.usual = usual;
    }

    /// How long a life takes where nobody says it.
    pub(super) fn usual_time(&self) -> Duration {
        match &self.usual {
            Usual::ById(after) => *after,
            Usual::Same(_) => Duration::from_secs(1),
        }
    }

    /// Gives a scan a script from its beginning; false when there are too many.
    pub(super) fn script(&mut self, provider: Provider, scan_id: &str, script: Script, now: Timestamp) -> bool {
        let Some(entry) = self.scripted_entry(provider, scan_id, now) else { return false };
        (entry.script, entry.cursor, entry.results, entry.ended) = (script, Cursor::default(), None, None);
        true
    }

    /// Gives Enkrypt's `/results` of a scan a script of its own; false when there are too many.
    pub(super) fn script_results(&mut self, scan_id: &str, script: Script, now: Timestamp) -> bool {
        let Some(entry) = self.scripted_entry(Provider::Enkrypt, scan_id, now) else { return false };
        entry.results = Some(Box::new((script, Cursor::default())));
        true
    }

    fn scripted_entry(&mut self, provider: Provider, scan_id: &str, now: Timestamp) -> Option<&mut Entry> {
        let known = self.of(provider).get(scan_id).is_some_and(|entry| entry.scripted);
        if !known {
            if self.scripts >= MOST_SCRIPTS {
                return None;
            }
            self.scripts += 1;
        }
        let usual = self.usual.script(scan_id);
        let entry = self.of(provider).entry(scan_id.into()).or_insert_with(|| Entry::new(usual, true, now));
        entry.scripted = true;
        Some(entry)
    }

    /// What the next poll of this scan is told.
    pub(super) fn poll(&mut self, provider: Provider, scan_id: &str, results: bool, now: Timestamp) -> Option<Turn> {
        self.total += 1;
        if !self.of(provider).contains_key(scan_id) {
            self.begin(provider, scan_id, now);
        }
        self.of(provider).get_mut(scan_id)?.turn(results, now)
    }

    fn begin(&mut self, provider: Provider, scan_id: &str, now: Timestamp) {
        let key: Box<str> = scan_id.into();
        let script = self.usual.script(scan_id).longer(share(scan_id, self.spread));
        let entry = Entry::new(script, false, now);
        self.of(provider).insert(key.clone(), entry);
        self.unscripted.push_back((provider, key));
        while self.unscripted.len() > self.most {
            let Some((provider, key)) = self.unscripted.pop_front() else { break };
            // One that got a script meanwhile stays.
            if self.of(provider).get(&key).is_some_and(|entry| !entry.scripted) {
                self.of(provider).remove(&key);
            }
        }
    }

    fn of(&mut self, provider: Provider) -> &mut HashMap<Box<str>, Entry> {
        match provider {
            Provider::Sieve => &mut self.sieve,
            Provider::Enkrypt => &mut self.enkrypt,
        }
    }

    /// How often one scan was polled.
    pub(super) fn polls_of(&self, provider: Provider, scan_id: &str) -> Option<Polls> {
        let scans = match provider {
            Provider::Sieve => &self.sieve,
            Provider::Enkrypt => &self.enkrypt,
        };
        scans.get(scan_id).map(|entry| shown(provider, scan_id, entry))
    }

    /// All scans that were polled, in no order.
    pub(super) fn polls(&self) -> Vec<Polls> {
        let sieve = self.sieve.iter().map(|(id, entry)| shown(Provider::Sieve, id, entry));
        let enkrypt = self.enkrypt.iter().map(|(id, entry)| shown(Provider::Enkrypt, id, entry));
        sieve.chain(enkrypt).filter(|polls| polls.polls > 0).collect()
    }

    /// How many polls ever came.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

/// A part of `whole` that the ID chooses, evenly over many IDs.
fn share(scan_id: &str, whole: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    scan_id.hash(&mut hasher);
    whole.mul_f64(f64::from(hasher.finish() as u32) / f64::from(u32::MAX))
}

fn shown(provider: Provider, scan_id: &str, entry: &Entry) -> Polls {
    Polls {
        provider,
        scan_id: scan_id.to_owned(),
        polls: entry.polls,
        last_status: entry.last_status,
        first_ms: entry.first.unwrap_or(entry.last).as_millisecond(),
        last_ms: entry.last.as_millisecond(),
        ended_ms: entry.ended.map(Timestamp::as_millisecond),
        over_ms: entry.script.takes().zip(entry.first).map(|(takes, first)| after(first, takes).as_millisecond()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::preset::State;
    use crate::time::from_millis;

    const NOW: fn(i64) -> Timestamp = from_millis;

    fn scans(most: usize) -> Scans {
        Scans::new(Usual::ById(Duration::from_secs(1)), Duration::ZERO, most)
    }

    #[test]
    fn scans_without_a_script_are_forgotten_above_the_bound_and_scripted_ones_are_kept() {
        let mut scans = scans(2);
        scans.script(Provider::Sieve, "kept", Script::steps([Step::state(State::Threat)]), NOW(0));
        for id in ["kept", "a", "b", "c"] {
            scans.poll(Provider::Sieve, id, false, NOW(0));
        }
        let mut left: Vec<String> = scans.polls().into_iter().map(|polls| polls.scan_id).collect();
        left.sort();
        assert_eq!(left, ["b", "c", "kept"]);
        assert_eq!(scans.total(), 4);
    }

    #[test]
    fn lives_are_spread_by_their_ids_and_say_when_they_are_over() {
        let mut scans = Scans::new(Usual::ById(Duration::from_secs(2)), Duration::from_secs(8), 100);
        for id in 0..100 {
            scans.poll(Provider::Sieve, &format!("s-{id}"), false, NOW(0));
        }
        let over: Vec<i64> = scans.polls().iter().filter_map(|polls| polls.over_ms).collect();
        assert_eq!(over.len(), 100);
        assert!(over.iter().all(|ms| (2_000..=10_000).contains(ms)));
        assert!(over.iter().any(|ms| *ms < 4_000) && over.iter().any(|ms| *ms > 8_000));
    }

    #[test]
    fn the_results_endpoint_shares_the_life_of_the_scan_unless_it_has_a_script_of_its_own() {
        let mut scans = scans(10);
        scans.script(Provider::Enkrypt, "job", Script::steps([Step::state(State::Clean)]), NOW(0));
        scans.script_results("job", Script::steps([Step::status(409), Step::state(State::Clean)]), NOW(0));
        let mut status = |results| scans.poll(Provider::Enkrypt, "job", results, NOW(0)).unwrap().step.answered(200);
        assert_eq!([status(false), status(true), status(true)], [200, 409, 200]);
    }

    #[test]
    fn polls_are_counted_with_the_last_status_and_the_time_of_the_end() {
        let mut scans = scans(10);
        scans.script(Provider::Sieve, "s", Script::steps([Step::status(500), Step::state(State::Failed)]), NOW(0));
        scans.poll(Provider::Sieve, "s", false, NOW(10));
        assert_eq!(scans.polls_of(Provider::Sieve, "s").unwrap().last_status, 500);
        scans.poll(Provider::Sieve, "s", false, NOW(20));
        scans.poll(Provider::Sieve, "s", false, NOW(30));
        let polls = scans.polls_of(Provider::Sieve, "s").unwrap();
        assert_eq!((polls.polls, polls.last_status, polls.ended_ms), (3, 200, Some(20)));
    }
}
