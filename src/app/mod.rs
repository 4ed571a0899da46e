//! Assembly: from a configuration to a plan (pure), from a plan to a running daemon, and its end.
//!
//! [`Plan::build`] connects to nothing; only [`run()`] touches the world.

mod drain;
mod housekeeping;
mod run;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use drain::{Ending, Signals, Stop};
pub use run::{Daemon, RunError, run};

use crate::config::Config;
use crate::destination::{Destination, Settings};
use crate::domain::notification::WebhookFormat;
use crate::problem::{Problem, Problems, did_you_mean};
use crate::provider::{Profiles, Provider};
use crate::render::{Renderer, Voice};
use crate::routing::Router;
use crate::secret::{ExposeSecret, SecretSource};
use crate::store;

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
        let store = problems.collect(store_source(&config).map_err(Problems::from));
        let token = problems.collect(token_source(&config).map_err(Problems::from));
        if let Some(amqp) = &config.amqp {
            problems.extend(amqp.check("[amqp]"));
        }
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

/// Where the store's URL comes from; it is read once, so that a wrong one is known before anything starts.
fn store_source(config: &Config) -> Result<SecretSource, Problem> {
    let place = "[store]";
    let source = config.store.url(place)?;
    let url = source.read().map_err(|error| Problem::new(place, format!("`url_file`: {error}")))?;
    match store::check_url(url.expose_secret()) {
        Ok(()) => Ok(source),
        Err(why) => Err(Problem::new(place, format!("`url`: {why}"))),
    }
}

/// Where the token comes from, if there is one; its file is read once, for the same reason.
fn token_source(config: &Config) -> Result<Option<SecretSource>, Problem> {
    let place = "[server]";
    let source = config.server.token(place)?;
    if let Some(source) = &source {
        let token = source.read().map_err(|error| Problem::new(place, format!("`token_file`: {error}")))?;
        if token.expose_secret().trim().is_empty() {
            return Err(Problem::new(place, "the token is empty").hint("make a long random one: openssl rand -hex 32"));
        }
    }
    Ok(source)
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
            mentions: slack.mentions_as_slack_writes(),
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
    use super::*;
    use crate::config::{Draft, LoadOptions};
    use crate::domain::notification::Notification;
    use crate::time::Clock;

    /// What `run` and `check` make of a configuration.
    fn planned(text: &str) -> Result<Plan, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.toml");
        std::fs::write(&file, text).unwrap();
        let draft = Draft::of(&LoadOptions { file: Some(file), ..LoadOptions::default() })?;
        Plan::build(draft.config.clone(), &draft.destination_names).map_err(|more| draft.all_problems(&more))
    }

    fn said(text: &str) -> String {
        planned(text).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn check_finds_a_store_a_broker_and_secrets_that_run_could_not_use() {
        let text = said(
            r#"
            [store]
            url = "mysql://root:hunter2@host/db"
            [amqp]
            url = "http://guest:hunter2@host"
            prefetch = 0
            [server]
            token_file = "/nonexistent/token"
            [providers.enkrypt]
            api_key = ""
            "#,
        );
        for part in [
            "app.toml:3: [store]: `url`: `mysql:` is not a kind of store",
            "app.toml:5: [amqp]: `url` is not the URL of a broker",
            "app.toml:6: [amqp]: `prefetch` is 0",
            "app.toml:8: [server]: `token_file`: cannot read the secret file /nonexistent/token",
            "app.toml:10: [providers.enkrypt]: `api_key`: the key is empty",
            "5 problems",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_key_file_that_is_not_there_is_a_problem_that_names_it() {
        let text = said("[providers.sieve]\napi_key_file = \"/nonexistent/key\"");
        assert!(
            text.contains("[providers.sieve]: `api_key`: cannot read") && text.contains("/nonexistent/key"),
            "{text}"
        );
    }

    #[test]
    fn mentions_of_the_configuration_stand_in_the_message_as_slack_writes_them() {
        let plan = planned(
            r#"
            [destinations.secops]
            kind = "slack"
            webhook_url = "https://hooks.slack.com/services/T0/B0/x"
            mentions = ["here", "U0123ABC", "S0123ABC"]
            "#,
        )
        .unwrap();
        let (id, now) = (uuid::Uuid::now_v7(), Clock::real().now());
        let report = crate::render::sample_report();
        let content = plan.renderer.report("secops", &report, id, now).content;
        let notification = Notification { id, scan: None, destination: "secops".to_owned(), created_at: now, content };
        let bytes = plan.destinations["secops"].bytes(&notification).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains("<!here> <@U0123ABC> <!subteam^S0123ABC>"), "{text}");
    }

    #[test]
    fn a_route_without_a_name_keeps_its_number_and_line_when_one_above_it_is_faulty() {
        let text = said(
            r#"
            [[routes]]
            to = 5
            [[routes]]
            when = "verdict =="
            to = []
            stop = true
            "#,
        );
        assert!(text.contains("app.toml:5: [[routes]] route 2: when:"), "{text}");
    }
}
