//! Hostile input: the properties of [`properties`] over the kept corpora and over random bytes.
//!
//! `scripts/fuzz` runs the same properties under libFuzzer, for as long as one likes; what it finds is kept in
//! `fuzz/corpus` and stays here for ever.

#![expect(clippy::unwrap_used, reason = "a test may stop where it cannot go on")]

mod properties;

use std::path::{Path, PathBuf};

use proptest::test_runner::{Config, TestRunner};

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn over_its_corpus(name: &str) {
    let files = corpus(name);
    assert!(!files.is_empty(), "no corpus for {name}");
    for file in files {
        eprintln!("{}", file.display()); // shown if it fails
        properties::named(name)(&std::fs::read(&file).unwrap());
    }
}

/// Random bytes, and kept ones with random bytes in them.
fn over_random_bytes(name: &str, cases: u32) {
    let property = properties::named(name);
    let kept: Vec<Vec<u8>> = corpus(name).iter().map(|file| std::fs::read(file).unwrap()).collect();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    let input = (bytes, 0..kept.len() * 2, 0..=1_000usize, 0..=40usize);
    let whole = |(bytes, which, at, length): (Vec<u8>, usize, usize, usize)| match kept.get(which) {
        None => bytes,
        Some(kept) => {
            let at = at * kept.len() / 1_000;
            let end = (at + length).min(kept.len());
            [&kept[..at], &bytes[..bytes.len().min(length)], &kept[end..]].concat()
        }
    };
    runner
        .run(&input, |input| {
            property(&whole(input));
            Ok(())
        })
        .unwrap();
}

macro_rules! doors {
    ($($name:ident: $cases:literal)+) => { $(
        mod $name {
            #[test]
            fn keeps_its_property_over_everything_that_was_ever_found() {
                super::over_its_corpus(stringify!($name));
            }

            #[test]
            fn keeps_its_property_over_random_bytes() {
                super::over_random_bytes(stringify!($name), $cases);
            }
        }
    )+

    #[test]
    fn every_property_is_tested_and_has_a_fuzz_target() {
        let names: Vec<&str> = properties::ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [$(stringify!($name)),+]);
        for name in names {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets").join(format!("{name}.rs"));
            assert!(target.is_file(), "{}", target.display());
        }
    } };
}

doors! {
    configuration: 200
    escaping: 40
    frames: 500
    mail: 200
    profile: 100
    profile_text: 200
    request: 500
    retry_after: 500
    routes: 200
    slack: 100
}
