//! How much memory a run takes, from its plan alone.
//!
//! What the backward pass needs of the forward pass is counted operation by operation, as the CPU's fused operations
//! keep it: not what a normalization, a rotation or a gated unit writes, which is recomputed. Other backends keep
//! more where they fall back to plain ones.
//!
//! `D` model, `H` heads, `G` key/value heads, `K` head width, `F` hidden, `V` vocabulary, `T` time, `B` batch.

use evenburn_model::plan::{AttentionFactor, LayerPlan, MixPlan, NormPlan, Normed, ResidualPlan};
use evenburn_model::{Activation, Dims, ParamSpec, Plan, Site};

use crate::config::RunConfig;
use crate::data_parallel::check_world;
use crate::data_parallel::ownership::owners;
use crate::error::TrainError;
use crate::groups;

/// Bytes of a number.
const F32: u64 = 4;

/// The program, its threads and their buffers, the tokenizer, and the token files it has open (docs/log.md, *Memory of a
/// step*).
const PROGRAM: u64 = 32 << 20;

/// What the allocator holds beyond what is in use, as a fraction of that (docs/log.md, *Memory of a step*).
const HELD_FREE: f64 = 0.02;

/// Rows whose logits are in memory at once, at most (`linear_cross_entropy` of the kernels).
const LOSS_ROWS: usize = 512;

/// Copies of all scores `[B, H, T, T]` that plain attention keeps, which stands in where the weights
/// themselves are needed.
const SCORES_KEPT: u64 = 4;

/// An estimate of the largest resident set of a run, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The parameters.
    pub weights: u64,
    /// Gradients there are at the peak.
    pub gradients: u64,
    /// The optimizer's state.
    pub optimizer: u64,
    /// What the backward pass of one micro-batch needs of its forward pass.
    pub activations: u64,
    /// With several ranks, what there is when there are no activations any more: gradients and the vector in which they go to their
    /// owners; on rank 0 the optimizer's state of all ranks, for a checkpoint.
    pub exchange: u64,
    /// The program and its data, and what the allocator holds beyond what is in use.
    pub fixed: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        let passes = self.gradients + self.activations;
        self.weights + self.optimizer + self.fixed + passes.max(self.exchange)
    }
}

/// Estimates the memory of a run in single precision.
///
/// The peak is at the end of a forward pass: all activations are there, and of the gradients those of the output
/// layer, which come with the loss. With accumulation, sums of the gradients of earlier micro-batches are there too.
///
/// # Errors
/// [`TrainError::Optim`] for a configuration that makes no rules.
///
/// ```
/// use evenburn_train::{config::RunConfig, estimate};
///
/// let config = RunConfig::default();
/// let plan = config.norm.plan(&config.model)?;
/// let memory = estimate::memory(&plan, &config)?;
/// assert_eq!(memory.weights, 4 * plan.cost().params as u64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn memory(plan: &Plan, config: &RunConfig) -> Result<Memory, TrainError> {
    memory_of_rank(plan, config, 1)
}

/// Estimates the memory of the rank that takes most, of so many; each has a block of the micro-batches and the optimizer's state of
/// its own parameters.
///
/// # Errors
/// As [`memory`], and [`TrainError::Invalid`] for a number of ranks that can't share out a step.
///
/// ```
/// use evenburn_train::{config::RunConfig, estimate};
///
/// let mut config = RunConfig::default();
/// config.train.accumulate = 4;
/// let plan = config.norm.plan(&config.model)?;
/// let (one, four) = (estimate::memory(&plan, &config)?, estimate::memory_of_rank(&plan, &config, 4)?);
/// assert!(four.optimizer < one.optimizer / 2 && four.weights == one.weights);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn memory_of_rank(plan: &Plan, config: &RunConfig, ranks: usize) -> Result<Memory, TrainError> {
    check_world(config.train.accumulate, ranks)?;
    let d = plan.dims();
    let specs = plan.params();
    let bytes_of = |keep: &dyn Fn(&ParamSpec) -> bool| -> u64 {
        F32 * specs
            .iter()
            .filter(|s| keep(s))
            .map(ParamSpec::len)
            .sum::<usize>() as u64
    };
    let weights = bytes_of(&|_| true);
    let rules = groups::from_plan(plan, &config.optim)?;
    let kept = |spec: &ParamSpec| rules[&spec.path].update.state_len(&spec.shape);
    let sizes: Vec<usize> = specs.iter().map(ParamSpec::len).collect();
    let mut states = vec![0; ranks];
    for (spec, owner) in specs.iter().zip(owners(&sizes, ranks)) {
        states[owner] += kept(spec);
    }
    let whole_state = F32 * states.iter().sum::<usize>() as u64;
    let optimizer = F32 * states.into_iter().max().unwrap_or(0) as u64;
    // The output layer's gradient, and the logits of some rows.
    let rows = (config.train.batch_size * d.context).min(LOSS_ROWS);
    let head = F32 * ((d.model + rows) * d.vocab) as u64;
    // Sums of a tree that wait for the micro-batch: as many as its number has ones.
    let sums = (0..config.train.accumulate / ranks).map(usize::count_ones);
    let earlier = u64::from(sums.max().unwrap_or(0)) * weights;
    let gradients = (head + earlier).max(weights);
    let activations = activations(plan, config);
    // Rank 0 has the state of all for a checkpoint, beside its own as one vector.
    let exchange = match ranks {
        1 => 0,
        _ => (2 * weights).max(whole_state + optimizer),
    };
    let mut memory = Memory {
        weights,
        gradients,
        optimizer,
        activations,
        exchange,
        fixed: PROGRAM,
    };
    memory.fixed += (HELD_FREE * memory.total() as f64) as u64;
    Ok(memory)
}

