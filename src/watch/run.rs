//! The loop around a watcher: it only waits, and keeps the pipeline full.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Followed, Round, Watcher};
use crate::store::Claim;
use crate::time::{Timestamp, Wake, after, until};

/// With most slots taken, those that fall free are gathered for so long.
const GATHER: Duration = Duration::from_millis(4);

/// Polls that are going on, at most as many as the provider's concurrency, and the leases they hold.
#[derive(Default)]
struct Hand {
    polls: JoinSet<Followed>,
    leases: HashMap<Id, (Uuid, Claim)>,
}

impl Hand {
    fn take(&mut self, watcher: &Arc<Watcher>, round: Round) {
        for claim in round.claims {
            let (watcher, lease, is_trial) = (Arc::clone(watcher), (claim.id, claim.claim), round.is_trial);
            let poll = self.polls.spawn(async move { watcher.follow(claim, is_trial).await });
            self.leases.insert(poll.id(), lease);
        }
    }

    /// When the scan of a poll that is done is due again.
    fn done(&mut self, done: Result<(Id, Followed), JoinError>) -> Option<Timestamp> {
        match done {
            Ok((id, followed)) => {
                self.leases.remove(&id);
                followed.due
            }
            Err(error) => {
                // Its lease ends by itself, and the scan is polled again.
                self.leases.remove(&error.id());
                tracing::error!(reason = "internal", %error, "a poll broke off; this is a bug");
                None
            }
        }
    }

    /// Waits for one poll, then takes all that are done; for ever if there is none.
    async fn next(&mut self) -> Option<Timestamp> {
        let Some(first) = self.polls.join_next_with_id().await else { return std::future::pending().await };
        let mut due = self.done(first);
        while let Some(more) = self.polls.try_join_next_with_id() {
            due = due.into_iter().chain(self.done(more)).min();
        }
        due
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
                let round = me.claim(hand.polls.len()).await;
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
                due = hand.next() => {
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
        me.drain(hand).await;
    }

    async fn drain(&self, mut hand: Hand) {
        let all = async {
            while let Some(done) = hand.polls.join_next_with_id().await {
                hand.done(done);
            }
        };
        if tokio::time::timeout(self.knobs.drain, all).await.is_err() {
            let left = hand.leases.len();
            tracing::info!(
                provider.name = self.provider.name(),
                scans = left,
                "handing back scans that are being polled"
            );
            hand.polls.shutdown().await;
            self.release(hand.leases.into_values()).await;
        }
    }
}
