//! A command that a program adds to those of `evenburn`.

use crate::keys::Keys;
use crate::output::line;
use anyhow::Result;
use clap::{ArgMatches, Command};
use evenburn::Registry;
use std::fmt::Display;

/// A command of a program's own: how its line is parsed, which configuration keys it takes, and what it does.
///
/// ```
/// use evenburn_cli::clap::{Arg, Command};
/// use evenburn_cli::{Keys, OwnCommand};
/// use evenburn::train::load_run_as;
///
/// let line = Command::new("steps")
///     .about("Print how many steps a run has taken")
///     .arg(Arg::new("run").required(true));
/// let command = OwnCommand::new(line, |call| {
///     let run: &String = call.arguments.get_one("run").expect("clap requires it");
///     let run = load_run_as(call.registry, run.as_ref(), call.overrides)?;
///     call.say(run.state.step)
/// });
/// let command = command.keys(Keys::Some(&["train.device"]));
/// # let _ = command;
/// ```
pub struct OwnCommand {
    pub(crate) line: Command,
    pub(crate) keys: Keys,
    pub(crate) handler: Handler,
}

type Handler = Box<dyn Fn(&Call<'_>) -> Result<()>>;

/// What a command is called with.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The schemes, functions and rules that the program knows.
    pub registry: &'a Registry,
    /// The command's own arguments.
    pub arguments: &'a ArgMatches,
    /// The configuration keys that were given, `(key, VALUE)`, all of them among those the command takes.
    pub overrides: &'a [(String, String)],
}

impl OwnCommand {
    /// A command by its name and arguments, that takes no configuration keys.
    ///
    /// An error of the project's that is wrong input ends the program with 2, every other one with 1.
    pub fn new(line: Command, handler: impl Fn(&Call<'_>) -> Result<()> + 'static) -> Self {
        Self {
            line,
            keys: Keys::NONE,
            handler: Box::new(handler),
        }
    }

    /// Takes configuration keys, `--section.field VALUE`; all others are refused.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }
}

impl Call<'_> {
    /// Prints a line of the result on standard output, at once.
    ///
    /// # Errors
    /// When it can't be written. Where the reader has enough, the program ends in silence.
    pub fn say(&self, text: impl Display) -> Result<()> {
        Ok(line(format_args!("{text}"))?)
    }
}
