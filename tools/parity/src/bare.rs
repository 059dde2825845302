//! A decoder without any normalization, scale or constant: what schemes are compared with.

use evenburn_model::plan::{AttentionPlan, HeadPlan, NormPlan, ResidualPlan};
use evenburn_model::strategy::{HeadNorm, NormStrategy};
use evenburn_model::{Branch, Dims};

/// `h + branch(h)` and nothing else; unit heads of q and k where asked for.
#[derive(Debug)]
pub struct Bare {
    /// Unit heads of q and k after the rotation.
    pub qk: HeadNorm,
}

impl Default for Bare {
    fn default() -> Self {
        Self { qk: HeadNorm::None }
    }
}

impl NormStrategy for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan::plain()
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        AttentionPlan {
            qk_norm: match self.qk {
                HeadNorm::Unit => Some(NormPlan::unit().per_head()),
                HeadNorm::None => None,
            },
            ..AttentionPlan::plain(d.head)
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan::plain()
    }
}
