//! What the program says: results on standard output, everything else on standard error.
//!
//! `println!` panics where nobody reads; here a result that can't be written is an error, and words that nobody reads on
//! standard error are no reason to stop. Everything that is printed goes through [`say`] and [`tell`].

use std::fmt::Arguments;
use std::io::{self, BufWriter, Write};

/// What writing to a terminal that is gone fails with, on every Unix.
const EIO: i32 = 5;

/// Standard output that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct Unwritten(io::Error);

impl Unwritten {
    /// Whether nobody reads any more: `head` has its lines, or the terminal is gone.
    pub(crate) fn is_closed(&self) -> bool {
        let gone = cfg!(unix) && self.0.raw_os_error() == Some(EIO);
        gone || self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints a line of a result, at once.
pub(crate) fn line(text: Arguments<'_>) -> Result<(), Unwritten> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Unwritten)
}

/// The lines of a long result, written a few at a time.
#[derive(Debug)]
pub(crate) struct Lines(BufWriter<io::Stdout>);

impl Default for Lines {
    fn default() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout()))
    }
}

impl Lines {
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Unwritten> {
        writeln!(self.0, "{text}").map_err(Unwritten)
    }

    /// Writes what is left. Where that is forgotten because of an error, it is written too, and what that says is lost.
    pub(crate) fn finish(&mut self) -> Result<(), Unwritten> {
        self.0.flush().map_err(Unwritten)
    }
}

/// Says something on standard error.
pub(crate) fn remark(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a line of a result on standard output: `say!("{n} documents")?`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Says something on standard error: `tell!("stopping")`.
macro_rules! tell {
    ($($text:tt)*) => { $crate::output::remark(format_args!($($text)*)) };
}

pub(crate) use {say, tell};
