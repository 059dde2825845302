//! The traversal of a plan: every part, in the order in which the module visits its parameters.

use super::params::networks;
use super::{
    ArrayPlan, BiasPlan, GainPlan, LayerPlan, LinearPlan, MixPlan, NormPlan, ParamRef, ParamRole,
    Place, Plan, ResidualPlan, WeightPlan,
};
use crate::dims::{Branch, Dims, Site};
use crate::experts::Balance;
use crate::plan::{Expert, Over};

/// A place of a plan: the address of what stands there, and how many channels it acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Its address; the part names it and not yet a parameter of it: `norm`, `norm.gain`.
    pub param: ParamRef,
    /// Channels of the vector it acts on: of one head, inside a normalization per head.
    pub width: usize,
}

impl Spot {
    fn new(layer: Option<usize>, place: Place, part: &str, width: usize) -> Self {
        let param = ParamRef {
            layer,
            place,
            expert: None,
            part: part.to_owned(),
        };
        Self { param, width }
    }

    /// The spot of something inside what stands here.
    fn inner(&self, part: &str, width: usize) -> Self {
        let mut inner = self.clone();
        inner.param.part = match self.param.part.as_str() {
            "" => part.to_owned(),
            own => format!("{own}.{part}"),
        };
        inner.width = width;
        inner
    }

    fn of(&self, expert: Option<Expert>) -> Self {
        let mut spot = self.clone();
        spot.param.expert = expert;
        spot
    }

    /// The place in words: `block 0, attn_residual, input norm`.
    pub fn words(&self) -> String {
        let ParamRef {
            layer, place, part, ..
        } = &self.param;
        // A gain is named by what it belongs to.
        let part = part.strip_suffix(".gain").unwrap_or(part);
        let block = layer.map_or(String::new(), |layer| format!("block {layer}, "));
        let (place, part) = match (place, part) {
            (Place::Scores, _) => ("attention scores", ""),
            (Place::FinalNorm, _) => ("final norm", ""),
            (Place::Site(Site::Head), "after") => ("logits", ""),
            (Place::Site(Site::Embedding), "gain") => ("embed", ""),
            (place, part) => (place.path(), part),
        };
        let part = match (self.param.place, part) {
            (_, "") => "",
            (Place::Residual(_), "after") => ", norm after",
            (Place::Residual(_), "mix") => ", mix",
            (Place::Residual(_), "mix.alpha") => ", alpha",
            (Place::Residual(_), "companion.scale") => ", scale beside the companion",
            (Place::Join, part) => return format!("{part} norm at the join"),
            (Place::Residual(_), "companion.norm") => ", companion norm",
            (Place::Residual(_), part) => return format!("{block}{place}, {part} norm"),
            (_, "before") => ", scale before",
            (_, "after") => ", scale after",
            (_, part) => return format!("{block}{place}, {part}"),
        };
        format!("{block}{place}{part}")
    }
}

