//! A model as resolved decisions: sizes, then one plan per place.

mod arrays;
mod cost;
mod ends;
mod gain;
mod norm;
mod params;
mod parts;
mod table;
mod validate;
mod visit;

pub use arrays::{ArrayInit, ArrayPlan};
pub use cost::Cost;
pub use ends::{EmbeddingPlan, EndsPlan, HeadPlan, JoinPlan};
pub use gain::{Form, GainPlan, GainRole, GainShape};
pub use norm::{BiasPlan, NormPlan, Over};
pub use params::{Expert, ParamRef, ParamRole, ParamSpec, Place};
pub use parts::{
    AttentionFactor, AttentionPlan, Combine, CompanionPlan, Init, LerpFactor, LinearPlan, MixPlan,
    MlpPlan, Normed, ResidualPlan, WeightPlan,
};
pub use visit::{Spot, Visit, VisitMut};

use crate::config::{HeadWeights, ModelConfig};
use crate::dims::{Branch, Dims, Positions, Site};
use crate::error::{PlanError, place};
use crate::experts::Joined;
use crate::function;
use crate::scale_vectors;
use crate::strategy::NormStrategy;
use serde::{Deserialize, Serialize};
use toml::Table;

/// The plan of one linear map of a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SitePlan {
    /// The matrix.
    pub weight: WeightPlan,
    /// What stands around the product.
    pub linear: LinearPlan,
}

/// The plan of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerPlan {
    /// Residual connection around attention.
    pub attn_residual: ResidualPlan,
    /// Query projection.
    pub q: SitePlan,
    /// Key projection.
    pub k: SitePlan,
    /// Value projection.
    pub v: SitePlan,
    /// Normalization and scales between the projections of attention.
    pub attention: AttentionPlan,
    /// Output projection of attention.
    pub o: SitePlan,
    /// Residual connection around the MLP.
    pub mlp_residual: ResidualPlan,
    /// Router of a mixture of experts; the plans of `gate`, `up` and `down` then hold for each expert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<SitePlan>,
    /// Branch inside the activation; a plain MLP has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<SitePlan>,
    /// Linear branch; the only one of a plain MLP.
    pub up: SitePlan,
    /// Constants around the activation.
    pub mlp: MlpPlan,
    /// Output projection of the MLP.
    pub down: SitePlan,
}

impl LayerPlan {
    /// The plan of one of the linear maps; `None` for those that this block doesn't have.
    pub fn site(&self, site: Site) -> Option<&SitePlan> {
        Some(match site {
            Site::Q => &self.q,
            Site::K => &self.k,
            Site::V => &self.v,
            Site::O => &self.o,
            Site::Gate => return self.gate.as_ref(),
            Site::Up => &self.up,
            Site::Down => &self.down,
            Site::Router => return self.router.as_ref(),
            Site::Embedding | Site::Positions | Site::Head => return None,
        })
    }

    /// The same for changing it.
    pub(crate) fn site_mut(&mut self, site: Site) -> Option<&mut SitePlan> {
        Some(match site {
            Site::Q => &mut self.q,
            Site::K => &mut self.k,
            Site::V => &mut self.v,
            Site::O => &mut self.o,
            Site::Gate => return self.gate.as_mut(),
            Site::Up => &mut self.up,
            Site::Down => &mut self.down,
            Site::Router => return self.router.as_mut(),
            Site::Embedding | Site::Positions | Site::Head => return None,
        })
    }

    /// Both residual connections, in the order in which the stream passes them.
    pub(crate) fn residuals(&self) -> [(Branch, &ResidualPlan); 2] {
        [
            (Branch::Attention, &self.attn_residual),
            (Branch::Mlp, &self.mlp_residual),
        ]
    }

    /// The residual connection around a branch, for changing it.
    pub(crate) fn residual_mut(&mut self, branch: Branch) -> &mut ResidualPlan {
        match branch {
            Branch::Attention => &mut self.attn_residual,
            Branch::Mlp => &mut self.mlp_residual,
        }
    }

    /// Its linear maps.
    pub(crate) fn sites_mut(&mut self) -> impl Iterator<Item = &mut SitePlan> {
        let attention = [&mut self.q, &mut self.k, &mut self.v, &mut self.o];
        let mlp = [&mut self.up, &mut self.down];
        let router = &mut self.router;
        attention
            .into_iter()
            .chain(router)
            .chain(&mut self.gate)
            .chain(mlp)
    }
}

