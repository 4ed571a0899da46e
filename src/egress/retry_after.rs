//! `Retry-After` (RFC 9110, 10.2.3): seconds or an HTTP date.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::time::{Timestamp, until};

/// Longer than this is not meant: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `Retry-After` (RFC 9110, 10.2.3): seconds or an HTTP date; a bad value is none.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// The value of that header. A date that has passed is zero; more than ten years are ten years.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit are more seconds than anybody has.
        return Some(value.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    http_date(value).map(|at| until(now, at).min(LONGEST))
}

/// The form of today and the two that RFC 9110, 5.6.7 wants understood.
fn http_date(value: &str) -> Option<Timestamp> {
    let imf = || value.ends_with("GMT").then(|| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok());
    let civil =
        |form: &str| DateTime::strptime(form, value).ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    imf().flatten().or_else(|| civil("%A, %d-%b-%y %H:%M:%S GMT")).or_else(|| civil("%a %b %e %H:%M:%S %Y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_dates_and_garbage_read_as_the_rfc_says() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let seconds = |value: &str| parse_retry_after(value, now).map(|asked| asked.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), Some(37));
        assert_eq!(seconds("Sun Nov  6 08:49:37 1994"), Some(37));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:48:37 GMT"), Some(0), "a past date is now");
        assert_eq!(seconds("315360000"), Some(315_360_000), "ten years are honoured");
        assert_eq!(seconds("99999999999999999999999999"), Some(315_360_000));
        for garbage in ["", "-5", "+5", "1.5", "soon", "12 seconds", "Sun, 99 Nov 1994 08:49:37 GMT", "\u{661}"] {
            assert_eq!(seconds(garbage), None, "{garbage:?}");
        }
    }
}
