//! Section `[optim]`, and the rules it makes.

use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    Clip, ClipOver, Composition, Descent, GradientSpace, HeadSplit, HeadUse, Heads, Muon,
    MuonOptions, OptimConfig, OptimError, OptimizerRegistry, ParamInfo, ParamRole, Rule,
    ScheduleName, Scion, ScionForm, Shape, Space, UnitNormAdam, Update, Warmup, rules,
};

const ROLES: [ParamRole; 5] = [
    ParamRole::Embedding,
    ParamRole::Matrix,
    ParamRole::Head,
    ParamRole::Gain,
    ParamRole::Bias,
];

fn params_under(constraint: Constraint) -> impl Iterator<Item = ParamInfo> {
    ROLES.into_iter().map(move |role| ParamInfo {
        path: role.group().to_owned(),
        role,
        constraint,
        decay: matches!(role, ParamRole::Matrix | ParamRole::Embedding),
        stream: match role {
            ParamRole::Matrix | ParamRole::Head => Axis::In,
            ParamRole::Embedding | ParamRole::Gain | ParamRole::Bias => Axis::Out,
        },
        heads: (role == ParamRole::Matrix).then_some(Heads {
            count: 4,
            serves: HeadUse::Values,
        }),
    })
}

fn params() -> impl Iterator<Item = ParamInfo> {
    params_under(Constraint::Free)
}

fn rule_of(config: &OptimConfig, role: ParamRole) -> Rule {
    rules(config, params()).unwrap()[role.group()].clone()
}

/// The recipe, rate, decay and constraint of each role, in the order of `ROLES`.
fn table(recipe: &str) -> Vec<(String, f64, f64, String)> {
    let config = OptimConfig {
        recipe: OptimizerRegistry::default().recipe(recipe).unwrap(),
        lr: 1e-3,
        ..OptimConfig::default()
    };
    let row = |role| {
        let rule = rule_of(&config, role);
        let (recipe, constraint) = (rule.update.to_string(), rule.constraint.to_string());
        (recipe, rule.lr, rule.weight_decay, constraint)
    };
    ROLES.into_iter().map(row).collect()
}

fn expect(recipe: &str, rows: [(&str, f64, f64, &str); 5]) {
    for ((role, found), expected) in ROLES.into_iter().zip(table(recipe)).zip(rows) {
        let (name, lr, decay, constraint) = &found;
        assert_eq!(
            (name.as_str(), constraint.as_str()),
            (expected.0, expected.3),
            "{recipe} {role:?}"
        );
        assert!(
            (lr / expected.1 - 1.0).abs() < 1e-12,
            "{recipe} {role:?}: {lr}"
        );
        assert!(
            (decay - expected.2).abs() < 1e-15,
            "{recipe} {role:?}: {decay}"
        );
    }
}

#[test]
fn each_role_gets_its_part_of_the_adam_family() {
    let (adam, lr) = ("adam(0.9, 0.95)", 1e-3);
    let plain = |decay| (adam, lr, decay, "free");
    expect(
        "adamw",
        [plain(0.1), plain(0.1), plain(0.0), plain(0.0), plain(0.0)],
    );
    expect("adam", [plain(0.0); 5]);
    let mini = |decay| ("adam_mini(0.9, 0.95)", lr, decay, "free");
    expect(
        "adam_mini",
        [mini(0.1), mini(0.1), mini(0.0), mini(0.0), mini(0.0)],
    );
    let lion = |decay| ("lion(0.9, 0.99) > sign", lr, decay, "free");
    expect(
        "lion",
        [lion(0.1), lion(0.1), lion(0.0), lion(0.0), lion(0.0)],
    );
    let confined = |to| (adam, lr, 0.0, to);
    expect(
        "norm_constrained_adam",
        [
            confined("|w| <= 1 along out"),
            confined("|w| <= 1 along in"),
            confined("|w| <= 1 along in"),
            plain(0.0),
            plain(0.0),
        ],
    );
    expect(
        "unit_norm_adam",
        [
            confined("|w| = 1 along out"),
            confined("|w| = 1 along in"),
            confined("|w| = 1 along in"),
            plain(0.0),
            plain(0.0),
        ],
    );
    let sphere = ("adam(0.9, 0.95) > sphere", 5e-3, 0.0, "free");
    expect(
        "adam_h",
        [plain(0.0), sphere, sphere, plain(0.0), plain(0.0)],
    );
}

