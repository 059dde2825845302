//! Runs of a tiny model from start to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::world::{World, assert_same_checkpoint, assert_same_history, metrics};
use evenburn_model::plan::{GainRole, NormPlan, ResidualPlan};
use evenburn_model::strategy::{NormStrategy, SchemeOptions};
use evenburn_model::{Branch, Dims};
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use evenburn_train::{
    Ended, Launch, Resume, Start, TrainError, Trainer, evaluate, load_run, recorded,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[test]
fn a_run_learns_and_leaves_everything_behind() {
    let world = World::new();
    let summary = world.run("simple_norm", &[], Start::Fresh(None)).unwrap();
    assert_eq!(
        (summary.ended, summary.step, summary.total),
        (Ended::Finished, 40, 40)
    );
    assert_eq!(summary.tokens, 40 * 2 * 2 * 16);
    for file in [
        "config.toml",
        "plan.toml",
        "provenance.json",
        "metrics.jsonl",
        "checkpoints/latest",
        "checkpoints/step-00000040/model.safetensors",
        "samples/step-00000040.txt",
    ] {
        assert!(summary.run.join(file).is_file(), "{file}");
    }
    assert!(
        !summary.run.join("checkpoints/step-00000024").exists(),
        "two are kept"
    );
    let events = std::fs::read_dir(summary.run.join("tb")).unwrap().count();
    assert_eq!(events, 1);

    let lines = metrics(&summary.run);
    assert_eq!(lines.len(), 40);
    let loss = |line: usize| lines[line]["train/loss"].as_f64().unwrap();
    assert!(loss(39) < loss(0) - 1.0, "{} -> {}", loss(0), loss(39));
    for (index, line) in lines.iter().enumerate() {
        let step = index as u64 + 1;
        assert_eq!(line["step"].as_u64(), Some(step));
        assert_eq!(line["train/tokens"].as_u64(), Some(step * 64));
        assert_eq!(line.contains_key("val/loss"), step.is_multiple_of(10));
        assert_eq!(line.contains_key("val/bpb"), step.is_multiple_of(10));
        assert_eq!(
            line.contains_key("norm/param/embed.weight"),
            step.is_multiple_of(5)
        );
        assert_eq!(
            line.contains_key("norm/grad/embed.weight"),
            step.is_multiple_of(5)
        );
        for name in [
            "train/lr",
            "train/grad_norm",
            "perf/tokens_per_sec",
            "perf/step_ms",
            "perf/data_wait_ms",
            "perf/monitor_ms",
        ] {
            assert!(line[name].as_f64().is_some(), "{name}");
        }
        assert!(!line.contains_key("perf/mfu"));
    }
    let (path, text) = summary.sample.unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);

    let trained = load_run(&Registry::default(), &summary.run).unwrap();
    assert_eq!(trained.state.step, 40);
}

#[test]
fn nothing_is_written_outside_the_run_directory() {
    let world = World::new();
    let here = |dir: &std::path::Path| -> Vec<_> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let cwd = std::env::current_dir().unwrap();
    let before = here(&cwd);
    let summary = world
        .run("pre_norm", &[("train.steps", "3")], Start::Fresh(None))
        .unwrap();
    assert_eq!(here(&cwd), before);
    let inside = here(&summary.run);
    let expected = [
        "checkpoints",
        "config.toml",
        "lock",
        "metrics.jsonl",
        "plan.toml",
        "provenance.json",
        "samples",
        "tb",
        "tokenizer.json",
    ];
    assert_eq!(inside, expected);
    assert_eq!(here(&world.path("runs")).len(), 1);
}

