//! Folding: the same function with nothing in it that a matrix could carry.
//!
//! ```text
//! y = after * (factor * ((before * x) W))      ->  y = x (diag(before) W diag(factor * after))
//! h' = nu (h + a (x - h))                      ->  h' = h + x, scaled by what the streams shrink by
//! softmax(g q k)                               ->  the constant inside the softmax
//! ```
//!
//! A learned scale beside a linear map goes into its matrix; one that a nonlinearity, a rotation or a sum separates
//! from the next matrix stays, stored as its used value. A normalization before linear maps that is a scale of channels by now
//! (`TaperNorm` at gate 0) goes into them whole. An interpolation whose stream is never normalized becomes a
//! sum (2505.22014): with `k_l = nu (1 - a)` and `c_l = k_1 .. k_l`, `h_l / c_l` obeys
//! `h_{l+1} / c_{l+1} = h_l / c_l + (a nu / c_{l+1}) x`; `c_l` goes into the matrices that read `h_l`, and the
//! bracket into the gain of the norm that `x` comes from, or without one into the matrix. So a folded anGPT is a sum of
//! branch outputs of unit length times gains, with no norm in the stream; without those norms only q's and k's are left.
//!
//! Everything is computed in f64 on the host.

mod ends;
mod lerp;
mod linear;
mod scales;
mod scores;
mod tensors;

use crate::decoder::Decoder;
use crate::dims::Site;
use crate::error::{FoldError, WeightsError};
use crate::plan::{LayerPlan, ParamRef, Place, Plan};
use crate::weights;
use burn::tensor::{Device, TensorData};
use evenburn_geometry::Constraint;
use tensors::Tensors;

/// A folded network.
#[derive(Debug)]
pub struct Folded {
    /// Its plan, which validates and lists its parameters.
    pub plan: Plan,
    /// The network, without gradients.
    pub decoder: Decoder,
    /// What stays because no matrix can carry it, one line each.
    pub kept: Vec<String>,
}

/// Folds a decoder: equal logits, no constant or learned scale that a matrix could carry.
///
/// # Errors
/// [`FoldError::Vanishes`] where an interpolation leaves nothing of the stream in a channel, so that no sum equals it;
/// [`FoldError::Weights`] if the decoder is not one of this plan.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use evenburn_model::{Decoder, ModelConfig, Plan, fold, plan::MixPlan, strategy::AnGpt};
/// let config = ModelConfig { vocab_size: 32, dim: 16, layers: 2, heads: 2, ..Default::default() };
/// let plan = Plan::new(&config, &AnGpt::default())?;
/// let device = Device::flex();
/// let folded = fold(&plan, &Decoder::new(&plan, 0, &device), &device)?;
/// assert_eq!(folded.plan.layers[0].mlp_residual.mix, MixPlan::Add);
/// assert!(folded.plan.ends.head.logit_gain.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fold(plan: &Plan, decoder: &Decoder, device: &Device) -> Result<Folded, FoldError> {
    let mut work = Work {
        plan: plan.clone(),
        tensors: Tensors::new(weights::collect(decoder))?,
    };
    work.resolve_scales();
    for index in 0..plan.layers.len() {
        work.scores(index);
        work.linears(index);
        work.inputs(index);
    }
    work.output();
    work.embedding();
    work.interpolations()?;
    release(&mut work.plan);
    let Work { mut plan, tensors } = work;
    plan.validate()?;
    let decoder = weights::replace(Decoder::new(&plan, 0, device), tensors.finish())?;
    let kept = scales::left(&mut plan);
    Ok(Folded {
        plan,
        decoder,
        kept,
    })
}

/// The same network with every learned scale stored as its used value, as [`Form::Direct`](crate::plan::Form::Direct);
/// computed in f64, and no matrix changes.
///
/// # Errors
/// [`WeightsError::Path`] for a tensor that holds no floating-point numbers.
///
/// ```
/// use burn::tensor::Device;
/// use evenburn_model::{Decoder, ModelConfig, Plan, resolve_scales, strategy::Ngpt, weights};
/// let plan = Plan::new(&ModelConfig::default(), &Ngpt::default())?;
/// let named = weights::collect(&Decoder::new(&plan, 0, &Device::flex()));
/// let (resolved, named) = resolve_scales(&plan, named)?;
/// // Stored as 1 / sqrt(128), used as 1.
/// let scale = named.iter().find(|(path, _)| path == "head.after.value").map(|(_, data)| data);
/// let first = scale.and_then(|data| data.iter::<f64>().next());
/// assert!(first.is_some_and(|used| (used - 1.0).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resolve_scales(
    plan: &Plan,
    named: Vec<(String, TensorData)>,
) -> Result<(Plan, Vec<(String, TensorData)>), WeightsError> {
    let mut work = Work {
        plan: plan.clone(),
        tensors: Tensors::new(named)?,
    };
    work.resolve_scales();
    Ok((work.plan, work.tensors.finish().into_iter().collect()))
}

/// A plan and its parameters while they are folded.
struct Work {
    plan: Plan,
    tensors: Tensors,
}

impl Work {
    /// Addresses of the linear maps at a site of a block: none, one, or one for each expert.
    fn at(&self, index: usize, site: Site) -> Vec<ParamRef> {
        match self.plan.layers[index].site(site) {
            Some(_) => ParamRef::in_block(index, Place::Site(site), "").instances(&self.plan.dims),
            None => Vec::new(),
        }
    }
}

/// Takes constraints and weight decay away: a folded model is not trained.
fn release(plan: &mut Plan) {
    let ends = [&mut plan.embedding];
    let ends = ends.into_iter().chain(&mut plan.positions);
    let ends = ends.chain(&mut plan.head);
    let sites = plan.layers.iter_mut().flat_map(LayerPlan::sites_mut);
    for weight in ends.chain(sites.map(|site| &mut site.weight)) {
        weight.constraint = Constraint::Free;
        weight.decay = false;
    }
}
