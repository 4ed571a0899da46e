use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::destination::Settings;
use crate::secret::ExposeSecret;
use crate::time::Span;

/// The example that users are given, word for word.
const EXAMPLE: &str = include_str!("contract.toml");

#[test]
fn the_contracts_example_loads_with_every_value_in_its_place() {
    let config = good(EXAMPLE, &[]);
    assert_eq!(config.store.url.as_ref().unwrap().expose_secret(), "sqlite:scanbell.db");
    assert_eq!(config.store.retention.0, Duration::from_secs(30 * 86_400));
    assert_eq!(config.intake.default_provider.as_deref(), Some("sieve"));
    assert_eq!(config.intake.dedupe.0, Duration::from_secs(86_400));
    assert_eq!(config.server.listen.0.to_string(), "127.0.0.1:8642");
    assert_eq!(config.server.token_file, Some(PathBuf::from("/run/secrets/scanbell")));
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.operator.to, ["oncall"]);
    assert_eq!(config.templates.dir, PathBuf::from("templates"));
    assert_eq!(config.profiles.dir, PathBuf::from("profiles"));
    assert_eq!(config.report.raw_limit, Size(256_000));
    assert_eq!(config.shutdown.grace.0, Duration::from_secs(25));
    assert_eq!(config.routes.len(), 2);
    assert!(config.amqp.is_some());

    let sieve = &config.providers["sieve"];
    assert_eq!(sieve.profile.as_deref(), Some("sieve"));
    assert_eq!(sieve.poll.not_found_grace, Some(Span::secs(60)));
    assert_eq!(sieve.poll.growth, Some(1.5));
    assert_eq!((sieve.limits.concurrency, sieve.limits.requests_per_second), (Some(64), Some(20.0)));
    assert_eq!(sieve.api_key_file, Some(PathBuf::from("/run/secrets/sieve")));
}

#[test]
fn the_kind_of_a_destination_decides_what_it_is() {
    let config = good(EXAMPLE, &[]);
    let Settings::Slack(slack) = &config.destinations["secops"] else { panic!("not Slack") };
    assert_eq!(slack.webhook_url_file, Some(PathBuf::from("/run/secrets/slack")));
    let Settings::Email(email) = &config.destinations["oncall"] else { panic!("not e-mail") };
    assert_eq!(email.to, ["oncall@example.com"]);
    let Settings::Webhook(siem) = &config.destinations["siem"] else { panic!("not a webhook") };
    assert_eq!(siem.headers["X-Team"].expose_secret(), "secops");
    assert_eq!(siem.retry.give_up_after, Span::secs(3 * 86_400));
}

#[test]
fn a_provider_takes_the_profile_of_its_own_name() {
    let config = good("[providers.enkrypt]\napi_key = 'k'\n[providers.mine]\nprofile = 'sieve'", &[]);
    assert_eq!(config.providers["enkrypt"].profile.as_deref(), Some("enkrypt"));
    assert_eq!(config.providers["mine"].profile.as_deref(), Some("sieve"));
}

#[test]
fn nothing_at_all_is_a_configuration_with_every_default() {
    let loaded = load(&options(None, &[])).unwrap();
    let written = format!("{:?}", loaded.config);
    assert_eq!(written, format!("{:?}", Config::default()), "config/default.toml and the types disagree");
    let url = |config: &Config| config.store.url.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!(url(&loaded.config), url(&Config::default()));
    assert!(loaded.config.amqp.is_none() && loaded.file.is_none() && loaded.warnings.is_empty());
}

/// The reference with its examples made real: `#key = …` is a setting, `# text` is not.
fn reference() -> String {
    let is_setting =
        |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
    DEFAULTS.lines().map(|line| if is_setting(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_example_in_the_reference_can_be_used_as_it_is() {
    let text = reference();
    // Twice the same secret is the one thing an all-inclusive configuration cannot have.
    let text = text.replace("\nurl_file = \"/run/secrets/store\"", "\n").replace("\ntoken = ", "\n#token = ");
    let config = good(&text, &[]);
    assert_eq!(config.destinations.len(), 3);
    assert!(config.amqp.is_some());
}

#[test]
fn every_key_of_the_schema_is_in_the_reference() {
    let schema = schema();
    let text: toml::Table = reference().parse().unwrap();
    let mut missing = Vec::new();
    compare(&schema, &schema, &json!(text), "", &mut missing);
    assert!(missing.is_empty(), "config/default.toml lacks: {missing:#?}");
}

/// Notes the keys that the schema has and the value has not.
fn compare(root: &Json, schema: &Json, value: &Json, path: &str, missing: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return compare(root, &root["$defs"][name], value, path, missing);
    }
    if let Some(kinds) =
        schema["oneOf"].as_array().filter(|kinds| kinds.iter().all(|k| k["properties"]["kind"].is_object()))
    {
        let kind = kinds.iter().find(|kind| kind["properties"]["kind"]["const"] == value["kind"]).expect("its kind");
        return compare(root, kind, value, path, missing);
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match value.get(key) {
            None => missing.push(path),
            Some(value) => compare(root, inner, value, &path, missing),
        }
    }
    if schema["additionalProperties"].is_object() {
        for (name, value) in value.as_object().into_iter().flatten() {
            compare(root, &schema["additionalProperties"], value, &format!("{path}.{name}"), missing);
        }
    }
    for value in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        compare(root, &schema["items"], value, &format!("{path}[]"), missing);
    }
}

#[test]
fn the_schema_tells_destinations_apart_by_kind_and_allows_no_other_key() {
    let schema = schema();
    let kinds = schema["properties"]["destinations"]["additionalProperties"]["oneOf"].as_array().unwrap();
    let words: Vec<&Json> = kinds.iter().map(|kind| &kind["properties"]["kind"]["const"]).collect();
    assert_eq!(words, ["slack", "email", "webhook"]);
    for kind in kinds {
        assert_eq!(kind["additionalProperties"], false);
        assert!(kind["required"].as_array().unwrap().contains(&json!("kind")));
    }
    assert!(kinds[0]["properties"]["webhook_url"].is_object());
    // Every reference in it leads somewhere.
    let text = schema.to_string();
    for name in text.split("#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(schema["$defs"][name].is_object(), "{name} is not defined");
    }
}
