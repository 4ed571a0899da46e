//! The key: refused, replaced, missing.

use crate::domain::scan::{Observation, Outcome};
use crate::provider::testing::{Reply, SIEVE_BODY, SIEVE_ID, Server, provider_with};
use crate::provider::{Provider, Settings};
use crate::time::from_millis;

/// Takes only the key `new`.
async fn picky() -> Server {
    Server::start(|_, asked| match asked.header("x-api-key") {
        Some("new") => Reply::json(200, SIEVE_BODY),
        _ => Reply::json(401, r#"{"error":"revoked"}"#),
    })
    .await
}

fn with_key_file(server: &Server, file: &std::path::Path) -> Provider {
    let settings = Settings { api_key: None, api_key_file: Some(file.to_owned()), ..server.settings("sieve") };
    provider_with("sieve", &settings)
}

#[tokio::test]
async fn a_key_that_was_replaced_in_its_file_is_tried_before_anybody_hears_of_it() {
    let server = picky().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let provider = with_key_file(&server, file.path());
    assert_eq!(provider.poll(SIEVE_ID, from_millis(0)).await.observation, Observation::Unauthorized);
    assert_eq!(server.asked().len(), 1, "the same key is not tried twice");
    std::fs::write(file.path(), "new").unwrap();
    let seen = provider.poll(SIEVE_ID, from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
}

#[tokio::test]
async fn a_key_file_that_went_missing_pauses_like_a_refused_key_and_names_the_file() {
    let server = picky().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sieve.key");
    std::fs::write(&file, "old\n").unwrap();
    let provider = with_key_file(&server, &file);
    std::fs::remove_file(&file).unwrap();
    let seen = provider.poll(SIEVE_ID, from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Unauthorized);
    assert!(provider.reload_secret().unwrap_err().contains("sieve.key"));
    std::fs::write(&file, "new\n").unwrap();
    assert!(provider.reload_secret().is_ok());
    let seen = provider.poll(SIEVE_ID, from_millis(0)).await;
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed));
}

#[tokio::test]
async fn a_probe_says_whether_the_key_is_taken() {
    let server = picky().await;
    let error = server.provider("sieve").probe(from_millis(0)).await.unwrap_err();
    assert!(error.contains("the key is refused") && !error.contains("s3cret"), "{error}");
    let server = Server::script(vec![Reply::json(404, "{}")]).await;
    assert_eq!(server.provider("sieve").probe(from_millis(0)).await.unwrap(), "answers and takes the key");
    let server = Server::script(vec![Reply::json(500, "{}")]).await;
    assert_eq!(server.provider("sieve").probe(from_millis(0)).await.unwrap_err(), "HTTP 500");
}