fn activations(plan: &Plan, config: &RunConfig) -> u64 {
    let d = plan.dims();
    let tokens = (config.train.batch_size * d.context) as u64;
    let blocks: usize = plan.layers.iter().map(|layer| per_token(layer, d)).sum();
    // The last stream, normalized, and its gradient, which comes with the loss.
    let mut ends = 3 * d.model;
    if let Some(join) = &plan.ends.head.join {
        // What the norm of each of its components reads.
        let norms = join.stream.iter().chain(&join.companion);
        ends += norms.map(|norm| kept_by(norm, d.model)).sum::<usize>();
    }
    let copies: usize = plan
        .layers
        .iter()
        .map(|layer| scaled_weights(layer, d))
        .sum();
    let factor = plan.layers.first().map(|layer| layer.attention.factor);
    let explicit = d.dropout > 0.0 || factor == Some(AttentionFactor::Exact);
    let scores = if explicit {
        SCORES_KEPT * tokens * (d.heads * d.context * d.layers) as u64
    } else {
        0
    };
    F32 * (tokens * (blocks + ends) as u64 + scores + copies as u64)
}

/// Values that one block keeps for the backward pass, per token.
fn per_token(layer: &LayerPlan, d: &Dims) -> usize {
    let (q, kv) = (d.heads * d.head, d.kv_heads * d.head);
    // Attention keeps what it reads and writes, and so does an activation, but for a gated unit's output.
    let mut kept = 2 * q + 2 * kv;
    let networks = networks(d);
    let gated = layer.gate.is_some() && d.mlp.activation() == Activation::Silu;
    kept += if gated { 2 } else { 3 } * outputs(Site::Up, d);
    if !d.experts.is_dense() {
        // What each expert reads, what it writes, and the router's logits and gates.
        kept += networks * 2 * d.model + 4 * d.experts.count;
    }
    let normed = match layer.attention.normed {
        Normed::Both => q,
        Normed::Keys => 0,
    };
    kept += layer
        .attention
        .qk_norm
        .as_ref()
        .map_or(0, |norm| beyond_output(norm, normed + kv));
    kept += usize::from(layer.attention.qk_gain.is_some()) * 2 * q;
    // A scale of the scores goes with a norm of k in one operation.
    let alone = layer.attention.softmax_gain.is_some() && layer.attention.qk_norm.is_none();
    kept += usize::from(alone) * kv;
    kept += residual(&layer.attn_residual, d) + residual(&layer.mlp_residual, d);
    for site in Site::BLOCK {
        let out = outputs(site, d);
        let Some(plan) = layer.site(site) else {
            continue;
        };
        if let Some(norm) = &plan.linear.norm {
            // What comes out of a branch is kept by its normalization alone.
            let of_norm = match site {
                Site::O | Site::Down => kept_by(norm, out),
                _ => beyond_output(norm, out),
            };
            kept += of_norm + usize::from(plan.linear.after.is_some()) * out;
        }
    }
    kept
}

/// Feed-forward networks that a token goes through.
fn networks(d: &Dims) -> usize {
    match d.experts.count {
        0 => 1,
        _ => d.experts.top_k + d.experts.shared,
    }
}

/// What a linear map of a block makes of one token, in all the networks that the token goes through.
fn outputs(site: Site, d: &Dims) -> usize {
    let [_, output] = site.shape(d);
    if !site.in_mlp() || d.experts.is_dense() {
        return output;
    }
    let [_, of_shared] = site.shape(&d.of_shared_experts());
    d.experts.top_k * output + d.experts.shared * of_shared
}

