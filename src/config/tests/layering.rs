use super::*;
use crate::secret::ExposeSecret;
use crate::time::Span;

#[test]
fn later_layers_override_single_keys_and_leave_the_others() {
    let text = "[store]\nretention = '7d'\n[intake]\ndedupe = '1h'\n[providers.sieve]\nbase_url = 'http://127.0.0.1:1'\n\
                poll = { first = '5s', max = '9s' }";
    let config = good(text, &[("SCANBELL_INTAKE__DEDUPE", "2h"), ("SCANBELL_PROVIDERS__SIEVE__POLL__MAX", "20s")]);
    assert_eq!(config.store.url.as_ref().unwrap().expose_secret(), "sqlite:scanbell.db", "built in");
    assert_eq!(config.store.retention, Span::secs(7 * 86_400), "the file over what is built in");
    assert_eq!(config.intake.dedupe, Span::secs(7200), "the environment over the file");
    let poll = config.providers["sieve"].poll;
    assert_eq!((poll.first, poll.max), (Some(Span::secs(5)), Some(Span::secs(20))));
    assert_eq!(config.providers["sieve"].base_url.as_deref(), Some("http://127.0.0.1:1"));
}

#[test]
fn lists_replace_and_do_not_add_up() {
    let text = "[destinations.a]\nkind = 'slack'\n[destinations.b]\nkind = 'slack'\n[operator]\nto = ['a', 'b']";
    assert_eq!(good(text, &[("SCANBELL_OPERATOR__TO", "b")]).operator.to, ["b"]);
}

#[test]
fn there_is_a_broker_only_if_somebody_wrote_one() {
    assert!(good("", &[]).amqp.is_none());
    assert!(good("[amqp]", &[]).amqp.is_some());
    assert!(good("", &[("SCANBELL_AMQP__URL", "amqp://localhost")]).amqp.is_some());
}

#[test]
fn a_secret_given_later_replaces_both_spellings_of_the_earlier_one() {
    let from_file = "[server]\ntoken_file = '/run/secrets/scanbell'\n[store]\nurl_file = '/run/secrets/store'";
    let config = good(from_file, &[("SCANBELL_SERVER__TOKEN", "later")]);
    assert_eq!(config.server.token.as_ref().unwrap().expose_secret(), "later");
    assert_eq!(config.server.token_file, None);
    assert!(config.store.url.is_none(), "the file's url_file replaces the built-in url");
    assert_eq!(config.store.url_file, Some(PathBuf::from("/run/secrets/store")));
}

#[test]
fn the_same_secret_twice_in_one_place_is_a_problem() {
    let text = said("[server]\ntoken = 'a'\ntoken_file = 'b'\n[store]\nurl = 'sqlite:a'\nurl_file = 'b'", &[]);
    insta::assert_snapshot!(text, @r"
    app.toml:1: [server]: both `token` and `token_file` are set
        keep one of them
    app.toml:4: [store]: both `url` and `url_file` are set
        keep one of them
    2 problems. Nothing was started.
    ");
}

#[test]
fn a_named_file_that_is_not_there_is_a_problem() {
    let problems = load(&options(Some("/nowhere/scanbell.toml".into()), &[])).unwrap_err();
    insta::assert_snapshot!(problems, @r"
    /nowhere/scanbell.toml: the configuration file cannot be read: No such file or directory (os error 2)
        check the path; relative paths begin at the working directory
    1 problem. Nothing was started.
    ");
}

#[test]
fn the_first_usual_place_that_exists_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.toml"), dir.path().join("second.toml"));
    let mut options = options(None, &[]);
    options.candidates = vec![first.clone(), second.clone()];
    assert_eq!(load(&options).unwrap().file, None);
    std::fs::write(&second, "[log]\nfilter = 'warn'").unwrap();
    assert_eq!(load(&options).unwrap().file, Some(second));
    std::fs::write(&first, "\u{feff}[log]\nfilter = 'error'").unwrap();
    let loaded = load(&options).unwrap();
    assert_eq!((loaded.file, loaded.config.log.filter.as_str()), (Some(first), "error"));
}

#[test]
fn a_file_that_cannot_be_read_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(None, &[]);
    options.candidates = vec![dir.path().to_owned()];
    assert!(load(&options).unwrap_err().to_string().contains("cannot be read"));
    options.candidates = vec![dir.path().join("binary.toml")];
    std::fs::write(dir.path().join("binary.toml"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(load(&options).unwrap_err().to_string().contains("cannot be read"));
}
