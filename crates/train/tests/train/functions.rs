//! Functions in place of a scheme's RMSNorm, by configuration and in training.

use crate::world::{World, assert_same_checkpoint, assert_same_history, metrics};
use burn::tensor::Tensor;
use evenburn_model::function::{Around, NormFunction};
use evenburn_model::{Recorded, fold, weights};
use evenburn_optim::OptimizerRegistry;
use evenburn_train::Registry;
use evenburn_train::config::{RunConfig, keys};
use evenburn_train::{Launch, Resume, Start, TrainError, Trainer, load_run, request_cooldown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;

/// Every function with options that aren't its defaults.
const FUNCTIONS: [&[(&str, &str)]; 4] = [
    &[
        ("model.function.name", "seed_norm"),
        ("model.function.heads", "2"),
    ],
    &[
        ("model.function.name", "gated_norm"),
        ("model.function.rank", "3"),
    ],
    &[
        ("model.function.name", "pre_affine"),
        ("model.function.at", "inputs"),
    ],
    &[
        ("model.function.name", "taper"),
        ("model.function.schedule", "fixed"),
        ("model.function.gate", "0.25"),
    ],
];

fn message(overrides: &[(&str, &str)]) -> String {
    let world = World::new();
    let planned = world.resolve("pre_norm", overrides).and_then(|resolved| {
        let config = resolved.config;
        config.norm.plan(&config.model).map_err(TrainError::from)
    });
    planned.unwrap_err().to_string()
}

#[test]
fn a_function_takes_its_own_options_alone() {
    let all = keys(&Registry::default());
    let names = all
        .iter()
        .find(|key| key.path == "model.function.name")
        .unwrap();
    for function in FUNCTIONS {
        assert!(names.choices.iter().any(|name| *name == function[0].1));
    }
    let seed = ("model.function.name", "seed_norm");
    for (overrides, parts) in [
        (
            &[seed, ("model.function.rank", "4")][..],
            &["model.function.rank", "gated_norm", "seed_norm"][..],
        ),
        (
            &[("model.function.heads", "4")],
            &["model.function.heads", "seed_norm", "not set"],
        ),
        (
            &[("model.function.name", "seednorm")],
            &["model.function.name", "\"seed_norm\""],
        ),
        (
            &[seed, ("model.function.at", "output")],
            &["model.function.at", "\"inputs\""],
        ),
        (
            &[seed, ("model.function.heads", "0")],
            &["model.function.heads", "at least 1"],
        ),
        (
            &[seed, ("model.function.heads", "3")],
            &["SeeDNorm of 3 parts", "16 channels"],
        ),
    ] {
        let message = message(overrides);
        for part in parts {
            assert!(message.contains(part), "no `{part}` in {message}");
        }
    }
}

#[test]
fn a_stopped_and_resumed_run_equals_the_straight_one() {
    for function in FUNCTIONS {
        let world = World::new();
        let straight = world
            .run("pre_norm", function, world.fresh("straight"))
            .unwrap();
        let stop = [function, &[("train.stop_after", "21")]].concat();
        world.run("pre_norm", &stop, world.fresh("halves")).unwrap();
        let whole = world
            .run("pre_norm", function, world.resume("halves"))
            .unwrap();
        assert_same_history(&straight.run, &whole.run);
        assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
        let trained = load_run(&Registry::default(), &straight.run).unwrap();
        let input = trained.plan.layers[0].mlp_residual.input.as_ref().unwrap();
        assert_eq!(input.function.name(), function[0].1);
    }
}

#[test]
fn every_optimizer_trains_every_function() {
    let world = World::new();
    for function in FUNCTIONS {
        for recipe in OptimizerRegistry::default().names() {
            // Every step of Scion's is as long as its rate.
            let lr = if recipe == "scion" { "0.001" } else { "0.01" };
            let more = [("optim.recipe", recipe), ("optim.lr", lr)];
            let run = world.run("pre_norm", &[function, &more].concat(), Start::Fresh(None));
            let lines = metrics(&run.unwrap().run);
            // Batches differ.
            let mean = |steps: std::ops::Range<usize>| -> f64 {
                let losses = lines[steps]
                    .iter()
                    .map(|l| l["train/loss"].as_f64().unwrap());
                losses.sum::<f64>() / 5.0
            };
            let (first, last) = (mean(0..5), mean(35..40));
            assert!(
                last < first,
                "{} with {recipe}: {first} -> {last}",
                function[0].1
            );
        }
    }
}

#[test]
fn state_is_in_the_checkpoint_and_stays() {
    let world = World::new();
    let summary = world
        .run("pre_norm", FUNCTIONS[3], Start::Fresh(None))
        .unwrap();
    let trained = load_run(&Registry::default(), &summary.run).unwrap();
    let named = weights::collect(&trained.decoder);
    let gates = named
        .iter()
        .filter(|(path, _)| path.ends_with(".input.gate"));
    let gates: Vec<f64> = gates.flat_map(|(_, data)| data.iter::<f64>()).collect();
    assert_eq!(gates, [0.25; 4]);
}

/// Divides by the largest magnitude, or a multiple of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Largest {
    /// Multiple of the largest magnitude.
    multiple: f64,
}

