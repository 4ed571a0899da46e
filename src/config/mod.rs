//! Composes every room's own settings into one configuration, loads it, and reports all that is wrong with it.
//!
//! Built-in defaults, a TOML file and the environment are laid over one another key by key ([`Draft::of`]); each
//! section is then read into the type of the room it belongs to, and each fault in it becomes a [`Problem`] with
//! place, fact and way out. No secret is ever shown, no file but the configuration's is read, nothing connects.
//!
//! Relative paths in it begin at the working directory, not at the file: the same file then works for a service
//! and for somebody who tries it out.

mod check;
mod document;
mod environment;
mod fault;
mod layers;
mod locate;
mod places;
mod schema;
mod scrub;
mod section;
mod setting;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::Value;

pub use layers::{DEFAULTS, usual_places};
pub use places::Places;
pub use schema::schema;
pub use settings::{Intake, Listen, Log, Operator, Profiles, Report, Server, Shutdown, Size, Store, Templates};

use fault::{Path, Step, keys};

use section::Reader;

use crate::intake::amqp;
use crate::problem::{Problem, Problems, did_you_mean};
use crate::{destination, provider, routing};

/// Everything that can be configured.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where everything is kept.
    pub store: Store,
    /// What becomes of requests.
    pub intake: Intake,
    /// The broker; `None` runs without one.
    pub amqp: Option<amqp::Settings>,
    /// The HTTP that is offered.
    pub server: Server,
    /// What is written to standard error.
    pub log: Log,
    /// Scan APIs by name; their profile is filled in.
    pub providers: BTreeMap<String, provider::Settings>,
    /// Where things are said, by name.
    pub destinations: BTreeMap<String, destination::Settings>,
    /// Which report goes where, in order.
    pub routes: Vec<routing::RouteSettings>,
    /// Where scanbell reports its own trouble.
    pub operator: Operator,
    /// The folder of the user's templates.
    pub templates: Templates,
    /// The folder of the user's profiles.
    pub profiles: Profiles,
    /// What is kept of a provider's answer.
    pub report: Report,
    /// How it ends.
    pub shutdown: Shutdown,
}

/// The tables of a configuration, as they are written.
const TABLES: [&str; 13] = [
    "store",
    "intake",
    "amqp",
    "server",
    "log",
    "providers",
    "destinations",
    "routes",
    "operator",
    "templates",
    "profiles",
    "report",
    "shutdown",
];

/// The kinds of destinations.
const KINDS: [&str; 3] = ["slack", "email", "webhook"];

/// Where a configuration comes from. Given, not looked up, so that loading depends on nothing else.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The file that was named by `--config` or `$SCANBELL_CONFIG`; it must exist.
    pub file: Option<PathBuf>,
    /// The environment, all of it.
    pub env: Vec<(String, String)>,
    /// The files to try when none was named.
    pub candidates: Vec<PathBuf>,
}

impl LoadOptions {
    /// The environment of this process and the usual places; `named` is `--config`.
    pub fn of_process(named: Option<PathBuf>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        let from_environment = || std::env::var_os("SCANBELL_CONFIG").map(PathBuf::from);
        Self {
            file: named.or_else(from_environment).filter(|file| !file.as_os_str().is_empty()),
            env: std::env::vars_os().map(text).collect(),
            candidates: usual_places(),
        }
    }
}

/// A configuration without a fault.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// What works, but probably not as meant.
    pub warnings: Vec<Problem>,
    /// Where each setting was written, for the problems of other rooms.
    pub places: Places,
}

/// A configuration with its faults: each faulty key at its default, so that profiles, templates and rules can be
/// checked too and everything is reported at once.
#[derive(Debug)]
pub struct Draft {
    /// The configuration; never to be run while there are problems.
    pub config: Config,
    /// The file it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// All that is wrong.
    pub problems: Problems,
    /// What works, but probably not as meant.
    pub warnings: Vec<Problem>,
    /// Where each setting was written, for the problems of other rooms.
    pub places: Places,
    /// The names of all providers that were written, faulty ones too.
    pub provider_names: Vec<String>,
    /// The names of all destinations that were written, faulty ones too.
    pub destination_names: Vec<String>,
}

/// Loads the configuration, or says all that is wrong with it.
pub fn load(options: &LoadOptions) -> Result<Loaded, Problems> {
    let Draft { config, file, problems, warnings, places, .. } = Draft::of(options)?;
    problems.into_result(Loaded { config, file, warnings, places })
}

impl Draft {
    /// Reads what can be read. An error is a file that is not there or not TOML: then nothing else is known.
    pub fn of(options: &LoadOptions) -> Result<Self, Problems> {
        let found = layers::find_file(options.file.as_deref(), &options.candidates)?;
        let text = found.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
        let layers::Layers { tree, environment, places } = layers::merge(text, &options.env)?;
        let mut reader = Reader { tree: &tree, environment, places: &places, problems: Problems::new() };
        reader.refuse_strangers();
        let config = reader.config();
        let mut problems = reader.problems;
        let (provider_names, destination_names) = (names(&tree, "providers"), names(&tree, "destinations"));
        let names = check::Names { providers: &provider_names, destinations: &destination_names };
        problems.extend(check::references(&config, names, &places));
        problems.extend(check::folders(&config, &places));
        let problems = places.in_order(&problems);
        let mut warnings = environment::near_misses(&options.env, &TABLES);
        warnings.extend(check::warnings(&config, &places));
        let file = found.map(|(path, _)| path);
        Ok(Self { config, file, problems, warnings, places, provider_names, destination_names })
    }
}

