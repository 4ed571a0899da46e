//! Who is told: the union over everybody who asked. Pure but for the log, which says what was not as asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::notification::OperatorEvent;
use crate::domain::report::Report;
use crate::routing::{Router, Routing};
use crate::store::{Ask, Subject};

/// The routes and the names that exist.
pub(super) struct Planner {
    router: Arc<Router>,
    operator: Vec<String>,
    configured: Vec<String>,
}

impl Planner {
    pub(super) fn new(router: Arc<Router>, operator: Vec<String>, configured: Vec<String>) -> Self {
        Self { router, operator, configured }
    }

    /// The destinations of an announcement, each once.
    pub(super) fn destinations(&self, id: Uuid, subject: &Subject) -> Vec<String> {
        match subject {
            Subject::Report { report, asks } => self.of_report(id, report, asks),
            Subject::Event(event) => self.of_event(event),
        }
    }

    fn of_event(&self, event: &OperatorEvent) -> Vec<String> {
        let told = self.operator.iter().filter(|name| event.about_destination.as_ref() != Some(*name));
        let mut names = Vec::new();
        extend_once(&mut names, told.cloned());
        if names.is_empty() {
            tracing::info!(event.key = %event.key, "{}: nobody is told, [operator] names no other destination", event.title);
        }
        names
    }

    fn of_report(&self, id: Uuid, report: &Report, asks: &[Ask]) -> Vec<String> {
        let mut names = Vec::new();
        let mut routed: Vec<&BTreeMap<String, String>> = Vec::new();
        for ask in asks {
            let wanted = ask.destinations.as_deref().map(|wanted| self.still_configured(id, wanted));
            match wanted {
                // An empty wish is a wish: to be told nothing.
                Some((known, gone)) if !known.is_empty() || !gone => extend_once(&mut names, known),
                _ if routed.contains(&&ask.labels) => {}
                _ => {
                    routed.push(&ask.labels);
                    extend_once(&mut names, self.by_route(id, report, &ask.labels));
                }
            }
        }
        if asks.is_empty() {
            extend_once(&mut names, self.by_route(id, report, &report.labels));
        }
        if names.is_empty() {
            tracing::info!(scan.id = %id, provider.name = %report.provider, "no route matches; nobody is told");
        }
        names
    }

    /// Those of `wanted` that exist, and whether one does not any more.
    fn still_configured(&self, id: Uuid, wanted: &[String]) -> (Vec<String>, bool) {
        let (known, gone): (Vec<String>, Vec<String>) =
            wanted.iter().cloned().partition(|name| self.configured.contains(name));
        for name in &gone {
            let instead = if known.is_empty() { "the routes decide instead" } else { "the others are told" };
            tracing::warn!(scan.id = %id, destination.name = %name, "a request names a destination that is not configured any more; {instead}");
        }
        let some_gone = !gone.is_empty();
        (known, some_gone)
    }

    fn by_route(&self, id: Uuid, report: &Report, labels: &BTreeMap<String, String>) -> Vec<String> {
        let Routing { destinations, steps } = self.router.route(&self.with_labels(report, labels));
        for step in steps {
            match step.error {
                Some(error) => tracing::warn!(scan.id = %id, route.name = %step.route, reason = %error,
                    "a rule could not be evaluated and counts as true: the report is delivered"),
                None => {
                    tracing::debug!(scan.id = %id, route.name = %step.route, matched = step.matched, "{}", step.why);
                }
            }
        }
        destinations
    }

    /// `report` with the labels of one request over its own.
    fn with_labels<'r>(&self, report: &'r Report, labels: &BTreeMap<String, String>) -> Cow<'r, Report> {
        if labels.iter().all(|(name, value)| report.labels.get(name) == Some(value)) {
            return Cow::Borrowed(report);
        }
        let mut copy = if self.router.uses_raw() { report.clone() } else { report.without_raw() };
        copy.labels.extend(labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        Cow::Owned(copy)
    }
}

fn extend_once(names: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}
