//! The program under test, as these tests run it.

use evenburn_tests::cli::Sandbox;
use std::process::Output;
use tempfile::TempDir;

/// A folder that lives as long as the test, and the program in it.
pub(crate) fn sandbox() -> (TempDir, Sandbox) {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_evenburn-under-test"), folder.path()).unwrap();
    (folder, sandbox)
}

/// What the program prints where it succeeds.
pub(crate) fn text(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.run(arguments).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the program says where it refuses what it was given: exit code 2, one error, no panic, no result.
pub(crate) fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let errors = stderr.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{stderr}");
    stderr
}
