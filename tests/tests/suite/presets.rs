//! The presets of `configs/` are what they say and can be trained.

use burn::tensor::Device;
use evenburn_model::{Decoder, Plan};
use evenburn_optim::OptimizerRegistry;
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use evenburn_train::groups;
use std::path::{Path, PathBuf};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

fn load(file: &Path) -> RunConfig {
    RunConfig::load(&Registry::default(), Some(file), &[])
        .unwrap()
        .config
}

#[test]
fn every_scheme_has_a_preset_that_resolves() {
    for scheme in Registry::default().model.names() {
        let file = configs().join(format!("{scheme}.toml"));
        let config = load(&file);
        assert_eq!(config.norm.name(), scheme);
        config.norm.plan(&config.model).unwrap();
    }
}

#[test]
fn every_function_has_a_preset_that_resolves() {
    for (name, preset) in [
        ("seed_norm", "seed_norm"),
        ("gated_norm", "gated_norm"),
        ("pre_affine", "pre_affine"),
        ("taper", "taper_norm"),
    ] {
        let config = load(&configs().join(format!("{preset}.toml")));
        let plan = config.norm.plan(&config.model).unwrap();
        let input = plan.layers[0].attn_residual.input.as_ref().unwrap();
        assert_eq!(input.function.name(), name);
    }
}

#[test]
fn every_preset_makes_a_plan() {
    let mut presets = 0;
    for entry in std::fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        let is_list = path.file_name().is_some_and(|name| name == "corpus.toml");
        if path.extension().is_none_or(|e| e != "toml") || is_list {
            continue;
        }
        let config = load(&path);
        config.norm.plan(&config.model).unwrap();
        presets += 1;
    }
    assert!(presets > Registry::default().model.names().count());
}

/// A data set may change on its branch; a preset means the one it was written for.
#[test]
fn presets_name_a_commit_of_the_data_sets_they_train_on() {
    let mut named = 0;
    for entry in std::fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        let is_list = path.file_name().is_some_and(|name| name == "corpus.toml");
        if path.extension().is_none_or(|e| e != "toml") || is_list {
            continue;
        }
        let data = load(&path).data;
        for place in data.path.0.iter().filter(|place| place.contains("://")) {
            let revision = place
                .split_once('@')
                .map(|(_, rest)| rest.split('/').next().unwrap());
            let is_commit =
                |text: &str| text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit());
            assert!(revision.is_some_and(is_commit), "{}", path.display());
            assert!(data.tokenizer.starts_with("hf://"), "{}", path.display());
            named += 1;
        }
    }
    assert_eq!(named, 6);
}

#[test]
fn every_recipe_has_a_preset_of_the_default_run() {
    let default = load(&configs().join("default.toml"));
    for name in OptimizerRegistry::default().names() {
        let config = load(&configs().join(format!("optimizers/{name}.toml")));
        assert_eq!(config.optim.recipe.name(), name);
        assert_eq!(
            (&config.model, &config.norm, &config.data, &config.train),
            (&default.model, &default.norm, &default.data, &default.train),
            "{name}"
        );
        let plan = config.norm.plan(&config.model).unwrap();
        let decoder = Decoder::new(&plan, 1, &Device::flex().autodiff());
        groups::engine(&plan, &config.optim, 900, &decoder).unwrap();
    }
}

/// Plans that were recorded before a decision existed are read as what they were, and written as they were.
#[test]
fn a_plan_leaves_out_what_it_does_not_decide() {
    for scheme in Registry::default().model.schemes() {
        let config = RunConfig {
            norm: scheme,
            ..RunConfig::default()
        };
        let plan = config.norm.plan(&config.model).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let learned = plan.layers[0].attention.softmax_gain.is_some();
        assert_eq!(text.contains("softmax_gain"), learned, "{}", plan.scheme);
        assert!(!text.contains("normed"), "{}", plan.scheme);
        let again: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(again, plan);
    }
}
