//! Any number of ranks trains the same run, to the last bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use evenburn_ranks::{Communicator, Threads};
use evenburn_train::data_parallel::{Ranks, follow};
use evenburn_train::{Registry, Start, TrainError};

use crate::world::World;

/// Schemes whose parameters, constraints and streams differ, and optimizers that treat gradients, norms and state differently.
const SCHEMES: [&str; 6] = [
    "pre_norm",
    "simple_norm",
    "angpt",
    "ngpt",
    "siamese_norm",
    "keel",
];
const RECIPES: [&str; 4] = ["adamw", "muon", "nor_muon", "adam_mini"];

/// Everything that a run leaves of its training: its checkpoints, and its history without what depends on the machine.
fn left(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(run.join("checkpoints")).unwrap() {
        let checkpoint = entry.unwrap().path();
        let name = checkpoint
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if checkpoint.is_dir() {
            for file in ["model.safetensors", "optim.safetensors"] {
                let bytes = std::fs::read(checkpoint.join(file)).unwrap();
                all.insert(format!("{name}/{file}"), bytes);
            }
            let state = std::fs::read(checkpoint.join("state.json")).unwrap();
            let mut state: serde_json::Value = serde_json::from_slice(&state).unwrap();
            // Lengths of times differ.
            state["metrics_bytes"] = 0.into();
            all.insert(format!("{name}/state.json"), state.to_string().into_bytes());
        }
    }
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| {
        let mut values: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap();
        values.retain(|name, _| {
            !name.starts_with("perf/") && !name.starts_with("mem/") && name != "time"
        });
        serde_json::to_string(&values).unwrap()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    all.insert("metrics".to_owned(), lines.into_bytes());
    all
}

/// `train.device` for so many ranks on the one device there is.
fn devices(world: usize) -> String {
    match world {
        1 => "flex".to_owned(),
        world => format!("{:?}", vec!["flex"; world]),
    }
}

/// Trains with so many ranks and returns what is left.
fn train(
    world: &World,
    scheme: &str,
    keys: &[(&str, &str)],
    ranks: usize,
    start: Start,
) -> Result<BTreeMap<String, Vec<u8>>, TrainError> {
    let devices = devices(ranks);
    let keys = [&[("train.device", &*devices)], keys].concat();
    let run = world.trainer(scheme, &keys, start).run()?.run;
    Ok(left(&run))
}

fn assert_same(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (name, bytes) in found {
        if *bytes != expected[name] {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (found, expected) = (text(bytes), text(&expected[name]));
            if name == "metrics" {
                for (a, b) in found.lines().zip(expected.lines()) {
                    assert_eq!(a, b, "{what}");
                }
            }
            panic!("{what}: {name} differs");
        }
    }
}

const SHORT: [(&str, &str); 8] = [
    ("train.steps", "3"),
    ("train.batch_size", "1"),
    ("train.accumulate", "8"),
    ("train.eval_every", "2"),
    ("train.eval_tokens", "112"),
    ("train.checkpoint_every", "2"),
    ("train.sample_tokens", "0"),
    ("metrics.norms_every", "2"),
];

/// Trains alone and with 2, 4 and 8 ranks.
fn all_worlds_agree(scheme: &str, keys: &[(&str, &str)]) {
    let keys = [&SHORT[..], keys].concat();
    let world = World::new();
    let of = |ranks: usize| {
        let start = world.fresh(&format!("run-{ranks}"));
        train(&world, scheme, &keys, ranks, start).unwrap()
    };
    let alone = of(1);
    assert!(alone.keys().any(|name| name.contains("step-00000003")));
    for ranks in [2, 4, 8] {
        assert_same(&of(ranks), &alone, &format!("{scheme} {keys:?} on {ranks}"));
    }
}

#[test]
fn every_recipe_of_the_first_schemes() {
    for scheme in &SCHEMES[..3] {
        for recipe in RECIPES {
            all_worlds_agree(scheme, &[("optim.recipe", recipe)]);
        }
    }
}

#[test]
fn every_recipe_of_the_other_schemes() {
    for scheme in &SCHEMES[3..] {
        for recipe in RECIPES {
            all_worlds_agree(scheme, &[("optim.recipe", recipe)]);
        }
    }
}

#[test]
fn what_is_global_is_the_same_too() {
    // Loads of routers and their penalties, and their corrections.
    all_worlds_agree(
        "pre_norm",
        &[("model.experts.count", "4"), ("model.experts.top_k", "2")],
    );
    // Scores that are clipped on the last micro-batch.
    all_worlds_agree(
        "pre_norm",
        &[("norm.qk", "none"), ("optim.qk_clip", "0.01")],
    );
    // Draws by the number of the micro-batch; documents that don't see one another; products in bf16.
    all_worlds_agree(
        "pre_norm",
        &[
            ("model.dropout", "0.2"),
            ("data.document_mask", "within"),
            ("train.precision", "bf16"),
        ],
    );
}

#[test]
fn three_ranks_share_out_six_micro_batches() {
    let world = World::new();
    let keys = [&SHORT[..], &[("train.accumulate", "6")]].concat();
    let of = |ranks: usize| {
        let start = world.fresh(&format!("run-{ranks}"));
        train(&world, "angpt", &keys, ranks, start)
    };
    let alone = of(1).unwrap();
    for ranks in [3, 6] {
        assert_same(&of(ranks).unwrap(), &alone, &format!("{ranks}"));
    }
    let error = of(2).unwrap_err();
    assert!(error.is_wrong_input());
    assert!(error.to_string().contains("1, 3 or 6"), "{error}");
}

#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    let world = World::new();
    for (scheme, recipe) in [("angpt", "muon"), ("pre_norm", "adamw")] {
        let keys = [
            &SHORT[..],
            &[("train.steps", "9"), ("optim.recipe", recipe)],
        ]
        .concat();
        let straight = world.fresh(&format!("{scheme}-straight"));
        let straight = train(&world, scheme, &keys, 1, straight).unwrap();
        let run = format!("{scheme}-run");
        let mut start = world.fresh(&run);
        let mut last = None;
        for (ranks, stop) in [(4, "3"), (2, "5"), (8, "8"), (1, "9")] {
            let keys = [&keys[..], &[("train.stop_after", stop)]].concat();
            last = Some(train(&world, scheme, &keys, ranks, start).unwrap());
            start = Start::Continue(world.path(&run));
        }
        let mut last = last.unwrap();
        // The launches that stopped have saved where they did.
        last.retain(|name, _| straight.contains_key(name));
        assert_same(&last, &straight, scheme);
    }
}

