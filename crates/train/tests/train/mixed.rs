//! Training on a mixture of texts.

use evenburn_data::draw;
use evenburn_train::config::RunConfig;
use evenburn_train::{Registry, Start, Summary, Trainer, prepare};

use crate::world::{World, assert_same_checkpoint, assert_same_history, metrics};

/// A step of a tiny run has 64 tokens; `b` comes in after 20 steps and alone after 30.
const SOURCES: &str = "[{ name = 'a', path = 'A', weight = [[0, 3], [1920, 0]] }, \
                       { name = 'b', path = 'B', weight = [[0, 0], [1280, 1.0]] }]";

/// Windows of a few documents, so that a run goes through many of them.
const WINDOWS: (&str, &str) = ("data.window_bytes", "3000");
const AHEAD: (&str, &str) = ("data.prepare", "ahead");

/// The sources, the second of which is other text.
fn sources(world: &World) -> String {
    let text = std::fs::read_to_string(world.path("text.txt")).unwrap();
    let other = text
        .replace("the", "some")
        .to_uppercase()
        .replace("<|ENDOFTEXT|>", "<|endoftext|>");
    std::fs::write(world.path("other.txt"), &other[..other.len() / 3]).unwrap();
    let place = |name: &str| world.path(name).display().to_string();
    SOURCES
        .replace("'A'", &format!("'{}'", place("text.txt")))
        .replace("'B'", &format!("'{}'", place("other.txt")))
}

fn train(world: &World, keys: &[(&str, &str)], cache: &str, start: Start) -> Summary {
    let sources = sources(world);
    let keys = [&[WINDOWS, ("data.sources", &sources)], keys].concat();
    let resolved = world.resolve("pre_norm", &keys).unwrap();
    let cache = world.path(&format!("cache-{cache}"));
    let data = prepare(&resolved.config, &cache, &()).unwrap();
    let trainer = Trainer::new(&Registry::default(), resolved, data);
    trainer.start(start).run().unwrap()
}

#[test]
fn a_mixture_is_resumed_where_its_weights_change_prepared_and_streamed() {
    let world = World::new();
    let straight = train(&world, &[], "all", world.fresh("straight"));
    let streamed = train(&world, &[AHEAD], "ahead", world.fresh("streamed"));
    assert_same_history(&straight.run, &streamed.run);
    let last = |summary: &Summary| summary.checkpoint.clone().unwrap();
    assert_same_checkpoint(&last(&straight), &last(&streamed));
    for (run, key) in [("prepared", ("data.prepare", "all")), ("ahead", AHEAD)] {
        let stop = |at| [key, ("train.stop_after", at)];
        train(&world, &stop("18"), "one", world.fresh(run));
        train(&world, &stop("21"), "two", world.resume(run));
        train(&world, &stop("33"), "three", world.resume(run));
        let resumed = train(&world, &[key], "one", world.resume(run));
        assert_same_history(&straight.run, &resumed.run);
        assert_same_checkpoint(&last(&straight), &last(&resumed));
    }
}

#[test]
fn every_source_has_its_tokens_its_epoch_and_its_losses() {
    let world = World::new();
    let run = train(&world, &[], "all", world.fresh("run")).run;
    let lines = metrics(&run);
    let value = |step: usize, name: &str| {
        lines[step - 1]
            .get(name)
            .and_then(serde_json::Value::as_f64)
    };
    for step in 1..=40 {
        let [a, b] = ["data/a/tokens", "data/b/tokens"].map(|name| value(step, name).unwrap());
        assert!((a + b - value(step, "train/tokens").unwrap()).abs() < 0.5);
        assert!(step > 20 || b == 0.0);
        if step > 30 {
            assert_eq!(Some(a), value(30, "data/a/tokens"));
        }
        assert!(value(step, "data/b/epoch") >= value(1, "data/b/epoch"));
    }
    // Three to one from step 21 to 30, whose samples are 80 to 119 of 16 tokens each.
    let seed = RunConfig::default().train.seed;
    let drawn = (80..120).filter(|sample| draw(seed, *sample, &[3.0, 1.0]) == 1);
    assert_eq!(
        value(30, "data/b/tokens"),
        Some(16.0 * drawn.count() as f64)
    );
    for step in [10, 20, 30, 40] {
        let [all, a, b] = ["val/loss", "val/a/loss", "val/b/loss"].map(|n| value(step, n).unwrap());
        // Equal parts of both.
        assert!(
            (all - f64::midpoint(a, b)).abs() < 1e-9,
            "{all} of {a} and {b}"
        );
        assert!(value(step, "val/a/bpb").is_some() && value(step, "val/bpb").is_some());
    }
    // What comes in late is learned late.
    let gain = |name, from, to| value(from, name).unwrap() - value(to, name).unwrap();
    assert!(gain("val/b/loss", 20, 40) > gain("val/a/loss", 20, 40));
    assert!(value(9, "val/a/loss").is_none());
}

#[test]
fn other_sources_are_refused_and_other_places_are_not() {
    let world = World::new();
    train(
        &world,
        &[("train.stop_after", "8")],
        "cache",
        world.fresh("run"),
    );
    let sources = sources(&world);
    let goes_on = |sources: &str| {
        let keys = [
            WINDOWS,
            ("data.sources", sources),
            ("train.stop_after", "16"),
        ];
        let resolved = world.resolve("pre_norm", &keys).unwrap();
        let data = prepare(&resolved.config, &world.path("cache"), &()).unwrap();
        let trainer = Trainer::new(&Registry::default(), resolved, data);
        trainer.start(world.resume("run")).run()
    };
    for (what, other) in [
        ("data.sources", sources.replace("1920, 0", "1921, 0")),
        ("data.sources", sources.replace("'b'", "'c'")),
        ("corpus", sources.replace("other.txt", "text.txt")),
    ] {
        let error = goes_on(&other).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    std::fs::create_dir(world.path("moved")).unwrap();
    std::fs::rename(world.path("other.txt"), world.path("moved/other.txt")).unwrap();
    goes_on(&sources.replace("other.txt", "moved/other.txt")).unwrap();
}

#[test]
fn what_makes_no_mixture_is_an_error_with_its_key() {
    let world = World::new();
    let sources = sources(&world);
    let refused = |sources: &str, keys: &[(&str, &str)]| {
        let keys = [&[("data.sources", sources)], keys].concat();
        let resolved = world.resolve("pre_norm", &keys).unwrap();
        let prepared = prepare(&resolved.config, &world.path("cache"), &());
        prepared.map(|_| ()).unwrap_err().to_string()
    };
    let weight = refused(&sources.replace("[[0, 0], [1280, 1.0]]", "-1"), &[]);
    assert!(weight.starts_with("data.sources[1].weight: "), "{weight}");
    let path = refused(&sources, &[("data.validation_path", "x")]);
    assert!(path.starts_with("data.validation_path: "), "{path}");
    // One of the two takes the other's place where that is from a file.
    let text = world.path("text.txt").display().to_string();
    let both = [("data.sources", sources.as_str()), ("data.path", &text)];
    let resolved = world.resolve("pre_norm", &both).unwrap();
    let error = prepare(&resolved.config, &world.path("cache"), &()).unwrap_err();
    assert!(error.to_string().starts_with("data.sources: "), "{error}");
}