#[test]
fn each_role_gets_its_part_of_the_muon_family() {
    let (adam, lr) = ("adam(0.9, 0.95)", 1e-3);
    let plain = |decay| (adam, lr, decay, "free");
    let shaped = |parts: &str| format!("momentum(0.95) > {parts}");
    for (name, parts, rate) in [
        (
            "muon",
            "orthogonal(quintic x 5) > sqrt(max(1, out/in))",
            0.02,
        ),
        (
            "moonlight",
            "orthogonal(quintic x 5) > 0.2 sqrt(max(out, in))",
            lr,
        ),
        (
            "nor_muon",
            "orthogonal(quintic x 5) > neurons(0.95) > sqrt(max(1, out/in))",
            0.02,
        ),
        (
            "polar_express",
            "orthogonal(polar_express x 5) > sqrt(max(1, out/in))",
            0.02,
        ),
    ] {
        let parts = shaped(parts);
        let matrix = (parts.as_str(), rate, 0.1, "free");
        expect(
            name,
            [plain(0.1), matrix, plain(0.0), plain(0.0), plain(0.0)],
        );
    }
    let muon_h = shaped("orthogonal(quintic x 5) > sqrt(max(1, out/in)) > sphere");
    let sphere = ("adam(0.9, 0.95) > sphere", 5e-3, 0.0, "free");
    expect(
        "muon_h",
        [
            plain(0.0),
            (&muon_h, 5e-3, 0.0, "free"),
            sphere,
            plain(0.0),
            plain(0.0),
        ],
    );
    expect(
        "scion",
        [
            ("momentum(0.9) > sign > 1/out", 3.0, 0.0, "free"),
            (
                "momentum(0.9) > orthogonal(quintic x 5) > sqrt(out/in)",
                0.05,
                0.0,
                "free",
            ),
            ("momentum(0.9) > sign > 1/in", 3.0, 0.0, "free"),
            plain(0.0),
            plain(0.0),
        ],
    );
    let unit = |to| (adam, lr, 0.0, to);
    let decoupled =
        shaped("orthogonal(quintic x 5) > sqrt(max(out/in, in/out)) > magnitude and direction");
    for (name, parts, rate) in [
        (
            "decoupled_adam",
            "adam(0.9, 0.95) > magnitude and direction",
            lr,
        ),
        ("decoupled_muon", decoupled.as_str(), 0.02),
    ] {
        expect(
            name,
            [
                unit("|w| = 1 along out"),
                (parts, rate, 0.0, "free"),
                unit("|w| = 1 along in"),
                plain(0.0),
                plain(0.0),
            ],
        );
    }
}

#[test]
fn keys_change_the_parts_they_name() {
    let muon = Muon {
        matrix_lr: Some(0.05),
        muon: MuonOptions {
            momentum: Some(0.9),
            orthogonal_steps: 7,
            heads: HeadSplit::Split,
            scaling: Some(evenburn_optim::Scaling::Spectral),
            lookahead: Some(evenburn_optim::Lookahead::None),
        },
    };
    let config = OptimConfig {
        recipe: muon.into(),
        ..OptimConfig::default()
    };
    let rule = rule_of(&config, ParamRole::Matrix);
    assert!((rule.lr - 0.05).abs() < 1e-15);
    let expected = "momentum(0.9) > orthogonal(quintic x 7, 4 heads) > sqrt(out/in)";
    assert_eq!(rule.update.to_string(), expected);
    let lookahead = |parts: &Composition| match parts.direction {
        evenburn_optim::Direction::Momentum(momentum) => momentum.lookahead,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        lookahead(rule.update.composition().unwrap()),
        evenburn_optim::Lookahead::None
    );

    let constrained = OptimConfig {
        recipe: Scion {
            scion_form: ScionForm::Constrained,
            ..Scion::default()
        }
        .into(),
        lr: 1e-3,
        ..OptimConfig::default()
    };
    // (1 - rate) w: the rate without the radius.
    let rule = rule_of(&constrained, ParamRole::Matrix);
    assert!((rule.lr * rule.weight_decay - 1e-3).abs() < 1e-15);

    let tangent = OptimConfig {
        recipe: UnitNormAdam::default().into(),
        gradient: GradientSpace::Tangent,
        ..OptimConfig::default()
    };
    let space = |role| rule_of(&tangent, role).update.gradient();
    assert_eq!(space(ParamRole::Matrix), GradientSpace::Tangent);
    assert_eq!(space(ParamRole::Gain), GradientSpace::Ambient);
}

