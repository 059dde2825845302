//! `docs/optimizers.md`: every recipe with what it is made of, and what proves it.

use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    Accumulation, Adam, Direction, GradientSpace, Lion, Lookahead, Magnitudes, Momentum,
    NeuronNorm, NormFloor, OptimConfig, Orthogonal, ParamInfo, Polynomial, RecipeName, Role, Rule,
    Scaling, ScheduleName, Shaping, Space, rules,
};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The cases of `tests/fixtures/optimizers`, each with the recipe whose parts it proves.
pub const CASES: [(&str, RecipeName); 14] = [
    ("adamw", RecipeName::AdamW),
    ("adamw_clipped_cosine", RecipeName::AdamW),
    ("adam", RecipeName::Adam),
    ("adam_mini", RecipeName::AdamMini),
    ("lion", RecipeName::Lion),
    ("muon_original", RecipeName::Muon),
    ("muon_plain", RecipeName::Muon),
    ("muon_jordan", RecipeName::Muon),
    ("muon_match_rms_adamw", RecipeName::Moonlight),
    ("nor_muon", RecipeName::NorMuon),
    ("scion_spectral", RecipeName::Scion),
    ("scion_spectral_constrained", RecipeName::Scion),
    ("scion_sign", RecipeName::Scion),
    ("scion_sign_normalized", RecipeName::Scion),
];

const ROLES: [Role; 5] = [
    Role::Matrix,
    Role::Embedding,
    Role::Head,
    Role::Gain,
    Role::Bias,
];

/// One parameter of each role, as a scheme without constraints has them.
fn params() -> impl Iterator<Item = ParamInfo> {
    ROLES.into_iter().map(|role| ParamInfo {
        path: role.group().to_owned(),
        role,
        constraint: Constraint::Free,
        decay: matches!(role, Role::Matrix | Role::Embedding | Role::Head),
        stream: match role {
            Role::Matrix | Role::Head => Axis::In,
            Role::Embedding | Role::Gain | Role::Bias => Axis::Out,
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

/// Recipe, rate, decay and constraint, as far as they say something.
fn treatment(rule: &Rule, config: &OptimConfig) -> String {
    let mut text = format!("`{}`", rule.recipe);
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

fn name_of<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
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
A recipe is a composition of parts: `gradient > direction > shaping > equal outputs > factor by shape > space`. The table has
each with its defaults, for a scheme that confines nothing: what it does with the matrices inside the blocks, the embedding,
the output layer, and vectors (gains and biases). Rates are `optim.lr` (here 0.001) unless given; `optim.matrix_lr` replaces
that of the matrices. *Decay* is `optim.weight_decay` where the scheme decays a parameter. A set that the scheme confines a
parameter to takes the place of a recipe's own. `optim.groups` trains single roles or paths otherwise; `evenburn describe`
prints the groups of a configuration. `configs/optimizers` has the default preset under each recipe, tuned (docs/log.md, *Every
recipe on the default preset*).

Every recipe is compared over 100 steps with loops that do one number at a time, in f64 to 1e-10 and in f32 to 1e-4, on
matrices of six shapes (`crates/optim/tests`). The last column has what else it is compared with: cases of
`tests/fixtures/optimizers`, computed by `torch` and by packages of PyPI. `norm_constrained_adam` and `unit_norm_adam` also
train the cases `angpt` and `ngpt` of `tests/fixtures`.

| recipe | what it is | matrices | embedding | output layer | vectors | also equals |
|---|---|---|---|---|---|---|
"
    );
    let about: BTreeMap<String, String> = values::<RecipeName>().into_iter().collect();
    for recipe in RecipeName::ALL {
        let config = OptimConfig {
            recipe,
            ..OptimConfig::default()
        };
        let rules = rules(&config, params())?;
        let of = |role: Role| treatment(&rules[role.group()], &config);
        let cases: Vec<String> = CASES
            .iter()
            .filter(|(_, of)| *of == recipe)
            .map(|(case, _)| format!("`{case}`"))
            .collect();
        let name = name_of(&recipe);
        let meaning = about.get(&name).cloned().unwrap_or_default();
        page += &format!(
            "| `{name}` | {meaning} | {} | {} | {} | {} | {} |\n",
            of(Role::Matrix),
            of(Role::Embedding),
            of(Role::Head),
            of(Role::Gain),
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
