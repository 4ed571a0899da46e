//! A clock that nobody sets.
//!
//! The system's clock is set now and then: by hand, by a time server after the start, after a virtual machine was
//! paused. Whoever reckons with it then gives up on everything at once, or waits for an hour. This one goes on from
//! where it was, and draws nearer to the system's by a tenth of the time that passes: no wait is off by more.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Timestamp;

/// It runs this part faster or slower until it shows the same as the system's clock.
const DRAW: i64 = 10;
const NANOS: i64 = 1_000_000;

/// Where the clock stands, for a later run on the same machine: as long as that is not started anew, time goes on as
/// if the clock had never stopped, whatever was set meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Names one start of the machine.
    boot: String,
    /// What the clock showed when the machine started, in milliseconds since 1970.
    base: i64,
}

impl Standing {
    /// How far two are apart; very far where the machine was started in between.
    pub fn apart(&self, other: &Self) -> Duration {
        if self.boot == other.boot { Duration::from_millis(self.base.abs_diff(other.base)) } else { Duration::MAX }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.boot, self.base)
    }
}

impl FromStr for Standing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (boot, base) = text.trim().split_once(' ').ok_or("two words are expected")?;
        let base = base.parse().map_err(|_| "the second word is no number")?;
        Ok(Self { boot: boot.to_owned(), base })
    }
}

/// The clock.
#[derive(Debug)]
pub(super) struct Steady(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Nanoseconds since the machine started, when it was read last.
    tick: i64,
    /// What it showed when the machine started, in nanoseconds since 1970.
    base: i64,
}

impl Steady {
    /// Goes on from where an earlier run left it; else from what the system's clock shows.
    pub(super) fn new(earlier: Option<&Standing>) -> Self {
        let tick = tick();
        let same = earlier.filter(|earlier| boot().is_some_and(|boot| boot == earlier.boot));
        let base = same.map_or_else(|| wall().saturating_sub(tick), |earlier| earlier.base.saturating_mul(NANOS));
        Self(Mutex::new(State { tick, base }))
    }

    /// What it shows, in milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.read().shown().div_euclid(NANOS)
    }

    /// How far it is ahead of the system's, in milliseconds.
    pub(super) fn ahead(&self) -> i64 {
        let state = self.read();
        (state.shown() - wall()) / NANOS
    }

    /// Where it stands; none where a later run could not know whether the machine was started in between.
    pub(super) fn standing(&self) -> Option<Standing> {
        Some(Standing { boot: boot()?, base: self.read().base.div_euclid(NANOS) })
    }

    /// Sets it, but never back.
    pub(super) fn set(&self, standing: &Standing) {
        let mut state = self.read();
        state.base = state.base.max(standing.base.saturating_mul(NANOS));
    }

    fn read(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.follow(tick(), wall());
        state
    }
}

impl State {
    fn shown(&self) -> i64 {
        self.base.saturating_add(self.tick)
    }

    fn follow(&mut self, tick: i64, wall: i64) {
        let elapsed = tick.saturating_sub(self.tick).max(0);
        self.tick = self.tick.max(tick);
        let room = elapsed / DRAW;
        self.base = self.base.saturating_add(wall.saturating_sub(self.shown()).clamp(-room, room));
    }
}

/// Where a clock stands that shows the same as the system's.
pub(super) fn caught_up() -> Option<Standing> {
    Some(Standing { boot: boot()?, base: (wall() - tick()).div_euclid(NANOS) })
}

/// Names this start of the machine.
fn boot() -> Option<String> {
    static BOOT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned());
    BOOT.get_or_init(|| read().filter(|id| !id.is_empty() && cfg!(target_os = "linux"))).clone()
}

/// Nanoseconds since the machine started, the time it slept included.
#[cfg(target_os = "linux")]
fn tick() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Nanoseconds since this was asked first.
#[cfg(not(target_os = "linux"))]
fn tick() -> i64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    i64::try_from(START.get_or_init(std::time::Instant::now).elapsed().as_nanos()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the room that owns the system's clock")]
fn wall() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// After so many seconds, with the system's clock showing so many.
    fn follow(state: &mut State, seconds: i64, wall: i64) -> i64 {
        state.follow(seconds * SECOND, wall * SECOND);
        state.shown()
    }

    fn fresh() -> State {
        State { tick: 0, base: 0 }
    }

    #[test]
    fn it_shows_what_the_systems_clock_shows_while_nobody_sets_that() {
        let mut state = fresh();
        for second in 1..100 {
            state.follow(second * SECOND, second * SECOND + 3);
        }
        assert_eq!(state.shown(), 99 * SECOND + 3);
    }

    #[test]
    fn a_clock_that_is_set_two_hours_ahead_is_followed_by_a_tenth_of_the_time_that_passes() {
        let mut state = fresh();
        assert_eq!(follow(&mut state, 10, 7210), 11 * SECOND);
        assert_eq!(follow(&mut state, 1010, 8210), 1111 * SECOND);
        assert_eq!(follow(&mut state, 100_000, 107_200), 107_200 * SECOND, "and no further");
    }

    #[test]
    fn a_clock_that_is_set_back_slows_it_and_never_turns_it_back() {
        let mut state = fresh();
        assert_eq!(follow(&mut state, 10, -3590), 9 * SECOND);
        for step in 0..1000 {
            let before = state.shown();
            state.follow(10 * SECOND + step, -3590 * SECOND);
            assert!(state.shown() >= before);
        }
    }

    #[test]
    fn a_later_run_goes_on_from_where_it_stood_whatever_the_systems_clock_shows_now() {
        let Some(boot) = boot() else { return }; // then every run begins anew
        let early = Standing { boot, base: (wall() - tick()) / NANOS - 7_200_000 };
        let earlier = early.to_string().parse().unwrap();
        let clock = Steady::new(Some(&earlier));
        assert!((-7_200_000..-7_190_000).contains(&clock.ahead()), "{}", clock.ahead());
        assert!(clock.standing().unwrap().apart(&earlier) < Duration::from_secs(5));
    }

    #[test]
    fn after_a_start_of_the_machine_it_begins_with_what_the_systems_clock_shows() {
        let other = "another-start 5".parse().unwrap();
        assert!(Steady::new(Some(&other)).ahead().abs() < 1000);
        assert!(Steady::new(None).ahead().abs() < 1000);
    }

    #[test]
    fn it_can_be_set_forward_and_not_back() {
        let Some(boot) = boot() else { return };
        let shown = (wall() - tick()) / NANOS;
        let late = Standing { boot: boot.clone(), base: shown - 7_200_000 };
        let clock = Steady::new(Some(&late));
        clock.set(&caught_up().unwrap());
        assert!(clock.ahead().abs() < 1000);
        clock.set(&late);
        assert!(clock.ahead().abs() < 1000);
    }
}
