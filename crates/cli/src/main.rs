//! The `evenburn` command.

evenburn_cli::training_allocator!();

fn main() -> std::process::ExitCode {
    evenburn_cli::Program::default().run()
}
