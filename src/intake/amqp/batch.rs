//! One batch: what was ready together, committed together, acknowledged after that.

use super::deadletter::Job;
use super::message::{Message, Receipt, dead_letter};
use super::publish::Letter;
use crate::domain::request::{self, Entry, Refusal};
use crate::intake::{Asked, Outcome};

/// Messages and what they ask for.
pub(super) struct Batch {
    messages: Vec<Read>,
    asked: Vec<Asked>,
}

/// A message that was read: `entries` of its requests are in the batch.
struct Read {
    message: Message,
    entries: Result<Vec<bytes::Bytes>, Refusal>,
}

/// What is to be done with the messages of a batch once it is committed.
pub(super) struct Settled {
    /// Everything in them was accepted, in the order of delivery.
    pub(super) good: Vec<Receipt>,
    /// Something in them was refused.
    pub(super) refused: Vec<Job>,
}

impl Batch {
    /// Reads messages.
    pub(super) fn read(messages: Vec<Message>) -> Self {
        let mut batch = Self { messages: Vec::with_capacity(messages.len()), asked: Vec::new() };
        for message in messages {
            let entries =
                request::parse(&message.body, &message.envelope()).map(|entries| batch.ask(&message, entries));
            batch.messages.push(Read { message, entries });
        }
        batch
    }

    fn ask(&mut self, message: &Message, entries: Vec<Entry>) -> Vec<bytes::Bytes> {
        let mut bytes = Vec::with_capacity(entries.len());
        let sighting = message.sighting();
        for (index, entry) in entries.into_iter().enumerate() {
            bytes.push(entry.bytes.clone());
            self.asked.push(Asked { sighting: Some(sighting.entry(index)), ..Asked::from(entry) });
        }
        bytes
    }

    /// What the messages ask for, in order.
    pub(super) fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Refusals of whole messages.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &Refusal> {
        self.messages.iter().filter_map(|read| read.entries.as_ref().err())
    }

    /// Sorts the messages by what became of their requests; `outcomes` are those of [`Batch::asked`].
    pub(super) fn settle(self, outcomes: Vec<Outcome>) -> Settled {
        let mut outcomes = outcomes.into_iter();
        let mut settled = Settled { good: Vec::new(), refused: Vec::new() };
        for Read { message, entries } in self.messages {
            let letter = |body, refusal: &Refusal| Letter {
                body,
                properties: dead_letter(message.receipt.properties(), refusal),
            };
            let letters: Vec<Letter> = match entries {
                Err(refusal) => vec![letter(message.body.clone(), &refusal)],
                Ok(entries) => entries
                    .into_iter()
                    .zip(outcomes.by_ref())
                    .filter_map(|(bytes, outcome)| match outcome {
                        Outcome::Accepted { .. } => None,
                        Outcome::Refused(refusal) => Some(letter(bytes, &refusal)),
                    })
                    .collect(),
            };
            if letters.is_empty() {
                settled.good.push(message.receipt);
            } else {
                settled.refused.push(Job { receipt: message.receipt, letters });
            }
        }
        settled
    }
}

/// Which deliveries to acknowledge, and whether with all before them: everything good below the first that is
/// still open goes in one, the rest one by one.
pub(super) fn acknowledgements(good: Vec<Receipt>, first_open: Option<u64>) -> Vec<(Receipt, bool)> {
    let below = first_open.map_or(good.len(), |open| good.partition_point(|receipt| receipt.tag() < open));
    let last_below = below.checked_sub(1);
    good.into_iter()
        .enumerate()
        .filter(|(position, _)| Some(*position) >= last_below)
        .map(|(position, receipt)| (receipt, Some(position) == last_below))
        .collect()
}

#[cfg(test)]
mod tests {
    use lapin::message::Delivery;

    use super::*;
    use crate::domain::request::RefusalReason;
    use crate::store::AcceptedState;

    fn message(tag: u64, body: &str) -> Message {
        Delivery::mock(tag, "".into(), "scan.requests".into(), false, body.as_bytes().to_vec()).into()
    }

    fn accepted() -> Outcome {
        Outcome::Accepted {
            scan: uuid::Uuid::nil(),
            provider: "sieve".to_owned(),
            scan_id: "a".to_owned(),
            state: AcceptedState::Following,
        }
    }

    fn acks(tags: &[u64], first_open: Option<u64>) -> Vec<(u64, bool)> {
        let good = tags.iter().map(|tag| message(*tag, "a").receipt).collect();
        acknowledgements(good, first_open).iter().map(|(receipt, all)| (receipt.tag(), *all)).collect()
    }

    #[test]
    fn all_before_the_first_open_one_are_acknowledged_at_once_and_the_rest_one_by_one() {
        assert_eq!(acks(&[4, 5, 6], None), [(6, true)]);
        assert_eq!(acks(&[4, 5, 7, 8], Some(6)), [(5, true), (7, false), (8, false)]);
        assert_eq!(acks(&[4, 5], Some(2)), [(4, false), (5, false)]);
        assert_eq!(acks(&[], Some(2)), []);
    }

    #[test]
    fn each_refused_entry_becomes_a_letter_of_its_own_and_a_good_message_none() {
        let refused = || Outcome::Refused(Refusal::new(RefusalReason::InvalidScanId, "no"));
        let batch = Batch::read(vec![message(1, r#"["a", {"job_id":"b"},"c"]"#), message(2, "d"), message(3, "{")]);
        assert_eq!(batch.asked().len(), 4);
        assert_eq!(batch.unreadable().count(), 1);
        let settled = batch.settle(vec![accepted(), refused(), refused(), accepted()]);
        assert_eq!(settled.good.iter().map(Receipt::tag).collect::<Vec<_>>(), [2]);
        let bodies: Vec<(u64, Vec<&[u8]>)> = settled
            .refused
            .iter()
            .map(|job| (job.receipt.tag(), job.letters.iter().map(|letter| letter.body.as_ref()).collect()))
            .collect();
        assert_eq!(bodies, [(1, vec![&br#"{"job_id":"b"}"#[..], b"\"c\""]), (3, vec![&b"{"[..]])]);
    }

    #[test]
    fn a_message_is_recognised_by_itself_and_its_entries_are_told_apart() {
        let digest = |tag, body, index| message(tag, body).sighting().entry(index).digest;
        assert_eq!(digest(1, "a", 0), digest(9, "a", 0));
        assert_ne!(digest(1, "a", 0), digest(1, "b", 0));
        assert_ne!(digest(1, "a", 0), digest(1, "a", 1));
    }
}