impl Default for Largest {
    fn default() -> Self {
        Self { multiple: 1.0 }
    }
}

impl Recorded for Largest {
    const NAME: &'static str = "largest";
    const ABOUT: &'static str = "Divides by the largest magnitude.";
}

impl NormFunction for Largest {
    fn describe(&self) -> String {
        "largest magnitude".to_owned()
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let largest = x.clone().abs().max_dim(1).mul_scalar(self.multiple);
        around.gained(x / largest.add_scalar(around.eps))
    }
}

#[test]
fn a_function_of_ones_own_is_chosen_and_read_back() {
    let world = World::new();
    let with = Registry::default().with_function::<Largest>().unwrap();
    let own = keys(&with);
    let key = own.iter().find(|key| key.path == "model.function.multiple");
    assert_eq!(key.unwrap().meaning, "Multiple of the largest magnitude.");

    let overrides = [
        ("model.function.name", "largest"),
        ("model.function.multiple", "0.5"),
        ("train.steps", "4"),
    ];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let toml = world.toml("pre_norm");
    let resolved = RunConfig::from_toml(&with, "tiny.toml", &toml, &overrides).unwrap();
    let corpus = world.corpus(&resolved);
    let trainer = Trainer::new(&with, resolved, corpus).start(world.fresh("own"));
    let run = trainer.run().unwrap().run;
    let trained = load_run(&with, &run).unwrap();
    let end = trained.plan.ends.head.final_norm.as_ref().unwrap();
    assert_eq!(end.function.options()["multiple"].as_float(), Some(0.5));

    // Who doesn't have it is told what is missing, and where the run says so.
    let message = load_run(&Registry::default(), &run)
        .unwrap_err()
        .to_string();
    for part in ["config.toml", "model.function.name", "\"largest\""] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
}

/// A quarter of the 40 steps is the warm-up.
const TAPER: &[(&str, &str)] = &[
    ("model.function.name", "taper"),
    ("model.function.warmup", "0.25"),
];

