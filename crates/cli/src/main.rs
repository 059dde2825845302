//! The `evenburn` command.

evenburn::training_allocator!();

fn main() -> std::process::ExitCode {
    evenburn::run(&evenburn::model::Registry::default())
}
