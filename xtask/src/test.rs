//! `cargo xtask test`: every test of the workspace.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use clap::Args;
use evenburn_workspace::{cargo, root, run, together};

/// Runs all tests: with cargo-nextest where it is installed, with plain `cargo test` elsewhere.
///
/// Without arguments this is every unit test, integration test and documentation example of the workspace but those of the
/// kernels for GPUs (`cargo xtask ci --only adapter`). Arguments go to the test runner and choose among the tests;
/// examples in the documentation are left out then.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test resume\n  \
    cargo xtask test -p evenburn-optim"
)]
pub(crate) struct TestArgs {
    /// Arguments of the runner, such as a part of a test's name
    #[arg(value_name = "ARGS", allow_hyphen_values = true, num_args = 0..)]
    args: Vec<OsString>,
}

impl TestArgs {
    pub(crate) fn run(&self) -> Result<()> {
        all(&root()?, &self.args)
    }
}

/// Runs the tests that `args` choose, or all.
pub(crate) fn all(root: &Path, args: &[OsString]) -> Result<()> {
    let command = |words: &[&str]| {
        let mut command = cargo();
        command.current_dir(root).args(words).arg("--locked");
        if !names_package(args) {
            command.args(together());
        }
        command
    };
    if !has_nextest() {
        return run(command(&["test"]).args(args));
    }
    run(command(&["nextest", "run"]).args(args))?;
    if args.is_empty() {
        // Nextest doesn't run the examples in the documentation.
        run(command(&["test", "--doc"]).arg("--quiet"))?;
    }
    Ok(())
}

/// Whether the arguments choose packages themselves.
fn names_package(args: &[OsString]) -> bool {
    args.iter().any(|word| {
        let word = word.to_string_lossy();
        word == "-p" || word == "--package" || word.starts_with("--package=")
    })
}

fn has_nextest() -> bool {
    cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_packages_replace_the_workspace() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(names_package(&words("-p evenburn-optim adam")));
        assert!(names_package(&words("--package=evenburn-optim")));
        assert!(!names_package(&words("resume")));
    }
}
