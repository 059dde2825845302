//! What a command prints, and how it ends.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Error, Result};

/// Nobody reads what is printed, as behind `| head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread;

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads what is printed")
    }
}

impl std::error::Error for Unread {}

/// Prints a line to standard output. Unlike `println!` it doesn't panic where nobody reads on, as behind `| head`: that is an
/// error, with which [`end`] ends the program quietly.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// Prints to standard output.
///
/// # Errors
/// [`Unread`] where nobody reads it; otherwise it can't be written.
pub fn print(text: Arguments<'_>) -> Result<()> {
    let mut out = io::stdout().lock();
    told(out.write_fmt(text).and_then(|()| out.flush()))
}

/// The result of writing to standard output.
fn told(written: io::Result<()>) -> Result<()> {
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Unread.into(),
        _ => error.into(),
    })
}

/// The exit code of a program; an error is told of and is a failure.
pub fn end(result: Result<ExitCode>) -> ExitCode {
    /// The failure of a command that was given right.
    const FAILURE: u8 = 1;
    result.unwrap_or_else(|error| end_with(&error, FAILURE))
}

/// Tells of an error and gives the exit code `failure`; where all that went wrong is that nobody read on, neither.
pub fn end_with(error: &Error, failure: u8) -> ExitCode {
    // Not any broken pipe: one to a program that was started and ended early is a failure.
    if error.is::<Unread>() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::from(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_no_further_is_no_failure() {
        let text = |code: ExitCode| format!("{code:?}");
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let unread = told(Err(broken())).map(|()| ExitCode::SUCCESS);
        assert_eq!(text(end(unread)), text(ExitCode::SUCCESS));
        let full = told(Err(ErrorKind::StorageFull.into())).map(|()| ExitCode::SUCCESS);
        assert_eq!(text(end(full)), text(ExitCode::FAILURE));
        // Of a program that was asked something.
        let asked = Error::from(broken()).context("asking a worker");
        assert_eq!(text(end(Err(asked))), text(ExitCode::FAILURE));
        assert_eq!(text(end(Ok(ExitCode::from(3)))), text(ExitCode::from(3)));
    }
}
