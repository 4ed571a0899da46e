//! What no single setting can say about itself: names that must exist, settings that must fit each other.
//!
//! What belongs to one room (rules, templates, profiles, a destination's own keys) is checked by that room.

use std::path::Path as FilePath;

use super::fault::keys;
use super::{Config, Places};
use crate::problem::{Problem, Problems, did_you_mean};
use crate::telemetry;

/// The names that were written, whether or not what they name is without fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) providers: &'a [String],
    pub(super) destinations: &'a [String],
}

/// Everything that must exist or fit; reads nothing.
pub(super) fn references(config: &Config, names: Names<'_>, places: &Places) -> Problems {
    let mut problems = Problems::new();
    for (table, names) in [("providers", names.providers), ("destinations", names.destinations)] {
        for name in names.iter().filter(|name| !is_usable(name)) {
            problems.push(unusable_name(&places.of(&[table, name], None)));
        }
    }
    let default = config.intake.default_provider.as_ref();
    for name in default.into_iter().filter(|name| !names.providers.contains(name)) {
        problems.push(unknown_name(places, ("intake", "default_provider"), "provider", name, names.providers));
    }
    for name in config.operator.to.iter().filter(|name| !names.destinations.contains(name)) {
        problems.push(unknown_name(places, ("operator", "to"), "destination", name, names.destinations));
    }
    if let Err(problem) = config.store.url(&places.of(&["store"], None)) {
        problems.push(problem);
    }
    problems.extend(server(config, places));
    if let Err(problem) = telemetry::check_filter(&config.log.filter, &places.of(&["log"], Some("filter"))) {
        let shown = !places.is_from_environment(&keys(&["log", "filter"]));
        let unshown = || Problem::new(&problem.place, "this is not a log filter").hint("write it like \"info\"");
        problems.push(if shown { problem } else { unshown() });
    }
    problems
}

/// The name is part of addresses and metrics.
fn is_usable(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 100 && !name.chars().any(|c| c.is_control() || c == '/')
}

fn unusable_name(place: &str) -> Problem {
    Problem::new(place, "this name cannot be used").hint("letters, digits, `-`, `_` and `.`, at most 100")
}

fn unknown_name(places: &Places, at: (&str, &str), what: &str, name: &str, known: &[String]) -> Problem {
    let (table, key) = at;
    let hint = match known {
        [] => format!("no [{what}s.NAME] is configured"),
        _ if name.contains('@') => format!("this is a list of the names of {what}s, not of addresses"),
        known => did_you_mean(name, known.iter().map(String::as_str)),
    };
    let hidden = name.contains('@') || places.is_from_environment(&keys(&[table, key]));
    let fact = if hidden { format!("there is no {what} of this name") } else { format!("there is no {what} `{name}`") };
    Problem::new(places.of(&[table], Some(key)), fact).hint(hint)
}

/// Who can reach the server must show a token.
fn server(config: &Config, places: &Places) -> Problems {
    let place = places.of(&["server"], None);
    let token = match config.server.token(&place) {
        Ok(token) => token,
        Err(problem) => return problem.into(),
    };
    let empty = config.server.token.as_ref().is_some_and(is_blank);
    if empty {
        return Problem::new(places.of(&["server"], Some("token")), "the token is empty")
            .hint("leave the key out, or set a long random one: openssl rand -hex 32")
            .into();
    }
    // A token of the wrong type has its own problem already.
    let written = ["token", "token_file"].iter().any(|key| places.is_written(&keys(&["server", key])));
    if token.is_some() || written || config.server.listen.is_loopback() {
        return Problems::new();
    }
    let place = places.of(&["server"], Some("listen"));
    Problem::new(place, format!("others can reach {}, and no token is set", config.server.listen.0))
        .hint("set `token_file` (or `token`) in [server], or listen on 127.0.0.1")
        .into()
}

fn is_blank(token: &crate::secret::SecretString) -> bool {
    use crate::secret::ExposeSecret;
    token.expose_secret().trim().is_empty()
}

/// A folder that somebody chose must be there; the default one need not, even if it is written out.
pub(super) fn folders(config: &Config, places: &Places) -> Problems {
    let mut problems = Problems::new();
    for (table, dir) in [("templates", &config.templates.dir), ("profiles", &config.profiles.dir)] {
        if dir != FilePath::new(table) && !dir.is_dir() {
            let shown = if places.is_from_environment(&keys(&[table, "dir"])) {
                "this".to_owned()
            } else {
                format!("`{}`", dir.display())
            };
            problems.push(absent(&places.of(&[table], Some("dir")), dir, &shown));
        }
    }
    problems
}

fn absent(place: &str, dir: &FilePath, shown: &str) -> Problem {
    let fact = if dir.exists() { "is not a folder" } else { "is not there" };
    Problem::new(place, format!("{shown} {fact}"))
        .hint("make the folder, or leave the key out; a relative path begins at the working directory")
}

/// What works, but probably not as meant.
pub(super) fn warnings(config: &Config, places: &Places) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let (retention, dedupe) = (config.store.retention, config.intake.dedupe);
    if retention < dedupe {
        let fact = format!("scans are kept for {retention}, so they are recognised only so long, not for {dedupe}");
        let place = places.of(&["store"], Some("retention"));
        warnings.push(Problem::new(place, fact).hint("set it to at least `intake.dedupe`"));
    }
    warnings
}

impl Config {
    /// The problem of a daemon that could follow nothing; commands that follow no scan do not mind.
    pub fn nothing_to_follow(&self) -> Option<Problem> {
        self.providers.is_empty().then(|| {
            Problem::new("configuration", "no provider is configured, so no scan can be followed")
                .hint("write [providers.sieve] with `api_key_file = \"/run/secrets/sieve\"`")
        })
    }

    /// The warning of a daemon that follows scans and tells nobody.
    pub fn nobody_to_tell(&self) -> Option<Problem> {
        self.destinations.is_empty().then(|| {
            Problem::new("configuration", "no destination is configured, so nobody is told what scans say")
                .hint("write [destinations.NAME] with `kind = \"slack\"`, \"email\" or \"webhook\"")
        })
    }
}
