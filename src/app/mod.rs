//! Assembly: from a configuration to a plan (pure), from a plan to a running daemon, and its end.
//!
//! [`Plan::build`] connects to nothing; only [`run()`] touches the world.

mod drain;
mod housekeeping;
mod run;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use drain::{Signals, Stop};
pub use run::{Daemon, RunError, run};

use crate::config::Config;
use crate::destination::{Destination, Settings};
use crate::domain::notification::WebhookFormat;
use crate::problem::{Problem, Problems, did_you_mean};
use crate::provider::{Profiles, Provider};
use crate::render::{Renderer, Voice};
use crate::routing::Router;
use crate::secret::SecretSource;

/// Everything that a configuration describes, built and checked, nothing running.
pub struct Plan {
    /// What it was built from.
    pub config: Config,
    /// By name.
    pub providers: BTreeMap<String, Arc<Provider>>,
    /// By name.
    pub destinations: BTreeMap<String, Arc<Destination>>,
    /// Compiled templates.
    pub renderer: Arc<Renderer>,
    /// Compiled routes.
    pub router: Arc<Router>,
    /// The store's URL; a server's may hold a password.
    pub store: SecretSource,
    /// Asked of everybody who calls the API; none on loopback.
    pub token: Option<SecretSource>,
    /// What is allowed but unwise.
    pub warnings: Vec<Problem>,
}

impl Plan {
    /// Builds all of it, or says all that is wrong.
    ///
    /// `known` are the names of destinations that routes may use: also those whose own settings are faulty, so
    /// that one mistake is one problem.
    pub fn build(config: Config, known: &[String]) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let profiles = problems.collect(Profiles::load(existing(&config.profiles.dir)));
        let providers = profiles.map(|profiles| providers(&config, &profiles, &mut problems)).unwrap_or_default();
        let destinations = destinations(&config, &mut problems);
        let voices: Vec<Voice> = config.destinations.iter().map(|(name, settings)| voice(name, settings)).collect();
        let renderer = problems.collect(Renderer::build(existing(&config.templates.dir), &voices));
        let router = problems.collect(Router::build(&config.routes, known));
        let warnings = warnings(&providers, &destinations);
        if let Some(amqp) = &config.amqp {
            problems.extend(amqp.check("[amqp]"));
        }
        let store = problems.collect(config.store.url("[store]").map_err(Problems::from));
        let token = problems.collect(config.server.token("[server]").map_err(Problems::from));
        match (renderer, router, store, token) {
            (Some(renderer), Some(router), Some(store), Some(token)) if problems.is_empty() => Ok(Self {
                store,
                token,
                config,
                providers,
                destinations,
                renderer: Arc::new(renderer),
                router: Arc::new(router),
                warnings,
            }),
            _ => Err(problems),
        }
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Result<&Arc<Destination>, Problem> {
        self.destinations.get(name).ok_or_else(|| {
            Problem::new("DESTINATION", format!("no destination `{name}` is configured"))
                .hint(did_you_mean(name, self.destinations.keys().map(String::as_str)))
        })
    }

    /// The provider of a request that names none.
    pub fn default_provider(&self) -> Option<&str> {
        match (&self.config.intake.default_provider, self.providers.len()) {
            (Some(name), _) => Some(name),
            (None, 1) => self.providers.keys().next().map(String::as_str),
            (None, _) => None,
        }
    }
}

/// A folder that is not there has nothing to add; the configuration's own check says so where it was asked for.
fn existing(folder: &Path) -> Option<&Path> {
    folder.is_dir().then_some(folder)
}

fn warnings(
    providers: &BTreeMap<String, Arc<Provider>>,
    destinations: &BTreeMap<String, Arc<Destination>>,
) -> Vec<Problem> {
    let of_provider = |(name, provider): (&String, &Arc<Provider>)| {
        let place = format!("[providers.{name}]");
        provider.warnings().iter().map(move |fact| Problem::new(place.clone(), fact.clone())).collect::<Vec<_>>()
    };
    let mut all: Vec<Problem> = providers.iter().flat_map(of_provider).collect();
    all.extend(destinations.values().flat_map(|destination| destination.warnings().iter().cloned()));
    all
}

fn providers(config: &Config, profiles: &Profiles, problems: &mut Problems) -> BTreeMap<String, Arc<Provider>> {
    config
        .providers
        .iter()
        .filter_map(|(name, settings)| {
            let provider = problems.collect(Provider::build(name, settings, profiles))?;
            Some((name.clone(), Arc::new(provider)))
        })
        .collect()
}

fn destinations(config: &Config, problems: &mut Problems) -> BTreeMap<String, Arc<Destination>> {
    config
        .destinations
        .iter()
        .filter_map(|(name, settings)| {
            let destination = problems.collect(Destination::build(name, settings))?;
            Some((name.clone(), Arc::new(destination)))
        })
        .collect()
}

/// How a destination is spoken to: what rendering needs to know of its settings.
fn voice(name: &str, settings: &Settings) -> Voice {
    let name = name.to_owned();
    match settings {
        Settings::Slack(slack) => Voice {
            name,
            kind: settings.kind(),
            format: WebhookFormat::default(),
            template: slack.template.clone(),
            channel: slack.channel.clone(),
            mentions: slack.mentions_as_sent(),
        },
        Settings::Email(email) => Voice {
            name,
            kind: settings.kind(),
            format: WebhookFormat::default(),
            template: email.template.clone(),
            channel: None,
            mentions: Vec::new(),
        },
        Settings::Webhook(webhook) => Voice {
            name,
            kind: settings.kind(),
            format: webhook.format,
            template: webhook.template.clone(),
            channel: None,
            mentions: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::notification::Content;
    use crate::domain::report::{Extract, Facts, Report, Verdict};
    use crate::domain::scan::Outcome;
    use crate::time::from_millis;

    #[test]
    fn whom_the_configuration_names_slack_is_asked_to_mention() {
        let slack = toml::from_str(
            r#"
            webhook_url = "https://hooks.slack.com/x"
            mentions = ["here", "channel", "everyone", "U0123", "W0123", "S0123"]
            "#,
        );
        let settings = Settings::Slack(slack.unwrap());
        Destination::build("secops", &settings).unwrap();
        let renderer = Renderer::build(None, &[voice("secops", &settings)]).unwrap();
        let said = Extract { verdict: Verdict::Threat, ..Extract::default() };
        let facts = Facts {
            id: Uuid::nil(),
            provider: "sieve".to_owned(),
            scan_id: "a".to_owned(),
            outcome: Outcome::Completed,
            requested_at: from_millis(0),
            finished_at: from_millis(0),
            polls: 1,
        };
        let said = renderer.report("secops", &Report::new(facts, said, 0), Uuid::nil(), from_millis(0));
        let Content::Http { body, .. } = said.content else { panic!("Slack is told by HTTP") };
        let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let wanted = "<!here> <!channel> <!everyone> <@U0123> <@W0123> <!subteam^S0123>";
        let blocks = message["blocks"].as_array().unwrap();
        assert!(blocks.iter().any(|block| block["text"]["text"] == wanted), "{message:#}");
    }
}
