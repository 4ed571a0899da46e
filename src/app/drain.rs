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

impl Stop {
    /// Cancels, and waits for every task until `grace` has passed or `at_once` ends. True if all of them ended.
    pub async fn drain(&self, grace: Duration, at_once: impl Future<Output = ()>) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => true,
            () = tokio::time::sleep(grace) => false,
            () = at_once => false,
        }
    }
}

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
