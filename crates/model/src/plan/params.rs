//! Every parameter of a plan, exactly once, by its path.

use super::{
    GainPlan, GainShape, LayerPlan, LinearPlan, MixPlan, NormKind, NormPlan, Over, Plan,
    ResidualPlan, WeightPlan,
};
use crate::dims::{Branch, Dims, Site};
use crate::error::WeightsError;
use crate::experts::Balance;
use evenburn_geometry::Constraint;
use serde::Serialize;

/// What a parameter is to an optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The embedding table.
    Embedding,
    /// A matrix inside a block.
    Matrix,
    /// The output layer's matrix.
    Head,
    /// A learned scale.
    Gain,
    /// A learned vector or scalar that is added.
    Bias,
}

/// Where in the model a parameter belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A linear map, the embedding or the output layer.
    Site(Site),
    /// The scores of attention.
    Scores,
    /// The residual stream around a branch.
    Residual(Branch),
    /// The normalization before the output layer.
    FinalNorm,
}

/// Which of the networks of a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expert {
    /// One that tokens choose from.
    Routed(usize),
    /// One that every token has.
    Shared(usize),
}

/// Paths of the places, longest first where one begins another.
const PLACES: [(&str, Place); 15] = [
    ("embed", Place::Site(Site::Embedding)),
    ("attn.q", Place::Site(Site::Q)),
    ("attn.k", Place::Site(Site::K)),
    ("attn.v", Place::Site(Site::V)),
    ("attn.o", Place::Site(Site::O)),
    ("attn.scores", Place::Scores),
    ("mlp.gate", Place::Site(Site::Gate)),
    ("mlp.up", Place::Site(Site::Up)),
    ("mlp.down", Place::Site(Site::Down)),
    ("moe.router", Place::Site(Site::Router)),
    ("moe", Place::Site(Site::Router)),
    ("attn_residual", Place::Residual(Branch::Attention)),
    ("mlp_residual", Place::Residual(Branch::Mlp)),
    ("final_norm", Place::FinalNorm),
    ("head", Place::Site(Site::Head)),
];

/// A parameter's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ParamRef {
    /// Block, counted from 0; none for the two ends.
    pub layer: Option<usize>,
    /// Place in the block or at the ends.
    pub place: Place,
    /// The network, in a mixture of experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<Expert>,
    /// What it is there: `weight`, `norm.gain.value`, `mix.alpha.value`, ...
    pub part: String,
}

impl ParamRef {
    /// Reads a path such as `blocks.3.attn.q.norm.gain.value`.
    ///
    /// # Errors
    /// [`WeightsError::Path`] when no decoder has such a parameter.
    ///
    /// ```
    /// use evenburn_model::{ParamRef, Place, Site};
    /// let param = ParamRef::from_path("blocks.10.attn.q.weight")?;
    /// assert_eq!((param.layer, param.place), (Some(10), Place::Site(Site::Q)));
    /// # Ok::<(), evenburn_model::WeightsError>(())
    /// ```
    pub fn from_path(path: &str) -> Result<Self, WeightsError> {
        let unknown = || WeightsError::Path {
            path: path.to_owned(),
        };
        let (layer, rest) = match path.strip_prefix("blocks.") {
            Some(rest) => {
                let (index, rest) = rest.split_once('.').ok_or_else(unknown)?;
                (Some(index.parse().map_err(|_| unknown())?), rest)
            }
            None => (None, path),
        };
        let (expert, rest) = match network(rest).map_err(|()| unknown())? {
            Some((expert, inside)) => (Some(expert), format!("mlp.{inside}")),
            None => (None, rest.to_owned()),
        };
        let (place, part) = PLACES
            .into_iter()
            .find_map(|(name, place)| {
                let part = rest.strip_prefix(name)?.strip_prefix('.')?;
                Some((place, part))
            })
            .ok_or_else(unknown)?;
        let at_an_end = matches!(
            place,
            Place::Site(Site::Embedding | Site::Head) | Place::FinalNorm
        );
        let misplaced = expert.is_some() && !matches!(place, Place::Site(site) if site.in_mlp());
        if part.is_empty() || at_an_end == layer.is_some() || misplaced {
            return Err(unknown());
        }
        Ok(Self {
            layer,
            place,
            expert,
            part: part.to_owned(),
        })
    }
}

