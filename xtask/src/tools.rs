//! Commands whose work a package under `tools/` does, its own help included.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use evenburn_workspace::{exit_code, root, tool};

/// What follows the command's name.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Rest {
    /// Options of the command, which explains itself: --help
    #[arg(value_name = "ARGS", allow_hyphen_values = true, trailing_var_arg = true, num_args = 0..)]
    args: Vec<OsString>,
}

impl Rest {
    /// Hands everything to the program of `package`, behind the words `first`.
    pub(crate) fn run(&self, package: &str, first: &[&str]) -> Result<ExitCode> {
        let mut command = tool(&root()?, package);
        exit_code(command.args(first).args(&self.args))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    enum Line {
        Bench(Rest),
    }

    #[test]
    fn everything_behind_the_name_is_the_tools() {
        for line in ["x bench --help", "x bench decode --models S -h", "x bench"] {
            let words: Vec<&str> = line.split(' ').collect();
            let Line::Bench(rest) = Line::try_parse_from(&words).unwrap();
            assert_eq!(rest.args, words[2..], "{line}");
        }
    }
}
