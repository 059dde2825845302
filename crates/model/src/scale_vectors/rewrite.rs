//! The rewrite of a finished plan: places, stores and decays its learned scales.

use super::resolved::{Resolved, clash};
use super::{GainDecay, Gains, HeadScale, NormalizedOver, Placement, ScaleSwitches, ScaleVectors};
use crate::dims::Site;
use crate::error::{PlanError, place};
use crate::function::{Unit, gains_are_last};
use crate::plan::{
    Form, GainPlan, GainRole, LayerPlan, LinearPlan, NormPlan, Place, Plan, ResidualPlan, SitePlan,
    Spot, VisitMut,
};

/// Epsilon of the intermediate normalization: that of RMSNorm in Llama.
const EPS: f64 = crate::strategy::RMS_EPS;

/// A plan with its learned scales placed, stored and decayed as asked.
///
/// # Errors
/// [`PlanError::Clash`] when what is asked finds nothing to act on in the scheme.
pub(crate) fn rewrite(
    mut plan: Plan,
    named: ScaleVectors,
    switches: ScaleSwitches,
) -> Result<Plan, PlanError> {
    let want = Resolved::new(named, switches);
    want.check(&plan)?;
    plan.visit_mut(&mut DropGains(want.gains));
    if want.placement == Placement::Heterogeneous {
        gains_are_last(&plan)?;
        let moved: usize = plan.layers.iter_mut().map(heterogeneous).sum();
        if moved == 0 {
            return Err(clash(
                &plan,
                "scale vectors per linear map",
                "no normalization with a gain before any of them",
            ));
        }
    }
    double(&mut plan, want)?;
    if want.head == HeadScale::Gain {
        plan.ends.head.logit_gain.get_or_insert_with(|| GainPlan {
            form: want.stored.form(),
            ..GainPlan::ones(GainRole::Output)
        });
    }
    plan.visit_mut(&mut Scales(want));
    Ok(plan)
}

/// Takes away the gains of normalizations that are not kept.
struct DropGains(Gains);

impl VisitMut for DropGains {
    fn norm(&mut self, _: &Spot, plan: &mut NormPlan) {
        let role = plan.gain.as_ref().map(|gain| gain.role);
        let drop = match self.0 {
            Gains::All => false,
            Gains::Output => role == Some(GainRole::Input),
            Gains::None => true,
        };
        if drop {
            plan.gain = None;
        }
    }
}

/// Stores and decays every scale that multiplies activations. The step sizes of an interpolation, the scales of the
/// scores and those of the embedding and of the logits are none.
struct Scales(Resolved);

impl VisitMut for Scales {
    fn gain(&mut self, at: &Spot, gain: &mut GainPlan) {
        let part = at.param.part.as_str();
        // Where a normalization stands in the stream, its own role says what follows; behind a product no linear map
        // follows directly.
        let literal = match at.param.place {
            Place::Site(Site::Embedding) if part == "norm.gain" => gain.role,
            Place::Site(Site::Embedding | Site::Head) | Place::Scores | Place::Experts => return,
            Place::Site(_) if part == "before" => GainRole::Input,
            Place::Site(_) => GainRole::Output,
            Place::Residual(_) if part == "mix.alpha" => return,
            Place::Residual(_) | Place::Join | Place::FinalNorm => gain.role,
        };
        let Self(want) = self;
        if gain.form == Form::Direct {
            gain.form = want.stored.form();
        }
        match want.decay {
            GainDecay::Scheme => {}
            GainDecay::Literal => gain.decay = literal == GainRole::Input,
            GainDecay::Absorbable => gain.decay = gain.role == GainRole::Input,
        }
    }
}

/// Takes the gains off the input normalizations of a block and gives one to each linear map that reads them; returns
/// how many normalizations had one. The router of a mixture reads the bare normalization.
fn heterogeneous(layer: &mut LayerPlan) -> usize {
    let mut moved = 0;
    let mut give = |from: &mut ResidualPlan, to: &mut [&mut SitePlan]| {
        let gain = from.input.as_mut().and_then(|norm| norm.gain.take());
        if let Some(gain) = gain {
            for site in to {
                site.linear.before = Some(gain.clone());
            }
            moved += 1;
        }
    };
    give(
        &mut layer.attn_residual,
        &mut [&mut layer.q, &mut layer.k, &mut layer.v],
    );
    let mut readers: Vec<_> = layer.gate.iter_mut().chain([&mut layer.up]).collect();
    give(&mut layer.mlp_residual, &mut readers);
    moved
}

/// Gives each linear map that is asked for the scales that it lacks, and takes those away that are to stand behind it
/// alone.
fn double(plan: &mut Plan, want: Resolved) -> Result<(), PlanError> {
    let (scheme, layers) = (&plan.scheme, plan.dims.layers);
    for (index, layer) in plan.layers.iter_mut().enumerate() {
        if want.doubles(Site::Q) && !want.double.before() {
            for residual in [&mut layer.attn_residual, &mut layer.mlp_residual] {
                if let Some(norm) = &mut residual.input {
                    norm.gain = None;
                }
            }
        }
        for site in Site::BLOCK {
            let Some(SitePlan { linear, .. }) = layer.site_mut(site) else {
                continue;
            };
            if want.doubles(site) {
                behind(linear, site, want, layers).map_err(|()| PlanError::Clash {
                    scheme: scheme.clone(),
                    place: place(index, site),
                    first: "a product of unit length".to_owned(),
                    second: "a doubly placed scale, which changes its length".to_owned(),
                })?;
            }
            if want.before(site) {
                let ones = || GainPlan::ones(GainRole::Input);
                linear.before.get_or_insert_with(ones);
            }
        }
    }
    Ok(())
}

/// The scale behind one linear map, and none before it where it stands alone. Where the scheme already normalizes the
/// product, that normalization and its gain are the ones behind it.
///
/// # Errors
/// When the product has unit length.
fn behind(linear: &mut LinearPlan, site: Site, want: Resolved, layers: usize) -> Result<(), ()> {
    let norm = linear.norm.as_ref();
    if norm.is_some_and(|norm| norm.function.is::<Unit>()) {
        return Err(());
    }
    if !want.double.before() {
        linear.before = None;
    }
    if want.double.normalizes() && linear.norm.is_none() {
        let norm = NormPlan {
            gain: None,
            ..NormPlan::rms(EPS, GainRole::Output)
        };
        let headed = matches!(site, Site::Q | Site::K | Site::V);
        linear.norm = Some(match want.normalized_over {
            NormalizedOver::Head if headed => norm.per_head(),
            _ => norm,
        });
    }
    let own = linear.norm.as_mut().and_then(|norm| norm.gain.as_mut());
    let ones = || GainPlan::ones(GainRole::Output);
    let gain = own.unwrap_or_else(|| linear.after.get_or_insert_with(ones));
    want.start(site, layers, gain);
    Ok(())
}