/// Every decision of a model, resolved: what `describe` prints and a run records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the scheme that decided.
    pub scheme: String,
    /// Its options, where the scheme was chosen by name: [`Scheme::plan`](crate::Scheme::plan) puts them here.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub options: Table,
    /// Sizes.
    pub dims: Dims,
    /// The embedding table.
    pub embedding: WeightPlan,
    /// The table of positions, where they are learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<WeightPlan>,
    /// The output layer's own matrix; absent when it is the embedding table, transposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<WeightPlan>,
    /// What stands behind the embedding table and in front of the logits.
    pub ends: EndsPlan,
    /// One plan per block.
    pub layers: Vec<LayerPlan>,
}

impl Plan {
    /// Asks a strategy for every decision and checks that they fit together.
    ///
    /// # Errors
    /// [`PlanError`] when a size does not fit, two decisions clash or a number is not usable.
    ///
    /// ```
    /// use evenburn_model::{ModelConfig, Plan, strategy::SimpleNorm};
    /// let plan = Plan::new(&ModelConfig::default(), &SimpleNorm::default())?;
    /// let total: usize = plan.params().iter().map(|p| p.shape.iter().product::<usize>()).sum();
    /// assert_eq!(total, plan.cost().params);
    /// # Ok::<(), evenburn_model::PlanError>(())
    /// ```
    pub fn new(config: &ModelConfig, strategy: &dyn NormStrategy) -> Result<Self, PlanError> {
        let dims = config.dims()?;
        let site = |layer, site| {
            let mut linear = strategy.linear(layer, site, &dims);
            if config.biases.at(site) {
                linear.bias.get_or_insert_default();
            }
            SitePlan {
                weight: strategy.weight(layer, site, &dims),
                linear,
            }
        };
        let network = |layer| {
            let mut mlp = strategy.mlp(layer, &dims);
            if dims.experts.combine == Joined::Sqrt {
                mlp.combine = Combine::Sqrt;
            }
            mlp
        };
        let layers = (0..dims.layers)
            .map(|layer| LayerPlan {
                attn_residual: strategy.residual(layer, Branch::Attention, &dims),
                q: site(layer, Site::Q),
                k: site(layer, Site::K),
                v: site(layer, Site::V),
                attention: strategy.attention(layer, &dims),
                o: site(layer, Site::O),
                mlp_residual: strategy.residual(layer, Branch::Mlp, &dims),
                router: (!dims.experts.is_dense()).then(|| site(layer, Site::Router)),
                gate: (dims.mlp.inside() == Site::Gate).then(|| site(layer, Site::Gate)),
                up: site(layer, Site::Up),
                mlp: network(layer),
                down: site(layer, Site::Down),
            })
            .collect();
        one_plan_for_all_experts(strategy, &dims)?;
        let plan = Self {
            scheme: strategy.name().to_owned(),
            options: Table::new(),
            embedding: strategy.weight(0, Site::Embedding, &dims),
            positions: (dims.positions == Positions::Learned)
                .then(|| strategy.weight(0, Site::Positions, &dims)),
            head: match config.head {
                HeadWeights::Untied => Some(strategy.weight(0, Site::Head, &dims)),
                HeadWeights::Tied => None,
            },
            ends: EndsPlan {
                embedding: strategy.embedding(&dims),
                head: strategy.head(&dims),
            },
            layers,
            dims,
        };
        let plan = function::rewrite(plan, config.function.as_ref())?;
        let plan = scale_vectors::rewrite(plan, config.scale_vectors, config.scale)?;
        plan.validate()?;
        Ok(plan)
    }

    /// Sizes of the model.
    pub fn dims(&self) -> &Dims {
        &self.dims
    }
}

/// Refuses shared experts of another width in a scheme that would plan them otherwise: there is one plan for all experts.
fn one_plan_for_all_experts(strategy: &dyn NormStrategy, d: &Dims) -> Result<(), PlanError> {
    let shared = d.of_shared_experts();
    if shared.hidden == d.hidden {
        return Ok(());
    }
    for layer in 0..d.layers {
        for site in [Site::Gate, Site::Up, Site::Down] {
            let plan = |d: &Dims| {
                let around = strategy.linear(layer, site, d);
                (
                    around,
                    strategy.mlp(layer, d),
                    strategy.weight(layer, site, d),
                )
            };
            if plan(d) != plan(&shared) {
                return Err(PlanError::Clash {
                    scheme: strategy.name().to_owned(),
                    place: place(layer, site),
                    first: "decisions that depend on the width of the network".to_owned(),
                    second: "shared experts of another width (model.experts.shared_hidden)"
                        .to_owned(),
                });
            }
        }
    }
    Ok(())
}
