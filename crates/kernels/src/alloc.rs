//! The allocator of programs that train, and memory that stays with the process.

/// The global allocator of this project's programs.
///
/// A step allocates and frees buffers of a dozen sizes up to tens of megabytes, each for as long as the graph needs it.
/// jemalloc cuts what was freed to the sizes asked for next and joins neighbours again; mimalloc, as fast, let 24 % of
/// its memory lie idle between them (docs/log.md, *Memory of a step*). With Microsoft's tools, where jemalloc isn't
/// built, it is the system's.
///
/// ```standalone_crate
/// #[global_allocator]
/// static ALLOCATOR: evenburn_kernels::Allocator = evenburn_kernels::Allocator;
///
/// assert_eq!(vec![0.0; 1 << 20].len(), 1 << 20);
/// ```
#[cfg(target_env = "msvc")]
pub use std::alloc::System as Allocator;
#[cfg(not(target_env = "msvc"))]
pub use tikv_jemallocator::Jemalloc as Allocator;

/// Makes [`Allocator`] keep the pages that are freed, so that every training step reuses those of the one before.
///
/// A step allocates and frees hundreds of megabytes; given back to the system in between, each page costs a fault and
/// a pass of zeros again. Call it before the first large allocation, in a program whose global allocator is
/// [`Allocator`]; elsewhere it changes nothing. Returns whether the options were taken.
#[cfg(not(target_env = "msvc"))]
pub fn keep_pages() -> bool {
    let keep = |option: &str| {
        let option = format!("{option}_decay_ms\0");
        // Safety: the options named below have the type `ssize_t`, in milliseconds, with -1 for never.
        #[expect(unsafe_code, reason = "jemalloc takes the type of an option on trust")]
        let taken = unsafe { tikv_jemalloc_ctl::raw::write(option.as_bytes(), -1_isize) };
        taken.is_ok()
    };
    // Arenas that are made from now on, and those that are there: not each number has one yet.
    let later = keep("arenas.dirty") && keep("arenas.muzzy");
    let there = tikv_jemalloc_ctl::arenas::narenas::read().is_ok_and(|arenas| {
        (0..arenas)
            .filter(|i| keep(&format!("arena.{i}.dirty")) && keep(&format!("arena.{i}.muzzy")))
            .count()
            > 0
    });
    later && there
}

/// Nothing where the allocator is the system's.
#[cfg(target_env = "msvc")]
pub fn keep_pages() -> bool {
    false
}

#[cfg(all(test, not(target_env = "msvc")))]
mod tests {
    use super::*;

    #[test]
    fn freed_pages_stay() {
        let decay = |option: &[u8]| {
            // Safety: as above.
            #[allow(unsafe_code)]
            unsafe {
                tikv_jemalloc_ctl::raw::read::<isize>(option)
            }
        };
        // jemalloc's documented initial value.
        assert_eq!(decay(b"arenas.dirty_decay_ms\0"), Ok(10_000));
        assert!(keep_pages());
        for option in [
            b"arenas.dirty_decay_ms\0".as_slice(),
            b"arena.0.dirty_decay_ms\0",
            b"arena.0.muzzy_decay_ms\0",
        ] {
            assert_eq!(decay(option), Ok(-1));
        }
    }
}
