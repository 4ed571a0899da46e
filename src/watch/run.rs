//! The loop around a watcher: it only waits, and keeps the pipeline full.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Followed, Polled, Round, Watcher};
use crate::store::Claim;
use crate::time::{Timestamp, Wake, after, until};

/// With most slots taken, those that fall free are gathered for so long.
const GATHER: Duration = Duration::from_millis(4);

/// Polls that are going on, at most as many as the provider's concurrency, and what is to be written down of those
/// that are done: one call to the store at a time, each with all that came during the last one.
#[derive(Default)]
struct Hand {
    polls: JoinSet<Polled>,
    leases: HashMap<Id, (Uuid, Claim)>,
    polled: Vec<Polled>,
    writing: JoinSet<Vec<Followed>>,
    /// How many `writing` writes.
    being_written: usize,
}

impl Hand {
    fn take(&mut self, watcher: &Arc<Watcher>, round: Round) {
        for claim in round.claims {
            let (watcher, lease, is_trial) = (Arc::clone(watcher), (claim.id, claim.claim), round.is_trial);
            let poll = self.polls.spawn(async move { watcher.poll(claim, is_trial).await });
            self.leases.insert(poll.id(), lease);
        }
    }

    /// How many slots are taken, of `slots`: a poll that is done takes none, as long as writing down keeps up.
    fn taken(&self, slots: usize) -> usize {
        self.polls.len() + (self.polled.len() + self.being_written).saturating_sub(slots)
    }

    fn poll_done(&mut self, done: Result<(Id, Polled), JoinError>) {
        match done {
            Ok((id, polled)) => {
                self.leases.remove(&id);
                self.polled.push(polled);
            }
            Err(error) => {
                // Its lease ends by itself, and the scan is polled again.
                self.leases.remove(&error.id());
                tracing::error!(reason = "internal", %error, "a poll broke off; this is a bug");
            }
        }
    }

    /// When the first of the scans that are written down now is due again.
    fn write_done(&mut self, done: Result<Vec<Followed>, JoinError>) -> Option<Timestamp> {
        self.being_written = 0;
        done.inspect_err(|error| tracing::error!(reason = "internal", %error, "writing down broke off; this is a bug"))
            .ok()?
            .iter()
            .filter_map(|followed| followed.due)
            .min()
    }

    fn write(&mut self, watcher: &Arc<Watcher>) {
        if self.writing.is_empty() && !self.polled.is_empty() {
            let (watcher, polled) = (Arc::clone(watcher), std::mem::take(&mut self.polled));
            self.being_written = polled.len();
            self.writing.spawn(async move { watcher.write_down(polled).await });
        }
    }

    /// Waits until a poll is done or polls are written down, and goes on writing; for ever if there is nothing.
    /// When the next of them is due.
    async fn next(&mut self, watcher: &Arc<Watcher>) -> Option<Timestamp> {
        let due = tokio::select! {
            Some(first) = self.polls.join_next_with_id() => {
                self.poll_done(first);
                while let Some(more) = self.polls.try_join_next_with_id() {
                    self.poll_done(more);
                }
                None
            }
            Some(written) = self.writing.join_next() => self.write_done(written),
            else => std::future::pending().await,
        };
        self.write(watcher);
        due
    }

    fn is_empty(&self) -> bool {
        self.polls.is_empty() && self.polled.is_empty() && self.writing.is_empty()
    }
}

impl Watcher {
    /// Follows scans until `stop`; then takes no more, finishes the polls in hand and hands back what is left.
    pub async fn run(self, wake: Wake, stop: CancellationToken) {
        let me = Arc::new(self);
        let mut hand = Hand::default();
        let mut look_at = me.clock.now();
        let mut backlog = false;
        while !stop.is_cancelled() {
            if me.clock.now() >= look_at {
                let round = me.claim(hand.taken(me.provider.concurrency())).await;
                if stop.is_cancelled() {
                    me.release(round.claims.iter().map(|claim| (claim.id, claim.claim))).await;
                    break;
                }
                (look_at, backlog) = (round.next, round.backlog);
                hand.take(&me, round);
            }
            // Timers count in whole milliseconds; one more keeps the loop from turning just before the time.
            let wait = until(me.clock.now(), look_at) + Duration::from_millis(1);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                due = hand.next(&me) => {
                    let now = me.clock.now();
                    if backlog && me.gate().opens_at(now).is_none() {
                        // Rather a few slots at a time than one claim for each that falls free.
                        let few = hand.polls.len() * 2 > me.provider.concurrency();
                        look_at = if few { after(now, GATHER).min(look_at.max(now)) } else { now };
                    } else {
                        look_at = due.into_iter().chain([look_at]).min().unwrap_or(look_at);
                    }
                }
                () = wake.wait() => look_at = me.clock.now(),
                () = tokio::time::sleep(wait) => {}
            }
        }
        Self::drain(&me, hand).await;
    }

    async fn drain(me: &Arc<Self>, mut hand: Hand) {
        let all = async {
            while !hand.is_empty() {
                hand.next(me).await;
            }
        };
        if tokio::time::timeout(me.knobs.drain, all).await.is_err() {
            let left = hand.leases.len();
            tracing::info!(
                provider.name = me.provider.name(),
                scans = left,
                "handing back scans that are being polled"
            );
            hand.polls.shutdown().await;
            me.release(hand.leases.into_values()).await;
        }
    }
}
