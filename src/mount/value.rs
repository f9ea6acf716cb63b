//! The values of options: text to duration, rate, size, number or permissions. Knows units, not options.

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

/// The units of sizes, the largest first.
const UNITS: [(&str, usize); 5] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("kB", 1_000), ("B", 1)];

/// Reads a size with its unit, such as `64MiB`. The error is a half-sentence.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, factor)| *factor);
    match (number.parse::<usize>(), factor) {
        (Ok(number), Some(factor)) => {
            number.checked_mul(factor).ok_or_else(|| "more than this machine can count".to_owned())
        }
        (Ok(number), None) => Err(format!("a size needs a unit (KiB, MiB, GiB): write {number}MiB")),
        (Err(_), _) => Err("write a whole number and a unit, such as 64MiB".to_owned()),
    }
}

/// A size as [`parse_size`] reads it, in the largest unit that fits.
pub(super) fn format_size(size: usize) -> String {
    let fits = |(_, factor): &&(&str, usize)| size.is_multiple_of(*factor) && size >= *factor;
    let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{unit}", size / factor)
}

/// Reads a user's or a group's number. The error is a half-sentence.
pub(super) fn parse_id(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        // chown(2): this number means "no change".
        Ok(u32::MAX) => Err("this number means nobody".to_owned()),
        Ok(id) => Ok(id),
        Err(_) => Err("write the number (id -u NAME, getent group NAME)".to_owned()),
    }
}

/// Reads permissions as chmod(1) does, such as `0640`. The error is a half-sentence.
pub(super) fn parse_mode(text: &str) -> Result<u16, String> {
    match u16::from_str_radix(text.trim(), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write permissions as an octal number up to 0777, such as 0640".to_owned()),
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
    fn sizes_have_units_and_read_back() {
        for (text, size) in
            [("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("512KiB", 512 << 10), ("25kB", 25_000), ("0B", 0)]
        {
            assert_eq!(parse_size(text), Ok(size));
            assert_eq!(parse_size(&format_size(size)), Ok(size));
        }
        assert_eq!(format_size(64 << 20), "64MiB");
        assert!(parse_size("64").unwrap_err().ends_with("write 64MiB"));
        for text in ["", "MiB", "-1MiB", "1.5MiB", "64mb", "99999999999GiB", "64M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn owners_are_numbers_and_permissions_octal() {
        assert_eq!((parse_id("0"), parse_id("65534")), (Ok(0), Ok(65534)));
        for text in ["", "root", "-1", "4294967295"] {
            assert!(parse_id(text).is_err(), "{text}");
        }
        assert_eq!((parse_mode("0640"), parse_mode("27"), parse_mode("0")), (Ok(0o640), Ok(0o27), Ok(0)));
        for text in ["", "8", "rw-r-----", "1777", "0o640"] {
            assert!(parse_mode(text).is_err(), "{text}");
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
