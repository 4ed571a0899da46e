//! The report of a scan that ended, with a sentence where the provider did not say why.

use crate::domain::report::{Facts, Report};
use crate::domain::scan::Outcome;
use crate::provider::{Provider, Seen};

/// Puts the report together from what we know and what the last poll saw.
pub fn report(provider: &Provider, facts: Facts, seen: Seen, raw_limit: u64) -> Report {
    let mut said = seen.extract.unwrap_or_default();
    said.status = said.status.or(seen.status);
    let ours = match facts.outcome {
        Outcome::TimedOut => {
            said.link = said.link.or_else(|| provider.link(&facts.scan_id));
            Some(format!("The scan was not finished at its deadline. Last seen: {}.", seen.detail))
        }
        Outcome::NotFound => Some(format!("The provider does not know this scan. Last seen: {}.", seen.detail)),
        Outcome::Completed | Outcome::Failed | Outcome::Unsupported => None,
    };
    said.error = said.error.or(ours);
    Report::new(facts, said, raw_limit)
}
