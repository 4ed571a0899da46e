use super::*;
use crate::destination::Settings;
use crate::secret::ExposeSecret;
use crate::time::Span;

const SIEM: &str = "[destinations.my-SIEM]\nkind = 'webhook'\nurl = 'https://siem.example.com/x'\n";

fn siem(config: &Config) -> &crate::destination::webhook::Settings {
    let Settings::Webhook(settings) = &config.destinations["my-SIEM"] else { panic!("not a webhook") };
    settings
}

#[test]
fn a_variable_is_read_as_what_its_key_wants() {
    let config = good(
        SIEM,
        &[
            ("SCANBELL_AMQP__PREFETCH", "32"),
            ("SCANBELL_AMQP__DECLARE", "false"),
            ("SCANBELL_AMQP__QUEUE_TYPE", "classic"),
            ("SCANBELL_OPERATOR__TO", "my-SIEM"),
            ("SCANBELL_STORE__RETENTION", "2d"),
            ("SCANBELL_REPORT__RAW_LIMIT", "1MiB"),
            ("SCANBELL_DESTINATIONS__MY_SIEM__LIMITS", "{ concurrency = 3, requests_per_second = 2 }"),
            ("SCANBELL_DESTINATIONS__MY_SIEM__RETRY__GROWTH", "3"),
            ("SCANBELL_DESTINATIONS__MY_SIEM__ALLOW_CIDRS", "10.2.0.0/16, fd00::/8"),
            ("SCANBELL_DESTINATIONS__MY_SIEM__SIGNING_SECRET", "[\"whsec_a\", \"whsec_b\"]"),
        ],
    );
    let amqp = config.amqp.as_ref().unwrap();
    assert_eq!((amqp.prefetch, amqp.declare), (32, false));
    assert_eq!(config.operator.to, ["my-SIEM"]);
    assert_eq!(config.store.retention, Span::secs(2 * 86_400));
    assert_eq!(config.report.raw_limit, Size(1024 * 1024));
    assert_eq!(siem(&config).limits.requests_per_second, Some(2.0));
    assert!((siem(&config).retry.growth - 3.0).abs() < f64::EPSILON);
    assert_eq!(siem(&config).allow_cidrs.len(), 2);
    assert!(format!("{:?}", siem(&config).signing_secret).matches("Secret").count() >= 2, "both secrets");
}

#[test]
fn names_are_found_whatever_their_case_and_dashes() {
    let config = good(SIEM, &[("SCANBELL_DESTINATIONS__MY_SIEM__ALLOW_PRIVATE", "yes")]);
    assert_eq!(config.destinations.keys().collect::<Vec<_>>(), ["my-SIEM"]);
    assert!(siem(&config).allow_private);
}

#[test]
fn what_a_key_wants_as_text_stays_as_it_is() {
    for text in ["12345", "true", "[abc]", "{a = 1}", " with spaces ", "a,b", "\"quoted\"", "1979-05-27"] {
        let config = good(
            "[destinations.oncall]\nkind = 'email'",
            &[("SCANBELL_DESTINATIONS__ONCALL__PASSWORD", text), ("SCANBELL_SERVER__TOKEN", text)],
        );
        let Settings::Email(email) = &config.destinations["oncall"] else { panic!("not e-mail") };
        assert_eq!(email.password.as_ref().unwrap().expose_secret(), text);
        assert_eq!(config.server.token.as_ref().unwrap().expose_secret(), text);
    }
}

#[test]
fn a_destination_can_come_from_the_environment_alone() {
    let url = "https://hooks.slack.com/services/T0/B0/x";
    let config = good(
        "",
        &[("SCANBELL_DESTINATIONS__SECOPS__KIND", "slack"), ("SCANBELL_DESTINATIONS__SECOPS__WEBHOOK_URL", url)],
    );
    let Settings::Slack(slack) = &config.destinations["secops"] else { panic!("not Slack") };
    assert_eq!(slack.webhook_url.as_ref().unwrap().expose_secret(), url);
}

#[test]
fn empty_variables_and_those_of_others_are_no_settings() {
    let draft = draft(
        "",
        &[
            ("SCANBELL_STORE__URL", ""),
            ("SCANBELL_CONFIG", "/somewhere/else.toml"),
            ("SCANBELL_PORT", "tcp://10.0.0.1:8642"),
            ("SCANBELL_SERVICE_HOST", "10.0.0.1"),
            ("STORE__URL", "sqlite:other.db"),
        ],
    );
    assert!(draft.problems.is_empty(), "{}", draft.problems);
    assert!(draft.warnings.is_empty(), "{:?}", draft.warnings);
    assert_eq!(draft.config.store.url.unwrap().expose_secret(), "sqlite:scanbell.db");
}

