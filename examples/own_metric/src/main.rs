//! A run with two metrics more: `cargo run --release -p own-metric -- FILE` trains on the text of a file.

mod accuracy;
mod sign_flips;

use std::error::Error;
use std::path::{Path, PathBuf};

use evenburn::Registry;
use evenburn::train::config::RunConfig;
use evenburn::train::{Display, Start, Trainer, prepare};

/// The run; `keys` are those of the command line.
fn trainer(text: &Path, run: PathBuf, keys: &[(&str, &str)]) -> Result<Trainer, Box<dyn Error>> {
    let registry = Registry::default();
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let toml = format!("[data]\npath = '{}'\n", text.display());
    let keys: Vec<_> = keys.iter().map(own).collect();
    let resolved = RunConfig::from_toml(&registry, "own_metric", &toml, &keys)?;
    let corpus = prepare(&resolved.config, &run.with_extension("cache"), &())?;
    Ok(Trainer::new(&registry, resolved, corpus)
        .start(Start::Fresh(Some(run)))
        .monitor(sign_flips::SignFlips)
        .validation_entry(accuracy::Accuracy))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Where it declines, training is only slower.
    let _ = evenburn::kernels::work_along();
    let text = std::env::args_os().nth(1).ok_or("usage: own-metric FILE")?;
    let run = PathBuf::from("own-metric-run");
    trainer(Path::new(&text), run, &[("train.steps", "100")])?
        .display(Display::Lines)
        .run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;
    use std::sync::mpsc;

    const TINY: [(&str, &str); 11] = [
        ("model.vocab_size", "300"),
        ("model.dim", "16"),
        ("model.layers", "1"),
        ("model.heads", "2"),
        ("model.context", "16"),
        ("data.tokenizer_vocab", "300"),
        ("train.steps", "40"),
        ("train.eval_every", "10"),
        ("train.eval_tokens", "256"),
        ("train.sample_tokens", "0"),
        ("optim.lr", "0.01"),
    ];

    #[test]
    fn its_metrics_are_in_every_record_they_are_due_in() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        let line = |n| format!("the number {n} comes before {}.\n", n + 1);
        std::fs::write(&text, (0..800).map(line).collect::<String>()).unwrap();
        let (send, records) = mpsc::channel();
        let summary = trainer(&text, folder.path().join("run"), &TINY)
            .unwrap()
            .on_step(move |record| {
                send.send(record.clone()).unwrap();
                // Ten steps before the end of the budget, somebody has seen enough.
                match record.step() {
                    30 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
            .run()
            .unwrap();
        assert_eq!(summary.step, 30);
        let records: Vec<_> = records.iter().collect();
        assert_eq!(records.len(), 30);
        for record in &records {
            let due = record.step().is_multiple_of(10);
            for name in ["update/sign_flips", "val/accuracy"] {
                assert_eq!(record.get(name).is_some(), due, "{name}: {record:?}");
            }
        }
        let last = |name: &str| records[29].get(name).unwrap();
        assert!(last("val/accuracy") > records[9].get("val/accuracy").unwrap());
        assert!((0.0..0.2).contains(&last("update/sign_flips")));
    }
}
