//! Monitors, validation entries and functions of a program's own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;

use crate::world::{World, assert_same_checkpoint, metrics};
use evenburn_train::TrainError;
use evenburn_train::metrics::{MetricSpec, Record, documented};
use evenburn_train::monitor::{GradientView, GradientsOf, Monitor, MonitorError, Probes, StepView};
use evenburn_train::validation::{After, Evaluation, ValidationEntry};

#[test]
fn every_metric_of_a_run_is_documented_once() {
    let world = World::new();
    let mut specs: Vec<MetricSpec> = Vec::new();
    for (_, of) in documented().unwrap() {
        specs.extend(of);
    }
    let experts = [
        ("model.experts.count", "4"),
        ("metrics.peak_tflops", "0.1"),
        ("optim.qk_clip", "100"),
        ("norm.qk", "none"),
        ("train.device", "[\"flex\", \"flex\"]"),
    ];
    world
        .run("pre_norm", &experts, world.fresh("experts"))
        .unwrap();
    let mut seen = BTreeSet::new();
    for line in metrics(&world.path("experts")) {
        for (name, _) in line {
            let of: Vec<_> = specs.iter().filter(|spec| spec.covers(&name)).collect();
            assert!(name == "step" || of.len() == 1, "{name}: {of:?}");
            for spec in of {
                seen.insert(spec.name.clone());
            }
        }
    }
    let unseen = specs.iter().filter(|spec| !seen.contains(&spec.name));
    let unseen: Vec<_> = unseen.map(|spec| spec.name.as_ref()).collect();
    // Those of benchmarks are measured where there are tasks: the end-to-end tests have some.
    let (of_benchmarks, unseen): (Vec<_>, Vec<_>) = unseen
        .into_iter()
        .partition(|name: &&str| name.starts_with("eval/{task}/"));
    assert_eq!(of_benchmarks.len(), 10);
    // Of mixtures and of text that is tokenized ahead: `mixed` and `streamed` train on these.
    let elsewhere = [
        "data/{source}/tokens",
        "data/{source}/epoch",
        "taper/gate",
        "perf/fetched_bytes",
        "perf/retries",
        "val/{source}/loss",
        "val/{source}/bpb",
    ];
    assert_eq!(unseen, elsewhere, "everything else is measured here");
}

/// What is written, by name, in its order: other programs may count on both.
#[test]
fn the_values_of_a_step_have_their_order() {
    let world = World::new();
    world
        .run("pre_norm", &[("train.steps", "10")], world.fresh("run"))
        .unwrap();
    let text = std::fs::read_to_string(world.path("run").join("metrics.jsonl")).unwrap();
    let last = text.lines().last().unwrap();
    let expected = [
        "step",
        "train/loss",
        "train/lr",
        "train/grad_norm",
        "train/tokens",
        "val/loss",
        "val/bpb",
        "perf/tokens_per_sec",
        "perf/step_ms",
        "perf/data_wait_ms",
        "perf/monitor_ms",
        "mem/peak_rss",
        "norm/param/embed.weight",
        "norm/grad/embed.weight",
    ];
    let places = expected.map(|name| last.find(&format!("\"{name}\":")));
    assert!(
        places.is_sorted() && places[0] == Some(1),
        "{places:?} {last}"
    );
}

/// Wants to see everything there is, and says what it saw.
struct Everything {
    seen: Arc<Mutex<Vec<String>>>,
    from: u64,
}

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "own/gap",
    "",
    "every step",
    "Of the gradients.",
)];

impl Monitor for Everything {
    fn name(&self) -> &'static str {
        "everything"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn wants(&self, step: u64) -> Probes {
        let asks = step >= self.from;
        Probes {
            gradients: asks,
            micro_batch_gradients: asks,
            weights_before: asks,
            attention_scores: asks,
            activations: asks,
        }
    }

