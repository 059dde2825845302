//! `docs/optimizers.md`: every recipe with what it is made of, and what proves it.

use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    Accumulation, Adam, Direction, GradientSpace, Lion, Lookahead, Magnitudes, Momentum,
    NeuronNorm, NormFloor, OptimConfig, OptimizerRegistry, Orthogonal, ParamInfo, ParamRole,
    Polynomial, Rule, Scaling, ScheduleName, Shaping, Space, rules,
};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value;

/// The cases of `tests/fixtures/optimizers`, each with the recipe whose parts it proves.
pub const CASES: [(&str, &str); 15] = [
    ("adamw", "adamw"),
    ("adamw_clipped_cosine", "adamw"),
    ("adam", "adam"),
    ("adam_mini", "adam_mini"),
    ("lion", "lion"),
    ("muon_original", "muon"),
    ("muon_plain", "muon"),
    ("muon_jordan", "muon"),
    ("muon_match_rms_adamw", "moonlight"),
    ("nor_muon", "nor_muon"),
    ("scion_spectral", "scion"),
    ("scion_spectral_constrained", "scion"),
    ("scion_sign", "scion"),
    ("scion_sign_normalized", "scion"),
    ("soap", "soap"),
];

const ROLES: [ParamRole; 5] = [
    ParamRole::Matrix,
    ParamRole::Embedding,
    ParamRole::Head,
    ParamRole::Gain,
    ParamRole::Bias,
];

/// One parameter of each role, as a scheme without constraints has them.
fn params() -> impl Iterator<Item = ParamInfo> {
    ROLES.into_iter().map(|role| ParamInfo {
        path: role.group().to_owned(),
        role,
        constraint: Constraint::Free,
        decay: matches!(
            role,
            ParamRole::Matrix | ParamRole::Embedding | ParamRole::Head
        ),
        stream: match role {
            ParamRole::Matrix | ParamRole::Head => Axis::In,
            ParamRole::Embedding | ParamRole::Gain | ParamRole::Bias => Axis::Out,
        },
        heads: None,
    })
}

fn words(text: &Value) -> String {
    let words: Vec<&str> = text
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    words.join(" ").replace('|', "\\|")
}

/// What stands before a formula or an empty line, as a sentence.
fn first_paragraph(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = words(&Value::String(first.to_owned()));
    match first.strip_suffix(':') {
        Some(start) => format!("{start}."),
        None => first,
    }
}

/// Values of an enum with their documentation; of a tagged one, its tags.
fn values<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = serde_json::to_value(schema_for!(T)).unwrap_or_default();
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let name = |v: &Value| match &v["const"] {
        Value::Null => words(&v["properties"]["kind"]["const"]),
        value => words(value),
    };
    variants
        .iter()
        .map(|v| (name(v), first_paragraph(&v["description"])))
        .collect()
}

/// The summary of a type's documentation: what stands before its first empty line.
fn summary<T: JsonSchema>() -> String {
    let schema = serde_json::to_value(schema_for!(T)).unwrap_or_default();
    first_paragraph(&schema["description"])
}

fn defaults<T: Serialize + Default>() -> String {
    let value = serde_json::to_value(T::default()).unwrap_or_default();
    let fields = value.as_object().cloned().unwrap_or_default();
    let shown: Vec<String> = fields
        .iter()
        .filter(|(_, value)| !value.is_object())
        .map(|(key, value)| format!("`{key}` {}", value.to_string().replace('"', "")))
        .collect();
    shown.join(", ")
}

/// Update, rate, decay and constraint, as far as they say something.
fn treatment(rule: &Rule, config: &OptimConfig) -> String {
    let mut text = format!("`{}`", rule.update);
    let rate = rule.lr / config.lr;
    if (rate - 1.0).abs() > 1e-12 {
        text += &format!("; rate {}", rule.lr);
    }
    if rule.weight_decay > 0.0 {
        text += "; decay";
    }
    if rule.constraint != Constraint::Free {
        text += &format!("; {}", rule.constraint.to_string().replace('|', "\\|"));
    }
    text
}

/// What an orthogonalization makes of gradients near zero.
const TINY: &str = "
## Tiny gradients

An orthogonalization divides its matrix, the momentum, by its Frobenius norm, so the size of a gradient doesn't matter: one that
is nothing but rounding noise makes a step as large as any other, and nothing but a smaller rate or `optim.groups` keeps a matrix
that has nothing left to learn from wandering. `eps` (1e-7) takes hold later than it seems, because the polynomials have a slope
of about 500 at zero (the Polar Express 1000) and make up for it. In f32, on matrices of 24 x 40 with entries of one size, five
polynomials and either floor, a step's root mean square was, as part of the full one:

| norm of the momentum | 1e-7 and more | 1e-8 | 1e-9 | 1e-10 | 1e-11 | below |
|---|---|---|---|---|---|---|
| `quintic` | 1 | 1 | 0.9 | 0.1 | 0.01 | in proportion |
| `polar_express` | 1 | 1 | 1 | 0.2 | 0.02 | in proportion |

