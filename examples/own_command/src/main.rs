//! The program with a command more: `cargo run -p own-command -- lengths RUN` prints the length of every parameter of a
//! trained run.

use evenburn::model::weights;
use evenburn::train::load_run_as;
use evenburn_cli::clap::{Arg, Command};
use evenburn_cli::{Call, Keys, OwnCommand, Program, anyhow::Result};
use std::process::ExitCode;

evenburn_cli::training_allocator!();

/// Prints the Euclidean length of every parameter, a line each.
fn lengths(call: &Call<'_>) -> Result<()> {
    let run = call
        .arguments
        .get_one::<String>("run")
        .map_or("", String::as_str);
    let run = load_run_as(call.registry, run.as_ref(), call.overrides)?;
    for (path, weights) in weights::collect(&run.decoder) {
        let squares = weights.iter::<f64>().map(|weight| weight * weight);
        call.say(format!("{path}: {:.4}", squares.sum::<f64>().sqrt()))?;
    }
    Ok(())
}

/// Every command of `evenburn`, and `lengths`.
fn program() -> Program {
    let line = Command::new("lengths")
        .about("Print the length of every parameter of a trained run")
        .arg(Arg::new("run").value_name("RUN").required(true));
    let command = OwnCommand::new(line, lengths).keys(Keys::Some(&["train.device"]));
    Program::default().command(command)
}

fn main() -> ExitCode {
    program().run()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code of a command line.
    fn run(line: &str) -> ExitCode {
        program().run_line(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn it_stands_among_the_commands_of_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("text.txt"), "A line of text.\n".repeat(400)).unwrap();
        let line = format!(
            "own-command train --no-dashboard --no-baselines --run-dir {} --data.path {} --data.cache {} \
             --data.tokenizer_vocab 300 --model.vocab_size 300 --model.dim 16 --model.layers 1 --model.heads 2 \
             --model.context 16 --train.steps 2 --train.batch_size 2 --train.sample_tokens 0",
            at("run"),
            at("text.txt"),
            at("cache")
        );
        assert_eq!(run(&line), ExitCode::SUCCESS);
        let lengths = format!("own-command lengths {}", at("run"));
        assert_eq!(run(&lengths), ExitCode::SUCCESS);
        // A key that it doesn't read and a folder that is no run are wrong input.
        assert_eq!(run(&format!("{lengths} --optim.lr 1")), ExitCode::from(2));
        let nothing = format!("own-command lengths {}", at("nothing"));
        assert_eq!(run(&nothing), ExitCode::from(2));
    }
}