#[test]
fn what_the_scheme_confines_stays_confined() {
    let constraint = Constraint::Unit { along: Axis::Out };
    for recipe in OptimizerRegistry::default().recipes() {
        let name = recipe.name().to_owned();
        let config = OptimConfig {
            recipe,
            ..OptimConfig::default()
        };
        for (path, rule) in rules(&config, params_under(constraint)).unwrap() {
            assert_eq!(rule.constraint, constraint, "{name} {path}");
        }
    }
}

#[test]
fn groups_of_their_own() {
    let registry = OptimizerRegistry::default();
    let read = |groups: &[&str]| {
        let text = format!(
            "recipe = 'muon'\nlr = 1e-3\ngroups = [{}]",
            groups.join(", ")
        );
        registry.read(text.parse().unwrap())
    };
    let head = "{ name = 'head', role = 'head', lr_factor = 0.5, weight_decay = 0.3, constraint = 'rows_one' }";
    let gains = "{ name = 'slow', path = 'ga*', lr_factor = 0.1 }";
    let embedding =
        "{ name = 'muon_embedding', path = 'embed*', role = 'embedding', recipe = 'muon' }";
    let config_of_three = read(&[head, gains, embedding]).unwrap();
    let rules_of_three = rules(&config_of_three, params()).unwrap();
    let rule = &rules_of_three["head"];
    assert_eq!(rule.group, "head");
    assert!((rule.lr - 5e-4).abs() < 1e-15 && (rule.weight_decay - 0.3).abs() < 1e-15);
    assert_eq!(rule.constraint, Constraint::Unit { along: Axis::In });
    assert_eq!(rules_of_three["gains"].group, "slow");
    assert!((rules_of_three["gains"].lr - 1e-4).abs() < 1e-15);
    assert_eq!(rules_of_three["biases"].group, "biases");
    // Asked for, the embedding goes to Muon.
    assert!(rules_of_three["embedding"].update.orthogonal().is_some());
    assert!((rules_of_three["embedding"].lr - 0.02).abs() < 1e-15);

    let refused = |groups: &[&str]| {
        let found = read(groups).and_then(|config| rules(&config, params()));
        found.unwrap_err().to_string()
    };
    let message = refused(&[gains, "{ name = 'all', path = '*' }"]);
    assert_eq!(
        message,
        "optim.groups: claimed by more than one group: `gains` (`slow` and `all`)"
    );
    let message = refused(&["{ name = 'none', path = 'x*' }"]);
    assert_eq!(message, "optim.groups: group `none` claims no parameter");
    let message = refused(&["{ name = 'none' }"]);
    assert!(message.contains("give role or path"), "{message}");
    let message = refused(&["{ name = 'bad', path = '[a' }"]);
    assert!(message.contains("group `bad`: path"), "{message}");
    let message = refused(&["{ name = 'bad', path = '*', lr_factor = -1 }"]);
    assert!(message.contains("lr_factor must be"), "{message}");
}

#[test]
fn a_path_that_comes_twice_is_an_error() {
    let error = rules(&OptimConfig::default(), params().chain(params())).unwrap_err();
    let path = "embedding".to_owned();
    assert_eq!(error, OptimError::DuplicateParameter { path });
}

