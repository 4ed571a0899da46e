//! Ready-made lives of a scan: what each poll sees, from queued to its end.
//!
//! A life shows its phases one per poll, the last of them until its time is over, then its end for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a reference body says of its scan, whatever the provider calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits to enter the queue.
    Queued,
    /// In the queue.
    Pending,
    /// An archive is being unpacked.
    Extracting,
    /// Being analysed.
    Processing,
    /// Finished: nothing found.
    Clean,
    /// Finished: a person should look.
    Suspicious,
    /// Finished: a threat.
    Threat,
    /// Finished, every nullable field null.
    NoVerdict,
    /// Finished as a threat, every string written by an attacker.
    Hostile,
    /// The scan failed.
    Failed,
    /// The scanner broke.
    Error,
    /// Not a thing this scanner analyses.
    Unsupported,
    /// A status word that nobody has documented.
    UnknownStatus,
    /// 404.
    NotFound,
}

impl State {
    /// Whether the scan is over.
    pub const fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::Queued | Self::Pending | Self::Extracting | Self::Processing | Self::UnknownStatus | Self::NotFound
        )
    }

    /// Whether the provider calls it completed.
    pub const fn is_completed(self) -> bool {
        matches!(self, Self::Clean | Self::Suspicious | Self::Threat | Self::NoVerdict | Self::Hostile)
    }
}

/// A whole life of a scan, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Ends as a threat.
    Threat,
    /// Ends clean.
    Clean,
    /// Ends suspicious.
    Suspicious,
    /// Ends `failed`.
    Failed,
    /// Ends `error`.
    Error,
    /// Ends `unsupported`.
    Unsupported,
    /// Never ends.
    RunningForever,
    /// 429 with `Retry-After: 1`, then 500, then a life that ends clean.
    Flaky,
    /// 404 for ever.
    NotFound,
    /// A status word that nobody knows, for ever.
    UnknownStatus,
    /// Ends as a threat; its strings mean harm to whoever prints them.
    Hostile,
    /// queued, pending, extracting, processing, each for a poll; ends suspicious.
    Archive,
    /// Ends completed with every nullable field null.
    NoVerdict,
}

impl Preset {
    /// All of them, in the order of [`Preset::of_id`].
    pub const ALL: [Self; 13] = [
        Self::Threat,
        Self::Clean,
        Self::Suspicious,
        Self::Failed,
        Self::Error,
        Self::Unsupported,
        Self::RunningForever,
        Self::Flaky,
        Self::NotFound,
        Self::UnknownStatus,
        Self::Hostile,
        Self::Archive,
        Self::NoVerdict,
    ];

    /// The word on the wire and in the help.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Threat => "threat",
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Unsupported => "unsupported",
            Self::RunningForever => "running-forever",
            Self::Flaky => "flaky",
            Self::NotFound => "not-found",
            Self::UnknownStatus => "unknown-status",
            Self::Hostile => "hostile",
            Self::Archive => "archive",
            Self::NoVerdict => "no-verdict",
        }
    }

    /// The life of a scan that nobody scripted: the last two hexadecimal digits of its ID choose it, `00` threat,
    /// `01` clean, `02` suspicious … in the order of [`Preset::ALL`]; every other ID ends clean.
    pub fn of_id(scan_id: &str) -> Self {
        let tail = scan_id.len().checked_sub(2).and_then(|start| scan_id.get(start..));
        let digits = tail.and_then(|tail| u8::from_str_radix(tail, 16).ok());
        digits.and_then(|digits| Self::ALL.get(usize::from(digits)).copied()).unwrap_or(Self::Clean)
    }

    /// What poll number `poll` (from 0) sees, `elapsed` after the first one.
    ///
    /// A life of no length is over at the first poll: the scan was finished before anybody asked.
    pub fn state(self, poll: u32, elapsed: Duration, after: Duration) -> State {
        let phases = self.phases();
        let shown = usize::try_from(poll).unwrap_or(usize::MAX);
        let over = after.is_zero() || (shown >= phases.len() && elapsed >= after);
        match (self.end(), phases.get(shown).or(phases.last())) {
            (Some(end), _) if over => end,
            (Some(end), None) => end,
            (_, Some(phase)) => *phase,
            (None, None) => State::Processing,
        }
    }

    const fn phases(self) -> &'static [State] {
        match self {
            Self::NotFound => &[State::NotFound],
            Self::UnknownStatus => &[State::UnknownStatus],
            Self::Archive => &[State::Queued, State::Pending, State::Extracting, State::Processing],
            _ => &[State::Queued, State::Processing],
        }
    }

    const fn end(self) -> Option<State> {
        Some(match self {
            Self::Threat => State::Threat,
            Self::Clean | Self::Flaky => State::Clean,
            Self::Suspicious | Self::Archive => State::Suspicious,
            Self::Failed => State::Failed,
            Self::Error => State::Error,
            Self::Unsupported => State::Unsupported,
            Self::Hostile => State::Hostile,
            Self::NoVerdict => State::NoVerdict,
            Self::RunningForever | Self::NotFound | Self::UnknownStatus => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(preset: Preset, polls: u32) -> Vec<State> {
        (0..polls).map(|poll| preset.state(poll, SECOND * poll, SECOND)).collect()
    }

    #[test]
    fn a_scan_is_seen_queued_then_processing_then_finished() {
        assert_eq!(seen(Preset::Threat, 4), [State::Queued, State::Processing, State::Threat, State::Threat]);
        assert_eq!(
            seen(Preset::Archive, 5),
            [State::Queued, State::Pending, State::Extracting, State::Processing, State::Suspicious]
        );
    }

    #[test]
    fn fast_polls_do_not_end_a_scan_before_its_time() {
        assert_eq!(Preset::Clean.state(50, SECOND / 2, SECOND), State::Processing);
        assert_eq!(Preset::Clean.state(51, SECOND, SECOND), State::Clean);
    }

    #[test]
    fn a_life_of_no_length_is_over_at_the_first_poll_and_some_never_end() {
        assert_eq!(Preset::Failed.state(0, Duration::ZERO, Duration::ZERO), State::Failed);
        assert_eq!(Preset::RunningForever.state(0, Duration::ZERO, Duration::ZERO), State::Queued);
        assert_eq!(Preset::NotFound.state(900, SECOND * 900, SECOND), State::NotFound);
    }

    #[test]
    fn the_last_two_digits_of_an_id_choose_its_life() {
        assert_eq!(Preset::of_id("2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d00"), Preset::Threat);
        assert_eq!(Preset::of_id("2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d0A"), Preset::Hostile);
        assert_eq!(Preset::of_id("2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e"), Preset::Clean);
        assert_eq!(Preset::of_id("é"), Preset::Clean);
        assert_eq!(Preset::of_id(""), Preset::Clean);
    }

    #[test]
    fn every_preset_reads_back_from_its_word() {
        for preset in Preset::ALL {
            let word = format!("\"{}\"", preset.as_str());
            assert_eq!(serde_json::from_str::<Preset>(&word).unwrap(), preset);
        }
    }
}
