//! `cargo xtask train`: builds the binary for a backend and trains.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
#[cfg(unix)]
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use evenburn_workspace::{Backend, build, build_for_ranks, corpus, mpi, root, short, shown};

use crate::wait;

/// The preset that is trained when no other is named.
const PRESET: &str = "configs/default.toml";

/// Builds the binary in release and trains a language model: by default configs/default.toml on the default corpus.
///
/// All arguments that follow go to `evenburn train`. `--config FILE` trains another preset, `--data.path PATH` other
/// text, and every configuration key can be set as `--section.field VALUE` (`cargo run -p evenburn-cli -- config keys`
/// lists them).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask train\n  \
    cargo xtask train --backend cuda --config configs/openwebtext-angpt.toml\n  \
    cargo xtask train --train.steps 100 --resume auto\n  \
    cargo xtask train --ranks 2 --train.accumulate 2 --train.batch_size 4")]
pub(crate) struct TrainArgs {
    /// What to build for and train on
    #[arg(long, value_enum, default_value_t = Backend::Flex)]
    backend: Backend,
    /// Build without optimization of the project's own crates: quicker to build, slower to train
    #[arg(long)]
    debug_build: bool,
    /// Train on this machine with so many processes, each a rank with its share of the cores, or with a device of its own: the same
    /// run, to the last bit, as with one. It needs an MPI. `train.accumulate` has to be a power of two times as many
    #[arg(long, value_name = "N")]
    ranks: Option<NonZeroUsize>,
    /// Arguments of `evenburn train`
    #[arg(value_name = "ARGS", allow_hyphen_values = true, num_args = 0..)]
    args: Vec<OsString>,
}

impl TrainArgs {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let root = root()?;
        let wants_corpus = wants_corpus(&root, &self.args);
        wait::announce(&root, self.backend, self.debug_build, wants_corpus)?;
        // The corpus is written while the compiler works; whichever fails, the other is kept for the next try.
        let (binary, corpus) = std::thread::scope(|scope| {
            let corpus = scope.spawn(|| {
                let corpus = wants_corpus.then(|| corpus(&root)).transpose();
                // Said now: the build goes on for minutes.
                corpus.inspect_err(|error| eprintln!("the corpus failed: {error:#}"))
            });
            let binary = match self.ranks {
                None => build(&root, self.backend, self.debug_build),
                Some(_) => build_for_ranks(&root, self.backend, self.debug_build),
            };
            (binary, corpus.join())
        });
        let binary = binary?;
        let corpus = corpus.map_err(|_| anyhow!("writing the corpus panicked"))??;
        let mut command = match self.ranks {
            None => Command::new(binary),
            Some(ranks) => {
                let mut command = mpi::launcher(ranks.get());
                command.arg(binary);
                command
            }
        };
        command.args(arguments(
            &root,
            self.backend,
            corpus.as_deref(),
            &self.args,
        ));
        match self.ranks {
            None => become_it(&mut command),
            Some(_) => launch(&mut command),
        }
    }
}

/// Runs a launcher of ranks, which on Ctrl-C would give them a second to end: it is asked to tell them, and only the second time to
/// end itself.
#[cfg(unix)]
fn launch(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    // In a group of its own, which the terminal's signals don't reach; so it must not read from the terminal either.
    command.process_group(0).stdin(Stdio::null());
    let mut launcher = command
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let process = launcher.id().to_string();
    let mut asked: Option<Instant> = None;
    ctrlc::set_handler(move || {
        // A terminal that closes sends more than one signal at once.
        let again = asked.is_some_and(|at| at.elapsed() > Duration::from_secs(2));
        let signal = if again { "-TERM" } else { "-USR1" };
        asked.get_or_insert_with(Instant::now);
        let _ = Command::new("kill").args([signal, &process]).status();
    })
    .context("cannot listen to signals")?;
    let status = launcher.wait().context("waiting for the launcher")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

#[cfg(not(unix))]
fn launch(command: &mut Command) -> Result<ExitCode> {
    become_it(command)
}

/// Whether a word is a configuration key whose value is the next word, whatever that looks like.
fn takes_the_next(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text.starts_with("--") && text.contains('.') && !text.contains('=')
}

/// Moves this command's own options before the arguments of the binary, so that they may stand anywhere.
pub(crate) fn own_options_first(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_none_or(|command| command != "train") {
        return words;
    }
    let mut rest = words.split_off(2).into_iter();
    let mut others = Vec::new();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        if text == "--backend" || text == "--ranks" {
            words.push(word);
            words.extend(rest.next());
        } else if text == "--debug-build"
            || text.starts_with("--backend=")
            || text.starts_with("--ranks=")
        {
            words.push(word);
        } else {
            let value = usize::from(takes_the_next(&word));
            others.push(word);
            others.extend(rest.by_ref().take(value));
        }
    }
    words.extend(others);
    words
}

