//! Memory that stays with the process.

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t, mi_option_use_numa_nodes};

/// How long freed pages are kept before they go back to the operating system, in milliseconds; negative for ever.
///
/// The bindings don't name it; in mimalloc's list (`mi_option_e` in `mimalloc.h`, versions 2 and 3) it comes right
/// before the number of NUMA nodes, which they do name.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

/// Makes mimalloc keep the pages that are freed, so that every training step reuses those of the one before.
///
/// A step allocates and frees hundreds of megabytes; given back to the system in between, each page costs a fault and
/// a pass of zeros again. Call it before the first large allocation, in a program whose global allocator is mimalloc;
/// elsewhere it changes nothing. Returns whether the option was taken.
pub fn keep_pages() -> bool {
    // Safety: both functions only access one entry of mimalloc's own table of options, which is within bounds
    // (`_mi_option_last` is larger) and made for being changed at any time.
    #[expect(unsafe_code, reason = "mimalloc has no safe interface to its options")]
    unsafe {
        mi_option_set(PURGE_DELAY, -1);
        mi_option_get(PURGE_DELAY) == -1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_purge_delay() {
        // Its documented initial value, in milliseconds; neighbours start from 0 or 1.
        #[allow(unsafe_code)]
        // Safety: reads one entry of the table of options.
        let before = unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(before, 1000);
        assert!(keep_pages());
    }
}
