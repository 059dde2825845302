//! The `evenburn` command.

/// Training allocates the same large buffers in every step: an allocator that keeps them avoids returning and
/// faulting the pages each time.
#[global_allocator]
static ALLOCATOR: evenburn::kernels::Allocator = evenburn::kernels::Allocator;

fn main() -> std::process::ExitCode {
    // Where either declines, training is only slower.
    let _ = evenburn::kernels::keep_pages();
    let _ = evenburn::kernels::work_along();
    evenburn::main()
}
