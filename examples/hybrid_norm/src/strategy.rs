//! HybridNorm (2503.04598): q, k and v are normalized head by head, nothing is normalized before attention, and the
//! MLP reads and adds to a normalized stream.
//!
//! ```text
//! y = h + Wo attn(N(q), N(k), N(v));   n = N(y);   h = n + mlp(n)
//! ```

use evenburn_model::plan::{GainRole, LinearPlan, NormPlan, ResidualPlan};
use evenburn_model::strategy::NormStrategy;
use evenburn_model::{Branch, Dims, Site};

/// Epsilon of the paper's code.
const EPS: f64 = 1e-5;

/// The scheme; what it leaves out is the trait's pre-norm.
#[derive(Debug)]
pub(crate) struct HybridNorm;

impl NormStrategy for HybridNorm {
    fn name(&self) -> &'static str {
        "hybrid_norm"
    }

    fn residual(&self, _: usize, branch: Branch, _: &Dims) -> ResidualPlan {
        match branch {
            Branch::Attention => ResidualPlan::plain(),
            // The norm stands before the stream splits, so that the skip connection carries it too.
            Branch::Mlp => ResidualPlan {
                stream: Some(NormPlan::rms(EPS, GainRole::Output)),
                ..ResidualPlan::plain()
            },
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        let norm = match site {
            Site::Q | Site::K => Some(NormPlan::rms(EPS, GainRole::Output).per_head()),
            // Attention mixes tokens and not channels: the output projection could absorb this gain.
            Site::V => Some(NormPlan::rms(EPS, GainRole::Input).per_head()),
            _ => None,
        };
        LinearPlan {
            norm,
            ..LinearPlan::default()
        }
    }
}
