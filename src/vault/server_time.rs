//! What time it is at the vault, from the `Date` of its answers. Needed where its dates are compared with the moment
//! a change began here: the two clocks may differ by any amount.

use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use super::reply::Reply;
use crate::clock::Moment;

/// The last `Date`, and when it came.
#[derive(Default)]
pub(super) struct ServerTime(Mutex<Option<(i64, Moment)>>);

impl ServerTime {
    /// Takes the date of `reply`, which came at `moment`.
    pub(super) fn note(&self, reply: &Reply, moment: Moment) {
        let date = reply.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let seconds = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        if let Some(seconds) = seconds.and_then(|since| i64::try_from(since.as_secs()).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((seconds, moment));
        }
    }

    /// Seconds since 1970 by the vault's clock at `moment`; give or take one. `None` before its first answer.
    pub(super) fn at(&self, moment: Moment) -> Option<i64> {
        let (date, came) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let whole = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Some(date.saturating_add(whole(moment.since(came))).saturating_sub(whole(came.since(moment))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_vaults_time_before_and_after_its_last_answer() {
        let at = |seconds| Moment::from_start(Duration::from_secs(seconds));
        let time = ServerTime::default();
        assert_eq!(time.at(at(5)), None);
        let headers = vec![("Date".to_owned(), "Tue, 14 Jul 2026 03:33:20 GMT".to_owned())];
        time.note(&Reply { status: 200, headers, body: Vec::new().into() }, at(100));
        time.note(&Reply { status: 200, headers: Vec::new(), body: Vec::new().into() }, at(105));
        assert_eq!(time.at(at(100)), Some(1_784_000_000));
        assert_eq!(time.at(at(110)), Some(1_784_000_010));
        assert_eq!(time.at(at(90)), Some(1_783_999_990));
    }
}
