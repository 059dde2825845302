//! A loop of one's own around a strategy of one's own, that goes on where it was stopped: `cargo run -p own-loop -- TEXT`.

use evenburn::data::Score;
use evenburn::prelude::*;
use evenburn::train::config::RunConfig;
use evenburn::train::{TrainError, Training, prepare};
use std::path::Path;

/// Pre-norm whose branches are divided by `sqrt(2 L)`, so that the sum of all is no longer than one.
#[derive(Debug)]
struct ScaledBranches;

impl NormStrategy for ScaledBranches {
    fn name(&self) -> &'static str {
        "scaled_branches"
    }

    // A constant on a branch stands at the product that ends it.
    fn linear(&self, _: usize, site: Site, d: &Dims) -> LinearPlan {
        match site {
            Site::O | Site::Down => LinearPlan::scaled((2.0 * d.layers as f64).sqrt().recip()),
            _ => LinearPlan::default(),
        }
    }
}

const CONFIG: &str = "
model = { vocab_size = 300, dim = 32, layers = 2, heads = 2, context = 32 }
optim = { recipe = 'adamw', lr = 0.01, schedule = 'cosine' }
data = { tokenizer_vocab = 300, document_mask = 'within' }
train = { steps = 40, batch_size = 4, accumulate = 2, eval_tokens = 512 }
";

/// Trains on a text for at most so many steps, and evaluates; what it keeps is in a folder.
fn train(text: &Path, folder: &Path, at_most: u64) -> Result<Score, TrainError> {
    let data = [("data.path".to_owned(), text.display().to_string())];
    let config = RunConfig::from_toml(&Registry::default(), "own-loop", CONFIG, &data)?.config;
    let corpus = prepare(&config, &folder.join("cache"), &())?;
    let plan = Plan::new(&config.model, &ScaledBranches)?;
    let mut training = Training::open(&plan, &config, &corpus, folder.join("checkpoints"))?;
    for _ in 0..at_most {
        if training.is_finished() {
            break;
        }
        let updated;
        (training, updated) = training.step()?;
        if training.steps().is_multiple_of(10) {
            println!("step {}: loss {:.3}", training.steps(), updated.loss);
            training.save()?;
        }
    }
    training.save()?;
    training.evaluate()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Where it declines, training is only slower.
    let _ = evenburn::kernels::work_along();
    let text = std::env::args_os().nth(1).ok_or("give a text file")?;
    let score = train(text.as_ref(), "runs/own-loop".as_ref(), u64::MAX)?;
    println!("validation: {:.3} nats per token", score.nats_per_token());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_was_stopped_ends_as_one_that_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let (text, at) = (folder.path().join("text.txt"), |name| {
            folder.path().join(name)
        });
        let sentence = |n| format!("The number {n} comes before {}.\n", n + 1);
        let documents: Vec<String> = (0..400).map(sentence).collect();
        std::fs::write(&text, documents.join("<|endoftext|>\n")).unwrap();
        let whole = train(&text, &at("whole"), u64::MAX).unwrap();
        train(&text, &at("stopped"), 13).unwrap();
        let resumed = train(&text, &at("stopped"), u64::MAX).unwrap();
        assert_eq!(whole, resumed);
        // An even guess among 300 tokens is ln 300 = 5.7 nats; these sentences are mostly alike.
        assert!(whole.nats_per_token() < 4.0, "{whole:?}");
        let weights = |name| at(name).join("checkpoints/step-00000040/model.safetensors");
        let [whole, resumed] =
            ["whole", "stopped"].map(|name| std::fs::read(weights(name)).unwrap());
        assert!(whole == resumed);
    }
}
