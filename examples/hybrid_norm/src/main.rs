//! Trains a small model with a scheme that the library does not know: `cargo run -p hybrid-norm -- FILE`.

mod strategy;

use evenburn_data::prepare;
use evenburn_model::Plan;
use evenburn_train::config::RunConfig;
use evenburn_train::{Display, Summary, Trainer};
use std::error::Error;
use std::path::Path;
use strategy::HybridNorm;

const CONFIG: &str = "
[model]
vocab_size = 512
dim = 32
layers = 2
heads = 2
context = 32

[optim]
lr = 0.01

[data]
tokenizer_vocab = 512
validation_fraction = 0.2

[train]
steps = 60
batch_size = 4
eval_tokens = 512
sample_tokens = 16
";

/// Trains on the text at `text`; everything that is written goes under `folder`.
fn train(text: &str, folder: &Path, display: Display) -> Result<Summary, Box<dyn Error>> {
    let set = |key: &str, value: String| (key.to_owned(), value);
    let overrides = [
        set("data.path", text.to_owned()),
        set("run.dir", folder.join("runs").display().to_string()),
        set("run.name", "hybrid_norm".to_owned()),
    ];
    let resolved = RunConfig::from_toml("example", CONFIG, &overrides)?;
    let plan = Plan::new(&resolved.config.model, &HybridNorm)?;
    let corpus = prepare(&resolved.config.data, &folder.join("cache"), &())?;
    Ok(Trainer::new(resolved, plan, corpus)
        .display(display)
        .run()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).ok_or("usage: hybrid-norm FILE")?;
    let folder = tempfile::tempdir()?;
    let summary = train(&text, folder.path(), Display::Lines)?;
    println!("{summary:#?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_learns() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        let documents: Vec<String> = (0..400)
            .map(|n| {
                format!(
                    "The number {n} follows {} and comes before {}.\n",
                    n.max(1) - 1,
                    n + 1
                )
            })
            .collect();
        std::fs::write(&text, documents.join("<|endoftext|>\n")).unwrap();
        let summary = train(&text.display().to_string(), folder.path(), Display::Silent).unwrap();
        let loss = summary.evaluation.unwrap().nats_per_token();
        // A uniform guess over the vocabulary costs ln 512 = 6.2 nats.
        assert!(loss < 3.5, "{loss}");
        let plan = std::fs::read_to_string(summary.run.join("plan.toml")).unwrap();
        assert!(plan.contains("scheme = \"hybrid_norm\""), "{plan}");
    }
}
