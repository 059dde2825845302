//! The `evenburn` command, built where the end-to-end tests find it.

fn main() -> std::process::ExitCode {
    evenburn::main()
}
