//! What a command prints, and how it ends.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Error, Result};

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
/// Nobody reads it, or it can't be written.
pub fn print(text: Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text)?;
    out.flush()
}

/// The exit code of a program; an error is told of and is a failure.
pub fn end(result: Result<ExitCode>) -> ExitCode {
    /// The failure of a command that was given right.
    const FAILURE: u8 = 1;
    result.unwrap_or_else(|error| end_with(&error, FAILURE))
}

/// Tells of an error and gives the exit code `failure`; where all that went wrong is that nobody read on, neither.
pub fn end_with(error: &Error, failure: u8) -> ExitCode {
    let unread = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
    if unread {
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
        let broken = io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(text(end(Err(broken.into()))), text(ExitCode::SUCCESS));
        let full = io::Error::from(ErrorKind::StorageFull);
        assert_eq!(text(end(Err(full.into()))), text(ExitCode::FAILURE));
        assert_eq!(text(end(Ok(ExitCode::from(3)))), text(ExitCode::from(3)));
    }
}