#[test]
fn a_loss_that_is_no_number_ends_all_ranks_with_its_step() {
    let world = World::new();
    let keys = [&SHORT[..], &[("optim.lr", "1e30"), ("optim.clip", "0")]].concat();
    for ranks in [1, 2, 4] {
        let start = world.fresh(&format!("run-{ranks}"));
        let error = train(&world, "pre_norm", &keys, ranks, start).unwrap_err();
        assert!(
            matches!(error, TrainError::NonFinite { step: 2, .. }),
            "{ranks}: {error}"
        );
    }
}

#[test]
fn an_error_of_rank_0_ends_the_others() {
    use evenburn_train::metrics::{MetricSpec, Record};
    use evenburn_train::monitor::{GradientView, Monitor, MonitorError, Probes, StepView};

    /// Fails where the others wait for what their gradients' norms are, or where they wait for an order.
    struct Fails {
        at_gradients: bool,
    }

    impl Monitor for Fails {
        fn name(&self) -> &'static str {
            "fails"
        }

        fn specs(&self) -> &[MetricSpec] {
            &[]
        }

        fn wants(&self, _: u64) -> Probes {
            Probes {
                gradients: true,
                ..Probes::default()
            }
        }

        fn on_gradients(&mut self, _: &GradientView<'_>) -> Result<(), MonitorError> {
            if self.at_gradients {
                return Err("looked".into());
            }
            Ok(())
        }

        fn after_step(&mut self, _: &StepView<'_>, _: &mut Record) -> Result<(), MonitorError> {
            Err("measured".into())
        }
    }

    let world = World::new();
    for at_gradients in [true, false] {
        let keys = [&SHORT[..], &[("train.eval_every", "1")]].concat();
        let mut all = Threads::all(2).into_iter();
        let (first, second) = (all.next().unwrap(), all.next().unwrap());
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let comm: Arc<dyn Communicator> = Arc::new(second);
            let result = follow(&Registry::default(), &comm, 0, &AtomicBool::new(false));
            ended.send(result).unwrap();
        });
        let run = world.fresh(&format!("run-{at_gradients}"));
        let trainer = world.trainer("pre_norm", &keys, run);
        let trainer = trainer.ranks(Ranks::lead(Arc::new(first)));
        let error = trainer.monitor(Fails { at_gradients }).run().unwrap_err();
        let why = if at_gradients { "looked" } else { "measured" };
        assert!(error.to_string().contains(why), "{error}");
        // Where they wait for rank 0's part they learn that it failed; where they wait for an order there is none.
        let followed = end.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(followed.is_err(), at_gradients, "{followed:?}");
    }
}

/// A model that some tokens break: what fails in an evaluation leaves every rank where it was, and the step before is saved.
#[test]
fn an_evaluation_that_fails_on_another_rank_is_saved_before() {
    use evenburn_train::metrics::{MetricSpec, Record};
    use evenburn_train::monitor::MonitorError;
    use evenburn_train::validation::{Evaluation, ValidationEntry};

    /// Evaluates a batch whose second half, which rank 1 has, isn't of this vocabulary.
    struct Foreign;

    impl ValidationEntry for Foreign {
        fn name(&self) -> &'static str {
            "foreign"
        }

        fn specs(&self) -> &[MetricSpec] {
            &[]
        }

        fn run(&mut self, on: &mut Evaluation<'_>, _: &mut Record) -> Result<(), MonitorError> {
            let mut batches: Vec<_> = on.split().batches()?.take(2).collect();
            if let Some(Ok(batch)) = batches.last_mut() {
                batch.tokens[0] = 100_000;
            }
            on.evaluate(batches.into_iter())?;
            Ok(())
        }
    }

    let world = World::new();
    let keys = [
        &SHORT[..],
        &[
            ("train.device", "[\"flex\", \"flex\"]"),
            ("train.checkpoint_every", "0"),
        ],
    ]
    .concat();
    let trainer = world.trainer("pre_norm", &keys, world.fresh("run"));
    let error = trainer.validation_entry(Foreign).run().unwrap_err();
    assert!(error.to_string().contains("rank 1"), "{error}");
    assert!(
        world
            .path("run/checkpoints/step-00000002/model.safetensors")
            .is_file()
    );
}
