//! The values of options: text to duration or rate. Knows units, not options.

use std::time::Duration;

/// Reads a duration with its unit, such as `15s`, `1h 30min` or `500ms`. The error is a half-sentence.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a duration needs a unit: write {text}s for seconds"));
    }
    // humantime reads M as months, and whoever writes 5M here means minutes.
    if text.contains('M') {
        return Err("M is no unit: write min for minutes".to_owned());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}: write for example 15s, 5min or 1h"))
}

/// Reads a number of requests a second, such as `400/s`; at least one. The error is a half-sentence.
pub(super) fn parse_rate(text: &str) -> Result<u32, String> {
    let number =
        text.trim().strip_suffix("/s").ok_or_else(|| format!("a rate needs a unit: write {}", example(text)))?;
    match number.trim_end().parse() {
        Ok(0) => Err("at least 1/s is needed".to_owned()),
        Ok(rate) => Ok(rate),
        Err(_) => Err("write a whole number a second, such as 400/s".to_owned()),
    }
}

fn example(text: &str) -> String {
    let number: u32 = text.trim().parse().unwrap_or(400);
    format!("{number}/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h 30min"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_bare_number_is_told_what_to_write() {
        assert_eq!(parse_duration("15"), Err("a duration needs a unit: write 15s for seconds".to_owned()));
        assert_eq!(parse_duration("0"), Err("a duration needs a unit: write 0s for seconds".to_owned()));
    }

    #[test]
    fn no_month_is_taken_for_a_minute() {
        assert_eq!(parse_duration("5M"), Err("M is no unit: write min for minutes".to_owned()));
    }

    #[test]
    fn nonsense_is_no_duration() {
        for text in ["", "s", "-1s", "15 parsecs", "1e9s", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_per_second_and_not_zero() {
        assert_eq!(parse_rate("400/s"), Ok(400));
        assert_eq!(parse_rate(" 1/s "), Ok(1));
        assert_eq!(parse_rate("40"), Err("a rate needs a unit: write 40/s".to_owned()));
        for text in ["", "0/s", "-1/s", "1.5/s", "5000000000/s", "3/min", "/s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
