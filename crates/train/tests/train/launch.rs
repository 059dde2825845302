//! Which run a launch starts or continues.

use crate::world::World;
use evenburn_train::Registry;
use evenburn_train::{Launch, Resume, Start, TrainError};

fn launch(world: &World, resume: Resume) -> Launch {
    std::fs::write(world.path("tiny.toml"), world.toml("pre_norm")).unwrap();
    Launch {
        file: Some(world.path("tiny.toml")),
        resume,
        ..Launch::default()
    }
}

#[test]
fn auto_starts_afresh_where_there_is_no_run_and_continues_the_newest_where_there_is() {
    let world = World::new();
    let auto = launch(&world, Resume::from("auto"));
    assert_eq!(
        auto.resolve(&Registry::default()).unwrap().1,
        Start::Fresh(None)
    );
    let short = [("train.stop_after", "1")];
    let first = world.run("pre_norm", &short, Start::Fresh(None)).unwrap();
    assert_eq!(
        auto.resolve(&Registry::default()).unwrap().1,
        Start::Continue(first.run.clone())
    );
    let second = world.run("pre_norm", &short, Start::Fresh(None)).unwrap();
    assert_ne!(first.run, second.run);
    assert_eq!(
        auto.resolve(&Registry::default()).unwrap().1,
        Start::Continue(second.run)
    );
}

#[test]
fn a_named_run_directory_is_used_or_made() {
    let world = World::new();
    let mut auto = launch(&world, Resume::Auto);
    auto.run_dir = Some(world.path("mine"));
    assert_eq!(
        auto.resolve(&Registry::default()).unwrap().1,
        world.fresh("mine")
    );
    world
        .run(
            "pre_norm",
            &[("train.stop_after", "1")],
            world.fresh("mine"),
        )
        .unwrap();
    assert_eq!(
        auto.resolve(&Registry::default()).unwrap().1,
        world.resume("mine")
    );
}

#[test]
fn a_resumed_run_needs_no_file_and_forgets_when_it_was_to_stop() {
    let world = World::new();
    world
        .run("pre_norm", &[("train.stop_after", "1")], world.fresh("run"))
        .unwrap();
    let again = Launch {
        resume: Resume::Run(world.path("run")),
        overrides: vec![("train.keep".into(), "5".into())],
        ..Launch::default()
    };
    let (resolved, start) = again.resolve(&Registry::default()).unwrap();
    assert_eq!(start, world.resume("run"));
    assert_eq!(resolved.config.train.stop_after, None);
    assert_eq!(
        (resolved.config.train.keep, resolved.config.model.dim),
        (5, 16)
    );
}

#[test]
fn a_folder_without_a_run_is_refused() {
    let world = World::new();
    let error = launch(&world, Resume::Run(world.path("nothing")))
        .resolve(&Registry::default())
        .unwrap_err();
    assert!(matches!(error, TrainError::NotARun { .. }), "{error}");
    assert!(error.is_wrong_input());
}

#[test]
fn a_missing_configuration_file_is_named() {
    let world = World::new();
    let mut missing = launch(&world, Resume::Never);
    missing.file = Some(world.path("none.toml"));
    let error = missing.resolve(&Registry::default()).unwrap_err();
    assert!(
        error.to_string().contains("none.toml") && error.is_wrong_input(),
        "{error}"
    );
}

#[test]
fn a_run_without_a_budget_is_refused_before_any_text_is_read() {
    let world = World::new();
    let launch = launch(&world, Resume::Never);
    let text = world
        .toml("pre_norm")
        .replace("steps = 40\n", "")
        .replace("text.txt", "nothing.txt");
    std::fs::write(world.path("tiny.toml"), text).unwrap();
    let message = launch
        .resolve(&Registry::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("train.steps") && message.contains("train.tokens"),
        "{message}"
    );
}