#[test]
fn a_variable_with_one_underscore_too_few_is_pointed_out() {
    let draft = draft("", &[("SCANBELL_STORE_URL", "sqlite:other.db")]);
    assert!(draft.problems.is_empty());
    insta::assert_snapshot!(draft.warnings[0], @r"
    environment SCANBELL_STORE_URL: this variable is not a setting and was not read
        two underscores separate a table from its key: did you mean `SCANBELL_STORE__URL`?
    ");
}

#[test]
fn problems_name_the_variable_and_never_its_value() {
    let secret = "hunter2-secret";
    let text = said(
        SIEM,
        &[
            ("SCANBELL_AMQP__PREFETCH", secret),
            ("SCANBELL_AMQP__DECLARE", secret),
            ("SCANBELL_AMQP__QUEUE_TYPE", secret),
            ("SCANBELL_AMQP__PASSWORT", secret),
            ("SCANBELL_STORE__RETENTION", secret),
            ("SCANBELL_REPORT__RAW_LIMIT", secret),
            ("SCANBELL_SERVER__LISTEN", secret),
            ("SCANBELL_LOG__FILTER", secret),
            ("SCANBELL_LOG__FORMAT", secret),
            ("SCANBELL_INTAKE__DEFAULT_PROVIDER", secret),
            ("SCANBELL_TEMPLATES__DIR", secret),
            ("SCANBELL_OPERATOR__TO", "hunter2-secret, my-SIEM"),
            ("SCANBELL_DESTINATIONS__MY_SIEM__LIMITS", secret),
            ("SCANBELL_DESTINATIONS__MY_SIEM__RETRY", "{ first = \"hunter2-secret\", hunter = 2 }"),
            ("SCANBELL_DESTINATIONS__MY_SIEM__ALLOW_CIDRS", secret),
            ("SCANBELL_DESTINATIONS__MY_SIEM__HEADERS", "{ X-A = 5 }"),
            ("SCANBELL_DESTINATIONS__NEW__KIND", secret),
            ("SCANBELL_ROUTES__0__WHEN", secret),
        ],
    );
    assert!(!text.contains("hunter2") && !text.contains("secret,"), "{text}");
    insta::assert_snapshot!(text, @r#"
    environment SCANBELL_STORE__RETENTION: the value is not a duration
        write it like "200ms", "90s", "30m" or "3d"
    environment SCANBELL_AMQP__DECLARE: must be true or false
    environment SCANBELL_AMQP__PASSWORT: unknown key `passwort`
        known: ca_file, cert_file, dead_letter_queue, declare, key_file, prefetch, queue, queue_type, url, url_file
    environment SCANBELL_AMQP__PREFETCH: must be a whole number from 0 to 65535
    environment SCANBELL_AMQP__QUEUE_TYPE: unknown word
        known: classic, quorum
    environment SCANBELL_SERVER__LISTEN: the value is not an address and port
        write it like "127.0.0.1:8642" or "[::]:8642"
    environment SCANBELL_LOG__FORMAT: unknown word
        known: json, text
    environment SCANBELL_DESTINATIONS__MY_SIEM__ALLOW_CIDRS: [destinations.my-SIEM] allow_cidrs.1: invalid IP address syntax
        config/default.toml shows how `allow_cidrs` is written
    environment SCANBELL_DESTINATIONS__MY_SIEM__HEADERS: [destinations.my-SIEM] headers.X-A: must be text
        put it in quotes: "…"
    environment SCANBELL_DESTINATIONS__MY_SIEM__LIMITS: must be a table
        write it like { key = "value" }
    environment SCANBELL_DESTINATIONS__MY_SIEM__RETRY: [destinations.my-SIEM] retry.first: the value is not a duration
        write it like "200ms", "90s", "30m" or "3d"
    environment SCANBELL_DESTINATIONS__NEW__KIND: unknown kind of destination
        known: email, slack, webhook
    environment SCANBELL_ROUTES__0__WHEN: [routes]: must be a list of routes
        write each route below its own [[routes]], in the file
    environment SCANBELL_REPORT__RAW_LIMIT: the value is not a size
        write it like "500B", "256kB" or "1MiB"
    environment SCANBELL_INTAKE__DEFAULT_PROVIDER: there is no provider of this name
        no [providers.NAME] is configured
    environment SCANBELL_OPERATOR__TO: there is no destination of this name
        known: my-SIEM, new
    environment SCANBELL_LOG__FILTER: this is not a log filter
        write it like "info"
    environment SCANBELL_TEMPLATES__DIR: this is not there
        make the folder, or leave the key out; a relative path begins at the working directory
    18 problems. Nothing was started.
    "#);
}
