//! Training on text that is tokenized ahead is training on text that is tokenized as a whole.

use evenburn_train::{Registry, Start, Summary, Trainer, prepare};

use crate::world::{World, assert_same_checkpoint, assert_same_history};

/// Windows of a few documents, so that a run goes through many of them.
const WINDOWS: (&str, &str) = ("data.window_bytes", "3000");

fn train(world: &World, keys: &[(&str, &str)], cache: &str, start: Start) -> Summary {
    let resolved = world.resolve("pre_norm", keys).unwrap();
    let cache = world.path(&format!("cache-{cache}"));
    let data = prepare(&resolved.config, &cache, &()).unwrap();
    let is_streamed = resolved.config.data.prepare == Some(evenburn_data::Prepare::Ahead);
    assert_eq!(data.is_streamed(), is_streamed);
    Trainer::new(&Registry::default(), resolved, data)
        .start(start)
        .run()
        .unwrap()
}

#[test]
fn both_ways_give_the_same_run() {
    let world = World::new();
    let ahead = ("data.prepare", "ahead");
    let all = train(&world, &[WINDOWS], "all", world.fresh("all"));
    let streamed = train(&world, &[WINDOWS, ahead], "ahead", world.fresh("streamed"));
    assert_same_history(&all.run, &streamed.run);
    assert_same_checkpoint(
        all.checkpoint.as_ref().unwrap(),
        streamed.checkpoint.as_ref().unwrap(),
    );

    // Stopped on its way, gone on with on an empty cache, then on its own.
    let stop = |at| [WINDOWS, ahead, ("train.stop_after", at)];
    train(&world, &stop("13"), "ahead", world.fresh("stopped"));
    train(&world, &stop("26"), "empty", world.resume("stopped"));
    let last = train(&world, &[WINDOWS, ahead], "empty", world.resume("stopped"));
    assert_same_history(&all.run, &last.run);
    assert_same_checkpoint(
        all.checkpoint.as_ref().unwrap(),
        last.checkpoint.as_ref().unwrap(),
    );
}

#[test]
fn a_run_goes_on_with_the_same_files_and_windows_alone() {
    let world = World::new();
    let ahead = ("data.prepare", "ahead");
    let stop = ("train.stop_after", "8");
    train(&world, &[ahead, stop], "cache", world.fresh("run"));
    let goes_on = |keys: &[(&str, &str)]| {
        let resolved = world.resolve("pre_norm", keys).unwrap();
        let data = prepare(&resolved.config, &world.path("cache"), &()).unwrap();
        let trainer = Trainer::new(&Registry::default(), resolved, data);
        trainer.start(world.resume("run")).run()
    };
    // What is tokenized as a whole has another identity.
    let error = goes_on(&[]).unwrap_err().to_string();
    assert!(error.contains("data.prepare"), "{error}");
    let error = goes_on(&[ahead, WINDOWS]).unwrap_err().to_string();
    assert!(error.contains("data.window_bytes"), "{error}");
    let text = std::fs::read_to_string(world.path("text.txt")).unwrap();
    std::fs::write(world.path("text.txt"), format!("{text}\nmore")).unwrap();
    let error = goes_on(&[ahead]).unwrap_err().to_string();
    assert!(error.contains("corpus"), "{error}");
    std::fs::write(world.path("text.txt"), text).unwrap();
    // How far ahead, and on how much of the disk, is free.
    let free = [ahead, ("data.ahead", "1"), ("data.cache_bytes", "0")];
    goes_on(&free).unwrap();
}
