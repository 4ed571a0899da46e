use super::*;

#[test]
fn a_dozen_mistakes_are_all_told_at_once_with_place_fact_and_way_out() {
    let text = r#"
[store]
retention = "30 parsecs"

[amqpp]
url = "amqp://localhost"

[amqp]
prefech = 10
queue_type = "quorun"
declare = "yes please"
prefetch = -1
url = 5

[server]
listen = "everywhere"

[log]
format = "jsn"
filter = "inof"

[providers.sieve]
poll = { first = "soon", growth = "much", graze = "1m" }

[destinations.secops]
kind = "slak"

[destinations.nameless]
webhook_url = "https://hooks.slack.com/services/T0/B0/hunter2"

[destinations.oncall]
kind = "email"
to = ["a@example.com", 5]

[[routes]]
to = "secops"
wen = "true"

[operator]
to = ["oncal", "nowhere"]

[intake]
default_provider = "seive"

[report]
raw_limit = "much"
"#;
    insta::assert_snapshot!(said(text, &[]), @r#"
    app.toml:3: [store] retention: `30 parsecs` is not a duration
        write it like "200ms", "90s", "30m" or "3d"
    app.toml:5: unknown key `amqpp`
        did you mean `amqp`? known: amqp, destinations, intake, log, operator, profiles, providers, report, routes, server, shutdown, store, templates
    app.toml:9: [amqp]: unknown key `prefech`
        did you mean `prefetch`? known: ca_file, cert_file, dead_letter_queue, declare, key_file, prefetch, queue, queue_type, url, url_file
    app.toml:10: [amqp] queue_type: unknown word `quorun`
        did you mean `quorum`? known: classic, quorum
    app.toml:11: [amqp] declare: must be true or false, this is text
        write it without quotes
    app.toml:12: [amqp] prefetch: must be a whole number from 0 to 65535, this is a negative number
    app.toml:13: [amqp] url: must be text, this is a whole number
        put it in quotes: "…"
    app.toml:16: [server] listen: `everywhere` is not an address and port
        write it like "127.0.0.1:8642" or "[::]:8642"
    app.toml:19: [log] format: unknown word `jsn`
        did you mean `json`? known: json, text
    app.toml:20: [log] filter: `inof` is not a level
        did you mean `info`? known: debug, error, info, off, trace, warn; for a part of the program write `inof=debug`
    app.toml:23: [providers.sieve] poll.first: `soon` is not a duration
        write it like "200ms", "90s", "30m" or "3d"
    app.toml:23: [providers.sieve] poll: unknown key `graze`
        known: deadline, first, growth, max, not_found_grace
    app.toml:23: [providers.sieve] poll.growth: must be a number, this is text
        write it without quotes
    app.toml:26: [destinations.secops] kind: unknown kind of destination `slak`
        did you mean `slack`? known: email, slack, webhook
    app.toml:28: [destinations.nameless]: `kind` is missing
        add `kind = …`: slack, email, webhook
    app.toml:33: [destinations.oncall] to.2: must be text, this is a whole number
        put it in quotes: "…"
    app.toml:36: [[routes]] route 1: to: must be a list, this is text
        write it like ["one", "two"]
    app.toml:37: [[routes]] route 1: unknown key `wen`
        did you mean `when`? known: name, stop, to, when
    app.toml:40: [operator] to: there is no destination `oncal`
        did you mean `oncall`? known: nameless, oncall, secops
    app.toml:40: [operator] to: there is no destination `nowhere`
        known: nameless, oncall, secops
    app.toml:43: [intake] default_provider: there is no provider `seive`
        did you mean `sieve`? known: sieve
    app.toml:46: [report] raw_limit: `much` is not a size
        write it like "500B", "256kB" or "1MiB"
    22 problems. Nothing was started.
    "#);
}

#[test]
fn a_syntax_error_shows_its_place_and_hides_what_is_written_there() {
    for text in [
        "[server]\ntoken = \"hunter2",
        "[server]\ntoken = hunter2",
        "[server]\nheaders = { a = \"hunter2\" b = 1 }",
        "[server]\ntoken = [\n  \"hunter2\n]",
        "[server]\ntoken = \"\"\"\nhunter2=\\q\n\"\"\"",
        "hunter2\"hunter2\" = = 1",
        "[server\ntoken = 'hunter2'",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.toml");
        std::fs::write(&file, text).unwrap();
        let problems = load(&options(Some(file), &[])).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }
    let shown = document::parse("app.toml".as_ref(), "[server]\ntoken = \"hunter2\nlisten = ''").err().unwrap();
    insta::assert_snapshot!(shown, @r#"
    app.toml:2:17: this is not TOML: invalid basic string, expected `"`
        token = "·······
                        ^ (values are hidden)
    "#);
}

#[test]
fn whoever_lets_others_in_must_set_a_token() {
    insta::assert_snapshot!(said("[server]\nlisten = '0.0.0.0:8642'", &[]), @r"
    app.toml:2: [server] listen: others can reach 0.0.0.0:8642, and no token is set
        set `token_file` (or `token`) in [server], or listen on 127.0.0.1
    1 problem. Nothing was started.
    ");
    good("[server]\nlisten = '0.0.0.0:8642'\ntoken = 'x'", &[]);
    good("[server]\nlisten = '[::1]:8642'", &[]);
    good("[server]\nlisten = 'localhost:8642'", &[]);
    assert!(said("[server]\ntoken = ' '", &[]).contains("the token is empty"));
}

#[test]
fn a_folder_that_somebody_chose_must_be_there() {
    let text = said("[templates]\ndir = '/nowhere/templates'\n[profiles]\ndir = 'nowhere/profiles'", &[]);
    insta::assert_snapshot!(text, @r"
    app.toml:2: [templates] dir: `/nowhere/templates` is not there
        make the folder, or leave the key out; a relative path begins at the working directory
    app.toml:4: [profiles] dir: `nowhere/profiles` is not there
        make the folder, or leave the key out; a relative path begins at the working directory
    2 problems. Nothing was started.
    ");
    good("[templates]\ndir = 'templates'\n[profiles]\ndir = 'profiles'", &[]);
}

#[test]
fn an_address_of_a_person_is_not_repeated() {
    let text = said("[operator]\nto = ['jane@example.com']\n[destinations.a]\nkind = 'slack'", &[]);
    assert!(!text.contains("jane"), "{text}");
    assert!(text.contains("names of destinations, not of addresses"), "{text}");
}

#[test]
fn values_of_secret_keys_are_not_repeated_from_a_file_either() {
    let text = said(
        "[destinations.a]\nkind = 'webhook'\nurl = { hunter2 = 1 }\nheaders = 'hunter2'\nsigning_secret = 5\n\
         [server]\ntoken = ['hunter2']\n[store]\nurl = 7",
        &[],
    );
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.ends_with("5 problems. Nothing was started."), "{text}");
}

#[test]
fn keeping_shorter_than_recognising_is_a_warning() {
    let draft = draft("[store]\nretention = '1h'", &[]);
    assert!(draft.problems.is_empty());
    assert!(draft.warnings[0].to_string().contains("[store] retention"), "{}", draft.warnings[0]);
}

#[test]
fn what_should_be_a_table_and_is_not_says_so() {
    insta::assert_snapshot!(said("store = 5\nproviders = 'sieve'\nroutes = 'all'\ndestinations.a = 1\nlog = []", &[]), @r#"
    app.toml:1: [store]: must be a table, this is a whole number
        write it like { key = "value" }
    app.toml:2: [providers]: must be tables with a name each
        write [providers.NAME]
    app.toml:3: [routes]: must be a list of routes
        write each route below its own [[routes]], in the file
    app.toml:4: [destinations.a]: `kind` is missing
        add `kind = …`: slack, email, webhook
    app.toml:5: [log]: must be a table, this is a list
        write it like { key = "value" }
    5 problems. Nothing was started.
    "#);
}

#[test]
fn a_faulty_destination_still_counts_as_one_for_those_who_name_it() {
    let draft = draft("[destinations.a]\nkind = 'slak'\n[operator]\nto = ['a']", &[]);
    assert_eq!(draft.problems.len(), 1, "{}", draft.problems);
    assert_eq!(draft.destination_names, ["a"]);
}

#[test]
fn names_that_cannot_be_part_of_an_address_are_refused() {
    assert_eq!(draft("[destinations.\"\"]\nkind = 'slack'\n[providers.\"a/b\"]", &[]).problems.len(), 2);
    good("[destinations.\"On call, EU\"]\nkind = 'slack'", &[]);
}

#[test]
fn problems_of_other_rooms_get_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    std::fs::write(&file, "[destinations.siem]\nkind = 'webhook'\nurl = 'x'\n[[routes]]\nto = ['siem']\nwhen = '('\n[[routes]]\nname = 'to: all'\nwhen = ')'\nto = []")
        .unwrap();
    let draft = Draft::of(&options(Some(file.clone()), &[("SCANBELL_AMQP__URL", "x")])).unwrap();
    let located = |place: &str, fact: &str| {
        let problem = draft.places.located_one(Problem::new(place, fact));
        problem.place.replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(located("[destinations.siem]", "`url` is no URL"), "app.toml:3: [destinations.siem]");
    assert_eq!(located("[destinations.siem]", "says nothing"), "app.toml:1: [destinations.siem]");
    assert_eq!(located("[[routes]] route 1: when", "does not compile"), "app.toml:6: [[routes]] route 1: when");
    assert_eq!(located("[[routes]] to: all: when", "does not compile"), "app.toml:9: [[routes]] to: all: when");
    assert_eq!(located("[[routes]] to: all", "leads nowhere"), "app.toml:7: [[routes]] to: all");
    assert_eq!(located("[amqp]", "`url` is no URL"), "environment SCANBELL_AMQP__URL: [amqp]");
    assert_eq!(located("templates/a.hbs:2", "`x` is unknown"), "templates/a.hbs:2");
}

#[test]
fn numbers_that_do_not_fit_say_so() {
    let text = said(
        "[amqp]\nprefetch = 70000\n[destinations.a]\nkind = 'slack'\nlimits.concurrency = 99999999999999999999",
        &[],
    );
    insta::assert_snapshot!(text, @r"
    app.toml:2: [amqp] prefetch: must be a whole number from 0 to 65535, this is too large
    app.toml:5: [destinations.a] limits.concurrency: must be a whole number from 0 to 4294967295, this is too large
    2 problems. Nothing was started.
    ");
}

#[test]
fn every_faulty_element_of_a_list_is_told() {
    let text = said(
        "[destinations.a]\nkind = 'webhook'\nallow_cidrs = [\n'10.0.0.0/8',\n'10.0.0.0/99',\n'fd00::/8',\n5,\n'x']",
        &[],
    );
    insta::assert_snapshot!(text, @r"
    app.toml:5: [destinations.a] allow_cidrs.2: invalid IP address syntax
        config/default.toml shows how `allow_cidrs` is written
    app.toml:7: [destinations.a] allow_cidrs.4: must be IPv4 or IPv6 network address, this is a whole number
    app.toml:8: [destinations.a] allow_cidrs.5: invalid IP address syntax
        config/default.toml shows how `allow_cidrs` is written
    3 problems. Nothing was started.
    ");
}

#[test]
fn a_configuration_shows_no_secret_when_it_is_debugged() {
    let text = "[server]\ntoken = 'hunter2-a'\n[destinations.a]\nkind = 'webhook'\nurl = 'https://x/hunter2-b'\n\
                headers = { a = 'hunter2-c' }\nsigning_secret = ['hunter2-d']\n[amqp]\nurl = 'amqp://a:hunter2-e@x'";
    let draft =
        draft(text, &[("SCANBELL_PROVIDERS__SIEVE__API_KEY", "hunter2-f"), ("SCANBELL_STORE__URL", "hunter2-g")]);
    assert!(draft.problems.is_empty(), "{}", draft.problems);
    assert!(!format!("{draft:?}").contains("hunter2"));
}

#[test]
fn a_daemon_without_providers_has_nothing_to_do_but_a_configuration_may_be_without() {
    let config = good("", &[]);
    assert!(config.nothing_to_follow().is_some() && config.nobody_to_tell().is_some());
    let config = good("[providers.sieve]\n[destinations.a]\nkind = 'slack'", &[]);
    assert!(config.nothing_to_follow().is_none() && config.nobody_to_tell().is_none());
}

#[test]
fn what_two_rooms_find_is_told_once_and_in_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    std::fs::write(&file, "[amqp]\nprefetch = 0\n[store]\nurl = 'sqlite:a'\nurl_file = 'b'").unwrap();
    let draft = Draft::of(&options(Some(file), &[])).unwrap();
    let mut more = Problems::from(draft.config.store.url("[store]").unwrap_err());
    more.push(Problem::new("[amqp]", "`prefetch` is 0"));
    let facts: Vec<String> = draft.all_problems(&more).iter().map(|problem| problem.fact.clone()).collect();
    assert_eq!(facts, ["`prefetch` is 0", "both `url` and `url_file` are set"]);
}

#[test]
fn a_duration_or_a_size_without_quotes_is_told_how_one_is_written() {
    let text = "[store]\nretention = 30\n[report]\nraw_limit = 256\n[shutdown]\ngrace = true";
    insta::assert_snapshot!(said(text, &[]), @r#"
    app.toml:2: [store] retention: must be a duration in quotes, like "90s", this is a whole number
    app.toml:4: [report] raw_limit: must be a size in quotes, like "256kB", this is a whole number
    app.toml:6: [shutdown] grace: must be a duration in quotes, like "90s", this is true or false
    3 problems. Nothing was started.
    "#);
}
