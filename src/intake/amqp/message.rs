//! Between the broker's messages and ours: what came, and what a refused one goes out as.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::connect;
use super::error::AmqpError;
use crate::domain::request::{Envelope, Refusal};
use crate::intake::{Sighting, key};

/// One message as it came.
pub(super) struct Message {
    pub(super) body: Bytes,
    /// The rest of it, without the body.
    pub(super) receipt: Receipt,
}

/// What a delivery is acknowledged with, on the channel it came on and no other.
pub(super) struct Receipt(Delivery);

impl From<Delivery> for Message {
    fn from(mut delivery: Delivery) -> Self {
        let body = Bytes::from(std::mem::take(&mut delivery.data));
        Self { body, receipt: Receipt(delivery) }
    }
}

impl Receipt {
    /// Its place among the deliveries of its channel.
    pub(super) fn tag(&self) -> u64 {
        self.0.delivery_tag
    }

    /// The message's properties.
    pub(super) fn properties(&self) -> &BasicProperties {
        &self.0.properties
    }

    /// Acknowledges it, or with `multiple` all up to it that are not yet. `false`: its channel is gone, and the
    /// message comes again.
    pub(super) async fn acknowledge(&self, multiple: bool) -> Result<bool, AmqpError> {
        connect::call("acknowledge", self.0.acker.ack(BasicAckOptions { multiple })).await
    }
}

impl Message {
    /// What the parser may know of it.
    pub(super) fn envelope(&self) -> Envelope {
        let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
        let properties = self.receipt.properties();
        Envelope {
            content_type: text(properties.content_type()),
            headers: properties.headers().as_ref().map(event_headers).unwrap_or_default(),
            message_id: text(properties.message_id()),
        }
    }

    /// How it is recognised when it is delivered again. Headers do not count: the broker itself adds to them on the
    /// way.
    pub(super) fn sighting(&self) -> Sighting {
        let delivery = &self.receipt.0;
        let timestamp = delivery.properties.timestamp().unwrap_or_default().to_be_bytes();
        let correlation = delivery.properties.correlation_id().as_ref().map(ShortString::as_str).unwrap_or_default();
        let digest = key::digest([
            delivery.exchange.as_str().as_bytes(),
            delivery.routing_key.as_str().as_bytes(),
            correlation.as_bytes(),
            &timestamp,
            &self.body,
        ]);
        Sighting { digest, redelivered: delivery.redelivered }
    }
}

impl Sighting {
    /// One entry of the message.
    pub(super) fn entry(&self, index: usize) -> Self {
        Self { digest: format!("{}#{index}", self.digest), redelivered: self.redelivered }
    }
}

/// Text headers that may carry attributes of an event.
fn event_headers(headers: &FieldTable) -> BTreeMap<String, String> {
    let is_event = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["cloudevents_", "cloudevents:", "ce-"].iter().any(|prefix| name.starts_with(prefix))
    };
    headers
        .inner()
        .iter()
        .filter(|(name, _)| is_event(name.as_str()))
        .filter_map(|(name, value)| Some((name.to_string(), text(value)?)))
        .collect()
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The longest sentence in `x-scanbell-error`, in bytes.
const LONGEST_ERROR: usize = 500;

/// Headers larger than this, in bytes, are left out: with ours they would not fit into a frame, and the broker would
/// end the connection at every try.
const LARGEST_HEADERS: usize = 120_000;

/// The properties of a refused message on the dead-letter queue: its own, persistent, and with the reason.
///
/// What the broker would act on again is kept under another name: with `CC` the message would be sent to further
/// queues, even back to ours; with `expiration` it would vanish; a `user_id` that is not ours is refused.
pub(super) fn dead_letter(properties: &BasicProperties, refusal: &Refusal) -> BasicProperties {
    let mut headers = FieldTable::default();
    let fit = properties.headers().as_ref().is_none_or(|headers| size_of_table(headers) <= LARGEST_HEADERS);
    for (name, value) in properties.headers().iter().filter(|_| fit).flat_map(FieldTable::inner) {
        let name = match name.as_str() {
            "CC" => "x-scanbell-cc".into(),
            "BCC" => "x-scanbell-bcc".into(),
            _ => name.clone(),
        };
        headers.insert(name, value.clone());
    }
    let mut long = |name: &str, value: &str| {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    if let Some(expiration) = properties.expiration() {
        long("x-scanbell-expiration", expiration.as_str());
    }
    if let Some(user) = properties.user_id() {
        long("x-scanbell-user-id", user.as_str());
    }
    if !fit {
        long("x-scanbell-headers", "left out: they are too large to be passed on");
    }
    long("x-scanbell-reason", refusal.reason.as_str());
    long("x-scanbell-error", &shorten(&refusal.error));
    kept(properties).with_headers(headers).with_delivery_mode(2)
}

/// The properties that the broker only passes on.
fn kept(from: &BasicProperties) -> BasicProperties {
    type Set = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<ShortString>, Set); 8] = [
        (from.content_type(), BasicProperties::with_content_type),
        (from.content_encoding(), BasicProperties::with_content_encoding),
        (from.correlation_id(), BasicProperties::with_correlation_id),
        (from.reply_to(), BasicProperties::with_reply_to),
        (from.message_id(), BasicProperties::with_message_id),
        (from.kind(), BasicProperties::with_type),
        (from.app_id(), BasicProperties::with_app_id),
        (from.cluster_id(), BasicProperties::with_cluster_id),
    ];
    let mut to = BasicProperties::default();
    for (value, set) in texts {
        if let Some(value) = value {
            to = set(to, value.clone());
        }
    }
    if let Some(priority) = from.priority() {
        to = to.with_priority(*priority);
    }
    if let Some(timestamp) = from.timestamp() {
        to = to.with_timestamp(*timestamp);
    }
    to
}

