//! From a provider's answer to what it says of the scan: the body parsed, the profile's rules, the extract.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use scanbell::domain::scan::{Observation, Outcome};
use scanbell::provider::{Profiles, Provider, Settings};

use super::bodies;

/// Reads `body`, which says that the scan is finished, with the built-in profile of that name.
fn bench(bencher: Bencher, profile: &str, scan_id: &str, body: impl Into<Bytes>) {
    let settings = Settings { api_key: Some("unused".into()), ..Settings::default() };
    let profiles = Profiles::load(None).unwrap_or_else(|problems| panic!("{problems}"));
    let provider = Provider::build(profile, &settings, &profiles).unwrap_or_else(|problems| panic!("{problems}"));
    let body = body.into();
    let seen = provider.read(scan_id, 200, body.clone());
    assert_eq!(seen.observation, Observation::Ended(Outcome::Completed), "{}", seen.detail);
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench(|| provider.read(black_box(scan_id), 200, black_box(&body).clone()));
}

#[divan::bench]
fn sieve(bencher: Bencher) {
    bench(bencher, "sieve", bodies::SIEVE_ID, bodies::SIEVE);
}

#[divan::bench]
fn sieve_500_kb(bencher: Bencher) {
    bench(bencher, "sieve", bodies::SIEVE_ID, bodies::large_sieve());
}

#[divan::bench]
fn enkrypt(bencher: Bencher) {
    bench(bencher, "enkrypt", bodies::ENKRYPT_ID, bodies::ENKRYPT);
}

#[divan::bench]
fn enkrypt_500_kb(bencher: Bencher) {
    bench(bencher, "enkrypt", bodies::ENKRYPT_ID, bodies::large_enkrypt());
}
