//! The `evenburn` command.

evenburn::kernels::training_allocator!();

fn main() -> std::process::ExitCode {
    // Where it declines, training is only slower.
    let _ = evenburn::kernels::work_along();
    evenburn::main()
}