#[test]
fn a_taper_ends_without_statistics() {
    let world = World::new();
    let run = world
        .run("pre_norm", TAPER, Start::Fresh(None))
        .unwrap()
        .run;
    let lines = metrics(&run);
    let gates: Vec<f64> = lines
        .iter()
        .map(|l| l["taper/gate"].as_f64().unwrap())
        .collect();
    assert_eq!(gates[..10], [1.0; 10]);
    assert!(
        gates[9..].windows(2).all(|pair| pair[1] < pair[0]),
        "{gates:?}"
    );
    assert!(gates[39].abs() < f64::MIN_POSITIVE);
    let loss = |line: usize| lines[line]["train/loss"].as_f64().unwrap();
    assert!(loss(39) < loss(0) - 1.0, "{} -> {}", loss(0), loss(39));

    let trained = load_run(&Registry::default(), &run).unwrap();
    let device = burn::tensor::Device::flex();
    for (path, data) in weights::collect(&trained.decoder) {
        let first = data.iter::<f64>().next().unwrap();
        match path.rsplit('.').next().unwrap() {
            "gate" => assert!(first.abs() < f64::MIN_POSITIVE, "{path}"),
            "c" => assert!(first > 0.0 && (first - 1.0).abs() > 1e-3, "{path}: {first}"),
            "target" => assert!(first > 0.0, "{path}"),
            _ => {}
        }
    }
    let folded = fold(&trained.plan, &trained.decoder, &device).unwrap();
    for layer in &folded.plan.layers {
        assert!(layer.attn_residual.input.is_none() && layer.mlp_residual.input.is_none());
    }
}

#[test]
fn a_taper_resumes_in_and_behind_its_warm_up() {
    let world = World::new();
    let straight = world
        .run("pre_norm", TAPER, world.fresh("straight"))
        .unwrap();
    let mut whole = None;
    for stop in ["5", "10", "23"] {
        let start = match whole {
            None => world.fresh("parts"),
            Some(_) => world.resume("parts"),
        };
        let stop = [TAPER, &[("train.stop_after", stop)]].concat();
        whole = Some(world.run("pre_norm", &stop, start).unwrap());
    }
    let whole = world.run("pre_norm", TAPER, world.resume("parts")).unwrap();
    assert_same_history(&straight.run, &whole.run);
    assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
}

#[test]
fn a_taper_keeps_the_length_it_began_with() {
    let world = World::new();
    let stop = [TAPER, &[("train.stop_after", "3")]].concat();
    world.run("pre_norm", &stop, world.fresh("run")).unwrap();
    let longer = [
        TAPER,
        &[("train.steps", "80"), ("optim.schedule", "constant")],
    ]
    .concat();
    let refused = world
        .run("pre_norm", &longer, world.resume("run"))
        .unwrap_err();
    assert!(refused.is_wrong_input(), "{refused}");
    let longer = [TAPER, &[("train.steps", "80")]].concat();
    let message = world
        .run("pre_norm", &longer, world.resume("run"))
        .unwrap_err();
    let message = message.to_string();
    assert!(
        ["train.steps", "40", "`taper`", "80"]
            .iter()
            .all(|part| message.contains(part)),
        "{message}"
    );
}

#[test]
fn a_taper_without_a_budget_is_refused_by_both_keys() {
    let world = World::new();
    let file = world.path("taper.toml");
    let toml = world.toml("pre_norm").replace("steps = 40\n", "");
    std::fs::write(
        &file,
        format!("{toml}\n[model.function]\nname = \"taper\"\n"),
    )
    .unwrap();
    let launch = Launch {
        file: Some(file),
        ..Launch::default()
    };
    let message = launch
        .resolve(&Registry::default())
        .unwrap_err()
        .to_string();
    for part in [
        "model.function.name",
        "`taper`",
        "train.steps",
        "train.tokens",
    ] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
}

/// A schedule that goes over the whole run has neither another length nor another end.
#[test]
fn a_run_that_tapers_keeps_its_length() {
    let world = World::new();
    let registry = Registry::default();
    let stop = [TAPER, &[("train.stop_after", "4")]].concat();
    world
        .run("pre_norm", &stop, world.fresh("tapered"))
        .unwrap();
    let whole = world.path("tapered");
    let steps = NonZeroU64::new(4).unwrap();
    let message = request_cooldown(&registry, &whole, steps, None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("`taper`"), "{message}");
    let launch = Launch {
        resume: Resume::Run(whole),
        overrides: vec![("train.steps".to_owned(), "60".to_owned())],
        ..Launch::default()
    };
    let message = launch.resolve(&registry).unwrap_err().to_string();
    for part in ["train.steps", "`taper`", "60"] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
}