/// Bytes on the wire, about. Nesting is bounded where the message is read.
fn size_of_table(table: &FieldTable) -> usize {
    4 + table.inner().iter().map(|(name, value)| 1 + name.as_str().len() + size_of_value(value)).sum::<usize>()
}

fn size_of_value(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::FieldArray(values) => 4 + values.as_slice().iter().map(size_of_value).sum::<usize>(),
        AMQPValue::FieldTable(table) => size_of_table(table),
        _ => 8,
    }
}

fn shorten(sentence: &str) -> String {
    let clean: String = sentence.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if clean.len() <= LONGEST_ERROR {
        return clean;
    }
    let end = (0..=LONGEST_ERROR).rev().find(|end| clean.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &clean[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::RefusalReason;

    fn refusal() -> Refusal {
        Refusal::new(RefusalReason::NotJson, "not\r\nJSON ".to_owned() + &"é".repeat(400))
    }

    fn header(properties: &BasicProperties, name: &str) -> Option<String> {
        text(properties.headers().as_ref()?.inner().get(name)?)
    }

    #[test]
    fn a_dead_letter_keeps_its_properties_and_says_why() {
        let mut headers = FieldTable::default();
        headers.insert("team".into(), AMQPValue::LongInt(7));
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("text/plain".into())
            .with_message_id("m1".into())
            .with_correlation_id("c1".into())
            .with_reply_to("back".into())
            .with_type("t".into())
            .with_app_id("ci".into())
            .with_priority(3)
            .with_timestamp(1_700_000_000)
            .with_delivery_mode(1);
        let dead = dead_letter(&properties, &refusal());
        assert_eq!(kept(&dead), kept(&properties));
        assert_eq!(*dead.delivery_mode(), Some(2));
        assert_eq!(dead.headers().as_ref().unwrap().inner().get("team"), Some(&AMQPValue::LongInt(7)));
        assert_eq!(header(&dead, "x-scanbell-reason").unwrap(), "not-json");
        let error = header(&dead, "x-scanbell-error").unwrap();
        assert!(error.starts_with("not  JSON é") && error.ends_with('…') && error.len() < 510);
    }

    #[test]
    fn headers_that_would_not_fit_into_a_frame_with_ours_are_left_out() {
        let with = |size: usize| {
            let mut headers = FieldTable::default();
            headers.insert("x".into(), AMQPValue::LongString("y".repeat(size).into()));
            dead_letter(&BasicProperties::default().with_headers(headers), &refusal())
        };
        assert_eq!(header(&with(119_000), "x").unwrap().len(), 119_000);
        assert_eq!(header(&with(130_990), "x"), None);
        assert!(header(&with(130_990), "x-scanbell-headers").is_some());
    }

    #[test]
    fn what_the_broker_would_act_on_is_kept_under_another_name() {
        let mut headers = FieldTable::default();
        headers.insert("CC".into(), AMQPValue::LongString("scan.requests".into()));
        let properties =
            BasicProperties::default().with_headers(headers).with_expiration("1000".into()).with_user_id("eve".into());
        let dead = dead_letter(&properties, &refusal());
        assert_eq!((dead.expiration(), dead.user_id()), (&None, &None));
        assert_eq!(header(&dead, "CC"), None);
        assert_eq!(header(&dead, "x-scanbell-cc").unwrap(), "scan.requests");
        assert_eq!(header(&dead, "x-scanbell-expiration").unwrap(), "1000");
        assert_eq!(header(&dead, "x-scanbell-user-id").unwrap(), "eve");
    }
}
