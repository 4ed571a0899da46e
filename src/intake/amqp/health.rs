//! What readiness may know of the broker.

use tokio::sync::watch;

use crate::telemetry::metrics;

/// How it stands with the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Requests are being taken.
    pub connected: bool,
    /// The broker takes no messages from us (memory or disk alarm): refused ones wait.
    pub blocked: bool,
    /// What is wrong, in a sentence; `None` if nothing is.
    pub reason: Option<String>,
}

impl Condition {
    /// Whether all is well.
    pub fn ready(&self) -> bool {
        self.connected && self.reason.is_none()
    }
}

/// Watches the intake from the broker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(watch::Receiver<Condition>);

impl Health {
    /// How it stands now.
    pub fn now(&self) -> Condition {
        self.0.borrow().clone()
    }

    /// Waits until it stands so; `None` once the intake has ended.
    pub async fn until(&mut self, wanted: impl FnMut(&Condition) -> bool) -> Option<Condition> {
        self.0.wait_for(wanted).await.ok().map(|condition| condition.clone())
    }
}

/// The side that reports. Consuming and dead-lettering each have their own say.
#[derive(Debug, Clone)]
pub(super) struct Reporter(watch::Sender<Condition>);

/// Both ends, at the start.
pub(super) fn health() -> (Reporter, Health) {
    let start = Condition { connected: false, blocked: false, reason: Some("not connected yet".to_owned()) };
    let (sender, receiver) = watch::channel(start);
    (Reporter(sender), Health(receiver))
}

impl Reporter {
    /// Requests are being taken.
    pub(super) fn up(&self) {
        metrics::amqp_connected(true);
        metrics::amqp_blocked(false);
        self.0.send_replace(Condition { connected: true, ..Condition::default() });
    }

    /// Requests are not being taken.
    pub(super) fn down(&self, reason: impl Into<String>) {
        metrics::amqp_connected(false);
        metrics::amqp_blocked(false);
        self.0.send_replace(Condition { connected: false, blocked: false, reason: Some(reason.into()) });
    }

    /// Refused messages cannot be put away, and why; the others are taken all the same.
    pub(super) fn dead_letters(&self, blocked: bool, trouble: Option<String>) {
        self.0.send_if_modified(|condition| {
            let changed = condition.connected && (condition.blocked != blocked || condition.reason != trouble);
            if changed {
                metrics::amqp_blocked(blocked);
                *condition = Condition { connected: true, blocked, reason: trouble };
            }
            changed
        });
    }
}