#[test]
fn flat_keys_make_the_schedule() {
    let text = r#"{"schedule": "wsd", "decay_fraction": 0.3, "decay_shape": "one_minus_sqrt", "warmup_fraction": 0.2, "final_fraction": 0.1}"#;
    let config: OptimConfig = serde_json::from_str(text).unwrap();
    let schedule = config.schedule();
    assert_eq!(
        schedule.shape,
        Shape::Wsd {
            decay_fraction: 0.3,
            descent: Descent::OneMinusSqrt,
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
    let clip = |clip, clip_over| {
        OptimConfig {
            clip,
            clip_over,
            ..OptimConfig::default()
        }
        .clip()
    };
    assert_eq!(clip(0.0, ClipOver::All), Clip::None);
    assert_eq!(clip(0.5, ClipOver::All), Clip::All { max: 0.5 });
    assert_eq!(clip(0.5, ClipOver::Groups), Clip::Groups { max: 0.5 });
}

#[test]
fn bad_values_name_their_key() {
    let registry = OptimizerRegistry::default();
    for (text, key) in [
        ("lr = -1", "lr"),
        ("eps = 0", "eps"),
        ("beta1 = 1", "beta1"),
        ("recipe = 'muon'\nmomentum = -0.1", "momentum"),
        ("recipe = 'moonlight'\nmatrix_lr = -0.1", "matrix_lr"),
        ("recipe = 'scion'\nscion_radius = 0", "scion_radius"),
        ("recipe = 'lion'\nlion_beta2 = 1", "lion_beta2"),
        (
            "recipe = 'soap'\nprecondition_frequency = 0",
            "precondition_frequency",
        ),
        ("clip = -1", "clip"),
    ] {
        let config = registry.read(text.parse().unwrap()).unwrap();
        let error = config.check(100).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("optim.{key}: ")),
            "{error}"
        );
        assert!(rules(&config, params()).is_err());
    }
    assert!(registry.read("learning_rate = 1".parse().unwrap()).is_err());
}

/// The schema is what the command line's list of keys is made from.
#[test]
fn every_key_is_documented_and_round_trips() {
    let schema = serde_json::to_value(schemars::schema_for!(OptimConfig)).unwrap();
    let keys = schema["properties"].as_object().unwrap();
    for (key, value) in keys {
        let documented = value.get("description").is_some();
        assert!(documented, "{key}: {value}");
    }
    for recipe in OptimizerRegistry::default().recipes() {
        let config = OptimConfig {
            recipe,
            warmup_steps: Some(3),
            ..OptimConfig::default()
        };
        let text = toml::to_string_pretty(&config).unwrap();
        let read = OptimizerRegistry::default().read(text.parse().unwrap());
        assert_eq!(read.unwrap(), config, "{text}");
    }
}

#[test]
fn compositions_are_plain_data() {
    for recipe in OptimizerRegistry::default().recipes() {
        let config = OptimConfig {
            recipe,
            ..OptimConfig::default()
        };
        for rule in rules(&config, params()).unwrap().values() {
            let Some(parts) = rule.update.composition() else {
                continue;
            };
            let text = serde_json::to_string(parts).unwrap();
            assert_eq!(&serde_json::from_str::<Composition>(&text).unwrap(), parts);
        }
    }
    let typo = r#"{"direction": {"kind": "adam", "beta": 0.9}}"#;
    assert!(serde_json::from_str::<Composition>(typo).is_err());
}

/// What is kept between steps, in numbers for each of the parameter's.
#[test]
fn the_state_has_the_size_that_is_told() {
    let len = |parts: Composition| Update::from(parts).state_len(&[20, 30]);
    assert_eq!(len(Composition::muon()), 600);
    assert_eq!(len(Composition::nor_muon()), 630);
    assert_eq!(len(Composition::muon_h()), 601);
    let adam = Composition::adam(evenburn_optim::Adam::default());
    assert_eq!(len(adam), 1200);
    assert_eq!(adam.space, Space::Flat);
    let decoupled = adam.decoupled(evenburn_optim::Magnitudes::default());
    assert_eq!(len(decoupled), 1200 + 3 * 50 + 1);
}
