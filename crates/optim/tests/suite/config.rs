//! Section `[optim]`, and the rules it makes.

use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    OptimConfig, OptimError, ParamInfo, Recipe, RecipeName, Role, Rule, ScheduleName, Shape,
    Warmup, rules,
};

const ROLES: [Role; 5] = [
    Role::Embedding,
    Role::Matrix,
    Role::Head,
    Role::Gain,
    Role::Bias,
];

fn params() -> impl Iterator<Item = ParamInfo> {
    ROLES.into_iter().map(|role| ParamInfo {
        path: role.group().to_owned(),
        role,
        constraint: Constraint::Unit { along: Axis::Out },
        decay: matches!(role, Role::Matrix | Role::Embedding),
    })
}

#[test]
fn each_role_gets_its_recipe() {
    for recipe in [RecipeName::AdamW, RecipeName::Adam, RecipeName::Muon] {
        let config = OptimConfig {
            recipe,
            lr: 1e-3,
            muon_lr: 0.05,
            beta2: 0.99,
            muon_momentum: 0.9,
            ..OptimConfig::default()
        };
        let rules = rules(&config, params()).unwrap();
        assert_eq!(rules.len(), ROLES.len());
        for role in ROLES {
            let Rule {
                group,
                recipe: found,
                lr,
                weight_decay,
                constraint,
            } = rules[role.group()].clone();
            let expected = match (recipe, role) {
                (RecipeName::Muon, Role::Matrix) => "muon",
                (RecipeName::Adam, _) => "adam",
                _ => "adamw",
            };
            assert_eq!(found.name(), expected, "{recipe:?} {role:?}");
            match found {
                Recipe::Muon(muon) => assert!((muon.momentum - 0.9).abs() < 1e-15),
                Recipe::Adam(adam) | Recipe::AdamW(adam) => {
                    assert!((adam.beta2 - 0.99).abs() < 1e-15);
                }
            }
            let rate = if expected == "muon" { 0.05 } else { 1e-3 };
            assert!((lr - rate).abs() < 1e-15);
            let decays = matches!(role, Role::Matrix | Role::Embedding) && expected != "adam";
            assert!((weight_decay - if decays { 0.1 } else { 0.0 }).abs() < 1e-15);
            assert_eq!(constraint, Constraint::Unit { along: Axis::Out });
            assert_eq!(group, role.group());
        }
    }
}

#[test]
fn a_path_that_comes_twice_is_an_error() {
    let error = rules(&OptimConfig::default(), params().chain(params())).unwrap_err();
    let path = "embedding".to_owned();
    assert_eq!(error, OptimError::DuplicateParameter { path });
}

#[test]
fn flat_keys_make_the_schedule() {
    let text = r#"{"schedule": "wsd", "decay_fraction": 0.3, "warmup_fraction": 0.2, "final_fraction": 0.1}"#;
    let config: OptimConfig = serde_json::from_str(text).unwrap();
    let schedule = config.schedule();
    assert_eq!(
        schedule.shape,
        Shape::Wsd {
            decay_fraction: 0.3
        }
    );
    assert_eq!(schedule.warmup, Warmup::Fraction(0.2));
    let steps = OptimConfig {
        warmup_steps: Some(7),
        schedule: ScheduleName::Cosine,
        ..config
    };
    assert_eq!(steps.schedule().warmup, Warmup::Steps(7));
    assert!(steps.check(8).is_ok());
    assert!(matches!(steps.check(7), Err(OptimError::Schedule(_))));
}

#[test]
fn a_clip_of_zero_is_none() {
    let clip = |clip| {
        OptimConfig {
            clip,
            ..OptimConfig::default()
        }
        .max_grad_norm()
    };
    assert_eq!(clip(0.0), None);
    assert_eq!(clip(0.5), Some(0.5));
}

#[test]
fn bad_values_name_their_key() {
    for (text, key) in [
        (r#"{"lr": -1}"#, "lr"),
        (r#"{"eps": 0}"#, "eps"),
        (r#"{"beta1": 1}"#, "beta1"),
        (r#"{"muon_momentum": -0.1}"#, "muon_momentum"),
        (r#"{"clip": -1}"#, "clip"),
    ] {
        let config: OptimConfig = serde_json::from_str(text).unwrap();
        let error = config.check(100).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("optim.{key}: ")),
            "{error}"
        );
        assert!(rules(&config, params()).is_err());
    }
    assert!(serde_json::from_str::<OptimConfig>(r#"{"learning_rate": 1}"#).is_err());
}

/// The schema is what the command line's list of keys is made from.
#[test]
fn every_key_is_documented_and_round_trips() {
    let schema = serde_json::to_value(schemars::schema_for!(OptimConfig)).unwrap();
    let keys = schema["properties"].as_object().unwrap();
    assert_eq!(keys.len(), 19);
    for (key, value) in keys {
        let documented = value.get("description").is_some();
        assert!(documented, "{key}: {value}");
    }
    let config = OptimConfig {
        warmup_steps: Some(3),
        ..OptimConfig::default()
    };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<OptimConfig>(&text).unwrap(), config);
}

#[test]
fn recipes_are_plain_data() {
    for rule in rules(
        &OptimConfig {
            recipe: RecipeName::Muon,
            ..OptimConfig::default()
        },
        params(),
    )
    .unwrap()
    .values()
    {
        let text = serde_json::to_string(rule).unwrap();
        assert_eq!(&serde_json::from_str::<Rule>(&text).unwrap(), rule);
    }
    let typo = r#"{"recipe": "muon", "momentun": 0.9}"#;
    assert!(serde_json::from_str::<Recipe>(typo).is_err());
}
