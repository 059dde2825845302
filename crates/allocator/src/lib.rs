//! The allocator of programs that train: jemalloc with options for buffers that live for a part of a step.
//!
//! A package of its own, because a library leaves the allocator to the program, and jemalloc is a build in C.

/// For [`training_allocator!`].
#[doc(hidden)]
#[cfg(not(target_env = "msvc"))]
pub use tikv_jemallocator::Jemalloc;

/// Declares jemalloc as the program's global allocator, with options for training; call it once, beside `main`.
///
/// A step allocates and frees buffers of a dozen sizes up to tens of megabytes, each for as long as the graph needs it.
/// jemalloc cuts what was freed to the sizes asked for next and joins neighbours again; mimalloc, as fast, let 24 % of
/// its memory lie idle between them. Its options, with figures in docs/log.md, *Memory of a step*:
///
/// - `dirty_decay_ms` and `muzzy_decay_ms` of -1: freed pages stay, so every step reuses those of the one before. Given
///   back to the system, each costs a fault and a pass of zeros again.
/// - `narenas:1`, `oversize_threshold:0`: whatever one thread or size has freed is there for all others.
/// - `cache_oblivious:false`: a large buffer takes its own pages and not one more.
/// - `thp:always`: huge pages, where the system has them on demand.
///
/// The variable `_RJEM_MALLOC_CONF` overrides them. With Microsoft's tools, where jemalloc isn't built, the allocator
/// stays the system's.
///
/// ```standalone_crate
/// evenburn_allocator::training_allocator!();
///
/// fn main() {
///     assert_eq!(vec![0.0; 1 << 20].len(), 1 << 20);
/// }
/// ```
#[macro_export]
#[cfg(not(target_env = "msvc"))]
macro_rules! training_allocator {
    () => {
        const _: () = {
            #[global_allocator]
            static ALLOCATOR: $crate::Jemalloc = $crate::Jemalloc;

            // Where jemalloc, which names all it exports so, looks for the address of its options before `main`.
            #[unsafe(export_name = "_rjem_malloc_conf")]
            static OPTIONS: &u8 =
                &c"dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:1,oversize_threshold:0,\
                cache_oblivious:false,thp:always"
                    .to_bytes_with_nul()[0];
        };
    };
}

/// Nothing where the allocator is the system's.
#[macro_export]
#[cfg(target_env = "msvc")]
macro_rules! training_allocator {
    () => {};
}
