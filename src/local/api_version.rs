//! The `api-version` of a request: whether it is known, and which members it shows.

/// The version that a refusal recommends.
pub const LATEST: &str = "2026-04-01";

/// What an api-version shows of the vault's recovery settings, and what it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// 2015: no recovery members.
    Old,
    /// 2016-10-01 and 7.0: `recoveryLevel`.
    Level,
    /// 7.1 and later: `recoverableDays` too.
    Days,
    /// 2025-06-01-preview and later: `outContentType` is understood.
    Transform,
}

/// From which dated version on; the numbered ones lie between the second and the third.
const SINCE: [(&str, ApiVersion); 4] = [
    ("2015-02-01", ApiVersion::Old),
    ("2016-10-01", ApiVersion::Level),
    ("2025-01-01", ApiVersion::Days),
    ("2025-06-01", ApiVersion::Transform),
];

impl ApiVersion {
    /// Reads `7.N` or `YYYY-MM-DD`, either with a `-preview` of any kind behind it. Later ones than today's newest
    /// are taken as the newest: refusing them would break every client that is one release ahead.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, preview) = text.split_once("-preview").unwrap_or((text, ""));
        if !preview.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        match number.strip_prefix("7.") {
            Some("0") => Some(Self::Level),
            Some(minor) => (!minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit())).then_some(Self::Days),
            None => Self::parse_date(number),
        }
    }

    fn parse_date(text: &str) -> Option<Self> {
        let shape = text.bytes().map(|byte| if byte.is_ascii_digit() { b'9' } else { byte });
        if !shape.eq("9999-99-99".bytes()) {
            return None;
        }
        let since = SINCE.iter().rev().find(|(date, _)| text >= *date);
        since.map(|(_, version)| *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_version_is_taken_and_nonsense_is_not() {
        for (text, version) in [
            ("2015-06-01", ApiVersion::Old),
            ("2015-06-01-preview2", ApiVersion::Old),
            ("2016-10-01", ApiVersion::Level),
            ("7.0", ApiVersion::Level),
            ("7.0-preview", ApiVersion::Level),
            ("7.1", ApiVersion::Days),
            ("7.4-preview.1", ApiVersion::Days),
            ("7.6", ApiVersion::Days),
            ("2025-06-01-preview", ApiVersion::Transform),
            ("2025-07-01", ApiVersion::Transform),
            ("2026-04-01", ApiVersion::Transform),
            ("2031-01-01", ApiVersion::Transform),
        ] {
            assert_eq!(ApiVersion::parse(text), Some(version), "{text}");
        }
        for wrong in
            ["", "7", "7.", "7.x", "7.+1", "8.0", "1.0", "2014-01-01", "2025-7-1", "7.5-beta", "7.5-previewx", "latest"]
        {
            assert_eq!(ApiVersion::parse(wrong), None, "{wrong}");
        }
    }
}
