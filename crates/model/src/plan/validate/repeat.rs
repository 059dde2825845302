//! Refuses two normalizations in a row of which one does nothing.
//!
//! With nothing but constants between a normalization `A` and a later one `B` (epsilons aside):
//!
//! ```text
//! B(A(x)) = B(x)     A is undone:    B divides by a size that A has already divided out
//! B(A(x)) = c A(x)   B is repeated:  what A makes has the size that B would give it
//! ```
//!
//! A learned vector between them, a gain or a bias, does something that `B` can't undo, and such pairs pass. Where `A`
//! goes on to two places, the skip connection and the branch, it is undone only if a `B` stands at both.

use super::Check;
use crate::dims::{Branch, Site};
use crate::error::PlanError;
use crate::function::Effect;
use crate::plan::{LayerPlan, LinearPlan, NormPlan, Normed, Over, Plan, ResidualPlan};

/// What happens to a vector on its way from one normalization to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    /// Turns within each head: keeps the length of a head, not its mean.
    Rotation,
}

/// A normalization that the stream has just passed, and where it stands.
struct Passed<'a> {
    norm: &'a NormPlan,
    name: String,
}

/// Whether the size of its input makes no difference to a normalization.
fn forgets(norm: &NormPlan) -> bool {
    norm.function.effect() != Effect::Other
}

/// Whether what a normalization makes has a size of its own.
fn sizes(norm: &NormPlan) -> bool {
    matches!(norm.function.effect(), Effect::Size | Effect::CentredSize)
}

/// Whether learned vectors stand behind a normalization.
fn bare(norm: &NormPlan) -> bool {
    norm.gain.is_none() && norm.bias.is_none()
}

/// `B(A(x)) = B(x)`.
fn undone(a: &NormPlan, b: &NormPlan, between: Between) -> bool {
    let size = match (a.function.effect(), b.function.effect()) {
        (Effect::Size, _) => forgets(b),
        (Effect::CentredSize, Effect::CentredSize) => between == Between::Nothing,
        _ => false,
    };
    // One size for all heads is gone once each head is divided by its own; the reverse keeps them.
    let covers = a.over == b.over || a.over == Over::Full;
    bare(a) && size && covers
}

/// `B(A(x)) = c A(x)`.
fn repeated(a: &NormPlan, b: &NormPlan, between: Between) -> bool {
    let size = match (a.function.effect(), b.function.effect()) {
        (_, Effect::Size) => sizes(a),
        (Effect::CentredSize, Effect::CentredSize) => between == Between::Nothing,
        _ => false,
    };
    // Heads of equal size make a whole of a known one.
    let covers = a.over == b.over || b.over == Over::Full;
    bare(a) && size && covers
}

