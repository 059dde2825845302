//! A plan as a person reads it.

use super::{
    AttentionFactor, Combine, EmbeddingPlan, Form, GainPlan, GainShape, Init, LayerPlan,
    LerpFactor, LinearPlan, MixPlan, NormPlan, Normed, Over, Plan, ResidualPlan, WeightPlan,
};
use crate::dims::{Activation, Dims, Site};
use evenburn_geometry::Constraint;
use std::fmt;

fn gain(plan: &GainPlan) -> String {
    let name = match plan.shape {
        GainShape::Vector => "gain",
        GainShape::Scalar => "scalar gain",
    };
    let form = match plan.form {
        Form::Direct => "",
        Form::Absolute => ", absolute",
        Form::OnePlus => ", stored as 1 + g",
        Form::Product => ", magnitude x direction",
        Form::ExpProduct => ", exp(magnitude) x direction",
        Form::UnitProduct => ", magnitude x unit direction",
        Form::CenteredExp => ", exp(magnitude) x exp(centered direction)",
    };
    let decay = if plan.decay { ", decays" } else { "" };
    if (plan.scale - plan.init).abs() < f64::EPSILON {
        format!("{name} {}{form}{decay}", plan.init)
    } else {
        format!(
            "{name} {} stored as {:.4}{form}{decay}",
            plan.init, plan.scale
        )
    }
}

fn norm(plan: &NormPlan) -> String {
    let function = plan.function.describe();
    let over = match plan.over {
        Over::Full => "",
        Over::PerHead => " per head",
    };
    let gain = plan
        .gain
        .as_ref()
        .map_or(String::new(), |g| format!(", {}", gain(g)));
    let factor = if (plan.factor - 1.0).abs() > f64::EPSILON {
        format!(", factor {:.4}", plan.factor)
    } else {
        String::new()
    };
    let bias = match plan.bias {
        Some(bias) if bias.decay => ", bias, decays",
        Some(_) => ", bias",
        None => "",
    };
    format!("{function}{over}{gain}{factor}{bias}")
}

fn residual(plan: &ResidualPlan) -> String {
    let mut parts = Vec::new();
    let text = |(name, plan)| format!("{name}: {}", norm(plan));
    let (before, after): (Vec<_>, Vec<_>) = plan.norms().partition(|(name, _)| *name != "after");
    parts.extend(before.into_iter().map(text));
    parts.push(match &plan.mix {
        MixPlan::Add => "h + x".to_owned(),
        MixPlan::Scaled { skip } => format!("{skip:.4} h + x"),
        MixPlan::Lerp { alpha, factor } => {
            let nu = match factor {
                LerpFactor::One => "",
                LerpFactor::SecondMoment => "nu ",
            };
            format!("{nu}(h + a (x - h)), a: {}", gain(alpha))
        }
        MixPlan::Rule { rule } => rule.describe(),
    });
    if let Some(companion) = &plan.companion {
        let scale = companion.scale.as_ref();
        parts.extend(scale.map(|scale| format!("h beside y: {}", gain(scale))));
        parts.push(format!("y + x, {:.4} x for h", companion.factor));
    }
    parts.extend(after.into_iter().map(text));
    parts.join("; ")
}

fn weight(plan: &WeightPlan) -> String {
    let init = match plan.init {
        Init::Normal { std } => format!("normal {std:.4}"),
        Init::TruncatedNormal { std, cut } => format!("normal {std:.4} within {cut} deviations"),
        Init::UnitSphere { along } => format!("unit {along}"),
    };
    let constraint = match plan.constraint {
        Constraint::Free => String::new(),
        other => format!(", {other}"),
    };
    let decay = if plan.decay { ", decays" } else { "" };
    format!("{init}{constraint}{decay}")
}

fn linear(plan: &LinearPlan) -> String {
    let mut parts = Vec::new();
    parts.extend(plan.before.as_ref().map(|g| format!("before: {}", gain(g))));
    if (plan.factor - 1.0).abs() > f64::EPSILON {
        parts.push(format!("factor {:.4}", plan.factor));
    }
    parts.extend(plan.bias.map(|bias| {
        let decay = if bias.decay { ", decays" } else { "" };
        format!("bias{decay}")
    }));
    parts.extend(plan.norm.as_ref().map(|n| format!("norm: {}", norm(n))));
    parts.extend(plan.after.as_ref().map(|g| format!("after: {}", gain(g))));
    parts.join("; ")
}

fn embedded(plan: &EmbeddingPlan) -> String {
    let mut parts = Vec::new();
    if (plan.factor - 1.0).abs() > f64::EPSILON {
        parts.push(format!("factor {:.4}", plan.factor));
    }
    parts.extend(plan.gain.as_ref().map(gain));
    parts.extend(plan.norm.as_ref().map(|n| format!("norm: {}", norm(n))));
    parts.join("; ")
}