impl Draft {
    /// Its problems and those that other rooms found in it: each once, with file and line, in the order of the file.
    pub fn all_problems(&self, of_other_rooms: &Problems) -> Problems {
        let mut all = self.problems.clone();
        for problem in &self.places.located(of_other_rooms) {
            if !all.iter().any(|known| known == problem) {
                all.push(problem.clone());
            }
        }
        self.places.in_order(&all)
    }
}

/// The names under `[providers]` or `[destinations]`.
fn names(tree: &Value, table: &str) -> Vec<String> {
    section::find(tree, &keys(&[table]))
        .and_then(setting::table)
        .map_or_else(Vec::new, |table| table.keys().cloned().collect())
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        Config {
            store: self.read_or_default("store"),
            intake: self.read_or_default("intake"),
            amqp: self.read(&keys(&["amqp"])),
            server: self.read_or_default("server"),
            log: self.read_or_default("log"),
            providers: self.named("providers", Self::provider),
            destinations: self.named("destinations", Self::destination),
            routes: self.routes(),
            operator: self.read_or_default("operator"),
            templates: self.read_or_default("templates"),
            profiles: self.read_or_default("profiles"),
            report: self.read_or_default("report"),
            shutdown: self.read_or_default("shutdown"),
        }
    }

    /// Notes every table that does not exist.
    fn refuse_strangers(&mut self) {
        for name in setting::table(self.tree).into_iter().flat_map(|tables| tables.keys()) {
            if !TABLES.contains(&name.as_str()) {
                let problem = self.unknown_key(&keys(&[name]), &TABLES);
                self.problems.push(problem);
            }
        }
    }

    /// Reads each of the tables `[table.NAME]`.
    fn named<T>(&mut self, table: &str, read: fn(&mut Self, &str) -> Option<T>) -> BTreeMap<String, T> {
        let Some(value) = section::find(self.tree, &keys(&[table])) else { return BTreeMap::new() };
        let Some(inner) = setting::table(value) else {
            let problem = Problem::new(self.places.place(&keys(&[table])), "must be tables with a name each")
                .hint(format!("write [{table}.NAME]"));
            self.problems.push(problem);
            return BTreeMap::new();
        };
        inner.keys().filter_map(|name| Some((name.clone(), read(self, name)?))).collect()
    }

    fn provider(&mut self, name: &str) -> Option<provider::Settings> {
        let mut settings: provider::Settings = self.read(&keys(&["providers", name]))?;
        settings.profile.get_or_insert_with(|| name.to_owned());
        Some(settings)
    }

    /// The word under `kind` decides which settings a destination has.
    fn destination(&mut self, name: &str) -> Option<destination::Settings> {
        let path = keys(&["destinations", name]);
        let kind_path = keys(&["destinations", name, "kind"]);
        let kind = section::find(self.tree, &kind_path).map(|kind| kind.as_str().unwrap_or_default().trim());
        match kind {
            Some("slack") => self.read_without(&path, "kind").map(destination::Settings::Slack),
            Some("email") => self.read_without(&path, "kind").map(destination::Settings::Email),
            Some("webhook") => self.read_without(&path, "kind").map(destination::Settings::Webhook),
            other => {
                let problem = self.wrong_kind(other, &path, &kind_path);
                self.problems.push(problem);
                None
            }
        }
    }

    fn wrong_kind(&self, kind: Option<&str>, table: &[Step], key: &[Step]) -> Problem {
        match kind {
            None => Problem::new(self.places.place(table), "`kind` is missing")
                .hint(format!("add `kind = …`: {}", KINDS.join(", "))),
            Some(word) if self.places.is_from_environment(key) => {
                Problem::new(self.places.place(key), "unknown kind of destination").hint(did_you_mean(word, KINDS))
            }
            Some(word) => Problem::new(self.places.place(key), format!("unknown kind of destination `{word}`"))
                .hint(did_you_mean(word, KINDS)),
        }
    }

    fn routes(&mut self) -> Vec<routing::RouteSettings> {
        let path = keys(&["routes"]);
        match section::find(self.tree, &path) {
            None => Vec::new(),
            Some(Value::Array(_, list)) => (0..list.len())
                .filter_map(|index| {
                    let route: Path = path.iter().cloned().chain([Step::Index(index)]).collect();
                    let mut settings: routing::RouteSettings = self.read(&route)?;
                    // A faulty route above is left out here; the number of this one must not change by that.
                    settings.name.get_or_insert_with(|| format!("route {}", index + 1));
                    Some(settings)
                })
                .collect(),
            Some(_) => {
                let problem = Problem::new(self.places.place(&path), "must be a list of routes")
                    .hint("write each route below its own [[routes]], in the file");
                self.problems.push(problem);
                Vec::new()
            }
        }
    }
}
