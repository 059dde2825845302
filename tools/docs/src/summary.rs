//! The table of the schemes in `docs/strategies.md`: every cell is read off a plan, a folded model or the references.

use crate::options;
use crate::references::{Reference, listed as proven, references};
use burn::tensor::Device;
use evenburn_geometry::Constraint;
use evenburn_model::plan::{AttentionFactor, LayerPlan, MixPlan, NormPlan, Normed, Over};
use evenburn_model::{Decoder, ModelConfig, ParamRole, Plan, Registry, Site, fold};
use evenburn_parity::bare::Bare;
use std::collections::{BTreeMap, BTreeSet};

/// The table with what its columns mean.
pub(crate) fn table() -> anyhow::Result<String> {
    let config = ModelConfig::default();
    let bare = Plan::new(&config, &Bare::default())?.cost().params;
    let references = references()?;
    let mut standard = Vec::new();
    for reference in &references {
        if reference.is_standard()? {
            standard.push(reference);
        }
    }
    let mut page = format!(
        "
For the default options and sizes (width {}, {} blocks, hidden {}, vocabulary {}; {bare} parameters without any
normalization). *Ops* are passes over activations that one token takes in a block beyond those of a decoder without
normalization: `n` normalizations with their gains, `s` learned scales of q and k, `i` interpolations or scaled sums, `a`
scaled attention outputs; constants and scales beside a linear map take none, because they multiply its matrix. *Folds* is
what `evenburn fold` moves into matrices; what stays is listed. References are the cases of `tests/fixtures`, whose README
says who computed them, and, as peers, the models of `transformers` in `tests/fixtures/peers`; cases of scale vectors are
in the next table.

| scheme | norms sit | learned besides matrices | constrained | parameters added | ops added | folds | proven by |
|---|---|---|---|---|---|---|---|
",
        config.dim,
        config.layers,
        Plan::new(&config, &Bare::default())?.dims().hidden,
        config.vocab_size
    );
    for scheme in Registry::default().schemes() {
        let plan = scheme.plan(&config)?;
        let own = |reference: &&Reference| reference.scheme.name() == scheme.name();
        page += &format!(
            "| [`{0}`](#{0}) | {1} | {2} | {3} | {4} | {5} | {6} | {7} |\n",
            scheme.name(),
            listed(&norms(&plan)),
            listed(&learned(&plan)),
            listed(&constrained(&plan)),
            plan.cost().params - bare,
            operations(&plan),
            folding(&plan)?,
            proven(standard.iter().copied().filter(own)),
        );
    }
    page += &options::scale_vectors(&references)?;
    page += &options::bodies(&references)?;
    Ok(page)
}

