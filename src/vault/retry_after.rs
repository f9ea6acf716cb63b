//! How long an answer asks us to wait. Knows three headers and nothing of what is done about them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::reply::Reply;

/// What a longer wish is cut to. A server must not be able to silence a client for a day.
const LONGEST: Duration = Duration::from_secs(300);

/// The wish of `reply`, if it has a sensible one: `retry-after-ms` and `x-ms-retry-after-ms` in milliseconds, else
/// `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3). That is held against the reply's own date; `now`, which may
/// be set wrong here, only counts without one.
pub(super) fn retry_after(reply: &Reply, now: SystemTime) -> Option<Duration> {
    let date = reply.header("date").and_then(|text| httpdate::parse_http_date(text.trim()).ok());
    let now = date.unwrap_or(now);
    let milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .filter_map(|name| reply.header(name))
        .find_map(|text| digits(text).map(Duration::from_millis));
    let wish = milliseconds.or_else(|| reply.header("retry-after").and_then(|text| seconds_or_date(text, now)));
    wish.map(|wish| wish.min(LONGEST))
}

fn seconds_or_date(text: &str, now: SystemTime) -> Option<Duration> {
    if let Some(seconds) = digits(text) {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    let (date, now) = (date.duration_since(UNIX_EPOCH).ok()?, now.duration_since(UNIX_EPOCH).ok()?);
    date.checked_sub(now)
}

/// A number without a sign; one too large for the type is as large as the type has.
fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(headers: &[(&str, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let reply = Reply { status: 429, headers, body: Vec::new().into() };
        let now = UNIX_EPOCH + Duration::from_secs(1_784_000_000); // Tue, 14 Jul 2026 03:33:20 GMT
        retry_after(&reply, now).map(|wish| u64::try_from(wish.as_millis()).expect("small"))
    }

    #[test]
    fn wishes_in_seconds_milliseconds_and_dates() {
        for (headers, expected) in [
            (&[("Retry-After", "2")][..], Some(2_000)),
            (&[("retry-after", " 0 ")], Some(0)),
            (&[("retry-after-ms", "250")], Some(250)),
            (&[("x-ms-retry-after-ms", "250"), ("Retry-After", "9")], Some(250)),
            (&[("retry-after-ms", "soon"), ("x-ms-retry-after-ms", "7")], Some(7)),
            (&[("retry-after-ms", "-1"), ("Retry-After", "9")], Some(9_000)),
            (&[("Retry-After", "Tue, 14 Jul 2026 03:33:25 GMT")], Some(5_000)),
            (&[("Retry-After", "Tue, 14 Jul 2026 03:33:15 GMT")], None),
            (
                &[("Retry-After", "Tue, 14 Jul 2026 03:33:25 GMT"), ("Date", "Tue, 14 Jul 2026 03:33:23 GMT")],
                Some(2_000),
            ),
            // Our clock is a day behind the vault's, or a day ahead.
            (
                &[("Retry-After", "Wed, 15 Jul 2026 03:33:25 GMT"), ("Date", "Wed, 15 Jul 2026 03:33:20 GMT")],
                Some(5_000),
            ),
            (
                &[("Retry-After", "Mon, 13 Jul 2026 03:33:25 GMT"), ("Date", "Mon, 13 Jul 2026 03:33:20 GMT")],
                Some(5_000),
            ),
            (&[("Retry-After", "Tue, 14 Jul 2026 03:33:25 GMT"), ("Date", "today")], Some(5_000)),
            (&[("Retry-After", "-5")], None),
            (&[("Retry-After", "1.5")], None),
            (&[("Retry-After", "")], None),
            (&[("Retry-After", "a while")], None),
            (&[("Retry-After", "99999999999999999999999999")], Some(300_000)),
            (&[("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")], Some(300_000)),
            (&[], None),
        ] {
            assert_eq!(wish(headers), expected, "{headers:?}");
        }
    }
}