#[test]
fn a_stopped_and_resumed_run_equals_the_straight_one() {
    for scheme in Registry::default().model.names() {
        let world = World::new();
        let straight = world.run(scheme, &[], world.fresh("straight")).unwrap();
        // 21 lies between two checkpoints and between two evaluations.
        let half = world
            .run(scheme, &[("train.stop_after", "21")], world.fresh("halves"))
            .unwrap();
        assert_eq!((half.ended, half.step), (Ended::StopAfter, 21));
        let whole = world.run(scheme, &[], world.resume("halves")).unwrap();
        assert_eq!((whole.ended, whole.step), (Ended::Finished, 40));
        assert_same_history(&straight.run, &whole.run);
        assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
    }
}

#[test]
fn a_run_that_lost_its_last_steps_does_them_again() {
    let world = World::new();
    let straight = world.run("angpt", &[], world.fresh("straight")).unwrap();
    world
        .run("angpt", &[("train.stop_after", "30")], world.fresh("lost"))
        .unwrap();
    // As a kill after step 30 would have left it, before the checkpoint of step 30 was complete.
    let last = world.path("lost").join("checkpoints/step-00000030");
    let aside = world.path("lost").join("checkpoints/.saving-step-00000030");
    std::fs::rename(last, &aside).unwrap();
    std::fs::remove_file(aside.join("checksums.b3")).unwrap();
    let whole = world.run("angpt", &[], world.resume("lost")).unwrap();
    assert_same_history(&straight.run, &whole.run);
    assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_over_in_its_place() {
    let world = World::new();
    let straight = world.run("ngpt", &[], world.fresh("straight")).unwrap();
    world
        .run("ngpt", &[("train.stop_after", "3")], world.fresh("early"))
        .unwrap();
    std::fs::remove_dir_all(world.path("early").join("checkpoints")).unwrap();
    let whole = world.run("ngpt", &[], world.resume("early")).unwrap();
    assert_same_history(&straight.run, &whole.run);
    assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
}

#[test]
fn a_stop_flag_ends_the_run_with_a_checkpoint() {
    let world = World::new();
    let stop = Arc::new(AtomicBool::new(true));
    let trainer = world.trainer("pre_norm", &[], world.fresh("run"));
    let summary = trainer.stop_flag(Arc::clone(&stop)).run().unwrap();
    assert_eq!((summary.ended, summary.step), (Ended::Interrupted, 0));

    stop.store(false, Ordering::Relaxed);
    let setter = Arc::clone(&stop);
    let metrics_file = world.path("run").join("metrics.jsonl");
    let waiter = std::thread::spawn(move || {
        while std::fs::metadata(&metrics_file).map_or(0, |m| m.len()) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        setter.store(true, Ordering::Relaxed);
    });
    let trainer = world.trainer("pre_norm", &[], world.resume("run"));
    let summary = trainer.stop_flag(stop).run().unwrap();
    waiter.join().unwrap();
    assert_eq!(summary.ended, Ended::Interrupted);
    assert!(summary.step > 0 && summary.step < 40, "{}", summary.step);
    let name = format!("step-{:08}", summary.step);
    assert!(summary.checkpoint.unwrap().ends_with(name));
    assert_eq!(metrics(&summary.run).len() as u64, summary.step);
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let world = World::new();
    let first = world
        .run("pre_norm", &[("train.steps", "8")], world.fresh("run"))
        .unwrap();
    let again = world
        .run("pre_norm", &[("train.steps", "8")], world.resume("run"))
        .unwrap();
    assert_eq!((again.ended, again.step), (Ended::Finished, 8));
    assert_eq!(again.checkpoint, first.checkpoint);
    assert_eq!(metrics(&again.run).len(), 8);
}

#[test]
fn a_run_in_use_is_locked() {
    let world = World::new();
    world
        .run("pre_norm", &[("train.stop_after", "2")], world.fresh("run"))
        .unwrap();
    let held = evenburn_train::RunDir::open(&world.path("run")).unwrap();
    let error = world.run("pre_norm", &[], world.resume("run")).unwrap_err();
    assert!(matches!(error, TrainError::Locked { .. }), "{error}");
    assert!(error.is_wrong_input());
    drop(held);
    world
        .run(
            "pre_norm",
            &[("train.stop_after", "4")],
            world.resume("run"),
        )
        .unwrap();
}

#[test]
fn a_resume_names_every_key_that_would_change_the_past() {
    let world = World::new();
    world
        .run("pre_norm", &[("train.stop_after", "2")], world.fresh("run"))
        .unwrap();
    let error = world
        .run(
            "pre_norm",
            &[
                ("train.seed", "2"),
                ("optim.lr", "0.5"),
                ("train.keep", "9"),
            ],
            world.resume("run"),
        )
        .unwrap_err();
    let message = error.to_string();
    for part in [
        "optim.lr was 0.01 and is now 0.5 (command line)",
        "train.seed was 1 and is now 2",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("keep"), "{message}");
    assert!(error.is_wrong_input());
    let free = [
        ("train.keep", "9"),
        ("train.eval_every", "3"),
        ("train.checkpoint_every", "1"),
        ("train.log_every", "1"),
        ("run.name", "other"),
        ("train.stop_after", "4"),
        ("metrics.norms_every", "1"),
    ];
    world.run("pre_norm", &free, world.resume("run")).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_one_clear_error_and_nothing_is_lost() {
    let world = World::new();
    world
        .run(
            "pre_norm",
            &[("train.stop_after", "16")],
            world.fresh("run"),
        )
        .unwrap();
    let file = world
        .path("run")
        .join("checkpoints/step-00000016/optim.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let history = std::fs::read(world.path("run").join("metrics.jsonl")).unwrap();
    let error = world.run("pre_norm", &[], world.resume("run")).unwrap_err();
    let message = error.to_string();
    for part in ["optim.safetensors", "step-00000008", "intact"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(error.is_wrong_input());
    assert_eq!(
        std::fs::read(world.path("run").join("metrics.jsonl")).unwrap(),
        history
    );
    assert!(load_run(&Registry::default(), &world.path("run")).is_err());
    // The way out the message names.
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    world
        .run(
            "pre_norm",
            &[("train.stop_after", "16")],
            world.resume("run"),
        )
        .unwrap();
}

#[test]
fn another_corpus_is_refused() {
    let world = World::new();
    world
        .run("pre_norm", &[("train.stop_after", "2")], world.fresh("run"))
        .unwrap();
    let mut text = std::fs::read_to_string(world.path("text.txt")).unwrap();
    text.push_str("one more document\n");
    std::fs::write(world.path("text.txt"), text).unwrap();
    let error = world.run("pre_norm", &[], world.resume("run")).unwrap_err();
    assert!(error.to_string().contains("corpus"), "{error}");
}

#[test]
fn a_run_directory_that_exists_is_not_overwritten() {
    let world = World::new();
    world
        .run("pre_norm", &[("train.steps", "2")], world.fresh("run"))
        .unwrap();
    let before = std::fs::read(world.path("run").join("metrics.jsonl")).unwrap();
    let error = world
        .run("pre_norm", &[("train.steps", "2")], world.fresh("run"))
        .unwrap_err();
    assert!(error.is_wrong_input(), "{error}");
    assert_eq!(
        std::fs::read(world.path("run").join("metrics.jsonl")).unwrap(),
        before
    );
}

#[test]
fn a_loss_that_is_no_number_stops_before_the_weights_change() {
    let world = World::new();
    let wild = [
        ("optim.lr", "1e30"),
        ("optim.clip", "0"),
        ("optim.warmup_steps", "0"),
        ("train.checkpoint_every", "1"),
    ];
    let error = world
        .run("pre_norm", &wild, world.fresh("run"))
        .unwrap_err();
    let TrainError::NonFinite {
        step, checkpoint, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(
        error.to_string().contains(&format!("step {step}")),
        "{error}"
    );
    assert!(!error.is_wrong_input());
    assert_eq!(metrics(&world.path("run")).len() as u64, step - 1);
    assert!(
        checkpoint
            .as_ref()
            .unwrap()
            .ends_with(format!("step-{:08}", step - 1))
    );
}

#[test]
fn bad_input_leaves_no_run_behind() {
    let world = World::new();
    let bad: [&[(&str, &str)]; 4] = [
        &[("model.vocab_size", "280")],
        &[("model.context", "4096"), ("train.batch_size", "1")],
        &[("train.device", "rocm")],
        &[("data.validation_fraction", "0")],
    ];
    for overrides in bad {
        let error = world
            .run("pre_norm", overrides, Start::Fresh(None))
            .unwrap_err();
        assert!(error.is_wrong_input(), "{error}");
        assert!(!world.path("runs").exists(), "{error}");
    }
}

/// Normalizes what a branch writes, with an epsilon that no built-in scheme has.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct OutputNorm {
    /// Epsilon of every normalization.
    eps: f64,
}

impl Default for OutputNorm {
    fn default() -> Self {
        Self { eps: 1e-4 }
    }
}

impl SchemeOptions for OutputNorm {
    const NAME: &'static str = "output_norm";
    const ABOUT: &'static str = "RMSNorm after each branch.";
}

impl NormStrategy for OutputNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            output: Some(NormPlan::rms(self.eps, GainRole::Output)),
            ..ResidualPlan::plain()
        }
    }
}

/// One run of a scheme of its own, read by a program that has the scheme and by one that doesn't.
#[test]
fn a_scheme_of_ones_own_trains_and_is_read_by_everybody() {
    let world = World::new();
    let with = Registry::default().with_scheme::<OutputNorm>().unwrap();
    let without = Registry::default();
    let given = |registry: &Registry, overrides: &[(&str, &str)]| {
        let overrides: Vec<_> = overrides
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let text = world.toml("output_norm");
        let text = text.replace("[norm]\n", "[norm]\neps = 0.01\n");
        RunConfig::from_toml(registry, "mine.toml", &text, &overrides)
    };
    let train = |overrides: &[(&str, &str)], start| {
        let resolved = given(&with, overrides).unwrap();
        let corpus = world.corpus(&resolved);
        let trainer = Trainer::new(&with, resolved, corpus);
        trainer.start(start).run().unwrap()
    };
    let straight = train(&[], world.fresh("straight"));
    train(&[("train.stop_after", "15")], world.fresh("halves"));

    // A program that has never heard of the scheme goes on with the run, as with any other.
    let launch = Launch {
        resume: Resume::Run(world.path("halves")),
        ..Launch::default()
    };
    let (resolved, start) = launch.resolve(&without).unwrap();
    assert!(!resolved.config.norm.is_known());
    let corpus = world.corpus(&resolved);
    let whole = Trainer::new(&without, resolved, corpus)
        .start(start)
        .run()
        .unwrap();
    assert_same_checkpoint(
        straight.checkpoint.as_ref().unwrap(),
        whole.checkpoint.as_ref().unwrap(),
    );

    // What was chosen is recorded, in the configuration and in the plan.
    for registry in [&with, &without] {
        let trained = load_run(registry, &whole.run).unwrap();
        assert_eq!(trained.plan.scheme, "output_norm");
        assert_eq!(trained.plan.options["eps"].as_float(), Some(0.01));
        assert_eq!(trained.config.norm.name(), "output_norm");
        assert_eq!(trained.config.norm.options(), &trained.plan.options);

        // The last evaluation of the run, once more.
        let corpus = world.corpus(&world.resolve("pre_norm", &[]).unwrap());
        let batches = corpus.validation.batches(16, 2, Some(16)).unwrap();
        let score = evaluate(&trained.task(), batches).unwrap();
        let logged = metrics(&whole.run)[39]["val/loss"].as_f64().unwrap();
        assert_eq!(score.nats_per_token().to_bits(), logged.to_bits());
    }

    // Another plan needs the scheme, or another one.
    let set = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    let sizes = set("model.dim", "32");
    let described = recorded(&with, &whole.run, &sizes).unwrap();
    assert_eq!(described.plan.dims().model, 32);
    let error = recorded(&without, &whole.run, &sizes).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("`output_norm`") && message.contains("pre_norm"),
        "{message}"
    );
    let error = recorded(&without, &whole.run, &set("norm.eps", "0.1")).unwrap_err();
    assert!(error.to_string().contains("output_norm"), "{error}");
    let other = recorded(&without, &whole.run, &set("norm.scheme", "simple_norm")).unwrap();
    assert_eq!(other.plan.scheme, "simple_norm");

    // A file that somebody wrote names a scheme that there is.
    let message = given(&without, &[]).unwrap_err().to_string();
    for part in ["mine.toml:", "norm.scheme", "\"pre_norm\"", "output_norm"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_run_recorded_without_options_resumes_as_the_plan_it_is() {
    let world = World::new();
    let straight = world.run("ngpt", &[], world.fresh("straight")).unwrap();
    world
        .run("ngpt", &[("train.stop_after", "16")], world.fresh("run"))
        .unwrap();
    // As it was recorded before plans had options.
    let file = world.path("run").join("plan.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("[options]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let text = format!("{before}{after}");
    std::fs::write(&file, &text).unwrap();
    let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
    world.edit_state("run", |state| {
        state["format"] = 2.into();
        state["plan"] = hash.clone().into();
        state["config"] = "of other keys".into();
    });
    let whole = world.run("ngpt", &[], world.resume("run")).unwrap();
    assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    // Another plan than the recorded one is still refused.
    let run = world.path("straight");
    let file = run.join("plan.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("0.05", "0.06", 1)).unwrap();
    let error = load_run(&Registry::default(), &run).unwrap_err();
    assert!(matches!(error, TrainError::Foreign { .. }), "{error}");
}

/// A run of `angpt` from before its branches had norms: neither its plan nor its configuration says that they have none.
#[test]
fn a_run_of_angpt_recorded_before_its_branch_norms_goes_on_without_them() {
    let world = World::new();
    let norm_free = [
        ("norm.branch_norm", "none"),
        ("norm.softmax_gain", "none"),
        // 1 / sqrt(dim), which it was.
        ("norm.sz_scale", "0.25"),
    ];
    let with = |more| [&norm_free[..], more].concat();
    let straight = world.run("angpt", &with(&[]), world.fresh("straight"));
    let stopped = with(&[("train.stop_after", "16")]);
    world.run("angpt", &stopped, world.fresh("run")).unwrap();

    let edit = |name: &str, edit: &dyn Fn(&mut toml::Table)| {
        let file = world.path("run").join(name);
        let mut table = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        edit(&mut table);
        std::fs::write(&file, toml::to_string_pretty(&table).unwrap()).unwrap();
    };
    let record = |gain: &str| {
        edit("config.toml", &|config| {
            let norm = config["norm"].as_table_mut().unwrap();
            norm.retain(|key, _| {
                !["branch_norm", "softmax_gain", "sz_scale", "gate_scale"].contains(&key)
            });
            norm.insert("qk_gain".to_owned(), gain.into());
        });
    };
    record("none");
    edit("plan.toml", &|plan| {
        plan.remove("options");
    });
    let plan = std::fs::read(world.path("run").join("plan.toml")).unwrap();
    world.edit_state("run", |state| {
        state["format"] = 2.into();
        state["plan"] = blake3::hash(&plan).to_hex().to_string().into();
        state["config"] = "of other keys".into();
    });

    let registry = Registry::default();
    let resume = || {
        let launch = Launch {
            resume: Resume::Run(world.path("run")),
            ..Launch::default()
        };
        launch.resolve(&registry)
    };
    // What nothing says any more is refused in one sentence.
    record("learned");
    let error = resume().unwrap_err();
    let message = error.to_string();
    assert!(error.is_wrong_input(), "{message}");
    assert!(
        message.contains("norm.qk_gain") && message.lines().count() == 1,
        "{message}"
    );

    record("none");
    let (resolved, start) = resume().unwrap();
    let said = resolved.config.norm.options();
    assert_eq!(said["branch_norm"].as_str(), Some("none"));
    assert_eq!(said["sz_scale"].as_float(), Some(0.25));
    let corpus = world.corpus(&resolved);
    let trainer = Trainer::new(&registry, resolved, corpus);
    let whole = trainer.start(start).run().unwrap();
    assert_same_checkpoint(
        &straight.unwrap().checkpoint.unwrap(),
        &whole.checkpoint.unwrap(),
    );
    let trained = load_run(&registry, &whole.run).unwrap();
    assert!(trained.plan.layers[0].attn_residual.output.is_none());
}

#[test]
fn accumulating_micro_batches_is_one_larger_batch() {
    let world = World::new();
    let whole = [
        ("train.steps", "5"),
        ("train.batch_size", "4"),
        ("train.accumulate", "1"),
    ];
    let parts = [
        ("train.steps", "5"),
        ("train.batch_size", "1"),
        ("train.accumulate", "4"),
    ];
    let whole = world.run("pre_norm", &whole, world.fresh("whole")).unwrap();
    let parts = world.run("pre_norm", &parts, world.fresh("parts")).unwrap();
    for (a, b) in metrics(&whole.run).into_iter().zip(metrics(&parts.run)) {
        for name in ["train/loss", "train/grad_norm"] {
            let (a, b) = (a[name].as_f64().unwrap(), b[name].as_f64().unwrap());
            assert!((a - b).abs() < 1e-4 * a.abs(), "{name}: {a} {b}");
        }
    }
}

/// A mixture's balancing loss is each micro-batch's own; the cross-entropy is the batch's, however it is cut.
#[test]
fn smaller_micro_batches_are_balanced_each_by_itself() {
    let world = World::new();
    let first = |run: &str, batch: &str, parts: &str| {
        let overrides = [
            ("train.steps", "1"),
            ("train.batch_size", batch),
            ("train.accumulate", parts),
            ("model.experts.count", "4"),
            ("model.experts.z_coef", "0"),
            ("model.experts.balance_coef", "1"),
        ];
        world.run("pre_norm", &overrides, world.fresh(run)).unwrap();
        let line = metrics(&world.path(run)).remove(0);
        ["train/loss", "moe/penalty"].map(|name| line[name].as_f64().unwrap())
    };
    let [whole, parts] = [first("whole", "8", "1"), first("parts", "1", "8")];
    assert!(
        (whole[0] - parts[0]).abs() < 1e-4 * whole[0],
        "{whole:?} {parts:?}"
    );
    assert!(parts[1] > whole[1] + 1e-4, "{whole:?} {parts:?}");
}

#[test]
fn a_batch_with_a_token_the_model_does_not_have_is_an_error_with_its_place() {
    let world = World::new();
    let summary = world
        .run("pre_norm", &[("train.steps", "1")], world.fresh("run"))
        .unwrap();
    let task = load_run(&Registry::default(), &summary.run).unwrap().task();
    let score = |tokens: [i32; 4], targets: [i32; 4]| {
        let batch = evenburn_data::Batch {
            batch: 2,
            time: 2,
            tokens: tokens.to_vec(),
            targets: targets.to_vec(),
            segments: vec![0; 4],
            bytes: None,
        };
        evaluate(&task, std::iter::once(Ok(batch)))
    };
    assert!(score([0, 1, 2, 299], [1, 2, 299, -1]).is_ok());
    for (tokens, targets, found) in [
        (
            [0, 1, 2, 300],
            [0; 4],
            "token 300 at position 1 of sequence 1",
        ),
        (
            [-1, 1, 2, 3],
            [0; 4],
            "token -1 at position 0 of sequence 0",
        ),
        (
            [0; 4],
            [1, 1, 301, -1],
            "token 301 at position 0 of sequence 1",
        ),
    ] {
        let error = score(tokens, targets).unwrap_err();
        assert!(error.is_wrong_input());
        let message = error.to_string();
        assert!(
            message.contains(found) && message.contains("vocabulary of 300"),
            "{message}"
        );
    }
}

/// `[optim]` of every run once had the options of all recipes.
#[test]
fn a_run_recorded_with_the_options_of_all_recipes_goes_on() {
    let world = World::new();
    let muon = [("optim.recipe", "muon"), ("optim.momentum", "0.9")];
    let straight = world
        .run("pre_norm", &muon, world.fresh("straight"))
        .unwrap();
    let stopped = [&muon[..], &[("train.stop_after", "16")]].concat();
    world.run("pre_norm", &stopped, world.fresh("run")).unwrap();
    let file = world.path("run").join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let others = "lion_beta1 = 0.5\nlion_beta2 = 0.99\nscion_radius = 50.0\nscion_sign_radius = 3000.0\n\
                  scion_form = \"unconstrained\"\n";
    let before = text.replace("[optim]\n", &format!("[optim]\n{others}"));
    std::fs::write(&file, before).unwrap();
    // One of them had no default, which is in the identity of the run's checkpoints.
    world.edit_state("run", |state| state["config"] = "of other keys".into());
    let whole = world.run("pre_norm", &muon, world.resume("run")).unwrap();
    assert_same_checkpoint(&straight.checkpoint.unwrap(), &whole.checkpoint.unwrap());
}

/// Its checkpoints have the hash of today's keys where it set no option of another recipe, so an edit of what it recorded is
/// found.
#[test]
fn an_edited_configuration_with_the_options_of_all_recipes_is_refused() {
    let world = World::new();
    let stopped = [("train.stop_after", "4")];
    world.run("pre_norm", &stopped, world.fresh("run")).unwrap();
    let file = world.path("run").join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let others = "lion_beta1 = 0.9\nlion_beta2 = 0.99\northogonal_steps = 5\nheads = \"joined\"\nscion_radius = 50.0\n\
                  scion_sign_radius = 3000.0\nscion_form = \"unconstrained\"\n";
    let before = text.replace("[optim]\n", &format!("[optim]\n{others}"));
    let edited = before.replace("lr = 0.01\n", "lr = 0.02\n");
    assert_ne!(before, edited);
    std::fs::write(&file, edited).unwrap();
    let error = world
        .run("pre_norm", &[("optim.lr", "0.02")], world.resume("run"))
        .unwrap_err();
    assert!(
        matches!(
            error,
            TrainError::Foreign {
                what: "configuration",
                ..
            }
        ),
        "{error}"
    );
    std::fs::write(&file, before).unwrap();
    let on = [("train.stop_after", "6")];
    world.run("pre_norm", &on, world.resume("run")).unwrap();
}

/// What can't be opened is found before the run's configuration is another one.
#[test]
fn a_launch_that_cannot_write_its_files_leaves_the_configuration_as_it_was() {
    let world = World::new();
    let constant = [("optim.schedule", "constant"), ("optim.warmup_steps", "2")];
    let stopped = [&constant[..], &[("train.stop_after", "4")]].concat();
    world.run("pre_norm", &stopped, world.fresh("run")).unwrap();
    let run = world.path("run");
    let read = || std::fs::read_to_string(run.join("config.toml")).unwrap();
    let before = read();
    let history = run.join("metrics.jsonl");
    std::fs::rename(&history, run.join("history")).unwrap();
    std::fs::create_dir(&history).unwrap();
    let longer = [&constant[..], &[("train.steps", "50")]].concat();
    let error = world
        .run("pre_norm", &longer, world.resume("run"))
        .unwrap_err();
    assert!(error.to_string().contains("metrics.jsonl"), "{error}");
    assert_eq!(read(), before);
    std::fs::remove_dir(&history).unwrap();
    std::fs::rename(run.join("history"), &history).unwrap();
    world.run("pre_norm", &longer, world.resume("run")).unwrap();
    assert!(read().contains("steps = 50"));
}
