//! The end: stop taking, finish or hand back what is in hand, say whether that was graceful.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What every task is given: when to stop, and who waits for it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Cancelled: take nothing more.
    pub token: CancellationToken,
    /// Every task of the daemon.
    pub tasks: TaskTracker,
}

/// How it came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything in hand was finished or handed back.
    Graceful,
    /// `shutdown.grace` was over before.
    OutOfTime,
    /// Somebody did not want to wait: a second signal.
    AtOnce,
}

impl Stop {
    /// Cancels, and waits for every task until `grace` has passed or `at_once` ends.
    pub async fn drain(&self, grace: Duration, at_once: impl Future<Output = ()>) -> Ending {
        self.token.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => Ending::Graceful,
            () = tokio::time::sleep(grace) => Ending::OutOfTime,
            () = at_once => Ending::AtOnce,
        }
    }
}

/// Waits for `closing`, but not for long, and not if `at_once` ends: a disk that hangs must not keep the process.
/// Nothing depends on it: what is not closed is read from the store's log at the next start.
pub(super) async fn close(closing: impl Future<Output = ()>, at_once: impl Future<Output = ()>) {
    tokio::select! {
        () = closing => {}
        () = tokio::time::sleep(CLOSE_WITHIN) => tracing::warn!("the store does not close; leaving it as it is"),
        () = at_once => {}
    }
}

/// Beyond the grace; with the default of 25 s still inside the 30 s that orchestrators usually allow.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes them over: from now on they do not end the process by themselves, also as PID 1.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
