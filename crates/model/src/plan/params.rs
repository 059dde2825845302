//! Every parameter of a plan, exactly once, by its path.

use super::{ArrayPlan, BiasPlan, GainPlan, GainShape, Plan, Spot, Visit, WeightPlan};
use crate::dims::{Branch, Dims, Site};
use crate::error::WeightsError;
use evenburn_geometry::Constraint;
use serde::Serialize;
use std::fmt;

/// The kind of a parameter, by which an optimizer chooses how to update it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamRole {
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
    /// A mixture of experts, beside its router and its networks.
    Experts,
    /// Where a stream of two components becomes one.
    Join,
    /// The normalization before the output layer.
    FinalNorm,
}

impl Place {
    /// Its path inside a block, or of what stands before and behind the blocks.
    pub fn path(self) -> &'static str {
        let found = PLACES.iter().find(|(_, place)| *place == self);
        found.map_or("embed", |(path, _)| path)
    }
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
const PLACES: [(&str, Place); 16] = [
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
    ("moe", Place::Experts),
    ("attn_residual", Place::Residual(Branch::Attention)),
    ("mlp_residual", Place::Residual(Branch::Mlp)),
    ("join", Place::Join),
    ("final_norm", Place::FinalNorm),
    ("head", Place::Site(Site::Head)),
];

/// A parameter's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ParamRef {
    /// Block, counted from 0; none for embedding and output layer.
    pub layer: Option<usize>,
    /// Place in the block, or before or behind the blocks.
    pub place: Place,
    /// The network, in a mixture of experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<Expert>,
    /// Its name there: `weight`, `norm.gain.value`, `mix.alpha.value`, ...
    pub part: String,
}

impl ParamRef {
    /// A place in a block, or a part of one; in a mixture of experts [`ParamRef::instances`] has the networks.
    pub(crate) fn in_block(layer: usize, place: Place, part: &str) -> Self {
        Self {
            layer: Some(layer),
            place,
            expert: None,
            part: part.to_owned(),
        }
    }

    /// The addresses that it stands for: one, or one in each network of a mixture of experts, which share their plans.
    pub fn instances(&self, d: &Dims) -> Vec<Self> {
        let shared =
            matches!(self.place, Place::Site(site) if site.in_mlp()) && !d.experts.is_dense();
        if !shared || self.expert.is_some() {
            return vec![self.clone()];
        }
        let each = networks(d).into_iter();
        each.map(|expert| Self {
            expert,
            ..self.clone()
        })
        .collect()
    }

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
            Place::Site(Site::Embedding | Site::Head) | Place::Join | Place::FinalNorm
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

impl fmt::Display for ParamRef {
    /// The path that [`ParamRef::from_path`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(f, "blocks.{layer}.")?;
        }
        let place = self.place.path();
        match self.expert {
            None => f.write_str(place)?,
            Some(expert) => {
                let (kind, index) = match expert {
                    Expert::Routed(index) => ("experts", index),
                    Expert::Shared(index) => ("shared", index),
                };
                let inside = place.strip_prefix("mlp.").unwrap_or(place);
                write!(f, "moe.{kind}.{index}.{inside}")?;
            }
        }
        match self.part.as_str() {
            "" => Ok(()),
            part => write!(f, ".{part}"),
        }
    }
}

/// The networks that take the place of a block's MLP: itself, or the experts of a mixture.
pub(super) fn networks(d: &Dims) -> Vec<Option<Expert>> {
    if d.experts.is_dense() {
        return vec![None];
    }
    let routed = (0..d.experts.count).map(Expert::Routed);
    let shared = (0..d.experts.shared).map(Expert::Shared);
    routed.chain(shared).map(Some).collect()
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
    /// Its kind, by which an optimizer chooses how to update it.
    pub role: ParamRole,
    /// The set it is projected onto after a step.
    pub constraint: Constraint,
    /// Whether weight decay applies.
    pub decay: bool,
    /// Whether gradients move it; else it is state that checkpoints hold.
    pub trained: bool,
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
    fn add(&mut self, path: String, shape: Vec<usize>, role: ParamRole, decay: bool) {
        self.specs.push(ParamSpec {
            path,
            shape,
            role,
            constraint: Constraint::Free,
            decay,
            trained: true,
        });
    }
}

impl Visit for Collector<'_> {
    fn matrix(&mut self, at: &Spot, site: Site, plan: &WeightPlan) {
        self.specs.push(ParamSpec {
            path: at.param.to_string(),
            shape: site.shape(&self.dims.of(at.param.expert)).to_vec(),
            role: match site {
                Site::Embedding | Site::Positions => ParamRole::Embedding,
                Site::Head => ParamRole::Head,
                _ => ParamRole::Matrix,
            },
            constraint: plan.constraint,
            decay: plan.decay,
            trained: true,
        });
    }

    fn gain(&mut self, at: &Spot, plan: &GainPlan) {
        let entries = match plan.shape {
            GainShape::Vector => at.width,
            GainShape::Scalar => 1,
        };
        let path = &at.param;
        self.add(
            format!("{path}.value"),
            vec![entries],
            ParamRole::Gain,
            plan.decay,
        );
        if plan.form.has_magnitude() {
            self.add(
                format!("{path}.magnitude"),
                vec![1],
                ParamRole::Gain,
                plan.decay,
            );
        }
    }

    fn bias(&mut self, at: &Spot, plan: &BiasPlan) {
        self.add(
            at.param.to_string(),
            vec![at.width],
            ParamRole::Bias,
            plan.decay,
        );
    }

    fn array(&mut self, at: &Spot, plan: &ArrayPlan) {
        self.specs.push(ParamSpec {
            path: at.param.to_string(),
            shape: plan.shape.clone(),
            role: plan.role,
            constraint: Constraint::Free,
            decay: plan.decay,
            trained: plan.trained,
        });
    }
}

impl Plan {
    /// Every parameter exactly once, in the order in which the module visits them.
    pub fn params(&self) -> Vec<ParamSpec> {
        let mut all = Collector {
            dims: &self.dims,
            specs: Vec::new(),
        };
        self.visit(&mut all);
        all.specs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_back() {
        for path in [
            "embed.weight",
            "embed.positions",
            "blocks.3.attn.q.norm.gain.value",
            "blocks.10.mlp_residual.mix.alpha.value",
            "blocks.1.moe.router.weight",
            "blocks.1.moe.correction",
            "blocks.1.moe.experts.3.up.weight",
            "blocks.1.moe.shared.0.down.norm.gain.value",
            "blocks.0.attn.scores.gain.value",
            "join.companion.gain.value",
            "final_norm.gain.value",
            "head.after.value",
        ] {
            assert_eq!(ParamRef::from_path(path).unwrap().to_string(), path);
        }
    }

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