    fn on_gradients(&mut self, view: &GradientView<'_>) -> Result<(), MonitorError> {
        let of = match view.of {
            GradientsOf::MicroBatch(n) => format!("{n}"),
            GradientsOf::Step => "all".to_owned(),
        };
        assert!(!view.gradients.is_empty());
        self.seen
            .lock()
            .unwrap()
            .push(format!("{} {of}", view.step));
        Ok(())
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let asked = step.step >= self.from;
        assert_eq!(step.weights_before().is_some(), asked);
        assert_eq!(step.attention_scores().map(<[_]>::len), asked.then_some(2));
        let streams = step
            .activations()
            .map(|all| all.iter().map(Tensor::dims).collect());
        let expected: Option<Vec<[usize; 3]>> = asked.then(|| vec![[2, 16, 16]; 3]);
        assert_eq!(streams, expected);
        record.push("own/gap", 0.0);
        Ok(())
    }
}

#[test]
fn a_monitor_sees_what_it_asks_for_and_changes_nothing() {
    let world = World::new();
    let short = [("train.steps", "4"), ("metrics.norms_every", "0")];
    let without = world
        .run("pre_norm", &short, world.fresh("without"))
        .unwrap();
    let seen = Arc::default();
    let everything = Everything {
        seen: Arc::clone(&seen),
        from: 3,
    };
    let trainer = world.trainer("pre_norm", &short, world.fresh("with"));
    let with = trainer.monitor(everything).run().unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        ["3 0", "3 1", "3 all", "4 0", "4 1", "4 all"]
    );
    assert_same_checkpoint(&without.checkpoint.unwrap(), &with.checkpoint.unwrap());
    for line in metrics(&with.run) {
        assert!(line.contains_key("own/gap"));
        // Whoever didn't ask for scores isn't given them.
        assert!(!line.contains_key("attn/largest_score"));
    }
}

struct Failing(&'static str);

impl Monitor for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, _: &mut Record) -> Result<(), MonitorError> {
        if step.step == 3 {
            Err(self.0.into())
        } else {
            Ok(())
        }
    }
}

/// Due after its own steps.
struct Odd;

static ODD: [MetricSpec; 1] = [MetricSpec::new(
    "val/vocabulary",
    "tokens",
    "after odd steps",
    "Size of the vocabulary.",
)];

impl ValidationEntry for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn specs(&self) -> &[MetricSpec] {
        &ODD
    }

    fn is_due(&self, after: &After) -> bool {
        after.step % 2 == 1
    }

    fn run(&mut self, on: &mut Evaluation<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let batch = on.split().batches()?.next().ok_or("no batch")??;
        let [_, _, vocabulary] = on.task().logits(&batch).dims();
        record.push("val/vocabulary", vocabulary as f64);
        Ok(())
    }
}

#[test]
fn an_error_of_a_monitor_names_it() {
    let world = World::new();
    let trainer = world.trainer("pre_norm", &[], world.fresh("run"));
    let trainer = trainer.monitor(Failing("the disk is full"));
    let error = trainer.validation_entry(Odd).run().unwrap_err();
    assert!(
        matches!(error, TrainError::Monitor { step: 3, .. }),
        "{error}"
    );
    assert!(!error.is_wrong_input());
    let message = error.to_string();
    assert!(
        message.contains("`failing`") && message.contains("the disk is full"),
        "{message}"
    );
    let found = metrics(&world.path("run"));
    let found: Vec<_> = found
        .iter()
        .map(|line| line.get("val/vocabulary").is_some())
        .collect();
    assert_eq!(found, [true, false]);
    // The step that was looked at is kept, though no checkpoint was due.
    assert!(world.path("run/checkpoints/step-00000003").is_dir());

    let trainer = world.trainer("pre_norm", &[], world.fresh("twice"));
    let error = trainer
        .monitor(Failing(""))
        .monitor(Failing(""))
        .run()
        .unwrap_err();
    assert!(
        error.is_wrong_input() && error.to_string().contains("own/gap"),
        "{error}"
    );
    assert!(!world.path("twice").exists());
}

/// Gives a value that it says nothing of.
struct Undeclared;

impl Monitor for Undeclared {
    fn name(&self) -> &'static str {
        "undeclared"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, _: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        record.push("own/other", 0.0);
        Ok(())
    }
}

#[test]
fn a_value_without_a_spec_is_an_error_that_names_both() {
    let world = World::new();
    let trainer = world.trainer("pre_norm", &[], world.fresh("run"));
    let message = trainer.monitor(Undeclared).run().unwrap_err().to_string();
    for part in ["`undeclared`", "`own/other`"] {
        assert!(message.contains(part), "{message}");
    }
}
