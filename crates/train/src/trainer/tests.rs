//! Nothing that measures a run changes a bit of it.

use std::path::Path;

use super::*;
use crate::config::RunConfig;

/// Few steps of a mixture of experts with clipped scores, so that every monitor has something to look at.
fn trainer(folder: &Path, keys: &[(&str, &str)]) -> Trainer {
    let text = folder.join("text.txt");
    let line = |n| format!("the number {n} comes before {}.\n", n + 1);
    std::fs::write(&text, (0..400).map(line).collect::<String>()).unwrap();
    let toml = format!(
        "[model]\nvocab_size = 300\ndim = 16\nlayers = 2\nheads = 2\ncontext = 16\n\
         [model.experts]\ncount = 4\nbalance = \"bias\"\n\
         [norm]\nscheme = \"pre_norm\"\nqk = \"none\"\n[optim]\nlr = 0.01\nqk_clip = 0.01\n\
         [data]\npath = '{}'\ntokenizer_vocab = 300\n\
         [train]\nsteps = 4\nbatch_size = 2\naccumulate = 2\neval_tokens = 64\nsample_tokens = 0\n\
         [metrics]\nnorms_every = 1\npeak_tflops = 0.1\n",
        text.display()
    );
    let keys: Vec<_> = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let registry = Registry::default();
    let resolved = RunConfig::from_toml(&registry, "tiny.toml", &toml, &keys).unwrap();
    let corpus = crate::prepare(&resolved.config, &folder.join("cache"), &()).unwrap();
    Trainer::new(&registry, resolved, corpus)
}

/// Makes the built-in monitors.
type MakeMonitors<'m> = &'m dyn Fn(&Setup<'_>) -> Vec<Box<dyn Monitor>>;

/// Weights and optimizer state after the last step.
fn trained(trainer: Trainer, built_in: MakeMonitors<'_>, run: &Path) -> [Vec<u8>; 2] {
    let summary = trainer
        .start(Start::Fresh(Some(run.to_owned())))
        .run_with(built_in)
        .unwrap();
    let checkpoint = summary.checkpoint.unwrap();
    ["model.safetensors", "optim.safetensors"]
        .map(|file| std::fs::read(checkpoint.join(file)).unwrap())
}

#[test]
fn no_monitor_changes_a_bit_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| folder.path().join(name);
    let with = |built_in: MakeMonitors<'_>, name: &str| {
        let trainer = trainer(folder.path(), &[("train.eval_every", "0")]);
        trained(trainer, built_in, &run(name))
    };
    let none = with(&|_| Vec::new(), "none");
    let text = std::fs::read_to_string(run("none").join("metrics.jsonl")).unwrap();
    assert_eq!(text.lines().next(), Some("{\"step\":1}"), "{text}");

    let all = with(&monitor::built_in, "all");
    let config = RunConfig::default();
    let plan = config.norm.plan(&config.model).unwrap();
    let setup = Setup {
        config: &config,
        plan: &plan,
        ranks: 1,
    };
    let mut guilty = Vec::new();
    for (index, monitor) in monitor::built_in(&setup).iter().enumerate() {
        let only = |setup: &Setup<'_>| vec![monitor::built_in(setup).swap_remove(index)];
        if with(&only, &format!("only-{index}")) != none {
            guilty.push(monitor.name().to_owned());
        }
    }
    assert!(guilty.is_empty(), "these change the weights: {guilty:?}");
    assert!(all == none, "all together change the weights");
    let often = trainer(folder.path(), &[("train.eval_every", "1")]);
    assert!(
        trained(often, &monitor::built_in, &run("evaluated")) == none,
        "evaluations change the weights"
    );
}
