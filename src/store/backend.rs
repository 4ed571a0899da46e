//! Which database a store URL names, and how to open it.
//!
//! Knows the URL's forms and nothing of tables.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Result, SharedStore, Store, StoreError, sqlite::SqliteStore};
use crate::problem::did_you_mean;

/// Schemes that are read; `did_you_mean` lists them.
const SCHEMES: [&str; 2] = ["sqlite", "postgres"];

/// Opens the store that `url` names, creating or upgrading what is there.
///
/// `sqlite:PATH` is a file beside the process, safe for several processes on one machine. Creating the file is
/// part of opening it; creating its folder is not.
pub async fn open(url: &str) -> Result<SharedStore> {
    let path = sqlite_path(url).map_err(StoreError::Unusable)?;
    Ok(Arc::new(SqliteStore::open(path).await?))
}

/// Whether `url` names a store this version can open, without touching it. The error says what would be right.
pub fn check_url(url: &str) -> std::result::Result<(), String> {
    sqlite_path(url).map(|_| ())
}

/// Whether there is something to open: a file that is there already.
pub fn exists(url: &str) -> bool {
    sqlite_path(url).is_ok_and(|path| path.exists())
}

/// Whether the store can be used now: opens and writes to one that is there; one that is not there yet needs a
/// folder that can be written to, and is not created.
pub async fn probe(url: &str) -> Result<()> {
    let path = sqlite_path(url).map_err(StoreError::Unusable)?;
    if !path.exists() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        return tempfile::tempfile_in(folder)
            .map(drop)
            .map_err(|error| StoreError::Unavailable(format!("{} cannot be created: {error}", path.display())));
    }
    let store = SqliteStore::open(path).await?;
    let answer = store.ping().await;
    store.close().await;
    answer
}

/// The file of `sqlite:PATH`, `sqlite://PATH` or `sqlite:///ABSOLUTE/PATH`. Never quotes the URL: it may hold a password.
fn sqlite_path(url: &str) -> std::result::Result<PathBuf, String> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err("the store's URL has no scheme; write it like \"sqlite:scanbell.db\"".to_owned());
    };
    match scheme {
        "sqlite" => file_path(rest),
        "postgres" | "postgresql" => {
            Err("PostgreSQL is not yet in this version; use sqlite:PATH, like \"sqlite:scanbell.db\"".to_owned())
        }
        _ => Err(format!("`{scheme}:` is not a kind of store; {}", did_you_mean(scheme, SCHEMES))),
    }
}

fn file_path(rest: &str) -> std::result::Result<PathBuf, String> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err("the store's URL names no file; write it like \"sqlite:scanbell.db\"".to_owned());
    }
    if path.starts_with(':') {
        return Err(
            "a store in memory would lose what it accepted; name a file, like \"sqlite:scanbell.db\"".to_owned()
        );
    }
    if path.contains(['?', '#', '\0']) {
        return Err("`sqlite:` takes a path and nothing else: no `?`, `#` or NUL in it".to_owned());
    }
    if path.ends_with('/') {
        return Err("the store's URL names a folder; add a file, like \"sqlite:data/scanbell.db\"".to_owned());
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("sqlite:scanbell.db", "scanbell.db")]
    #[case("sqlite:data/with space.db", "data/with space.db")]
    #[case("sqlite:/var/lib/scanbell/scanbell.db", "/var/lib/scanbell/scanbell.db")]
    #[case("sqlite:///var/lib/scanbell.db", "/var/lib/scanbell.db")]
    #[case("sqlite://scanbell.db", "scanbell.db")]
    fn a_sqlite_url_names_its_file(#[case] url: &str, #[case] path: &str) {
        assert_eq!(sqlite_path(url), Ok(PathBuf::from(path)));
        assert_eq!(check_url(url), Ok(()));
    }

    #[rstest]
    #[case("postgres://user:hunter2@host/db", "not yet in this version; use sqlite:PATH")]
    #[case("postgresql://host/db", "not yet in this version")]
    #[case("sqlte:scanbell.db", "did you mean `sqlite`?")]
    #[case("mysql://root:hunter2@host", "known: postgres, sqlite")]
    #[case("scanbell.db", "sqlite:scanbell.db")]
    #[case("sqlite:", "names no file")]
    #[case("sqlite::memory:", "name a file")]
    #[case("sqlite:a.db?mode=ro", "nothing else")]
    #[case("sqlite:data/", "add a file")]
    fn a_wrong_url_is_told_the_way_out_and_not_repeated(#[case] url: &str, #[case] says: &str) {
        let error = check_url(url).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_probe_leaves_nothing_behind_and_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("scanbell.db").display());
        probe(&url).await.unwrap();
        assert!(!exists(&url));
        open(&url).await.unwrap().close().await;
        assert!(exists(&url));
        probe(&url).await.unwrap();
        let nowhere = format!("sqlite:{}/missing/scanbell.db", folder.path().display());
        assert!(matches!(probe(&nowhere).await, Err(StoreError::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_postgres_store_is_unusable_not_a_panic() {
        assert!(matches!(open("postgres://host/db").await, Err(StoreError::Unusable(_))));
    }
}
