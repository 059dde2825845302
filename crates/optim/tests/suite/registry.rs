//! Recipes by name: what a configuration says, and what it can't.

use evenburn_optim::{
    OptimConfig, OptimError, OptimizerRegistry, OptimizerStrategy, ParamContext, Recipe,
    RecipeOptions, Treatment,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A recipe that treats everything as `AdamW` does, with one option.
macro_rules! recipe {
    ($type:ident, $name:literal, $option:ident) => {
        #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        struct $type {
            /// A number.
            $option: f64,
        }

        impl RecipeOptions for $type {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = "A test.";
        }

        impl OptimizerStrategy for $type {
            fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
                param.adamw()
            }
        }
    };
}

recipe!(Mine, "mine", width);
recipe!(Taken, "muon", width);
recipe!(Common, "common", weight_decay);
recipe!(OfGroups, "of_groups", lr_factor);
recipe!(Tagged, "tagged", recipe);

fn read(registry: &OptimizerRegistry, text: &str) -> Result<OptimConfig, OptimError> {
    registry.read(text.parse().unwrap())
}

#[test]
fn names_are_taken_once_and_options_have_names_of_their_own() {
    let registry = OptimizerRegistry::default().with_recipe::<Mine>().unwrap();
    assert_eq!(registry.about("mine"), Some("A test."));
    let refused = |found: Result<OptimizerRegistry, OptimError>| found.unwrap_err().to_string();
    for (message, part) in [
        (
            refused(registry.clone().with_recipe::<Mine>()),
            "`mine` is registered twice",
        ),
        (
            refused(registry.clone().with_recipe::<Taken>()),
            "`muon` is registered twice",
        ),
        (
            refused(registry.clone().with_recipe::<Common>()),
            "called `weight_decay`",
        ),
        (
            refused(registry.clone().with_recipe::<OfGroups>()),
            "called `lr_factor`",
        ),
        (refused(registry.with_recipe::<Tagged>()), "called `recipe`"),
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_is_built_in_could_be_registered() {
    let mut names = Vec::new();
    for recipe in OptimizerRegistry::default().recipes() {
        assert!(recipe.is_known() && !names.contains(&recipe.name().to_owned()));
        for option in recipe.options().keys() {
            assert!(
                OptimizerRegistry::default().has_option(recipe.name(), option),
                "{option}"
            );
        }
        names.push(recipe.name().to_owned());
    }
}

#[test]
fn tables_are_read_by_name() {
    let registry = OptimizerRegistry::default().with_recipe::<Mine>().unwrap();
    assert_eq!(read(&registry, "").unwrap(), OptimConfig::default());
    let mine = read(&registry, "recipe = 'mine'\nlr = 1\nwidth = 2").unwrap();
    assert_eq!(mine.recipe.options()["width"].as_float(), Some(2.0));
    assert!((mine.lr - 1.0).abs() < 1e-15);
    // What belongs to another recipe is refused with whose it is, and what belongs to none.
    for (text, parts) in [
        (
            "scion_radius = 5",
            vec!["`adamw`", "`scion_radius`", "scion"],
        ),
        (
            "recipe = 'muon'\nlion_beta1 = 0.5",
            vec!["`muon`", "`lion_beta1`", "lion"],
        ),
        ("recipe = 'muon'\nmomentun = 0.5", vec!["momentun"]),
        (
            "groups = [{ name = 'a', path = '*', recipe = 'muon', scion_radius = 5 }]",
            vec!["optim.groups", "\"a\"", "`muon`", "`scion_radius`", "scion"],
        ),
        (
            "groups = [{ name = 'a', path = '*', momentum = 0.5 }]",
            vec!["\"a\"", "momentum"],
        ),
    ] {
        let message = read(&registry, text).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

#[test]
fn a_recipe_that_is_unknown_says_so_once_rules_are_asked_of_it() {
    let registry = OptimizerRegistry::default();
    let config = read(&registry, "recipe = 'theirs'\nlr = 0.5\ntheir_option = 1").unwrap();
    assert!(!config.recipe.is_known());
    assert_eq!(
        config.recipe.options()["their_option"].as_integer(),
        Some(1)
    );
    assert!((config.lr - 0.5).abs() < 1e-15);
    config.check(10).unwrap();
    let recipe = config.recipe.found_at("run/config.toml:3");
    let error = OptimConfig {
        recipe,
        ..OptimConfig::default()
    }
    .check_known()
    .unwrap_err();
    let message = error.to_string();
    for part in ["`theirs`", "run/config.toml:3", "adamw", "soap"] {
        assert!(message.contains(part), "{message}");
    }
}

/// The recipe of a group has the options beside it, then those of their names that are given for the run's recipe.
#[test]
fn groups_have_options_of_their_own() {
    let registry = OptimizerRegistry::default();
    let groups = "groups = [{ name = 'a', path = '*', recipe = 'muon', heads = 'split' }]";
    let momentum = |text: &str| {
        let config = read(&registry, &format!("{text}\n{groups}")).unwrap();
        let recipe = config.groups[0].recipe.clone().unwrap();
        assert_eq!(recipe.options()["heads"].as_str(), Some("split"));
        // It is written as it was given.
        let written = toml::to_string(&config).unwrap();
        assert_eq!(read(&registry, &written).unwrap(), config);
        let table: toml::Table = written.parse().unwrap();
        let group = table["groups"][0].as_table().unwrap();
        assert!(group.contains_key("heads") && !group.contains_key("momentum"));
        recipe
            .options()
            .get("momentum")
            .and_then(toml::Value::as_float)
    };
    assert_eq!(momentum("recipe = 'muon'\nmomentum = 0.7"), Some(0.7));
    assert_eq!(momentum("recipe = 'nor_muon'\nmomentum = 0.7"), Some(0.7));
    assert_eq!(momentum("recipe = 'scion'\nscion_radius = 7"), None);
    assert_eq!(momentum("recipe = 'adamw'"), None);
}

#[test]
fn a_recipe_is_written_as_it_is_read() {
    for recipe in OptimizerRegistry::default().recipes() {
        let text = toml::to_string_pretty(&recipe).unwrap();
        let start = format!("recipe = \"{}\"", recipe.name());
        assert!(text.starts_with(&start), "{text}");
        let again: Recipe = read(&OptimizerRegistry::default(), &text).unwrap().recipe;
        assert_eq!(again, recipe);
        assert_eq!(again.defaults(), recipe.options());
    }
}
