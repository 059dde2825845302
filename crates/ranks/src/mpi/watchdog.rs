//! An end to waiting for ranks that were stopped or cut off: MPI itself waits for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::tell;

/// What the process returns then: `EX_TEMPFAIL` of sysexits.h, which schedulers take for a failure that may pass.
const GAVE_UP: i32 = 75;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(200);

/// Looks at what this rank waits for, from a thread of its own.
pub(super) struct Watchdog {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    patience: Option<Duration>,
    call: Option<(&'static str, Instant)>,
}

impl Waiting {
    /// The call that has lasted too long, and the patience that it wore out.
    fn overdue(&self) -> Option<(&'static str, Duration)> {
        let (what, since) = self.call?;
        let patience = self.patience?;
        (since.elapsed() > patience).then_some((what, patience))
    }
}

/// A call that is being made.
pub(super) struct Watched<'w>(&'w Mutex<Waiting>);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).call = None;
    }
}

impl Watchdog {
    pub(super) fn start(rank: usize, host: String) -> std::io::Result<Self> {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let seen = Arc::downgrade(&waiting);
        let look = move || {
            // It ends with the ranks.
            while let Some(waiting) = seen.upgrade() {
                let overdue = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .overdue();
                if let Some((what, patience)) = overdue {
                    give_up(rank, &host, what, patience);
                }
                drop(waiting);
                std::thread::sleep(EVERY);
            }
        };
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(look)?;
        Ok(Self { waiting })
    }

    pub(super) fn set_patience(&self, patience: Option<Duration>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.patience = patience;
    }

    /// Watches a call until what is returned is dropped.
    pub(super) fn watch(&self, what: &'static str) -> Watched<'_> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.call = Some((what, Instant::now()));
        Watched(&self.waiting)
    }
}

/// Ends this process without `MPI_Finalize`, upon which the launcher ends all others. `MPI_Abort` is not for this thread: another one
/// is inside of the library.
fn give_up(rank: usize, host: &str, what: &str, patience: Duration) -> ! {
    tell(&format!(
        "rank {rank} on {host} has waited {} s in {what}: another rank is stopped, cut off or far slower (ranks.patience); all ranks end",
        patience.as_secs()
    ));
    // Safety: it returns to nobody, and leaves out what runs at the end of a process, which is what hangs.
    #[expect(
        unsafe_code,
        reason = "the standard library has no exit without handlers"
    )]
    unsafe {
        libc::_exit(GAVE_UP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_overdue_after_the_patience_and_never_without_one() {
        let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        let of = |patience, call| Waiting { patience, call }.overdue();
        let second = Duration::from_secs(1);
        assert_eq!(
            of(Some(second), Some(("it", long_ago))),
            Some(("it", second))
        );
        assert_eq!(of(Some(second), Some(("it", Instant::now()))), None);
        assert_eq!(of(Some(second), None), None);
        assert_eq!(of(None, Some(("it", long_ago))), None);
    }
}