/// The rows of one block: place, matrix, what stands around it.
fn rows(layer: &LayerPlan, d: &Dims) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    for site in Site::BLOCK {
        if site == Site::Q {
            rows.push([
                "attn_residual".into(),
                String::new(),
                residual(&layer.attn_residual),
            ]);
        }
        if site == Site::O {
            let a = &layer.attention;
            let scale = a.softmax_gain.as_ref().map(gain);
            let scale = scale.unwrap_or_else(|| format!("{:.4}", a.softmax_scale));
            let mut parts = Vec::new();
            if d.rope_channels() < d.head {
                parts.push(format!(
                    "rotation of {} of {} channels",
                    d.rope_channels(),
                    d.head
                ));
            }
            parts.push(format!("softmax scale {scale}"));
            parts.extend(match a.factor {
                AttentionFactor::None => None,
                AttentionFactor::Dense => Some("factor sqrt(keys)".to_owned()),
                AttentionFactor::Exact => {
                    Some("factor 1 / sqrt(sum of squared weights)".to_owned())
                }
            });
            let sides = match a.normed {
                Normed::Both => "q, k",
                Normed::Keys => "k",
            };
            parts.extend(
                a.qk_norm
                    .as_ref()
                    .map(|n| format!("{sides} after rotation: {}", norm(n))),
            );
            parts.extend(a.qk_gain.as_ref().map(|g| format!("q, k: {}", gain(g))));
            rows.push(["attn.scores".into(), String::new(), parts.join("; ")]);
        }
        if site == d.mlp.sites()[0] {
            rows.push([
                "mlp_residual".into(),
                String::new(),
                residual(&layer.mlp_residual),
            ]);
        }
        if site == d.mlp.sites()[0]
            && let Some(router) = &layer.router
        {
            let experts = &d.experts;
            let mut text = format!(
                "{} of {} experts for each token, {} shared",
                experts.top_k, experts.count, experts.shared
            );
            if let Some(width) = experts.shared_hidden {
                text += &format!(" of width {width}");
            }
            let joined = match layer.mlp.combine {
                Combine::Sum => "",
                Combine::UnitLength => "divided by the length of their weights",
                Combine::Sqrt => "weighted by the square roots of their gates",
            };
            let around = linear(&router.linear);
            let text = [text, joined.to_owned(), around]
                .into_iter()
                .filter(|t| !t.is_empty());
            rows.push([
                Site::Router.path().into(),
                weight(&router.weight),
                text.collect::<Vec<_>>().join("; "),
            ]);
        }
        if site == Site::Down {
            let m = &layer.mlp;
            let function = match d.mlp.activation() {
                Activation::Silu => "silu",
                Activation::Gelu => "gelu",
                Activation::GeluTanh => "gelu_tanh",
                Activation::Relu2 => "relu2",
            };
            let (up, inside) = match d.mlp.inside() {
                Site::Gate => ("up ", Site::Gate),
                other => ("", other),
            };
            let inside = inside.path().trim_start_matches("mlp.");
            let factors = format!("{:.4} {up}{function}({:.4} {inside})", m.after, m.before);
            rows.push(["mlp".into(), String::new(), factors]);
        }
        if let Some(plan) = layer.site(site) {
            rows.push([
                site.path().into(),
                weight(&plan.weight),
                linear(&plan.linear),
            ]);
        }
    }
    rows
}

impl fmt::Display for Plan {
    /// One row per place; blocks with the same decisions share theirs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &self.dims;
        writeln!(
            f,
            "{}: {} blocks, width {}, {} heads of {} ({} for keys and values), hidden {}, vocabulary {}, context {}",
            self.scheme,
            d.layers,
            d.model,
            d.heads,
            d.head,
            d.kv_heads,
            d.hidden,
            d.vocab,
            d.context
        )?;
        let row = |f: &mut fmt::Formatter<'_>, r: &[String; 3]| {
            let line = format!("  {:<15} {:<40} {}", r[0], r[1], r[2]);
            writeln!(f, "{}", line.trim_end())
        };
        row(
            f,
            &[
                "embed".into(),
                weight(&self.embedding),
                embedded(&self.ends.embedding),
            ],
        )?;
        if let Some(positions) = &self.positions {
            row(
                f,
                &["embed.positions".into(), weight(positions), String::new()],
            )?;
        }
        let mut first = 0;
        while first < self.layers.len() {
            let same = rows(&self.layers[first], d);
            let count = self.layers[first..]
                .iter()
                .take_while(|l| rows(l, d) == same)
                .count();
            match count {
                1 => writeln!(f, "block {first}")?,
                _ => writeln!(f, "blocks {first} to {}", first + count - 1)?,
            }
            for r in &same {
                row(f, r)?;
            }
            first += count;
        }
        if let Some(plan) = &self.ends.head.join {
            let norms = [("h", &plan.stream), ("y", &plan.companion)];
            let norms = norms.map(|(name, plan)| match plan {
                Some(plan) => format!("{name}: {}", norm(plan)),
                None => name.to_owned(),
            });
            row(f, &["join".into(), String::new(), norms.join("; ")])?;
        }
        if let Some(plan) = &self.ends.head.final_norm {
            row(f, &["final_norm".into(), String::new(), norm(plan)])?;
        }
        let matrix = self
            .head
            .as_ref()
            .map_or("the embedding table".into(), weight);
        let logits = self
            .ends
            .head
            .logit_gain
            .as_ref()
            .map_or(String::new(), |g| format!("after: {}", gain(g)));
        row(f, &["head".into(), matrix, logits])
    }
}
