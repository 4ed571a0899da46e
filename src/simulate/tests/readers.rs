//! What scanbell reads of this world: the printed configuration, and the bodies by the shipped profiles.

use std::path::PathBuf;

use super::*;
use crate::config::{self, LoadOptions};
use crate::domain::report::{Extract, Severity, Verdict};
use crate::domain::scan::{Observation, Outcome};
use crate::provider;
use crate::provider::profile::Profiles;

const ID: &str = "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e";

fn loaded(world: &World) -> config::Loaded {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), configuration(world)).unwrap();
    let options = LoadOptions { file: Some(PathBuf::from(file.path())), ..LoadOptions::default() };
    config::load(&options).unwrap_or_else(|problems| panic!("{problems}"))
}

fn provider(world: &World, name: &str) -> provider::Provider {
    let settings = loaded(world).config.providers.remove(name).unwrap();
    provider::Provider::build(name, &settings, &Profiles::load(None).unwrap()).unwrap()
}

/// How the scan ends within a few polls; none: it does not.
async fn ends(world: &World, at: Provider, scan_id: &str) -> (Option<Outcome>, Extract) {
    let reader = provider(world, at.as_str());
    let mut said = Extract::default();
    for _ in 0..12 {
        let seen = reader.poll(scan_id, Clock::real().now()).await;
        said = seen.extract.unwrap_or_default();
        if let Observation::Ended(outcome) = seen.observation {
            return (Some(outcome), said);
        }
    }
    (None, said)
}

#[tokio::test]
async fn the_printed_configuration_is_one_without_problems_and_warnings() {
    let world = world().await;
    let loaded = loaded(&world);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.intake.default_provider.as_deref(), Some("sieve"));
    assert_eq!(
        (loaded.config.providers.len(), loaded.config.destinations.len(), loaded.config.routes.len()),
        (2, 3, 2)
    );
    world.stop().await;
}

#[tokio::test]
async fn every_preset_is_read_by_both_profiles_as_it_is_meant() {
    let world = world().await;
    let completed = |verdict| (Some(Outcome::Completed), verdict);
    let ended = |outcome| (Some(outcome), Verdict::Unknown);
    for (preset, expected) in [
        (Preset::Threat, completed(Verdict::Threat)),
        (Preset::Clean, completed(Verdict::Clean)),
        (Preset::Suspicious, completed(Verdict::Suspicious)),
        (Preset::Archive, completed(Verdict::Suspicious)),
        (Preset::Flaky, completed(Verdict::Clean)),
        (Preset::Hostile, completed(Verdict::Threat)),
        (Preset::NoVerdict, completed(Verdict::Unknown)),
        (Preset::Failed, ended(Outcome::Failed)),
        (Preset::Error, ended(Outcome::Failed)),
        (Preset::RunningForever, (None, Verdict::Unknown)),
        (Preset::UnknownStatus, (None, Verdict::Unknown)),
        (Preset::NotFound, (None, Verdict::Unknown)),
    ] {
        for at in [Provider::Sieve, Provider::Enkrypt] {
            world.script(at, ID, Script::preset(preset, Duration::ZERO));
            let (outcome, said) = ends(&world, at, ID).await;
            assert_eq!((outcome, said.verdict), expected, "{} at {at}: {said:?}", preset.as_str());
        }
    }
    world.script(Provider::Sieve, ID, Script::preset(Preset::Unsupported, Duration::ZERO));
    assert_eq!(ends(&world, Provider::Sieve, ID).await.0, Some(Outcome::Unsupported));
    world.stop().await;
}

#[tokio::test]
async fn a_threat_fills_the_report_from_both_providers() {
    let world = world().await;
    for at in [Provider::Sieve, Provider::Enkrypt] {
        world.script(at, ID, Script::preset(Preset::Threat, Duration::ZERO));
        let (_, said) = ends(&world, at, ID).await;
        assert!(said.severity >= Severity::High && said.counts["issues"] > 0, "{said:?}");
        assert!(said.subject.name.is_some() && said.raw.is_some(), "{said:?}");
        assert_eq!(said.findings.is_empty(), at == Provider::Sieve, "{said:?}");
        let titled = |finding: &crate::domain::report::Finding| finding.title.is_some() && finding.location.is_some();
        assert!(said.findings.iter().all(titled), "{said:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn the_cast_of_the_demo_ends_as_the_demo_says() {
    let world = world().await;
    for scene in demo::cast() {
        // The same script without its length: nobody is watching.
        let preset = Preset::of_id(scene.scan_id);
        world.script(scene.provider, scene.scan_id, Script::preset(preset, Duration::ZERO));
        let (outcome, said) = ends(&world, scene.provider, scene.scan_id).await;
        assert_eq!(
            (outcome.unwrap_or(Outcome::TimedOut), said.verdict),
            (scene.outcome, scene.verdict),
            "{}",
            scene.title
        );
    }
    world.stop().await;
}
