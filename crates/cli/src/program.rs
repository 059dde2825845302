//! From a command line to an exit code, with the parts that a program adds.

use crate::args::{Arguments, Kernels};
use crate::failure::{Failure, WrongInput};
use crate::own_command::{Call, OwnCommand};
use crate::{commands, keys, overrides};
use anyhow::Result;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use evenburn::Registry;
use evenburn_kernels::{use_references, work_along};
use evenburn_train::Trainer;
use std::ffi::OsString;
use std::process::ExitCode;

/// A program with every command of `evenburn` and whatever is added to it.
///
/// ```no_run
/// use evenburn_cli::clap::Command;
/// use evenburn_cli::{OwnCommand, Program};
/// use std::process::ExitCode;
///
/// evenburn_cli::training_allocator!();
///
/// fn main() -> ExitCode {
///     let hello = OwnCommand::new(Command::new("hello"), |call| call.say("hello"));
///     Program::default().command(hello).run()
/// }
/// ```
pub struct Program {
    registry: Registry,
    commands: Vec<OwnCommand>,
    trainer: Box<dyn Fn(Trainer) -> Trainer>,
}

impl Default for Program {
    fn default() -> Self {
        Self::new(Registry::default())
    }
}

impl Program {
    /// A program with what a registry knows by name, and nothing more.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            commands: Vec::new(),
            trainer: Box::new(|trainer| trainer),
        }
    }

    /// Adds to the trainer of every run what [`Trainer`] takes: monitors, validation entries, a function that is called
    /// after each step.
    #[must_use]
    pub fn trainer(mut self, with: impl Fn(Trainer) -> Trainer + 'static) -> Self {
        let before = self.trainer;
        self.trainer = Box::new(move |trainer| with(before(trainer)));
        self
    }

    /// Adds a command.
    #[must_use]
    pub fn command(mut self, command: OwnCommand) -> Self {
        self.commands.push(command);
        self
    }

    /// Runs the command line of this process.
    ///
    /// Exits with 0 on success, 1 on a failure and 2 on wrong input; with 141 where whoever read its output stopped
    /// reading.
    pub fn run(&self) -> ExitCode {
        self.run_line(std::env::args_os())
    }

    /// [`run`](Self::run) for another command line, of which the first word is the program's name.
    pub fn run_line(&self, line: impl IntoIterator<Item = OsString>) -> ExitCode {
        // Where it declines, training is only slower.
        let _ = work_along();
        match self.try_line(line) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::from(error).report(),
        }
    }

    fn try_line(&self, line: impl IntoIterator<Item = OsString>) -> Result<()> {
        let parser = self.parser()?;
        let options = overrides::options_with_values(&parser);
        let (rest, overrides) = overrides::split(line, &options)?;
        let matches = parser.get_matches_from(rest);
        if matches.get_one("kernels") == Some(&Kernels::Reference) {
            use_references();
        }
        if let Some((own, arguments)) = self.own(&matches) {
            keys::check(&self.registry, own.keys, &overrides)?;
            return (own.handler)(&Call {
                registry: &self.registry,
                arguments,
                overrides: &overrides,
            });
        }
        let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        commands::run(&self.registry, &self.trainer, arguments, overrides)
    }

    /// All commands, those of `evenburn` first.
    fn parser(&self) -> Result<Command> {
        let mut parser = Arguments::command();
        for OwnCommand { line, .. } in &self.commands {
            let name = line.get_name();
            if parser.find_subcommand(name).is_some() {
                let why = format!("this program adds a command `{name}`, and there is one already");
                return Err(WrongInput(why).into());
            }
            parser = parser.subcommand(line.clone());
        }
        if let Some(option) = overrides::ambiguous(&parser) {
            let why = format!(
                "this program adds a command whose `{option}` has a value where that of another has none, or the other way round"
            );
            return Err(WrongInput(why).into());
        }
        Ok(parser)
    }

    /// The added command that a line calls, with its arguments.
    fn own<'m>(&self, matches: &'m ArgMatches) -> Option<(&OwnCommand, &'m ArgMatches)> {
        let (name, arguments) = matches.subcommand()?;
        let mut commands = self.commands.iter();
        let own = commands.find(|command| command.line.get_name() == name)?;
        Some((own, arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: &'static str) -> OwnCommand {
        OwnCommand::new(Command::new(name), |call| call.say("hello"))
    }

    #[test]
    fn an_option_of_an_added_command_means_what_it_means_elsewhere() {
        use clap::Arg;
        let json = |arg: Arg| {
            let line = Command::new("own").arg(arg.long("json"));
            let own = OwnCommand::new(line, |call| call.say("own"));
            Program::default().command(own).parser()
        };
        assert!(json(Arg::new("json").action(clap::ArgAction::SetTrue)).is_ok());
        let error = json(Arg::new("json")).unwrap_err();
        assert!(error.to_string().contains("`--json`"), "{error}");
    }

    #[test]
    fn an_added_command_stands_among_the_others() {
        let parser = Program::default().command(hello("hello")).parser().unwrap();
        assert!(parser.find_subcommand("hello").is_some());
        assert!(parser.find_subcommand("train").is_some());
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        for program in [
            Program::default().command(hello("train")),
            Program::default()
                .command(hello("hello"))
                .command(hello("hello")),
        ] {
            let error = program.parser().unwrap_err().to_string();
            assert!(error.contains("there is one already"), "{error}");
        }
    }

    #[test]
    fn an_added_command_takes_no_keys_but_its_own() {
        let line = |words: &str| {
            let words: Vec<OsString> = words.split(' ').map(Into::into).collect();
            let hello = hello("hello").keys(crate::Keys::Some(&["train.device"]));
            Program::default().command(hello).try_line(words)
        };
        line("program hello --train.device flex").unwrap();
        let error = line("program hello --optim.lr 1").unwrap_err().to_string();
        assert!(error.contains("--train.device"), "{error}");
    }
}