/// The expert that a path inside a block names and what follows it: `moe.shared.0.up.weight` gives `up.weight`.
fn network(path: &str) -> Result<Option<(Expert, &str)>, ()> {
    for (prefix, expert) in [
        ("moe.experts.", Expert::Routed as fn(usize) -> Expert),
        ("moe.shared.", Expert::Shared),
    ] {
        if let Some(rest) = path.strip_prefix(prefix) {
            let (index, inside) = rest.split_once('.').ok_or(())?;
            return Ok(Some((expert(index.parse().map_err(|_| ())?), inside)));
        }
    }
    Ok(None)
}

/// One parameter as the plan decides it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParamSpec {
    /// Its exact path in the module.
    pub path: String,
    /// Its shape; matrices are `[in, out]`.
    pub shape: Vec<usize>,
    /// What it is to an optimizer.
    pub role: Role,
    /// The set it is projected onto after a step.
    pub constraint: Constraint,
    /// Whether weight decay applies.
    pub decay: bool,
}

impl ParamSpec {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no entries; no valid plan has such a parameter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Collects specs in the order in which the module visits its parameters.
struct Collector<'a> {
    dims: &'a Dims,
    specs: Vec<ParamSpec>,
}

impl Collector<'_> {
    fn gain(&mut self, at: &str, width: usize, plan: Option<&GainPlan>) {
        let Some(plan) = plan else { return };
        let entries = match plan.shape {
            GainShape::Vector => width,
            GainShape::Scalar => 1,
        };
        self.vector(format!("{at}.value"), entries, Role::Gain, plan.decay);
        if plan.form.has_magnitude() {
            self.vector(format!("{at}.magnitude"), 1, Role::Gain, plan.decay);
        }
    }

    fn vector(&mut self, path: String, entries: usize, role: Role, decay: bool) {
        self.specs.push(ParamSpec {
            path,
            shape: vec![entries],
            role,
            constraint: Constraint::Free,
            decay,
        });
    }

    fn norm(&mut self, at: &str, width: usize, plan: Option<&NormPlan>) {
        let Some(plan) = plan else { return };
        let width = match plan.over {
            Over::Full => width,
            Over::PerHead => self.dims.head,
        };
        self.gain(&format!("{at}.gain"), width, plan.gain.as_ref());
        // The scalars of a pointwise function decay as its gain does.
        let decay = plan.gain.as_ref().is_some_and(|gain| gain.decay);
        if matches!(plan.kind, NormKind::Tanh { .. } | NormKind::Erf { .. }) {
            self.vector(format!("{at}.slope"), 1, Role::Gain, decay);
        }
        if matches!(plan.kind, NormKind::Erf { .. }) {
            self.vector(format!("{at}.shift"), 1, Role::Bias, decay);
        }
        if let Some(bias) = plan.bias {
            self.vector(format!("{at}.bias"), width, Role::Bias, bias.decay);
        }
    }

    fn matrix(&mut self, path: String, site: Site, weight: &WeightPlan) {
        self.specs.push(ParamSpec {
            path,
            shape: site.shape(self.dims).to_vec(),
            role: match site {
                Site::Embedding | Site::Positions => Role::Embedding,
                Site::Head => Role::Head,
                _ => Role::Matrix,
            },
            constraint: weight.constraint,
            decay: weight.decay,
        });
    }

    fn linear(&mut self, at: &str, site: Site, plan: &LinearPlan) {
        let [input, output] = site.shape(self.dims);
        self.gain(&format!("{at}.before"), input, plan.before.as_ref());
        if let Some(bias) = plan.bias {
            self.vector(format!("{at}.bias"), output, Role::Bias, bias.decay);
        }
        self.norm(&format!("{at}.norm"), output, plan.norm.as_ref());
        self.gain(&format!("{at}.after"), output, plan.after.as_ref());
    }

    fn site(&mut self, at: &str, site: Site, layer: &LayerPlan) {
        if let Some(plan) = layer.site(site) {
            self.matrix(format!("{at}.weight"), site, &plan.weight);
            self.linear(at, site, &plan.linear);
        }
    }

    /// One feed-forward network.
    fn network(&mut self, at: &str, layer: &LayerPlan) {
        for site in [Site::Gate, Site::Up, Site::Down] {
            self.site(&format!("{at}.{}", site.name()), site, layer);
        }
    }

    fn residual(&mut self, at: &str, plan: &ResidualPlan) {
        let width = self.dims.model;
        self.norm(&format!("{at}.stream"), width, plan.stream.as_ref());
        self.norm(&format!("{at}.input"), width, plan.input.as_ref());
        self.norm(&format!("{at}.output"), width, plan.output.as_ref());
        self.norm(&format!("{at}.skip"), width, plan.skip.as_ref());
        if let MixPlan::Lerp { alpha, .. } = &plan.mix {
            self.gain(&format!("{at}.mix.alpha"), width, Some(alpha));
        }
        self.norm(&format!("{at}.after"), width, plan.after.as_ref());
    }
}

