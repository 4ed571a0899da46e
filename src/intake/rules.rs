//! What a request may ask for: the configured providers, their ID patterns, the destinations' names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::domain::request::{Refusal, RefusalReason};
use crate::problem::did_you_mean;
use crate::time::Wake;

/// Says whether a provider's profile allows an ID; the error is one sentence, shown to whoever sent it.
pub type CheckId = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What intake needs to know of the configuration.
#[derive(Debug, Default)]
pub struct Rules {
    /// The configured providers by name.
    pub providers: BTreeMap<String, ProviderRule>,
    /// Whom a request means that names no provider; with one provider that is not needed.
    pub default_provider: Option<String>,
    /// The configured destinations.
    pub destinations: BTreeSet<String>,
}

/// What intake needs to know of one provider.
pub struct ProviderRule {
    /// How long to follow, unless the request says otherwise.
    pub deadline: Duration,
    /// Wakes its watcher.
    pub wake: Wake,
    /// Its ID pattern.
    pub check_id: CheckId,
}

impl fmt::Debug for ProviderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderRule").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl ProviderRule {
    pub(super) fn check(&self, scan_id: &str) -> Result<(), Refusal> {
        (self.check_id)(scan_id).map_err(|error| Refusal::new(RefusalReason::InvalidScanId, error))
    }
}

impl Rules {
    /// The provider that is meant.
    pub(super) fn provider(&self, named: Option<&str>) -> Result<(&str, &ProviderRule), Refusal> {
        let refuse = |error: String| Refusal::new(RefusalReason::UnknownProvider, error);
        if let Some(named) = named.or(self.default_provider.as_deref()) {
            return self
                .providers
                .get_key_value(named)
                .map(|(name, rule)| (name.as_str(), rule))
                .ok_or_else(|| refuse(unknown("provider", named, self.providers.keys())));
        }
        let mut all = self.providers.iter();
        match (all.next(), all.next()) {
            (Some((name, rule)), None) => Ok((name, rule)),
            (None, _) => Err(refuse("no provider is configured".to_owned())),
            (Some(_), Some(_)) => {
                let known: Vec<&str> = self.providers.keys().map(String::as_str).collect();
                Err(refuse(format!("no provider is named, and there is no default; known: {}", known.join(", "))))
            }
        }
    }

    /// Whether a destination of this name exists.
    pub(super) fn destination(&self, name: &str) -> Result<(), Refusal> {
        if self.destinations.contains(name) {
            return Ok(());
        }
        let error = unknown("destination", name, &self.destinations);
        Err(Refusal::new(RefusalReason::UnknownDestination, error))
    }

    pub(super) fn wake(&self, provider: &str) {
        if let Some(rule) = self.providers.get(provider) {
            rule.wake.wake();
        }
    }
}

/// The longest name that is compared with the known ones: a guess at a longer one costs more than it helps.
const LONGEST_GUESS: usize = 64;

fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a String>) -> String {
    let known = known.into_iter().map(String::as_str);
    if name.len() > LONGEST_GUESS {
        return format!("no {what} has a name that long; {}", did_you_mean("", known));
    }
    // A stranger's text: nothing that could break a header or a log line.
    let shown: String = name.chars().filter(|letter| !letter.is_control()).collect();
    format!("no {what} is called `{shown}`; {}", did_you_mean(name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(providers: &[&str], default: Option<&str>) -> Rules {
        let rule = || ProviderRule { deadline: Duration::ZERO, wake: Wake::new(), check_id: Box::new(|_| Ok(())) };
        Rules {
            providers: providers.iter().map(|name| ((*name).to_owned(), rule())).collect(),
            default_provider: default.map(str::to_owned),
            destinations: ["siem".to_owned(), "oncall".to_owned()].into(),
        }
    }

    fn provider(rules: &Rules, named: Option<&str>) -> Result<String, String> {
        rules.provider(named).map(|(name, _)| name.to_owned()).map_err(|refusal| refusal.error)
    }

    #[test]
    fn a_request_that_names_nobody_means_the_default_or_the_only_one() {
        assert_eq!(provider(&rules(&["sieve"], None), None), Ok("sieve".to_owned()));
        assert_eq!(provider(&rules(&["enkrypt", "sieve"], Some("sieve")), None), Ok("sieve".to_owned()));
        let error = provider(&rules(&["enkrypt", "sieve"], None), None).unwrap_err();
        assert_eq!(error, "no provider is named, and there is no default; known: enkrypt, sieve");
    }

    #[test]
    fn an_unknown_name_gets_a_guess() {
        let error = provider(&rules(&["enkrypt", "sieve"], Some("sieve")), Some("sive")).unwrap_err();
        assert_eq!(error, "no provider is called `sive`; did you mean `sieve`? known: enkrypt, sieve");
        let refusal = rules(&[], None).destination("siam").unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::UnknownDestination);
        assert_eq!(refusal.error, "no destination is called `siam`; did you mean `siem`? known: oncall, siem");
    }

    #[test]
    fn a_hostile_name_is_neither_compared_nor_repeated() {
        let error = provider(&rules(&["sieve"], None), Some(&"x".repeat(1_000_000))).unwrap_err();
        assert_eq!(error, "no provider has a name that long; known: sieve");
        let error = provider(&rules(&["sieve"], None), Some("a\r\nx-evil: 1")).unwrap_err();
        assert!(!error.contains(['\r', '\n']));
    }
}
