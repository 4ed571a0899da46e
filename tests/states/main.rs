//! Random lives of scans and deliveries: sequences of everything that can happen, on the embedded store, beside a
//! model that is too simple to be wrong.
//!
//! Two or more workers of each kind claim, are late, hand back, and write; requests join, are forced, or come again;
//! the clock jumps forward and backward; the process dies and another takes over. After that everything answers, and
//! then: each scan that was accepted has one outcome, which never changed; each notification is delivered or dead;
//! attempts are counted without a gap; a delivery keeps its id and its bytes.

#![expect(clippy::unwrap_used, reason = "a test may stop where it cannot go on")]

mod life;
mod model;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What can happen. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A request for one of a few scans.
    Accept { scan: u8, force: bool, key: Option<u8>, deadline: i64 },
    /// A watcher takes what is due.
    ClaimScans { limit: usize },
    /// A watcher, however late, writes what it saw.
    Observe { which: usize, saw: Saw },
    /// A watcher hands a scan back.
    ReleaseScan { which: usize },
    /// An announcer takes what is not told yet.
    ClaimReports { limit: usize },
    /// An announcer, however late, tells so many.
    Announce { which: usize, to: u8 },
    /// A deliverer takes what is due to one destination.
    ClaimDeliveries { destination: u8, limit: usize },
    /// A deliverer, however late, writes what came of it.
    Attempt { which: usize, came: Came },
    /// A deliverer hands one back.
    ReleaseDelivery { which: usize, wait: i64 },
    /// A person replays all that are dead.
    ReplayDead,
    /// A person replays one, whatever its state.
    ReplayOne { which: usize },
    /// The clock jumps, either way.
    Clock { millis: i64 },
    /// The process dies, and another takes over.
    Crash,
}

/// What a poll saw.
#[derive(Debug, Clone, Copy)]
enum Saw {
    Running { retry_after: Option<u64> },
    NotFound,
    Unavailable,
    Unauthorized,
    Completed,
    Failed,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
enum Came {
    Delivered,
    Refused,
    Later { after: Option<u64> },
}

fn saw() -> impl Strategy<Value = Saw> {
    prop_oneof![
        3 => proptest::option::of(0..600u64).prop_map(|retry_after| Saw::Running { retry_after }),
        1 => Just(Saw::NotFound),
        1 => Just(Saw::Unavailable),
        1 => Just(Saw::Unauthorized),
        3 => Just(Saw::Completed),
        1 => Just(Saw::Failed),
    ]
}

fn came() -> impl Strategy<Value = Came> {
    prop_oneof![
        2 => Just(Came::Delivered),
        2 => Just(Came::Refused),
        3 => proptest::option::of(1..600u64).prop_map(|after| Came::Later { after }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (which, limit) = (0..16usize, 1..6usize);
    prop_oneof![
        6 => (0..4u8, any::<bool>(), proptest::option::of(0..3u8), 1_000..400_000i64)
            .prop_map(|(scan, force, key, deadline)| Step::Accept { scan, force, key, deadline }),
        6 => limit.clone().prop_map(|limit| Step::ClaimScans { limit }),
        8 => (which.clone(), saw()).prop_map(|(which, saw)| Step::Observe { which, saw }),
        1 => which.clone().prop_map(|which| Step::ReleaseScan { which }),
        5 => limit.clone().prop_map(|limit| Step::ClaimReports { limit }),
        5 => (which.clone(), 0..4u8).prop_map(|(which, to)| Step::Announce { which, to }),
        6 => (0..3u8, limit).prop_map(|(destination, limit)| Step::ClaimDeliveries { destination, limit }),
        8 => (which.clone(), came()).prop_map(|(which, came)| Step::Attempt { which, came }),
        1 => (which.clone(), 0..10_000i64).prop_map(|(which, wait)| Step::ReleaseDelivery { which, wait }),
        2 => Just(Step::ReplayDead),
        1 => which.prop_map(|which| Step::ReplayOne { which }),
        6 => prop_oneof![0..5_000i64, 50_000..200_000i64, -100_000..0i64].prop_map(|millis| Step::Clock { millis }),
        2 => Just(Step::Crash),
    ]
}

#[test]
fn whatever_happens_in_whatever_order_every_scan_has_one_outcome_and_no_delivery_is_forgotten() {
    let cases = std::env::var("SCANBELL_TEST_LIVES").map_or(40, |text| text.parse().unwrap());
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lives = proptest::collection::vec(step(), 1..120);
    runner
        .run(&lives, |steps| {
            runtime.block_on(life::live(&steps));
            Ok(())
        })
        .unwrap();
}
