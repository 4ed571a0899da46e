//! From settings and profiles to a [`Provider`], without calling anybody; the key is read once, to say early that it cannot be.

use std::sync::Mutex;
use std::time::Duration;

use url::Url;

use super::key::Key;
use super::profile::{PaceDefaults, Profile, Profiles, base_url};
use super::{PollSettings, Provider, Settings};
use crate::domain::scan::Pace;
use crate::egress::{Client, ClientOptions, Limits, TlsFiles};
use crate::problem::{Problem, Problems};
use crate::secret::SecretSource;
use crate::time::{Backoff, Span};

/// Polls at once, where neither settings nor profile say.
const CONCURRENCY: u32 = 64;

impl Provider {
    /// Builds the provider `name`; all problems at once, at `[providers.NAME]`.
    pub fn build(name: &str, settings: &Settings, profiles: &Profiles) -> Result<Self, Problems> {
        let place = format!("[providers.{name}]");
        let wanted = settings.profile.as_deref().unwrap_or(name);
        let profile = profiles.get(wanted).map_err(|known| {
            let fact = format!("there is no profile `{wanted}`");
            Problem::new(&place, fact).hint(format!("{known}; set `profile`, or put {wanted}.toml into [profiles] dir"))
        })?;
        let mut problems = Problems::new();
        let mut warnings = Vec::new();
        let base = base(&place, settings, profile).map_err(|problem| problems.push(problem)).ok();
        if base.as_ref().is_some_and(sends_in_the_clear) && profile.auth.is_some() {
            warnings.push("base_url is http://: the key is sent unencrypted; use https://".to_owned());
        }
        let key = key(&place, settings, profile, &mut warnings).map_err(|problem| problems.push(problem)).ok();
        let poll = pace(&place, &settings.poll, &profile.poll, &mut problems);
        let limits = limits(&place, settings.limits, profile.limits, &mut problems);
        let client = problems.collect(Client::build(&place, &client_options(settings, profile)));
        match (base, key, client) {
            (Some(base), Some(key), Some(client)) => problems.into_result(Self {
                name: name.to_owned(),
                profile: profile.clone(),
                base,
                client,
                key,
                pace: poll,
                concurrency: limits.concurrency.unwrap_or(CONCURRENCY) as usize,
                requests_per_second: limits.requests_per_second,
                warnings,
                unknown_words: Mutex::default(),
            }),
            _ => Err(problems),
        }
    }
}

fn base(place: &str, settings: &Settings, profile: &Profile) -> Result<Url, Problem> {
    match (&settings.base_url, &profile.base_url) {
        (Some(text), _) => base_url(text).map_err(|error| Problem::new(place, format!("`base_url`: {error}"))),
        (None, Some(url)) => Ok(url.clone()),
        (None, None) => Err(Problem::new(place, format!("the profile `{}` names no base_url", profile.name))
            .hint("set `base_url = \"https://…\"` here")),
    }
}

fn sends_in_the_clear(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !loopback
}

fn key(
    place: &str,
    settings: &Settings,
    profile: &Profile,
    warnings: &mut Vec<String>,
) -> Result<Option<Key>, Problem> {
    let (value, file) = (settings.api_key.as_ref(), settings.api_key_file.as_deref());
    let source = SecretSource::from_pair(place, "api_key", value, file)?;
    match (&profile.auth, source) {
        (Some(auth), Some(source)) => {
            let key = Key::new(auth.clone(), source);
            key.reload().map_err(|error| Problem::new(place, format!("`api_key`: {error}")))?;
            Ok(Some(key))
        }
        (Some(auth), None) => {
            let fact = format!("no key: the profile `{}` sends one as `{}`", profile.name, auth.header);
            Err(Problem::new(place, fact).hint("set `api_key_file = \"/run/secrets/…\"` (or `api_key`)"))
        }
        (None, source) => {
            if source.is_some() {
                warnings.push(format!("the profile `{}` sends no key; api_key is not used", profile.name));
            }
            Ok(None)
        }
    }
}

/// Scans of seconds are told within a second or so, with five or six polls; long ones cost little, for waits grow to
/// half a minute (docs/performance.md says how this was chosen).
const FIRST: Duration = Duration::from_millis(1200);
const GROWTH: f64 = 1.1;

/// Settings over profile over what is built in.
fn pace(place: &str, settings: &PollSettings, profile: &PaceDefaults, problems: &mut Problems) -> Pace {
    let pick = |own: Option<Span>, theirs: Option<Duration>, built_in: Duration| {
        own.map(|span| span.0).or(theirs).unwrap_or(built_in)
    };
    let first = pick(settings.first, profile.first, FIRST);
    let max = pick(settings.max, profile.max, Duration::from_secs(30));
    let growth = settings.growth.or(profile.growth).unwrap_or(GROWTH);
    let deadline = pick(settings.deadline, profile.deadline, Duration::from_secs(30 * 60));
    let mut wrong = |fact: String| problems.push(Problem::new(place, fact));
    if first.is_zero() {
        wrong("`poll.first` must be more than 0".to_owned());
    }
    // `first` alone may be raised above the built-in longest wait.
    let max = if settings.max.is_none() { max.max(first) } else { max };
    if max < first {
        wrong(format!("`poll.max` ({}) is less than `poll.first` ({})", Span(max), Span(first)));
    }
    if !(1.0..=100.0).contains(&growth) {
        wrong("`poll.growth` must be from 1 to 100".to_owned());
    }
    if deadline.is_zero() {
        wrong("`poll.deadline` must be more than 0".to_owned());
    }
    Pace {
        backoff: Backoff { first, growth, max },
        deadline,
        not_found_grace: pick(settings.not_found_grace, profile.not_found_grace, Duration::from_secs(60)),
    }
}

fn limits(place: &str, settings: Limits, profile: Limits, problems: &mut Problems) -> Limits {
    if settings.concurrency.is_some_and(|many| !(1..=10_000).contains(&many)) {
        problems.push(Problem::new(place, "`limits.concurrency` must be from 1 to 10000"));
    }
    if settings.requests_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        problems.push(Problem::new(place, "`limits.requests_per_second` must be more than 0"));
    }
    Limits {
        concurrency: settings.concurrency.or(profile.concurrency),
        requests_per_second: settings.requests_per_second.or(profile.requests_per_second),
    }
}

fn client_options(settings: &Settings, profile: &Profile) -> ClientOptions {
    ClientOptions {
        connect_timeout: profile.connect_timeout,
        total_timeout: profile.total_timeout,
        // The address of a provider is the configuration's, never a stranger's.
        guard: None,
        tls: TlsFiles {
            ca_file: settings.ca_file.clone(),
            cert_file: settings.cert_file.clone(),
            key_file: settings.key_file.clone(),
        },
    }
}