impl Check<'_> {
    /// Every pair of normalizations with nothing between them.
    pub(super) fn repeated_norms(&self, plan: &Plan) -> Result<(), PlanError> {
        for (index, layer) in plan.layers.iter().enumerate() {
            self.scores(index, layer)?;
            for (branch, residual) in layer.residuals() {
                // What several experts write is summed.
                if branch == Branch::Attention || layer.router.is_none() {
                    let writer = layer.site(branch.writer());
                    self.written(index, branch, residual, writer.map(|s| &s.linear))?;
                }
            }
        }
        self.stream(plan)
    }

    fn pair(&self, at: &str, a: &Passed<'_>, b: &Passed<'_>) -> Result<(), PlanError> {
        self.pair_across(at, a, b, Between::Nothing)
    }

    /// Refuses `B` as the only reader of `A` if one of them does nothing.
    fn pair_across(
        &self,
        at: &str,
        a: &Passed<'_>,
        b: &Passed<'_>,
        between: Between,
    ) -> Result<(), PlanError> {
        if undone(a.norm, b.norm, between) {
            let second = format!("{} right behind it, which undoes it", b.name);
            return Err(self.clash(at, &a.name, second));
        }
        self.again(at, a, b, between)
    }

    /// Refuses `B` where it repeats `A`, whatever else reads `A`.
    fn again(
        &self,
        at: &str,
        a: &Passed<'_>,
        b: &Passed<'_>,
        between: Between,
    ) -> Result<(), PlanError> {
        if repeated(a.norm, b.norm, between) {
            let second = format!("{} right behind it, which repeats it", b.name);
            return Err(self.clash(at, &a.name, second));
        }
        Ok(())
    }

    /// The norms of q and k before and after the rotation.
    fn scores(&self, index: usize, layer: &LayerPlan) -> Result<(), PlanError> {
        let Some(after) = &layer.attention.qk_norm else {
            return Ok(());
        };
        let sites: &[Site] = match layer.attention.normed {
            Normed::Both => &[Site::Q, Site::K],
            Normed::Keys => &[Site::K],
        };
        for site in sites.iter().copied() {
            let linear = layer.site(site).map(|site| &site.linear);
            if let Some(before) = linear.and_then(product_norm) {
                let at = format!("block {index}, {site}");
                let a = passed(before, "the norm of the product");
                let b = passed(after, "the q/k norm");
                self.pair_across(&at, &a, &b, Between::Rotation)?;
            }
        }
        Ok(())
    }

    /// The norm of a product that a branch ends with, and that of what the branch writes.
    fn written(
        &self,
        index: usize,
        branch: Branch,
        residual: &ResidualPlan,
        linear: Option<&LinearPlan>,
    ) -> Result<(), PlanError> {
        let (Some(a), Some(b)) = (linear.and_then(product_norm), &residual.output) else {
            return Ok(());
        };
        let site = branch.writer();
        let at = format!("block {index}, {}", branch.path());
        let a = passed(a, format!("the norm of the product of {site}"));
        self.pair(&at, &a, &passed(b, "the output norm"))
    }

    /// The norms along the stream, from the embedding to the output layer.
    fn stream(&self, plan: &Plan) -> Result<(), PlanError> {
        let embedded = plan.ends.embedding.norm.as_ref();
        let mut behind = embedded.map(|norm| passed(norm, "the norm of the embedding"));
        // Blocks are alike: what repeats the embedding's norm in the first one does something in the others.
        let mut first = true;
        for (index, layer) in plan.layers.iter().enumerate() {
            for (branch, residual) in layer.residuals() {
                let at = format!("block {index}, {}", branch.path());
                self.entry(&at, residual, behind.as_ref(), first)?;
                first = false;
                behind = residual
                    .after
                    .as_ref()
                    .map(|norm| passed(norm, format!("the norm after {at}")));
            }
        }
        let (at, end, name) = match &plan.ends.head.join {
            Some(join) => ("join", &join.stream, "the norm of the stream"),
            None => ("final norm", &plan.ends.head.final_norm, "the final norm"),
        };
        match (&behind, end) {
            (Some(a), Some(b)) => self.pair(at, a, &passed(b, name)),
            _ => Ok(()),
        }
    }

    /// The norms that a residual begins with, `behind` the one that the stream has just passed.
    fn entry(
        &self,
        at: &str,
        residual: &ResidualPlan,
        behind: Option<&Passed<'_>>,
        first: bool,
    ) -> Result<(), PlanError> {
        let stream = residual
            .stream
            .as_ref()
            .map(|n| passed(n, "the stream norm"));
        if let (Some(a), Some(b)) = (behind, &stream) {
            // The embedding's norm is also the companion's.
            if first && residual.companion.is_some() {
                self.again(at, a, b, Between::Nothing)?;
            } else {
                self.pair(at, a, b)?;
            }
        }
        let own = stream.is_some();
        let Some(a) = stream.as_ref().or(behind) else {
            return Ok(());
        };
        // What a branch reads beside a companion is a sum.
        let input = residual.input.as_ref();
        let input = input.filter(|_| residual.companion.is_none());
        let input = input.map(|n| passed(n, "the input norm"));
        let skip = residual.skip.as_ref().map(|n| passed(n, "the skip norm"));
        if let (Some(input), Some(skip)) = (&input, &skip) {
            let both = [input, skip].map(|b| undone(a.norm, b.norm, Between::Nothing));
            if both == [true, true] {
                let second = "the input norm and the skip norm right behind it, which undo it";
                return Err(self.clash(at, &a.name, second));
            }
        }
        if let Some(input) = input.filter(|_| own || !first) {
            self.again(at, a, &input, Between::Nothing)?;
        }
        // nGPT's official code normalizes the skip connection behind a sum that is normalized already.
        match skip.filter(|_| own) {
            Some(skip) => self.again(at, a, &skip, Between::Nothing),
            None => Ok(()),
        }
    }
}

fn passed(norm: &NormPlan, name: impl Into<String>) -> Passed<'_> {
    let name = name.into();
    Passed { norm, name }
}

/// The norm of a product, where no learned scale stands behind it.
fn product_norm(linear: &LinearPlan) -> Option<&NormPlan> {
    linear.norm.as_ref().filter(|_| linear.after.is_none())
}
