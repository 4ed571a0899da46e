//! The clock handle, durations as people write them, backoff, rates, and wake-ups.
//!
//! The only room that reads the system's clock: everything else is handed a [`Clock`], so that a test can turn it.

mod rate;
mod steady;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub use jiff::Timestamp;
pub use rate::Rate;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use steady::Standing;
use tokio::sync::Notify;

/// Tells the time: the system's, one that is like it and cannot be set, or one that a test turns by hand.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Real,
    Steady(Arc<steady::Steady>),
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn real() -> Self {
        Self(Source::Real)
    }

    /// A clock for waits, leases and deadlines: setting the system's clock does not make it jump, it follows slowly.
    /// Goes on from where an earlier run left it, if that is known and the machine was not started since.
    pub fn steady(earlier: Option<&Standing>) -> Self {
        Self(Source::Steady(Arc::new(steady::Steady::new(earlier))))
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.as_millisecond()))))
    }

    /// Now, in whole milliseconds: what the store keeps is what everybody sees.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Real => system(),
            Source::Steady(steady) => from_millis(steady.now()),
            Source::Manual(millis) => from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// The system's time also where the clock is a steady one: for what others compare with clocks of their own.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::Steady(_) => system(),
            Source::Real | Source::Manual(_) => self.now(),
        }
    }

    /// How far a steady clock is ahead of the system's, in milliseconds; less than 0: behind. Any other is not.
    pub fn ahead(&self) -> i64 {
        match &self.0 {
            Source::Steady(steady) => steady.ahead(),
            Source::Real | Source::Manual(_) => 0,
        }
    }

    /// Where a steady clock stands, for a later run.
    pub fn standing(&self) -> Option<Standing> {
        match &self.0 {
            Source::Steady(steady) => steady.standing(),
            Source::Real | Source::Manual(_) => None,
        }
    }

    /// Where a steady clock would stand if it showed the system's time.
    pub fn caught_up(&self) -> Option<Standing> {
        match &self.0 {
            Source::Steady(_) => steady::caught_up(),
            Source::Real | Source::Manual(_) => None,
        }
    }

    /// Sets a steady clock that is behind: for a moment when nothing waits that would be over at once.
    pub fn set(&self, standing: &Standing) {
        if let Source::Steady(steady) = &self.0 {
            steady.set(standing);
        }
    }

    /// Turns a manual clock forward; the real one cannot be turned.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the room that owns the system's clock")]
fn system() -> Timestamp {
    from_millis(Timestamp::now().as_millisecond())
}

/// Milliseconds since 1970 as a timestamp, clamped to what a timestamp can hold.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// `at + by`, clamped to the end of time.
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How long from `from` until `until`; zero when it has passed.
pub fn until(from: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or_default()
}

/// A duration as people write it: `"200ms"`, `"90s"`, `"30m"`, `"1h 30m"`, `"3d"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads what a person wrote; the error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text.trim()).map(Self).map_err(|_| {
            format!("`{}` is not a duration; write it like \"200ms\", \"90s\", \"30m\" or \"3d\"", shorten(text))
        })
    }
}

/// Enough of a wrong value to recognise it by.
fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Written)
    }
}

/// Takes a duration as text; anything else is told how to write one.
struct Written;

impl serde::de::Visitor<'_> for Written {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, like \"90s\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
        Span::parse(text).map_err(E::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: a number and ms, s, m, h or d; several add up.",
            "examples": ["200ms", "90s", "30m", "3d"]
        })
    }
}

/// Waits that grow: `first`, `first·growth`, … up to `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// What each further wait is multiplied with; 1 or more.
    pub growth: f64,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `step` earlier ones, spread by ±20 %: `chance` in 0‥1 chooses where in that range.
    pub fn delay(&self, step: u32, chance: f64) -> Duration {
        self.spread(step, chance, 0.2)
    }

    /// The wait after `step` earlier ones, spread by `share` of it either way.
    pub fn spread(&self, step: u32, chance: f64, share: f64) -> Duration {
        let grown = self.first.as_secs_f64() * self.growth.max(1.0).powi(i32::try_from(step).unwrap_or(i32::MAX));
        let bounded = grown.min(self.max.as_secs_f64());
        Duration::try_from_secs_f64(bounded * (1.0 - share + 2.0 * share * chance.clamp(0.0, 1.0))).unwrap_or(self.max)
    }
}

/// Chance in 0‥1 for [`Backoff::delay`].
pub fn chance() -> f64 {
    rand::random()
}

/// A hint that there may be work: remembered if nobody is waiting, merged if it comes twice.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A fresh one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that there may be work.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody says so, or has said so since the last wait.
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(Span::parse("200ms").unwrap().0, Duration::from_millis(200));
        assert_eq!(Span::parse("90s").unwrap().0, Duration::from_secs(90));
        assert_eq!(Span::parse("30m").unwrap().0, Duration::from_secs(1800));
        assert_eq!(Span::parse("3d").unwrap().0, Duration::from_secs(259_200));
        assert!(Span::parse("5").unwrap_err().contains("\"90s\""));
    }

    #[test]
    fn waits_grow_to_the_longest_and_stay_within_a_fifth() {
        let backoff = Backoff { first: Duration::from_secs(2), growth: 1.5, max: Duration::from_secs(30) };
        assert_eq!(backoff.delay(0, 0.5), Duration::from_secs(2));
        assert_eq!(backoff.delay(1, 0.5), Duration::from_secs(3));
        assert_eq!(backoff.delay(4_000_000_000, 0.5), Duration::from_secs(30));
        assert_eq!(backoff.delay(0, 0.0), Duration::from_millis(1600));
        assert_eq!(backoff.delay(0, 1.0), Duration::from_millis(2400));
    }

    #[test]
    fn time_beyond_the_end_is_the_end() {
        assert_eq!(after(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(until(from_millis(2000), from_millis(1000)), Duration::ZERO);
    }
}
