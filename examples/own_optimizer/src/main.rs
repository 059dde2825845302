//! The program with an optimizer more: `cargo run -p own-optimizer -- train --optim.recipe adafactor --data.path FILE ...`.
//!
//! `adafactor.rs` has its recipe, which says what trains which parameters, and its update rule, which says how.

mod adafactor;

use adafactor::Adafactor;
use evenburn::optim::OptimError;
use evenburn::train::Registry;
use std::process::ExitCode;

evenburn_cli::training_allocator!();

/// Everything that is built in, and the optimizer of this example.
fn registry() -> Result<Registry, OptimError> {
    Registry::default().with_recipe::<Adafactor>()
}

fn main() -> Result<ExitCode, OptimError> {
    Ok(evenburn_cli::run(&registry()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenburn::train::config::{RunConfig, keys};
    use evenburn::train::{Launch, Resume, load_run};
    use std::path::Path;

    #[test]
    fn its_options_are_keys() {
        let all = keys(&registry().unwrap());
        let key = all
            .iter()
            .find(|key| key.path == "optim.decay_exponent")
            .unwrap();
        assert_eq!(key.default.as_deref(), Some("0.8"));
        assert_eq!(key.only_with[0].values, ["adafactor"]);
        let read = |text| RunConfig::from_toml(&registry().unwrap(), "mine.toml", text, &[]);
        read("[optim]\nrecipe = 'adafactor'\nlargest_rms = 2.0").unwrap();
        let error = read("[optim]\nrecipe = 'muon'\nlargest_rms = 2.0").unwrap_err();
        for part in ["mine.toml:3", "optim.largest_rms", "adafactor", "muon"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    /// Runs a command line of this program; whether it succeeds.
    fn succeeds(line: &str) -> bool {
        let words = line.split_whitespace().map(Into::into);
        let code = evenburn_cli::run_line(&registry().unwrap(), words);
        format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
    }

    /// The command that trains a run of 16 steps in a folder.
    fn train(folder: &Path, run: &str) -> String {
        let text = folder.join("text.txt");
        let sentence = |n| format!("The number {n} comes before {}.\n", n + 1);
        let documents: Vec<String> = (0..400).map(sentence).collect();
        std::fs::write(&text, documents.join("<|endoftext|>\n")).unwrap();
        format!(
            "own-optimizer train --no-dashboard --no-baselines --run-dir {} --optim.recipe adafactor \
             --optim.decay_exponent 0.7 --norm.scheme pre_norm --model.vocab_size 300 --model.dim 32 --model.layers 2 \
             --model.heads 2 --model.context 32 --data.path {} --data.cache {} --data.tokenizer_vocab 300 \
             --data.validation_fraction 0.2 --train.steps 16 --train.batch_size 4 --train.eval_tokens 512 \
             --train.sample_tokens 0 --optim.lr 0.01",
            folder.join(run).display(),
            text.display(),
            folder.join("cache").display()
        )
    }

    #[test]
    fn a_stopped_and_resumed_run_equals_the_straight_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(succeeds(&train(folder, "straight")));
        assert!(succeeds(&format!(
            "{} --train.stop_after 7",
            train(folder, "halves")
        )));
        let halves = folder.join("halves");
        assert!(succeeds(&format!(
            "own-optimizer train --no-dashboard --no-baselines --resume {}",
            halves.display()
        )));
        for file in ["model.safetensors", "optim.safetensors"] {
            let read = |run: &str| {
                let checkpoint = folder.join(run).join("checkpoints/step-00000016");
                std::fs::read(checkpoint.join(file)).unwrap()
            };
            assert!(read("straight") == read("halves"), "{file}");
        }
        let lines = std::fs::read_to_string(halves.join("metrics.jsonl")).unwrap();
        let loss = |line: &str| {
            let (_, rest) = line.split_once("\"train/loss\":").unwrap();
            let end = rest.find([',', '}']).unwrap();
            rest[..end].trim().parse::<f64>().unwrap()
        };
        let losses: Vec<f64> = lines.lines().map(loss).collect();
        assert!(losses[15] < losses[0] - 0.3, "{losses:?}");
    }

    /// Whoever lacks the recipe reads the run, and is told once it is to train.
    #[test]
    fn a_program_without_it_reads_the_run_and_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(succeeds(&format!(
            "{} --train.stop_after 2",
            train(folder, "run")
        )));
        let run = folder.join("run");
        let read = load_run(&Registry::default(), &run).unwrap();
        assert_eq!(read.config.optim.recipe.name(), "adafactor");
        assert!(!read.config.optim.recipe.is_known());
        let launch = Launch {
            resume: Resume::Run(run.clone()),
            ..Launch::default()
        };
        let error = launch.resolve(&Registry::default()).unwrap_err();
        let message = error.to_string();
        let recorded = run.join("config.toml");
        for part in [
            "`adafactor`",
            &recorded.display().to_string(),
            "adamw",
            "muon",
        ] {
            assert!(message.contains(part), "{message}");
        }
        launch.resolve(&registry().unwrap()).unwrap();
    }
}
