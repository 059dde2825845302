//! What stands beside a linear map goes into its matrix.

use super::Work;
use crate::dims::{Branch, Dims, Site};
use crate::plan::{BiasPlan, LinearPlan, NormPlan, Over, ParamRef, Place};

/// Whether a constant does anything.
#[allow(clippy::float_cmp)] // exactly 1 is what does nothing
pub(super) fn acts(factor: f64) -> bool {
    factor != 1.0
}

impl Work {
    fn linear(&mut self, index: usize, site: Site) -> Option<&mut LinearPlan> {
        let site = self.plan.layers[index].site_mut(site)?;
        Some(&mut site.linear)
    }

    /// Constants and scales around the linear maps of a block, and the constants around its activation.
    pub(super) fn linears(&mut self, index: usize) {
        for site in Site::BLOCK.into_iter().chain([Site::Router]) {
            self.around(index, site);
        }
        self.behind_norm(index, Site::V, Site::O);
        let d = &self.plan.dims;
        let (inside, gated) = (d.mlp.inside(), d.mlp.inside() == Site::Gate);
        if gated {
            self.behind_norm(index, Site::Up, Site::Down);
        }
        let before = std::mem::replace(&mut self.plan.layers[index].mlp.before, 1.0);
        let after = std::mem::replace(&mut self.plan.layers[index].mlp.after, 1.0);
        self.multiply(index, inside, before);
        for at in self.at(index, Site::Down) {
            self.tensors.scale(&format!("{at}.weight"), after);
        }
    }

    /// `after * norm(factor * ((before * x) W) + bias)` with all of `factor`, `before` and `after` in `W` where nothing
    /// stands between, and one scale behind a normalization.
    fn around(&mut self, index: usize, site: Site) {
        let paths = self.at(index, site);
        let Some(linear) = self.linear(index, site) else {
            return;
        };
        let factor = std::mem::replace(&mut linear.factor, 1.0);
        let before = linear.before.take().is_some();
        let direct = linear.norm.is_none();
        let after = direct && linear.after.take().is_some();
        // A scale behind a normalization without a gain is its gain.
        let mut renamed = false;
        let mut norm_factor = 1.0;
        if let Some(norm) = &mut linear.norm {
            let last = norm.function.gain_is_last();
            let free = norm.gain.is_none() && norm.bias.is_none() && norm.over == Over::Full;
            let free = free && last;
            if free && linear.after.is_some() {
                norm.gain = linear.after.take();
                renamed = true;
            }
            if norm.gain.is_some() && last {
                norm_factor = std::mem::replace(&mut norm.factor, 1.0);
            }
        }
        for at in paths {
            let weight = format!("{at}.weight");
            self.tensors.scale(&weight, factor);
            if before {
                let by = self.tensors.take(&format!("{at}.before.value"));
                self.tensors.rows(&weight, &by);
            }
            if after {
                let by = self.tensors.take(&format!("{at}.after.value"));
                self.tensors.last(&weight, &by);
                self.tensors.last(&format!("{at}.bias"), &by);
            }
            if renamed {
                let gain = self.tensors.take(&format!("{at}.after.value"));
                self.tensors
                    .set_vector(format!("{at}.norm.gain.value"), gain);
            }
            self.tensors
                .scale(&format!("{at}.norm.gain.value"), norm_factor);
        }
    }

    /// The scale behind a normalized product goes into the rows of the matrix that reads it, where no function of
    /// single channels stands between.
    fn behind_norm(&mut self, index: usize, site: Site, reader: Site) {
        let (paths, readers) = (self.at(index, site), self.at(index, reader));
        let d = self.plan.dims.clone();
        let Some(linear) = self.linear(index, site) else {
            return;
        };
        let movable = |norm: &&mut NormPlan| norm.bias.is_none() && norm.function.gain_is_last();
        let Some(norm) = linear.norm.as_mut().filter(movable) else {
            return;
        };
        let factor = std::mem::replace(&mut norm.factor, 1.0);
        // One of them at most stands behind a normalization.
        let scale = if norm.gain.take().is_some() {
            Some(("norm.gain", norm.over))
        } else {
            linear.after.take().map(|_| ("after", Over::Full))
        };
        for (at, reader) in paths.iter().zip(&readers) {
            let weight = format!("{reader}.weight");
            self.tensors.scale(&weight, factor);
            if let Some((part, over)) = scale {
                let gain = self.tensors.take(&format!("{at}.{part}.value"));
                let by = match site {
                    Site::V => per_query_head(&gain, over, &d),
                    _ => gain,
                };
                self.tensors.rows(&weight, &by);
            }
        }
    }

    /// Multiplies what a linear map makes by a constant.
    fn multiply(&mut self, index: usize, site: Site, by: f64) {
        let paths = self.at(index, site);
        let Some(linear) = self.linear(index, site) else {
            return;
        };
        let parts: &[&str] = match &mut linear.norm {
            _ if linear.after.is_some() => &["after.value"],
            None => &["weight", "bias"],
            Some(norm) if norm.gain.is_some() && norm.function.gain_is_last() => {
                &["norm.gain.value", "norm.bias"]
            }
            Some(norm) => {
                norm.factor *= by;
                &["norm.bias"]
            }
        };
        for at in paths {
            for part in parts {
                self.tensors.scale(&format!("{at}.{part}"), by);
            }
        }
    }

    /// Gains, constants and biases of the normalizations before the branches of a block go into what reads them.
    pub(super) fn inputs(&mut self, index: usize) {
        self.input(index, Branch::Attention);
        self.input(index, Branch::Mlp);
    }

    fn input(&mut self, index: usize, branch: Branch) {
        let plan = self.plan.layers[index].residual_mut(branch);
        let Some(norm) = &mut plan.input else {
            return;
        };
        let at = ParamRef::in_block(index, Place::Residual(branch), "input").to_string();
        let factor = std::mem::replace(&mut norm.factor, 1.0);
        let biased = norm.bias.take().is_some();
        let scale = self.tensors.scale_of(&at, &norm.function);
        let gain = match scale {
            Some(scale) => {
                plan.input = None;
                Some(scale)
            }
            None if norm.function.gain_is_last() && norm.gain.take().is_some() => {
                Some(self.tensors.take(&format!("{at}.gain.value")))
            }
            None => None,
        };
        let bias = self.tensors.take(&format!("{at}.bias"));
        for site in branch.readers() {
            for reader in self.at(index, site) {
                let weight = format!("{reader}.weight");
                if biased {
                    let mut sum = self.tensors.product(&bias, &weight);
                    let own = self.tensors.take(&format!("{reader}.bias"));
                    for (sum, own) in sum.iter_mut().zip(own) {
                        *sum += own;
                    }
                    self.tensors.set_vector(format!("{reader}.bias"), sum);
                }
                self.tensors.scale(&weight, factor);
                if let Some(gain) = &gain {
                    self.tensors.rows(&weight, gain);
                }
            }
            if biased && let Some(linear) = self.linear(index, site) {
                linear.bias = Some(BiasPlan::default());
            }
        }
    }
}

/// The gain of each row of the output projection: query head `h` takes values of head `h G / H`.
fn per_query_head(gain: &[f64], over: Over, d: &Dims) -> Vec<f64> {
    (0..d.heads * d.head)
        .map(|row| {
            let (head, channel) = (row / d.head, row % d.head);
            match over {
                Over::PerHead => gain[channel],
                Over::Full => gain[head * d.kv_heads / d.heads * d.head + channel],
            }
        })
        .collect()
}