/// Defines a trait of visitors and the traversal that calls it, for plans that are read or changed.
macro_rules! traversal {
    (
        $(#[$doc:meta])* $visitor:ident,
        $(#[$traversal:meta])* $visit:ident,
        $parts:ident, $as_ref:ident, $site:ident, $networks:expr $(, $mutable:tt)?
    ) => {
        $(#[$doc])*
        pub trait $visitor {
            /// A matrix, `[in, out]`.
            fn matrix(&mut self, _at: &Spot, _site: Site, _plan: &$($mutable)? WeightPlan) {}
            /// What stands around the product of a linear map; its parts follow.
            fn linear(&mut self, _at: &Spot, _site: Site, _plan: &$($mutable)? LinearPlan) {}
            /// A residual connection; its parts follow.
            fn residual(&mut self, _at: &Spot, _plan: &$($mutable)? ResidualPlan) {}
            /// How a branch joins the stream.
            fn mix(&mut self, _at: &Spot, _plan: &$($mutable)? MixPlan) {}
            /// A normalization; its gain, its function's arrays and its bias follow.
            fn norm(&mut self, _at: &Spot, _plan: &$($mutable)? NormPlan) {}
            /// A learned scale.
            fn gain(&mut self, _at: &Spot, _plan: &$($mutable)? GainPlan) {}
            /// A learned vector that is added.
            fn bias(&mut self, _at: &Spot, _plan: &$($mutable)? BiasPlan) {}
            /// A learned array of a function's, of a rule's or of a router's own.
            fn array(&mut self, _at: &Spot, _plan: &ArrayPlan) {}
        }

        /// The parts of the traversal.
        mod $parts {
            use super::{
                ArrayPlan, Balance, BiasPlan, Branch, Dims, Expert, GainPlan, LayerPlan, MixPlan, NormPlan, Over, Place,
                ResidualPlan, ParamRole, Site, Spot, $visitor,
            };

            pub(super) fn norm(
                v: &mut dyn $visitor,
                at: &Spot,
                head: usize,
                plan: Option<&$($mutable)? NormPlan>,
            ) {
                let Some(plan) = plan else { return };
                v.norm(at, plan);
                let width = match plan.over {
                    Over::Full => at.width,
                    Over::PerHead => head,
                };
                let decay = plan.gain.as_ref().is_some_and(|gain| gain.decay);
                gain(v, &at.inner("gain", width), plan.gain.$as_ref());
                for array in plan.function.arrays(width, decay) {
                    v.array(&at.inner(&array.name, width), &array);
                }
                bias(v, &at.inner("bias", width), plan.bias.$as_ref());
            }

            pub(super) fn gain(v: &mut dyn $visitor, at: &Spot, plan: Option<&$($mutable)? GainPlan>) {
                if let Some(plan) = plan {
                    v.gain(at, plan);
                }
            }

            pub(super) fn bias(v: &mut dyn $visitor, at: &Spot, plan: Option<&$($mutable)? BiasPlan>) {
                if let Some(plan) = plan {
                    v.bias(at, plan);
                }
            }

            pub(super) fn residual(
                v: &mut dyn $visitor,
                at: &Spot,
                head: usize,
                plan: &$($mutable)? ResidualPlan,
            ) {
                v.residual(at, plan);
                let width = at.width;
                norm(v, &at.inner("stream", width), head, plan.stream.$as_ref());
                if let Some(plan) = plan.companion.$as_ref() {
                    let at = at.inner("companion", width);
                    gain(v, &at.inner("scale", width), plan.scale.$as_ref());
                    norm(v, &at.inner("norm", width), head, plan.norm.$as_ref());
                }
                norm(v, &at.inner("input", width), head, plan.input.$as_ref());
                norm(v, &at.inner("output", width), head, plan.output.$as_ref());
                norm(v, &at.inner("skip", width), head, plan.skip.$as_ref());
                let mix = at.inner("mix", width);
                v.mix(&mix, &$($mutable)? plan.mix);
                match &$($mutable)? plan.mix {
                    MixPlan::Add | MixPlan::Scaled { .. } => {}
                    MixPlan::Lerp { alpha, .. } => v.gain(&mix.inner("alpha", width), alpha),
                    MixPlan::Rule { rule } => {
                        for array in rule.arrays(width) {
                            v.array(&mix.inner("rule", width).inner(&array.name, width), &array);
                        }
                    }
                }
                norm(v, &at.inner("after", width), head, plan.after.$as_ref());
            }

            pub(super) fn site(
                v: &mut dyn $visitor,
                layer: usize,
                site: Site,
                expert: Option<Expert>,
                d: &Dims,
                plan: &$($mutable)? LayerPlan,
            ) {
                let Some(plan) = plan.$site(site) else { return };
                let [input, output] = site.shape(&d.of(expert));
                let at = Spot::new(Some(layer), Place::Site(site), "", output).of(expert);
                v.matrix(&at.inner("weight", output), site, &$($mutable)? plan.weight);
                let plan = &$($mutable)? plan.linear;
                v.linear(&at, site, plan);
                gain(v, &at.inner("before", input), plan.before.$as_ref());
                bias(v, &at.inner("bias", output), plan.bias.$as_ref());
                norm(v, &at.inner("norm", output), d.head, plan.norm.$as_ref());
                gain(v, &at.inner("after", output), plan.after.$as_ref());
            }

            pub(super) fn block(
                v: &mut dyn $visitor,
                index: usize,
                d: &Dims,
                layer: &$($mutable)? LayerPlan,
            ) {
                let around = |branch| Spot::new(Some(index), Place::Residual(branch), "", d.model);
                let plan = &$($mutable)? layer.attn_residual;
                residual(v, &around(Branch::Attention), d.head, plan);
                for name in [Site::Q, Site::K, Site::V] {
                    site(v, index, name, None, d, layer);
                }
                let scores = Spot::new(Some(index), Place::Scores, "", d.head);
                let plan = &$($mutable)? layer.attention;
                norm(v, &scores.inner("norm", d.head), d.head, plan.qk_norm.$as_ref());
                let width = d.heads * d.head;
                gain(v, &scores.inner("gain", width), plan.qk_gain.$as_ref());
                gain(v, &scores.inner("softmax", 1), plan.softmax_gain.$as_ref());
                site(v, index, Site::O, None, d, layer);
                let plan = &$($mutable)? layer.mlp_residual;
                residual(v, &around(Branch::Mlp), d.head, plan);
                if layer.router.is_some() {
                    site(v, index, Site::Router, None, d, layer);
                    if d.experts.balance == Balance::Bias {
                        let count = d.experts.count;
                        let name = "correction";
                        let plan = ArrayPlan::filled(name, vec![count], 0.0, ParamRole::Bias).state();
                        let at = Spot::new(Some(index), Place::Experts, name, count);
                        v.array(&at, &plan);
                    }
                }
                let networks: fn(&Dims) -> Vec<Option<Expert>> = $networks;
                for expert in networks(d) {
                    for name in [Site::Gate, Site::Up, Site::Down] {
                        site(v, index, name, expert, d, layer);
                    }
                }
            }
        }

        impl Plan {
            $(#[$traversal])*
            pub fn $visit(&$($mutable)? self, visitor: &mut dyn $visitor) {
                use $parts::{block, gain, norm};

                let d = self.dims.clone();
                let d = &d;
                let end = |place, part: &str, width| Spot::new(None, place, part, width);
                let embed = Place::Site(Site::Embedding);
                let at = end(embed, "weight", d.model);
                visitor.matrix(&at, Site::Embedding, &$($mutable)? self.embedding);
                if let Some(positions) = self.positions.$as_ref() {
                    let at = end(embed, "positions", d.model);
                    visitor.matrix(&at, Site::Positions, positions);
                }
                let ends = &$($mutable)? self.ends;
                gain(visitor, &end(embed, "gain", d.model), ends.embedding.gain.$as_ref());
                norm(visitor, &end(embed, "norm", d.model), d.head, ends.embedding.norm.$as_ref());
                for (index, layer) in (&$($mutable)? self.layers).into_iter().enumerate() {
                    block(visitor, index, d, layer);
                }
                if let Some(plan) = ends.head.join.$as_ref() {
                    let join = |part| end(Place::Join, part, d.model);
                    norm(visitor, &join("stream"), d.head, plan.stream.$as_ref());
                    norm(visitor, &join("companion"), d.head, plan.companion.$as_ref());
                }
                let at = end(Place::FinalNorm, "", d.model);
                norm(visitor, &at, d.head, ends.head.final_norm.$as_ref());
                let head = Place::Site(Site::Head);
                if let Some(plan) = self.head.$as_ref() {
                    visitor.matrix(&end(head, "weight", d.vocab), Site::Head, plan);
                }
                gain(visitor, &end(head, "after", d.vocab), ends.head.logit_gain.$as_ref());
            }
        }
    };
}

traversal! {
    /// A visitor that reads a plan part by part: see [`Plan::visit`].
    Visit,
    /// Shows a visitor every part; the plans that the networks of a mixture of experts share, once for each network.
    visit,
    reading, as_ref, site, super::networks
}

traversal! {
    /// A visitor that changes a plan part by part: see [`Plan::visit_mut`].
    VisitMut,
    /// Gives a visitor every part once; [`ParamRef::instances`] has the networks that share it.
    visit_mut,
    changing, as_mut, site_mut, |_| vec![None], mut
}