impl Plan {
    /// Every parameter exactly once, in the order in which the module visits them.
    pub fn params(&self) -> Vec<ParamSpec> {
        let d = &self.dims;
        let shared = d.of_shared_experts();
        let mut all = Collector {
            dims: d,
            specs: Vec::new(),
        };
        all.matrix("embed.weight".into(), Site::Embedding, &self.embedding);
        if let Some(positions) = &self.positions {
            all.matrix("embed.positions".into(), Site::Positions, positions);
        }
        all.gain("embed.gain", d.model, self.ends.embed_gain.as_ref());
        all.norm("embed.norm", d.model, self.ends.embed_norm.as_ref());
        for (index, layer) in self.layers.iter().enumerate() {
            let block = format!("blocks.{index}");
            all.residual(&format!("{block}.attn_residual"), &layer.attn_residual);
            for site in [Site::Q, Site::K, Site::V] {
                all.site(&format!("{block}.{site}"), site, layer);
            }
            let at = format!("{block}.attn.scores.gain");
            all.gain(&at, d.heads * d.head, layer.attention.qk_gain.as_ref());
            all.site(&format!("{block}.{}", Site::O), Site::O, layer);
            all.residual(&format!("{block}.mlp_residual"), &layer.mlp_residual);
            if layer.router.is_none() {
                all.network(&format!("{block}.mlp"), layer);
                continue;
            }
            all.site(&format!("{block}.{}", Site::Router), Site::Router, layer);
            let experts = &d.experts;
            if experts.balance == Balance::Bias {
                let path = format!("{block}.moe.correction");
                all.vector(path, experts.count, Role::Bias, false);
            }
            for n in 0..experts.count {
                all.network(&format!("{block}.moe.experts.{n}"), layer);
            }
            all.dims = &shared;
            for n in 0..experts.shared {
                all.network(&format!("{block}.moe.shared.{n}"), layer);
            }
            all.dims = d;
        }
        all.norm("final_norm", d.model, self.ends.final_norm.as_ref());
        if let Some(head) = &self.head {
            all.matrix("head.weight".into(), Site::Head, head);
        }
        all.gain("head.after", d.vocab, self.ends.logit_gain.as_ref());
        all.specs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_no_decoder_has_are_refused() {
        for path in [
            "",
            "weight",
            "embed",
            "blocks.x.attn.q.weight",
            "blocks.1",
            "blocks.1.head.weight",
            "attn.q.weight",
            "blocks.0.attn.qq.weight",
        ] {
            assert!(ParamRef::from_path(path).is_err(), "{path}");
        }
    }
}
