//! What Parquet's library does, with its panics as errors: it indexes damaged pages and takes the footer's signs for granted.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use parquet::errors::ParquetError;

thread_local! {
    /// Whether a panic of this thread is an error that is told of.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Does some work of Parquet's library, whose panics become errors and are told by nothing else. What it was working on after a panic
/// must not be used again. Nothing is caught under `panic = "abort"`.
///
/// # Errors
/// Those of the work, and one for a panic.
///
/// ```
/// use evenburn_data::contained;
/// assert_eq!(contained(|| Ok(7))?, 7);
/// let error = contained::<()>(|| panic!("17 levels")).unwrap_err();
/// assert!(error.to_string().contains("17 levels"), "{error}");
/// # Ok::<(), parquet::errors::ParquetError>(())
/// ```
pub fn contained<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    silence();
    let outer = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    done.unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(ParquetError::General(format!(
            "a page or the footer says what can't be ({why})"
        )))
    })
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Keeps the program's panic hook from speaking of contained panics: the error that comes of one says the same with the
/// file's name.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(silent(panic::take_hook())));
}

/// A hook for every panic but the contained ones; what another thread panics at the same time is none of them.
fn silent(hook: Hook) -> Hook {
    Box::new(move |panic| {
        if !CONTAINED.get() {
            hook(panic);
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_reason() {
        let error = contained::<()>(|| panic!("offset {}", 7)).unwrap_err();
        assert!(error.to_string().contains("offset 7"), "{error}");
        assert!(!CONTAINED.get());
        assert_eq!(contained(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn the_hook_speaks_of_every_other_panic_alone() {
        static SPOKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let before = panic::take_hook();
        panic::set_hook(silent(Box::new(|panic| {
            let text = panic.payload_as_str().unwrap_or_default();
            SPOKEN.lock().unwrap().push(text.to_owned());
        })));
        let _ = contained::<()>(|| panic!("of the library"));
        let _ = catch_unwind(|| panic!("of ours"));
        panic::set_hook(before);
        let spoken = SPOKEN.lock().unwrap();
        assert!(spoken.iter().any(|text| text == "of ours"));
        assert!(spoken.iter().all(|text| text != "of the library"));
    }
}
