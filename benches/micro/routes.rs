//! From a report to the destinations that are told of it. The report is converted once for all rules; how the cost
//! grows with their number tells that from the cost of each rule.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use scanbell::render::sample_report;
use scanbell::routing::{RouteSettings, Router};

/// Rules as people write them; true and false ones of the report they run over.
const RULES: [&str; 10] = [
    "verdict == \"threat\" || severity >= high",
    "severity == critical",
    "labels.team == \"platform\"",
    "provider == \"sieve\" && outcome == \"completed\"",
    "has(counts.issues) && counts.issues > 10",
    "subject.kind == \"file\" && subject.name.lowerAscii().endsWith(\".exe\")",
    "\"LLM01\" in classes",
    "findings.exists(f, f.severity == critical)",
    "score != null && score > 0.5",
    "labels[\"repository\"].startsWith(\"payments\") && verdict != \"clean\"",
];

/// A rule that needs the provider's own body, which is then converted too.
const RAW: &str = "raw.riskCategory == \"malicious\"";

/// Routes by these rules, each to one of ten destinations.
fn bench<'a>(bencher: Bencher, rules: impl Iterator<Item = &'a str>) {
    let destinations: Vec<String> = (0..10).map(|number| format!("channel-{number}")).collect();
    let settings: Vec<RouteSettings> = rules
        .zip(destinations.iter().cycle())
        .map(|(rule, to)| RouteSettings { when: Some(rule.to_owned()), to: vec![to.clone()], ..Default::default() })
        .collect();
    let router = Router::build(&settings, &destinations).unwrap_or_else(|problems| panic!("{problems}"));
    let report = sample_report();
    let routing = router.route(&report);
    assert_eq!(routing.steps.len(), settings.len());
    assert!(routing.steps.iter().all(|step| step.error.is_none()));
    bencher.counter(ItemsCount::new(settings.len())).bench_local(|| router.route(black_box(&report)));
}

#[divan::bench(args = [1, 10, 50])]
fn rules(bencher: Bencher, count: usize) {
    bench(bencher, RULES.into_iter().cycle().take(count));
}

#[divan::bench]
fn rules_50_and_one_looks_into_raw(bencher: Bencher) {
    bench(bencher, RULES.into_iter().cycle().take(49).chain([RAW]));
}
