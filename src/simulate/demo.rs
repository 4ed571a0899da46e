//! The cast of `scanbell demo`: six scans with different ends.

use std::time::Duration;

use super::{Preset, Provider, Script, World};
use crate::domain::report::Verdict;
use crate::domain::scan::Outcome;

/// One scan of the demo, and how it must end.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What a person reads.
    pub title: &'static str,
    /// Where it is scanned.
    pub provider: Provider,
    /// Its ID there.
    pub scan_id: &'static str,
    /// What happens to it.
    pub script: Script,
    /// How long it may take; none: as configured.
    pub deadline: Option<Duration>,
    /// How it ends.
    pub outcome: Outcome,
    /// What comes out.
    pub verdict: Verdict,
}

/// Short enough for somebody who watches, long enough to be seen.
const TAKES: Duration = Duration::from_millis(1_500);
const GIVES_UP: Duration = Duration::from_secs(4);

/// All scenes, in the order in which they are asked for.
pub fn cast() -> Vec<Scene> {
    let scene = |title, (provider, scan_id), preset, (outcome, verdict)| {
        let script = Script::preset(preset, TAKES);
        Scene { title, provider, scan_id, script, deadline: None, outcome, verdict }
    };
    let (sieve, enkrypt) = (|id| (Provider::Sieve, id), |id| (Provider::Enkrypt, id));
    let ended = |outcome| (outcome, Verdict::Unknown);
    let completed = |verdict| (Outcome::Completed, verdict);
    vec![
        scene("a document with a hidden prompt injection", sieve(ID[0]), Preset::Threat, completed(Verdict::Threat)),
        scene("a harmless document", sieve(ID[1]), Preset::Clean, completed(Verdict::Clean)),
        scene("a job that fails", enkrypt(ID[2]), Preset::Failed, ended(Outcome::Failed)),
        scene("a file that cannot be analysed", sieve(ID[3]), Preset::Unsupported, ended(Outcome::Unsupported)),
        Scene {
            deadline: Some(GIVES_UP),
            ..scene("a scan that never ends", sieve(ID[4]), Preset::RunningForever, ended(Outcome::TimedOut))
        },
        scene("a server behind 429 and 500", enkrypt(ID[5]), Preset::Flaky, completed(Verdict::Clean)),
    ]
}

/// UUIDs, as both providers want them. Their last digits say the same as the scripts, so that a person who copies one
/// out of the demo meets the same end at `scanbell simulate`.
const ID: [&str; 6] = [
    "5ca17e57-de30-4000-8000-000000000000",
    "5ca17e57-de30-4000-8000-000000000001",
    "5ca17e57-de30-4000-8000-000000000003",
    "5ca17e57-de30-4000-8000-000000000005",
    "5ca17e57-de30-4000-8000-000000000006",
    "5ca17e57-de30-4000-8000-000000000007",
];

/// Writes the scripts of the whole cast into the world.
pub fn stage(world: &World) {
    for scene in cast() {
        world.script(scene.provider, scene.scan_id, scene.script);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cast_has_six_scans_that_end_differently_and_whose_ids_say_how() {
        let cast = cast();
        assert_eq!(cast.len(), 6);
        let outcomes: std::collections::BTreeSet<Outcome> = cast.iter().map(|scene| scene.outcome).collect();
        assert_eq!(outcomes.len(), 4, "completed, failed, unsupported, timed out");
        let said: Vec<&str> = cast.iter().map(|scene| Preset::of_id(scene.scan_id).as_str()).collect();
        assert_eq!(said, ["threat", "clean", "failed", "unsupported", "running-forever", "flaky"]);
        assert!(cast.iter().all(|scene| scene.scan_id.parse::<uuid::Uuid>().is_ok()));
    }
}
