//! The time of day, for names and records.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now in UTC, `20261123T075312Z`: sorts as text in the order of time, and is a valid file name everywhere.
pub(crate) fn stamp() -> String {
    let (seconds, _) = since_1970(SystemTime::now());
    format!("{}Z", format_stamp(seconds))
}

/// A time in UTC to the nanosecond, `20261123T075312.123456789Z`.
pub(crate) fn moment(time: SystemTime) -> String {
    let (seconds, nanos) = since_1970(time);
    format!("{}.{nanos:09}Z", format_stamp(seconds))
}

/// What a time in either form is sorted by; nothing where a text is no such time.
pub(crate) fn order(text: &str) -> Option<&str> {
    let time = text.strip_suffix('Z')?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (day, second) = whole.split_once('T')?;
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    (digits(day, 8) && digits(second, 6) && digits(fraction, fraction.len())).then_some(time)
}

fn since_1970(time: SystemTime) -> (u64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_nanos())
}

fn format_stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, and in eras of 400 years, after which
/// the calendar repeats.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_ERA: u64 = 146_097;
    // 0000-03-01 is 719,468 days before 1970-01-01.
    let since = days + 719_468;
    let (era, day) = (since / DAYS_IN_ERA, since % DAYS_IN_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (
        era * 400 + year + u64::from(month <= 2),
        month,
        day_of_month,
    )
}

#[cfg(test)]
mod tests {
    use super::{format_stamp, moment, order};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn known_moments() {
        // Checked with `date -u -d @N +%Y%m%dT%H%M%SZ`.
        for (seconds, text) in [
            (0, "19700101T000000"),
            (951_782_399, "20000228T235959"),
            (951_782_400, "20000229T000000"),
            (1_709_251_199, "20240229T235959"),
            (4_107_542_400, "21000301T000000"),
        ] {
            assert_eq!(format_stamp(seconds), text);
        }
    }

    #[test]
    fn both_forms_sort_together() {
        let at = |nanos| moment(UNIX_EPOCH + Duration::from_nanos(nanos));
        assert_eq!(at(1_000_000_007), "19700101T000001.000000007Z");
        let times = [
            "19700101T000001Z",
            &at(1_000_000_001),
            &at(1_900_000_000),
            "19700101T000002Z",
        ];
        let orders = times.map(|time| order(time).unwrap());
        assert!(orders.is_sorted(), "{orders:?}");
        for text in [
            "",
            "Z",
            "19700101T000001",
            "1970-01-01T00:00:01Z",
            "19700101T000001.xZ",
            "x",
        ] {
            assert_eq!(order(text), None, "{text}");
        }
    }
}
