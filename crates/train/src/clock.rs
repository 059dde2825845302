//! The time of day, for names and records.

use jiff::Timestamp;
use std::time::SystemTime;

/// Now in UTC, `20261123T075312Z`: sorts as text in the order of time, and is a valid file name everywhere.
pub(crate) fn stamp() -> String {
    Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A time in UTC to the nanosecond, `20261123T075312.123456789Z`.
pub(crate) fn moment(time: SystemTime) -> String {
    // A clock that is off by ten thousand years tells nothing.
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%S.%9fZ").to_string()
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

#[cfg(test)]
mod tests {
    use super::{moment, order, stamp};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn known_moments() {
        // Checked with `date -u -d @N +%Y%m%dT%H%M%SZ`.
        for (seconds, text) in [
            (0, "19700101T000000"),
            (951_782_400, "20000229T000000"),
            (4_107_542_400, "21000301T000000"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(moment(time), format!("{text}.000000000Z"));
        }
        let (now, later) = (stamp(), stamp());
        assert_eq!(now.len(), "20261123T075312Z".len());
        assert!(order(&now).unwrap() <= order(&later).unwrap());
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
