//! What intake asks of the configuration: which providers and destinations there are, which IDs they allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use crate::domain::request::{Refusal, RefusalReason};
use crate::intake::{ResolvedProvider, Rules};
use crate::problem::did_you_mean;
use crate::provider::Provider;

/// The configured names.
pub(super) struct Configured {
    default_provider: Option<String>,
    providers: BTreeMap<String, Arc<Provider>>,
    destinations: BTreeSet<String>,
}

impl Configured {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            default_provider: plan.default_provider().map(str::to_owned),
            providers: plan.providers.clone(),
            destinations: plan.destinations.keys().cloned().collect(),
        }
    }
}

impl Rules for Configured {
    fn resolve(&self, named: Option<&str>) -> Result<ResolvedProvider, Refusal> {
        let unknown = |error: String| Refusal::new(RefusalReason::UnknownProvider, error);
        let name = named.or(self.default_provider.as_deref()).ok_or_else(|| {
            let names = self.providers.keys().map(String::as_str);
            unknown(format!("no provider is named, and there is no default: {}", did_you_mean("", names)))
        })?;
        let provider = self.providers.get(name).ok_or_else(|| {
            let names = self.providers.keys().map(String::as_str);
            let shown: String = name.chars().take(64).collect();
            unknown(format!("no provider `{shown}` is configured: {}", did_you_mean(&shown, names)))
        })?;
        let deadline: Duration = provider.pace().deadline;
        Ok(ResolvedProvider { name: name.to_owned(), deadline })
    }

    fn check_id(&self, provider: &str, scan_id: &str) -> Result<(), Refusal> {
        match self.providers.get(provider) {
            Some(provider) => {
                provider.check_id(scan_id).map_err(|error| Refusal::new(RefusalReason::InvalidScanId, error))
            }
            None => Ok(()),
        }
    }

    fn destination_exists(&self, name: &str) -> bool {
        self.destinations.contains(name)
    }

    fn destinations(&self) -> Vec<String> {
        self.destinations.iter().cloned().collect()
    }
}
