//! Time, behind a trait so that tests don't sleep, and the dates of HTTP.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where waits and dates come from.
pub trait Clock: Debug + Send + Sync {
    /// Time since some moment in the past; never goes back.
    fn now(&self) -> Duration;
    /// The time of day, since 1970.
    fn date(&self) -> Duration;
    /// Returns when so much has passed.
    fn sleep(&self, duration: Duration);
}

/// The machine's own.
#[derive(Debug, Default)]
pub struct SystemClock {
    start: OnceLock<Instant>,
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.get_or_init(Instant::now).elapsed()
    }

    fn date(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// Months as HTTP writes them.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7, the only form that may be sent).
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse().ok());
    let (hour, minute, second): (u64, u64, u64) = (time.next()??, time.next()??, time.next()??);
    // Before any arithmetic, which the numbers of a header could make overflow.
    let sane = words.next() == Some("GMT")
        && (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sane {
        return None;
    }
    // Days from a civil date, Howard Hinnant's algorithm: the year begins in March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let (era, of_era) = (year / 400, year % 400);
    let days =
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// `20130524T000000Z`, as AWS's signatures have it.
pub(crate) fn basic_date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The way back of the same algorithm.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Sun, 06 Nov 1994 08:49:37 PST", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("120", None),
            ("Sun, 01 Jan 0000 00:00:00 GMT", None),
            ("Sun, 06 Nov 18446744073709551615 08:49:37 GMT", None),
            ("Sun, 00 Jan 1970 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 18446744073709551615:49:37 GMT", None),
        ] {
            assert_eq!(parse_http_date(text), seconds, "{text}");
        }
    }

    #[test]
    fn dates_of_signatures() {
        assert_eq!(basic_date(0), "19700101T000000Z");
        assert_eq!(basic_date(784_111_777), "19941106T084937Z");
        assert_eq!(basic_date(1_709_251_199), "20240229T235959Z");
    }
}
