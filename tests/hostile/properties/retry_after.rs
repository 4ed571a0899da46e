//! `Retry-After`: any header value at any time of the clock is a bounded wait or none.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use scanbell::egress::{parse_retry_after, retry_after};
use scanbell::time::{Timestamp, after};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

pub fn a_wait_is_bounded(data: &[u8]) {
    let (clock, value) = data.split_at(data.len().min(8));
    let clock = clock.try_into().map_or(0, i64::from_le_bytes);
    for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_millisecond(clock).unwrap_or(Timestamp::UNIX_EPOCH)] {
        let text = String::from_utf8_lossy(value);
        check(parse_retry_after(&text, now), &text, now);
        if let Ok(header) = HeaderValue::from_bytes(value) {
            let asked = retry_after(&HeaderMap::from_iter([(RETRY_AFTER, header)]), now);
            check(asked, &text, now);
        }
    }
}

fn check(asked: Option<Duration>, text: &str, now: Timestamp) {
    assert!(asked.is_none_or(|asked| asked <= TEN_YEARS), "{text:?}: {asked:?}");
    // Never beyond the end of time.
    let _ = asked.map(|asked| after(now, asked));
    if let Ok(seconds) = text.parse::<u32>()
        && !text.starts_with('+')
        && !text.is_empty()
    {
        assert_eq!(asked, Some(Duration::from_secs(seconds.into()).min(TEN_YEARS)), "{text:?}");
    }
}
