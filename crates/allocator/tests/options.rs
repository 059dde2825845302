//! The options of `training_allocator!` reach jemalloc.

#![cfg(not(target_env = "msvc"))]

evenburn_allocator::training_allocator!();

fn option<T: Copy>(name: &str) -> T {
    let name = format!("{name}\0");
    // Safety: each name below is read as the type that jemalloc documents for it.
    #[expect(unsafe_code, reason = "jemalloc takes the type of an option on trust")]
    unsafe { tikv_jemalloc_ctl::raw::read(name.as_bytes()) }.expect("an option of jemalloc")
}

#[test]
fn its_options_are_taken() {
    for decay in [
        "opt.dirty_decay_ms",
        "opt.muzzy_decay_ms",
        "arena.0.dirty_decay_ms",
    ] {
        assert_eq!(option::<isize>(decay), -1, "{decay}");
    }
    assert_eq!(option::<u32>("opt.narenas"), 1);
    assert_eq!(option::<usize>("opt.oversize_threshold"), 0);
    assert!(!option::<bool>("opt.cache_oblivious"));
    let thp = option::<*const std::ffi::c_char>("opt.thp");
    // Safety: jemalloc gives the address of a string that lasts as long as the program.
    #[expect(unsafe_code, reason = "a string of C")]
    let thp = unsafe { std::ffi::CStr::from_ptr(thp) };
    assert_eq!(thp, c"always");
}

#[test]
fn it_is_the_allocator() {
    let before = option::<u64>("thread.allocated");
    let held = vec![1.0_f32; 1 << 20];
    let taken = option::<u64>("thread.allocated") - before;
    let size = size_of_val(held.as_slice()) as u64;
    // Besides that, names of options.
    assert!((size..size + 1024).contains(&taken), "{taken} of {size}");
}
