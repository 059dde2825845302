//! The `evenburn` command.

evenburn::training_allocator!();

fn main() -> std::process::ExitCode {
    evenburn::run(&evenburn::train::Registry::default())
}
