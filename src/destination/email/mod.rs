//! E-mail: one message to several recipients, each with its own outcome.
//!
//! lettre gives up a whole message when one recipient is refused, so the dialogue is driven command by command
//! (`dialogue`): one refused recipient does not keep the mail from the others. A recipient that is refused *for
//! now* is tried again alone; who already has the message is remembered per delivery (`memory`) for the life of
//! this process. After a crash in between, those who had it get it a second time under the same Message-ID:
//! at least once, as everywhere. A delivery that is given up while some have it is dead all the same, and its last
//! answer says who was refused; a replay in this process goes to those only.

mod dialogue;
mod memory;
mod message;
mod settings;
mod wire;

use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;

use super::answer::Redactor;
use super::http::wrong_form;
use super::{Common, Defaults, Sent};
use crate::domain::delivery::{Reason, Verdict};
use crate::domain::notification::{Content, Mail, Notification};
use crate::problem::{Problem, Problems};
use dialogue::{Outcome, Pool, Trouble};
use memory::{Memory, Settled};
pub use settings::{Auth, Settings, Tls};
use settings::{mailbox, server, warnings};

const DEFAULTS: Defaults = Defaults { concurrency: 2, requests_per_second: None };
/// Until we are signed in.
const CONNECT: Duration = Duration::from_secs(30);
/// From MAIL to the answer after the final dot; servers that scan for viruses take their time there.
const TRANSACTION: Duration = Duration::from_secs(120);
/// Both, and a little for a pooled connection that turns out to be dead.
pub(super) const LONGEST_SEND: Duration = Duration::from_secs(160);

/// A mail destination, ready to send.
#[derive(Debug)]
pub struct Email {
    pub(super) common: Common,
    from: Mailbox,
    to: Vec<Mailbox>,
    pool: Pool,
    memory: Memory,
    redactor: Redactor,
    transaction: Duration,
}

impl Email {
    pub(super) fn build(name: &str, place: &str, settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let common = problems.collect(Common::check(name, place, settings.retry, settings.limits, &DEFAULTS));
        let server = problems.collect(server(place, settings));
        let from = match &settings.from {
            None => problems.collect(Err(Problem::new(place, "`from` is not set").into())),
            Some(from) => problems.collect(mailbox(place, "from", from)),
        };
        let to: Vec<Mailbox> = settings.to.iter().filter_map(|to| problems.collect(mailbox(place, "to", to))).collect();
        if settings.to.is_empty() {
            problems.push(Problem::new(place, "`to` names nobody").hint("to = [\"oncall@example.com\"]"));
        }
        match (common, server, from) {
            (Some(mut common), Some(server), Some(from)) if problems.is_empty() => {
                common.warnings = warnings(place, &server);
                let redactor = redactor(&from, &to);
                let pool = Pool::new(server, common.concurrency);
                Ok(Self { common, from, to, pool, memory: Memory::default(), redactor, transaction: TRANSACTION })
            }
            _ => Err(problems),
        }
    }

    /// The whole message as it goes over the wire, dots not yet stuffed.
    pub(super) fn bytes(&self, notification: &Notification, mail: &Mail) -> Result<Vec<u8>, String> {
        message::format(notification, mail, &self.from, &self.to)
    }

    pub(super) async fn send(&self, notification: &Notification) -> Sent {
        let Content::Mail(mail) = &notification.content else { return wrong_form() };
        let message = match self.bytes(notification, mail) {
            Ok(message) => message,
            Err(sentence) => return Sent::ours(Verdict::Reject { reason: Reason::Internal }, sentence),
        };
        let mut standing = self.memory.of(notification.id, self.to.len());
        let open: Vec<(usize, Address)> = standing
            .iter()
            .zip(&self.to)
            .enumerate()
            .filter(|(_, (settled, _))| settled.is_none())
            .map(|(index, (_, mailbox))| (index, mailbox.email.clone()))
            .collect();
        match self.pool.send(&self.from.email, &open, &message, self.transaction).await {
            Err(trouble) => self.in_trouble(&trouble),
            Ok(outcomes) => {
                for (index, outcome) in &outcomes {
                    if let Some(settled) = standing.get_mut(*index) {
                        *settled = outcome.settled();
                    }
                }
                let verdict = verdict(&standing, &outcomes);
                match verdict {
                    Verdict::Retry { .. } => self.memory.keep(notification.id, standing),
                    _ => self.memory.forget(notification.id),
                }
                Sent { verdict, answer: self.redactor.clean(describe(&outcomes).as_bytes()) }
            }
        }
    }

    fn in_trouble(&self, trouble: &Trouble) -> Sent {
        let mut redactor = self.redactor.clone();
        self.pool.server().hide_secrets(&mut redactor);
        Sent { verdict: Verdict::retry(trouble.reason), answer: redactor.clean(trouble.said.as_bytes()) }
    }

    pub(super) async fn probe(&self) -> Result<String, String> {
        match self.pool.probe().await {
            Ok(sentence) => Ok(sentence),
            Err(trouble) => Err(self.in_trouble(&trouble).answer.unwrap_or_default()),
        }
    }
}

/// From where every recipient stands to what becomes of the delivery.
fn verdict(standing: &[Option<Settled>], outcomes: &[(usize, Outcome)]) -> Verdict {
    let later = outcomes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Later { reason, .. } => Some(*reason),
        _ => None,
    });
    let refused = standing.iter().filter(|settled| **settled == Some(Settled::Refused)).count();
    match later {
        Some(reason) => Verdict::retry(reason),
        None if refused == standing.len() => Verdict::Reject { reason: Reason::Rejected },
        None if refused > 0 => Verdict::Delivered { reason: Reason::PartlyRefused },
        None => Verdict::OK,
    }
}

/// One sentence if all fared the same, else one for each recipient.
fn describe(outcomes: &[(usize, Outcome)]) -> String {
    let same = outcomes.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
    match outcomes.first() {
        Some((_, outcome)) if same => outcome.said().to_owned(),
        _ => {
            let one = |(index, outcome): &(usize, Outcome)| format!("<recipient {}>: {}", index + 1, outcome.said());
            outcomes.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}

fn redactor(from: &Mailbox, to: &[Mailbox]) -> Redactor {
    let mut redactor = Redactor::new();
    for (index, mailbox) in to.iter().enumerate() {
        redactor.name_address(mailbox.email.as_ref(), &format!("<recipient {}>", index + 1));
    }
    redactor.name_address(from.email.as_ref(), "<sender>");
    redactor
}

#[cfg(test)]
mod tests;