/// The command line of the binary. What the user says is never said twice.
fn arguments(
    root: &Path,
    backend: Backend,
    corpus: Option<&Path>,
    user: &[OsString],
) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["train".into()];
    if value_of(user, "--config").is_none() {
        all.extend(["--config".into(), short(&root.join(PRESET)).into()]);
    }
    if let Some(corpus) = corpus {
        all.extend(["--data.path".into(), short(corpus).into()]);
    }
    if backend != Backend::Flex && value_of(user, "--train.device").is_none() {
        all.extend(["--train.device".into(), backend.name().into()]);
    }
    all.extend_from_slice(user);
    all
}

/// Whether neither the arguments nor the configuration file say what to train on.
fn wants_corpus(root: &Path, user: &[OsString]) -> bool {
    if value_of(user, "--data.path").is_some() {
        return false;
    }
    let file = value_of(user, "--config").map_or_else(|| root.join(PRESET), PathBuf::from);
    match fs::read_to_string(file).map(|text| text.parse::<toml::Table>()) {
        Ok(Ok(table)) => table
            .get("data")
            .and_then(|data| data.get("path"))
            .is_none(),
        // The binary says what is wrong with the file.
        _ => false,
    }
}

/// The value of an option given as `--name value` or `--name=value`.
fn value_of(arguments: &[OsString], name: &str) -> Option<OsString> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == name {
            return Some(rest.next().cloned().unwrap_or_default());
        }
        // A value that is no UTF-8 is given all the same; the binary says what is wrong with it.
        let text = argument.to_string_lossy();
        let joined = text
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='));
        if let Some(value) = joined {
            return Some(value.into());
        }
        if takes_the_next(argument) {
            rest.next();
        }
    }
    None
}

/// Lets the binary take this process's place, so that signals, the terminal and the exit code are its own.
#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", shown(command)))
}

/// Waits for the binary. The terminal sends Ctrl-C to both; this process lets the binary answer it.
#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<ExitCode> {
    #[cfg(windows)]
    ctrlc::set_handler(|| {}).context("cannot leave Ctrl-C to the trainer")?;
    evenburn_workspace::exit_code(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn defaults_are_added_and_what_the_user_says_stands() {
        let root = Path::new("/repository");
        let corpus = Path::new("/repository/target/corpus/k");
        let made = |backend, user: &str| {
            arguments(root, backend, Some(corpus), &words(user))
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            made(Backend::Flex, "--train.steps 5"),
            "train --config /repository/configs/default.toml --data.path /repository/target/corpus/k --train.steps 5"
        );
        assert_eq!(
            made(Backend::Cuda, "--config=x.toml --resume auto"),
            "train --data.path /repository/target/corpus/k --train.device cuda --config=x.toml --resume auto"
        );
        assert_eq!(
            made(Backend::Cuda, "--config x.toml --train.device cuda:1"),
            "train --data.path /repository/target/corpus/k --config x.toml --train.device cuda:1"
        );
    }

    #[test]
    fn own_options_may_stand_after_those_of_the_binary() {
        let line = words("xtask train --train.steps 5 --backend cuda --resume auto --debug-build");
        assert_eq!(
            own_options_first(line),
            words("xtask train --backend cuda --debug-build --train.steps 5 --resume auto")
        );
        assert_eq!(
            own_options_first(words("xtask train --train.steps 5 --ranks 2 --ranks=4")),
            words("xtask train --ranks 2 --ranks=4 --train.steps 5")
        );
        let prompt = words("xtask train --train.prompt --backend --debug-build");
        assert_eq!(
            own_options_first(prompt),
            words("xtask train --debug-build --train.prompt --backend")
        );
        let other = words("xtask test x --backend cuda");
        assert_eq!(own_options_first(other.clone()), other);
    }

    #[test]
    fn the_corpus_is_made_only_where_nothing_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("configs")).unwrap();
        fs::write(root.join(PRESET), "[data]\ncontext = 8\n").unwrap();
        let own = root.join("own.toml");
        fs::write(&own, "[data]\npath = \"texts\"\n").unwrap();
        let own = own.to_str().unwrap();
        assert!(wants_corpus(root, &words("--train.steps 5")));
        assert!(!wants_corpus(root, &words("--data.path texts")));
        assert!(!wants_corpus(root, &words("--data.path=texts")));
        assert!(!wants_corpus(root, &words(&format!("--config {own}"))));
        assert!(!wants_corpus(root, &words("--config missing.toml")));
        let prompt = words("--train.prompt --data.path");
        assert!(wants_corpus(root, &prompt));
        let joined = words("--train.prompt=--data.path --run.name --config");
        assert!(wants_corpus(root, &joined));
    }
}
