//! The threads of a step.

/// Makes the calling thread one of rayon's, so that it works on an operation it calls instead of waiting for others to wake
/// up and do it: 2 % of a training step of small models on two cores. Call it first in `main`; returns whether it was done.
///
/// Not done where there is a single thread: whatever another thread gave to rayon while this one waits for that thread
/// would never run. Not done either where rayon has started, or without the feature `flex`.
pub fn work_along() -> bool {
    #[cfg(feature = "flex")]
    {
        use std::thread::available_parallelism;
        let asked = std::env::var("RAYON_NUM_THREADS").ok();
        let threads = asked.and_then(|n| n.parse().ok()).filter(|&n| n > 0);
        let threads = threads.or_else(|| available_parallelism().ok().map(usize::from));
        threads.is_some_and(|n| n > 1)
            && rayon::ThreadPoolBuilder::new()
                .use_current_thread()
                .build_global()
                .is_ok()
    }
    #[cfg(not(feature = "flex"))]
    false
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_a_worker_where_there_are_others() {
        // Only the first caller of a process can be.
        if work_along() {
            assert!(rayon::current_thread_index().is_some());
            assert!(rayon::current_num_threads() > 1);
        }
        assert!(!work_along());
    }
}