/// What the way around a branch keeps of each token: what the branch reads, if it can't be normalized once more, what
/// each normalization reads, and what an interpolation adds, on the same condition.
fn residual(plan: &ResidualPlan, d: &Dims) -> usize {
    let norms = plan.norms().map(|(_, norm)| kept_by(norm, d.model));
    let norms: usize = norms.sum();
    let mix = match &plan.mix {
        MixPlan::Add | MixPlan::Scaled { .. } => 0,
        // A rule may keep more; at least the stream, the branch and what lies between.
        MixPlan::Rule { .. } => 3 * d.model,
        MixPlan::Lerp { .. } => unless_recomputed(plan.output.as_ref(), d.model),
    };
    // A learned scale beside a companion keeps what it multiplies.
    let scale = plan.companion.as_ref().and_then(|c| c.scale.as_ref());
    let scaled = scale.map_or(0, |_| d.model);
    // Without a normalization of its own, a branch reads the stream as the one before has left it.
    let read = plan.input.as_ref().or(plan.after.as_ref());
    unless_recomputed(read, d.model) + norms + mix + scaled
}

/// Whether the backward pass recomputes the output of a normalization instead of keeping it.
fn is_recomputed(norm: &NormPlan) -> bool {
    norm.function.fused().is_some()
}

/// Values per token of the tensor behind a normalization or none: `width` if it is kept, 0 if it is recomputed.
fn unless_recomputed(norm: Option<&NormPlan>, width: usize) -> usize {
    if norm.is_some_and(is_recomputed) {
        0
    } else {
        width
    }
}

/// Values per token that a normalization keeps for its backward pass: its input, and two tensors more where it has no fused
/// operation.
fn kept_by(norm: &NormPlan, width: usize) -> usize {
    if is_recomputed(norm) {
        width
    } else {
        3 * width
    }
}

/// The same beyond its output, where that is counted as the input of the next operation: of a fused normalization the input is
/// kept in place of the output, so nothing is added.
fn beyond_output(norm: &NormPlan, width: usize) -> usize {
    if is_recomputed(norm) { 0 } else { 3 * width }
}

/// Entries of the copies that a block makes of its matrices: of each that a learned scale multiplies.
fn scaled_weights(layer: &LayerPlan, d: &Dims) -> usize {
    let copies = |site: Site| {
        let linear = &layer.site(site)?.linear;
        let direct = linear.norm.is_none() && linear.bias.is_none();
        let behind = direct && linear.after.is_some();
        let copies = usize::from(linear.before.is_some()) + usize::from(behind);
        let entries = |d: &Dims| site.shape(d).into_iter().product::<usize>();
        let entries = match d.experts.count {
            count if count > 0 && site.in_mlp() => {
                count * entries(d) + d.experts.shared * entries(&d.of_shared_experts())
            }
            _ => entries(d),
        };
        Some(copies * entries)
    };
    Site::BLOCK.into_iter().filter_map(copies).sum()
}

#[cfg(test)]
mod tests {
    use evenburn_data::DocumentMask;
    use evenburn_model::strategy::SimpleNorm;
    use evenburn_optim::Muon;

    use super::*;

    fn of(change: impl FnOnce(&mut RunConfig)) -> Memory {
        let mut config = RunConfig {
            // A scheme without factors on its matrices: everything kept grows with the batch.
            norm: SimpleNorm::default().into(),
            ..RunConfig::default()
        };
        change(&mut config);
        let plan = config.norm.plan(&config.model).unwrap();
        memory(&plan, &config).unwrap()
    }

    #[test]
    fn each_part_follows_what_it_is_made_of() {
        let base = of(|_| {});
        let twice = of(|c| c.train.batch_size *= 2);
        assert_eq!(twice.activations, 2 * base.activations);
        assert_eq!(
            (twice.weights, twice.optimizer),
            (base.weights, 2 * base.weights)
        );
        let parts = of(|c| c.train.accumulate = 4);
        assert_eq!(parts.activations, base.activations);
        assert!(parts.gradients > base.gradients);
        let muon = of(|c| c.optim.recipe = Muon::default().into());
        assert!(muon.optimizer < base.optimizer && muon.optimizer > base.weights);
        let masked = of(|c| c.data.document_mask = DocumentMask::Within);
        assert_eq!(masked.activations, base.activations);
        let dropped = of(|c| c.model.dropout = 0.1);
        assert!(dropped.activations > base.activations);
        assert!(base.total() > base.weights + base.gradients + base.optimizer + base.activations);
    }
}