A gradient of exactly zero, as an expert has that no token chose, makes no step of its own; momentum and decay still move the
weights. Adam has the same trait above its own `optim.eps` (1e-8, entry by entry). `optim.clip` only makes gradients smaller
and changes nothing about this.
";

/// The page.
///
/// # Errors
/// When the defaults of a recipe make no rules.
pub(crate) fn page(generated: &str) -> anyhow::Result<String> {
    let mut page = format!(
        "# Optimizers

{generated}
A recipe says how parameters of each role are trained. The table has each with its defaults, for a scheme that confines nothing:
what it does with the matrices inside the blocks, the embedding, the output layer, and vectors (gains and biases). An update is
a composition of parts, `gradient > direction > shaping > equal outputs > factor by shape > space`, or a rule of its own (`soap`).
Rates are `optim.lr` (here 0.001) unless given. *Decay* is `optim.weight_decay` where the scheme decays a parameter. A set that
the scheme confines a parameter to takes the place of a recipe's own.

A recipe's own options stand beside the keys that all have (docs/configuration.md); those of another recipe are refused, and
`--optim.recipe NAME` takes the place of a file's recipe together with its options. `optim.groups` trains single roles or paths
otherwise, with the options of a group's recipe beside its name: `{{ name = \"ends\", path = \"embed*\", recipe = \"muon\", momentum =
0.9 }}`; one that isn't given is that of the run's recipe, where this has an option of the name that isn't at its
default. `evenburn describe` prints the groups of a configuration. A program adds recipes and update rules of its own as `examples/own_optimizer` does.

`configs/optimizers` has the default preset under each recipe, tuned but for `soap` (docs/log.md, *Every recipe on the default
preset*).

Every composition is compared over 100 steps with loops that do one number at a time, in f64 to 1e-10 and in f32 to 1e-4, on
matrices of six shapes (`crates/optim/tests`). The last column has what else it is compared with: cases of
`tests/fixtures/optimizers`, computed by `torch` and by packages of PyPI. `norm_constrained_adam` and `unit_norm_adam` also
train the cases `angpt` and `ngpt` of `tests/fixtures`. `soap` is compared with its case alone, in the same digits: from its own
eigenbases where they are unique, and elsewhere from those of the case.

| recipe | what it is | matrices | embedding | output layer | vectors | also equals |
|---|---|---|---|---|---|---|
"
    );
    let registry = OptimizerRegistry::default();
    for recipe in registry.recipes() {
        let name = recipe.name().to_owned();
        let meaning = registry.about(&name).unwrap_or_default();
        let config = OptimConfig {
            recipe,
            ..OptimConfig::default()
        };
        let rules = rules(&config, params())?;
        let of = |role: ParamRole| treatment(&rules[role.group()], &config);
        let cases: Vec<String> = CASES
            .iter()
            .filter(|(_, of)| *of == name)
            .map(|(case, _)| format!("`{case}`"))
            .collect();
        page += &format!(
            "| `{name}` | {meaning} | {} | {} | {} | {} | {} |\n",
            of(ParamRole::Matrix),
            of(ParamRole::Embedding),
            of(ParamRole::Head),
            of(ParamRole::Gain),
            if cases.is_empty() {
                "nothing outside this project".to_owned()
            } else {
                cases.join(", ")
            }
        );
    }
    page += "\n## Parts\n\n| part | what it does | defaults |\n|---|---|---|\n";
    let mut row = |name: &str, meaning: String, defaults: String| {
        page += &format!("| {name} | {meaning} | {defaults} |\n");
    };
    row("`Adam`", summary::<Adam>(), defaults::<Adam>());
    row("`Lion`", summary::<Lion>(), defaults::<Lion>());
    row("`Momentum`", summary::<Momentum>(), defaults::<Momentum>());
    row(
        "`Orthogonal`",
        summary::<Orthogonal>(),
        defaults::<Orthogonal>(),
    );
    row(
        "`NeuronNorm`",
        summary::<NeuronNorm>(),
        defaults::<NeuronNorm>(),
    );
    row(
        "`Magnitudes`",
        summary::<Magnitudes>(),
        defaults::<Magnitudes>(),
    );
    for (kind, values) in [
        ("direction", values::<Direction>()),
        ("accumulation", values::<Accumulation>()),
        ("lookahead", values::<Lookahead>()),
        ("shaping", values::<Shaping>()),
        ("polynomial", values::<Polynomial>()),
        ("floor of the norm", values::<NormFloor>()),
        ("factor by shape", values::<Scaling>()),
        ("space", values::<Space>()),
        ("gradient", values::<GradientSpace>()),
        ("schedule", values::<ScheduleName>()),
    ] {
        for (value, meaning) in values {
            row(&format!("{kind} `{value}`"), meaning, String::new());
        }
    }
    page += TINY;
    Ok(page)
}
