//! Which destinations a report goes to, and why.
//!
//! [`Router::build`] compiles the rules and says everything that is wrong with them at once; [`Router::route`] is a
//! pure function of a report. A rule that fails while it runs matches: better one message too many than one lost.
//! Knows nothing of how destinations are reached or what they are told.

mod check;
mod facts;
mod labels;
mod rule;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::facts::Facts;
use self::rule::{Language, Rule};
use crate::domain::report::Report;
use crate::problem::{Problem, Problems, did_you_mean};

/// One `[[routes]]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// What it is called in logs and in `explain`; its number if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// CEL over the report: `verdict == "threat" || severity >= high`; absent matches every report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Names of destinations.
    pub to: Vec<String>,
    /// Ends the search when it matches.
    #[serde(default)]
    pub stop: bool,
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Routing {
    /// Each once, in the order in which the routes name them.
    pub destinations: Vec<String>,
    /// Every route that was looked at, in order.
    pub steps: Vec<Explained>,
}

/// What became of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The route's name or number.
    pub route: String,
    /// Whether its destinations are told.
    pub matched: bool,
    /// In words: the rule and what it came to.
    pub why: String,
    /// Why the rule could not be evaluated; it matched for that reason.
    pub error: Option<String>,
    /// Whether the search ended here.
    pub stopped: bool,
}

/// The compiled routes.
pub struct Router {
    language: Language,
    routes: Vec<Route>,
    /// All that are configured: where everything goes if there are no routes.
    everyone: Vec<String>,
}

struct Route {
    name: String,
    rule: Option<Rule>,
    to: Vec<String>,
    stop: bool,
}

impl Router {
    /// Compiles `routes` over the configured `destinations`. All problems at once.
    pub fn build(routes: &[RouteSettings], destinations: &[String]) -> Result<Self, Problems> {
        let language = Language::new();
        let mut problems = Problems::new();
        let mut compiled = Vec::with_capacity(routes.len());
        for (index, settings) in routes.iter().enumerate() {
            let name = settings.name.clone().unwrap_or_else(|| format!("route {}", index + 1));
            let place = format!("[[routes]] {name}");
            check_destinations(&place, settings, destinations, &mut problems);
            let rule = settings.when.as_deref().and_then(|when| problems.collect(language.compile(&place, when)));
            compiled.push(Route { name, rule, to: settings.to.clone(), stop: settings.stop });
        }
        let everyone = destinations.to_vec();
        problems.into_result(Self { language, routes: compiled, everyone })
    }

    /// Where `report` goes.
    pub fn route(&self, report: &Report) -> Routing {
        if self.routes.is_empty() {
            return self.to_everyone();
        }
        let facts = Facts::new(report, self.uses_raw());
        let context = self.language.context(&facts);
        let mut routing = Routing { destinations: Vec::new(), steps: Vec::new() };
        for route in &self.routes {
            let step = route.explain(&context);
            if step.matched {
                for destination in &route.to {
                    if !routing.destinations.contains(destination) {
                        routing.destinations.push(destination.clone());
                    }
                }
            }
            let stopped = step.stopped;
            routing.steps.push(step);
            if stopped {
                break;
            }
        }
        routing
    }

    /// Whether a rule looks into `raw`: a caller that copies reports may leave it out otherwise.
    pub fn uses_raw(&self) -> bool {
        self.routes.iter().filter_map(|route| route.rule.as_ref()).any(Rule::uses_raw)
    }

    fn to_everyone(&self) -> Routing {
        let step = Explained {
            route: "(no routes)".to_owned(),
            matched: true,
            why: "no routes are configured: everything goes everywhere".to_owned(),
            error: None,
            stopped: false,
        };
        Routing { destinations: self.everyone.clone(), steps: vec![step] }
    }
}

impl Route {
    fn explain(&self, context: &cel::Context) -> Explained {
        let (matched, why, error) = match &self.rule {
            None => (true, "it has no `when`".to_owned(), None),
            Some(rule) => match rule.run(context) {
                Ok(answer) => (answer, format!("`{}` is {answer}", rule.source()), None),
                Err(error) => {
                    let why = format!("`{}` could not be evaluated, so it counts as true", rule.source());
                    (true, why, Some(error))
                }
            },
        };
        Explained { route: self.name.clone(), matched, why, error, stopped: matched && self.stop }
    }
}

fn check_destinations(place: &str, settings: &RouteSettings, destinations: &[String], problems: &mut Problems) {
    if settings.to.is_empty() && !settings.stop {
        problems.push(
            Problem::new(place, "leads nowhere: `to` is empty")
                .hint("name a destination, or set `stop = true` to keep what matches from the routes below"),
        );
    }
    for name in settings.to.iter().filter(|name| !destinations.contains(name)) {
        let hint = did_you_mean(name, destinations.iter().map(String::as_str));
        problems.push(Problem::new(place, format!("there is no destination `{name}`")).hint(hint));
    }
}
