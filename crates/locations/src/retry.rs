//! When a failure is met with another attempt, and how long before.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::http::HeaderMap;

use crate::clock::{Clock, parse_http_date};

/// Failures in a row after which an attempt is the last. Seven are survived, which takes 14 seconds of waiting.
pub(crate) const FAILURES: u32 = 8;

/// The first wait, which doubles.
const FIRST: Duration = Duration::from_millis(200);

/// The longest wait of our own.
const LAST: Duration = Duration::from_secs(4);

/// Longer than this no server's wish to wait is followed: an error is of more use then.
pub(crate) const PATIENCE: Duration = Duration::from_hours(1);

/// The wait after the n-th failure in a row, from 1: 0.2 s, doubled each time up to 4 s, with up to a quarter more or less
/// so that threads don't ask all at once, and within 0.2 s and 4 s.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let random = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
    doubled
        .min(LAST)
        .mul_f64(0.75 + 0.5 * random)
        .clamp(FIRST, LAST)
}

/// Before when a server's quota is asked by nobody; shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Duration>>);

impl Gates {
    /// Returns when this quota may be asked.
    ///
    /// # Errors
    /// The wait, where it is longer than [`PATIENCE`].
    pub(crate) fn pass(&self, quota: &str, clock: &dyn Clock) -> Result<(), Duration> {
        loop {
            let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = gates.get(quota).copied();
            drop(gates);
            let now = clock.now();
            match until {
                Some(until) if until > now => {
                    let wait = until.saturating_sub(now);
                    if wait > PATIENCE {
                        return Err(wait);
                    }
                    clock.sleep(wait);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Nobody asks for so long.
    pub(crate) fn close(&self, quota: &str, wait: Duration, clock: &dyn Clock) {
        let until = clock.now().saturating_add(wait);
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(quota.to_owned()).or_default();
        *gate = until.max(*gate);
    }
}

/// How long a server asks everybody to wait: `RateLimit` with nothing remaining, on any answer, and `Retry-After` on a
/// refusal.
pub(crate) fn asked_to_wait(
    status: u16,
    headers: &HeaderMap,
    clock: &dyn Clock,
) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let refused = status == 408 || status == 429 || status >= 500;
    let quota = headers
        .get_all("ratelimit")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter_map(used_up)
        .max();
    let retry = text("retry-after")
        .filter(|_| refused)
        .and_then(|value| retry_after(value, text("date"), clock));
    quota.max(retry)
}

/// The seconds until there is a quota again, where one of a header such as `"api";r=0;t=55` is used up.
fn used_up(header: &str) -> Option<Duration> {
    let waits = header.split(',').filter_map(|item| {
        let field = |name: &str| {
            let fields = item
                .split(';')
                .filter_map(|field| field.trim().split_once('='));
            fields
                .filter(|(key, _)| *key == name)
                .find_map(|(_, value)| seconds(value))
        };
        (field("r") == Some(Duration::ZERO))
            .then(|| field("t"))
            .flatten()
    });
    waits.max()
}

/// A number of seconds, rounded up, so that nobody asks early.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let seconds: f64 = text.parse().ok().filter(|_| digits)?;
    Some(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX))
}

/// Seconds, or a date. Dates are cut to seconds, so one more passes before it is surely over; they count from the answer's
/// own date, where it has one, as the server's clock may not be ours.
fn retry_after(value: &str, answered: Option<&str>, clock: &dyn Clock) -> Option<Duration> {
    if let Some(wait) = seconds(value) {
        return Some(wait);
    }
    let until = parse_http_date(value)?;
    let from = answered.and_then(parse_http_date);
    let from = from.unwrap_or_else(|| clock.date().as_secs());
    Some(Duration::from_secs(until.saturating_sub(from) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that passes when somebody sleeps.
    #[derive(Debug, Default)]
    struct Fake(Mutex<Duration>);

    impl Clock for Fake {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn date(&self) -> Duration {
            Duration::from_secs(784_111_777) + self.now()
        }
        fn sleep(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }

    #[test]
    fn own_waits_double_up_to_four_seconds() {
        for _ in 0..100 {
            let waits: Vec<_> = (1..=FAILURES).map(backoff).collect();
            assert!(waits.iter().all(|wait| (FIRST..=LAST).contains(wait)));
            assert!(waits[0] <= FIRST.mul_f64(1.25));
            assert!(waits[2] >= FIRST.mul_f64(3.0));
            assert!(waits[7] >= LAST.mul_f64(0.75));
        }
    }

    #[test]
    fn what_servers_ask_for() {
        let clock = Fake::default();
        let wait = |status: u16, pairs: &[(&'static str, &str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            asked_to_wait(status, &headers, &clock).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(429, &[("ratelimit", "\"api\";r=0;t=55")]), Some(55));
        assert_eq!(wait(200, &[("ratelimit", "\"api\";r=0;t=55")]), Some(55));
        assert_eq!(wait(200, &[("ratelimit", "\"api\";r=1;t=55")]), None);
        assert_eq!(
            wait(429, &[("ratelimit", "\"a\";r=9;t=55, \"b\";r=0;t=7")]),
            Some(7)
        );
        assert_eq!(wait(503, &[("retry-after", "3")]), Some(3));
        assert_eq!(wait(200, &[("retry-after", "3")]), None);
        assert_eq!(wait(503, &[("retry-after", "1.5")]), Some(2));
        assert_eq!(wait(429, &[("ratelimit", "\"api\";r=0;t=0.5")]), Some(1));
        let endless = "99999999999999999999";
        assert_eq!(wait(503, &[("retry-after", endless)]), Some(u64::MAX));
        assert_eq!(wait(503, &[("retry-after", "-1")]), None);
        assert_eq!(wait(503, &[("retry-after", "inf")]), None);
        assert_eq!(
            wait(
                429,
                &[("retry-after", "9"), ("ratelimit", "\"api\";r=0;t=5")]
            ),
            Some(9)
        );
        let date = "Sun, 06 Nov 1994 08:49:47 GMT";
        assert_eq!(wait(429, &[("retry-after", date)]), Some(11));
        let own = ("date", "Sun, 06 Nov 1994 08:49:45 GMT");
        assert_eq!(wait(429, &[("retry-after", date), own]), Some(3));
        assert_eq!(wait(429, &[("retry-after", "soon")]), None);
    }

    #[test]
    fn nobody_passes_before_the_time() {
        let (gates, clock) = (Gates::default(), Fake::default());
        gates.close("a", Duration::from_secs(5), &clock);
        gates.close("a", Duration::from_secs(2), &clock);
        gates.pass("b", &clock).unwrap();
        assert_eq!(clock.now(), Duration::ZERO);
        gates.pass("a", &clock).unwrap();
        assert_eq!(clock.now(), Duration::from_secs(5));
        gates.close("a", Duration::MAX, &clock);
        assert!(gates.pass("a", &clock).unwrap_err() > PATIENCE);
        assert_eq!(clock.now(), Duration::from_secs(5));
    }
}