fn listed(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "nothing".to_owned(),
        _ => names.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

/// A parameter's or a place's name with the block's number left out.
fn general(path: &str) -> String {
    match path.strip_prefix("blocks.") {
        Some(rest) => rest
            .split_once('.')
            .map_or(rest, |(_, inside)| inside)
            .to_owned(),
        None => path.to_owned(),
    }
}

/// Normalizations of a block with their places.
fn in_block(layer: &LayerPlan) -> Vec<(String, &NormPlan)> {
    let around = [
        ("attention", &layer.attn_residual),
        ("MLP", &layer.mlp_residual),
    ];
    let mut found = Vec::new();
    for (branch, plan) in around {
        found.extend(plan.norms().map(|(name, norm)| {
            let place = match name {
                "stream" => "stream before",
                "companion" => "companion before",
                "input" => "before",
                "output" => "after",
                "skip" => "skip around",
                _ => "sum after",
            };
            (format!("{place} {branch}"), norm)
        }));
    }
    for site in Site::BLOCK {
        let norm = layer.site(site).and_then(|s| s.linear.norm.as_ref());
        found.extend(norm.map(|norm| (format!("behind {}", site.name()), norm)));
    }
    let rotated = layer.attention.qk_norm.as_ref();
    let sides = match layer.attention.normed {
        Normed::Both => "q and k",
        Normed::Keys => "k",
    };
    found.extend(rotated.map(|norm| (format!("{sides} after rotation"), norm)));
    found
}

fn norms(plan: &Plan) -> BTreeSet<String> {
    let described = |(place, norm): (String, &NormPlan)| {
        let kind = norm.function.describe();
        let heads = match norm.over {
            Over::Full => "",
            Over::PerHead => " per head",
        };
        format!("{place} ({kind}{heads})")
    };
    let ends = [
        ("embedding", &plan.ends.embedding.norm),
        ("final", &plan.ends.head.final_norm),
    ];
    let joined = plan.ends.head.join.iter().flat_map(|join| {
        [
            ("stream at the join", &join.stream),
            ("companion at the join", &join.companion),
        ]
    });
    let ends = ends
        .into_iter()
        .chain(joined)
        .filter_map(|(place, norm)| Some((place.to_owned(), norm.as_ref()?)));
    let blocks = plan.layers.iter().flat_map(in_block);
    blocks.chain(ends).map(described).collect()
}

fn learned(plan: &Plan) -> BTreeSet<String> {
    let vectors = plan
        .params()
        .into_iter()
        .filter(|spec| matches!(spec.role, ParamRole::Gain | ParamRole::Bias));
    vectors
        .map(|spec| format!("`{}`", general(&spec.path).replace(".value", "")))
        .collect()
}

fn constrained(plan: &Plan) -> BTreeSet<String> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for spec in plan.params() {
        if spec.constraint != Constraint::Free {
            let place = general(&spec.path).replace(".weight", "");
            let all = places.entry(spec.constraint.to_string()).or_default();
            all.insert(place);
        }
    }
    places
        .into_iter()
        .map(|(constraint, places)| {
            format!("{}: {}", constraint.replace('|', "\\|"), listed(&places))
        })
        .collect()
}

/// Passes over activations of one token in the last block.
fn operations(plan: &Plan) -> String {
    let Some(layer) = plan.layers.last() else {
        return "none".to_owned();
    };
    // After the rotation q and k are normalized, each by itself.
    let both = layer.attention.normed == Normed::Both;
    let rotated = usize::from(layer.attention.qk_norm.is_some() && both);
    let normalizations = in_block(layer).len() + rotated;
    // One scale serves both q and k.
    let scales = 2 * usize::from(layer.attention.qk_gain.is_some());
    let mixed = [&layer.attn_residual, &layer.mlp_residual]
        .into_iter()
        .filter(|plan| plan.mix != MixPlan::Add)
        .count();
    let factors = usize::from(layer.attention.factor != AttentionFactor::None);
    let counts = [
        (normalizations, "n"),
        (scales, "s"),
        (mixed, "i"),
        (factors, "a"),
    ];
    let shown: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count}{what}"))
        .collect();
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(" + ")
    }
}

/// What folding takes out of a model, and the learned vectors that stay.
fn folding(plan: &Plan) -> anyhow::Result<String> {
    let device = Device::flex();
    let folded = fold(plan, &Decoder::new(plan, 0, &device), &device)?;
    let (before, after) = (learned(plan), learned(&folded.plan));
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    let constant = |plan: &Plan| {
        let layer = plan.layers.first();
        let sites = layer.into_iter().flat_map(|layer| {
            let sites = Site::BLOCK.into_iter();
            sites.filter_map(|site| Some(layer.site(site)?.linear.factor))
        });
        let inner = layer.into_iter().flat_map(|l| [l.mlp.before, l.mlp.after]);
        let ends = [plan.ends.embedding.factor];
        sites
            .chain(inner)
            .chain(ends)
            .any(|f| (f - 1.0).abs() > f64::EPSILON)
    };
    let constants = constant(plan) && !constant(&folded.plan);
    let lerps = |plan: &Plan| {
        plan.layers
            .iter()
            .any(|l| matches!(l.mlp_residual.mix, MixPlan::Lerp { .. }))
    };
    let mut parts = Vec::new();
    if constants {
        parts.push("every constant".to_owned());
    }
    if lerps(plan) && !lerps(&folded.plan) {
        parts.push("the interpolations".to_owned());
    }
    if !gone.is_empty() {
        parts.push(listed(&gone));
    }
    let gone = if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    };
    Ok(if after.is_empty() {
        gone
    } else {
        format!("{gone}; stays: {}", listed(&after))
    })
}
