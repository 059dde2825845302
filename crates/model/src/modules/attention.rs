//! Causal self-attention with grouped heads.
//!
//! `B` batch, `T` time, `D` model, `H` query heads, `G` key/value heads, `K` head width.

use super::{Gain, Norm, Projection, Rotary, SharedPositions, Watch};
use crate::dims::{Dims, Site};
use crate::init::Initializer;
use crate::noise::Dropout;
use crate::plan::{AttentionFactor, AttentionPlan, LayerPlan, Normed};
use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, CausalAlignment};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorCreationOptions};
use evenburn_kernels::{Precision, causal_attention, normalize};
use std::cell::RefCell;

/// The normalization and the learned scales of queries and keys between the rotation and the softmax.
#[derive(Module, Debug)]
pub struct Scores {
    /// One learned scale on both q and k, `[H K]`.
    pub gain: Option<Gain>,
    /// One learned scale of all scores, `[1]`.
    pub softmax: Option<Gain>,
    norm: Option<Norm>,
    #[module(skip)]
    normed: Normed,
    scale: f64,
    #[module(skip)]
    factor: AttentionFactor,
}

impl Scores {
    /// Carries out an attention plan for heads of `d.head` channels; matrices of its normalization depend on the initializer
    /// and on `path`, its name.
    pub fn new(
        plan: &AttentionPlan,
        path: &str,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let path = format!("{path}.norm");
        Self {
            gain: plan
                .qk_gain
                .as_ref()
                .map(|g| Gain::new(g, d.heads * d.head, device)),
            softmax: plan.softmax_gain.as_ref().map(|g| Gain::new(g, 1, device)),
            norm: plan.qk_norm.as_ref().map(|norm| {
                let per_head = norm.clone().per_head();
                Norm::new(&per_head, [d.head, d.head], &path, init, device)
            }),
            normed: plan.normed,
            scale: plan.softmax_scale,
            factor: plan.factor,
        }
    }

    /// Normalizes and scales `q [B, T, H K]` and `k [B, T, G K]`; with a gain, k is repeated to `H` heads, because
    /// each query head has its own.
    ///
    /// The learned scale of the scores multiplies k, which has no more heads than q: the scores themselves need not
    /// exist.
    fn prepare(&self, q: Tensor<3>, k: Tensor<3>, heads: usize) -> (Tensor<3>, Tensor<3>) {
        let (q, k) = match (&self.norm, self.normed) {
            (Some(norm), Normed::Both) => (norm.forward(q), self.scaled_keys(k)),
            (_, _) => (q, self.scaled_keys(k)),
        };
        match &self.gain {
            Some(gain) => (
                gain.forward(q.clone()),
                gain.forward(repeat_heads(k, q.dims()[2] / heads, heads)),
            ),
            None => (q, k),
        }
    }

    /// `softmax norm(k)`, in one operation where the kernels know the norm.
    fn scaled_keys(&self, k: Tensor<3>) -> Tensor<3> {
        let fused = self.norm.as_ref().and_then(Norm::fused);
        if let (Some(fused), Some(scale)) =
            (fused.filter(|fused| fused.gain.is_none()), &self.softmax)
        {
            let gain = Some(scale.used().expand([fused.group]));
            return normalize(k, gain, fused.size, fused.eps, fused.group);
        }
        let k = match &self.norm {
            Some(norm) => norm.forward(k),
            None => k,
        };
        match &self.softmax {
            Some(scale) => scale.forward(k),
            None => k,
        }
    }
}

/// `[B, T, G K] -> [B, T, heads K]`, each head of `width` channels `heads / G` times in a row.
fn repeat_heads(x: Tensor<3>, width: usize, heads: usize) -> Tensor<3> {
    let [b, t, channels] = x.dims();
    let groups = channels / width;
    if groups == heads {
        return x;
    }
    let each: Tensor<5> = x
        .reshape([b, t, groups, 1, width])
        .repeat_dim(3, heads / groups);
    each.reshape([b, t, heads * width])
}

/// An attention mask: which positions up to its own a query may see.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one is made per forward pass
pub enum AttentionMask {
    /// All of them.
    Causal,
    /// Those from this position on, `[B, T]`: the first one of the query's document.
    Since(Tensor<2, Int>),
    /// Those of its own sequence, where several sequences share their first positions.
    Shared(SharedPositions),
}

impl AttentionMask {
    /// Causal within documents: `segments [B, T]` holds each position's document, a run of equal numbers. A number that
    /// comes back after another one begins a new document.
    pub fn within(segments: Tensor<2, Int>) -> Self {
        let [b, t] = segments.dims();
        let places = places(t, (&segments.device(), segments.dtype()));
        let previous = places.clone().sub_scalar(1).clamp_min(0).reshape([t]);
        let continues = segments.clone().select(1, previous).equal(segments);
        // Its place where a document begins, 0 elsewhere: the largest so far is the start.
        Self::Since(places.expand([b, t]).mask_fill(continues, 0).cummax(1))
    }

    /// The first position that each query sees, `[B, T]`; none where that is 0 throughout.
    fn starts(&self) -> Option<Tensor<2, Int>> {
        match self {
            Self::Causal | Self::Shared(_) => None,
            Self::Since(starts) => Some(starts.clone()),
        }
    }

    /// Each position's place in its document or sequence, `[B, T]` from 0: it sees that many earlier ones.
    pub fn positions(&self) -> Option<Tensor<2, Int>> {
        match self {
            Self::Causal => None,
            Self::Since(starts) => {
                let t = starts.dims()[1];
                Some(places(t, (&starts.device(), starts.dtype())).sub(starts.clone()))
            }
            Self::Shared(shared) => Some(shared.places()),
        }
    }

    /// Places that `t` positions have.
    pub(crate) fn longest(&self, t: usize) -> usize {
        match self {
            Self::Causal | Self::Since(_) => t,
            Self::Shared(shared) => shared.longest(),
        }
    }

    /// Which of `keys` positions are hidden from each of the `t` newest, `[B or 1, T, S]`.
    fn hidden(&self, t: usize, keys: usize, device: &Device) -> Tensor<3, Bool> {
        let earlier = (keys - t) as i64;
        let future = Tensor::<2, Bool>::tril_mask([t, keys], earlier, device).unsqueeze::<3>();
        match self.starts() {
            None => future,
            Some(starts) => {
                let shape = [starts.dims()[0], t, keys];
                let starts = starts.unsqueeze_dim::<3>(2).expand(shape);
                let places = places(keys, (device, starts.dtype()));
                let places = places.unsqueeze::<3>().expand(shape);
                places.lower(starts).bool_or(future.expand(shape))
            }
        }
    }

    /// How many keys each of `t` positions behind `earlier` ones sees, `[B or 1, T, 1]`.
    fn counts(&self, earlier: usize, t: usize, dtype: DType, device: &Device) -> Tensor<3> {
        let own = earlier as i64 + 1;
        let seen = match self.positions() {
            None => places(t, device),
            Some(positions) => positions,
        };
        seen.add_scalar(own)
            .float()
            .cast(dtype)
            .unsqueeze_dim::<3>(2)
    }
}

/// `0, 1, .. t - 1`, `[1, T]`.
fn places(t: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2, Int> {
    Tensor::<1, Int>::arange(0..t as i64, options).unsqueeze::<2>()
}

/// What the branches of a block share in one forward pass: positions, mask, dropout, and what is measured.
#[derive(Debug, Clone)]
pub struct BlockContext<'a> {
    /// Rotations of q and k; none where positions are no rotations.
    pub rotary: Option<&'a Rotary>,
    /// Which positions a query may see.
    pub mask: &'a AttentionMask,
    /// Dropout of this block; none where it is off.
    pub dropout: Option<Dropout>,
    /// Where each attention layer adds its largest scores; none where they are not asked for.
    pub largest: Option<&'a LargestScores>,
    /// Where normalizations with a schedule add what they measure; none outside of training.
    pub watch: Option<&'a Watch>,
}

/// Collects the largest scores of each attention layer in one forward pass, `[H]` each.
#[derive(Debug, Default)]
pub struct LargestScores(RefCell<Vec<Tensor<1>>>);

impl LargestScores {
    /// The scores of the layers, in order.
    pub fn into_inner(self) -> Vec<Tensor<1>> {
        self.0.into_inner()
    }
}

impl BlockContext<'_> {
    /// `x` after dropout at a place of the block.
    pub(crate) fn drop<const D: usize>(&self, x: Tensor<D>, place: &str) -> Tensor<D> {
        match &self.dropout {
            Some(dropout) => dropout.forward(x, place),
            None => x,
        }
    }
}

/// The part of a [`KvCache`](crate::KvCache) that one block has: keys and values of earlier positions, `[B, heads, S, K]`.
#[derive(Debug, Clone, Default)]
pub struct LayerCache(Option<(Tensor<4>, Tensor<4>)>);

impl LayerCache {
    /// Appends new keys and values along time and returns all of them.
    fn extend(&mut self, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let (k, v) = match self.0.take() {
            Some((old_k, old_v)) => (
                Tensor::cat(vec![old_k, k], 2),
                Tensor::cat(vec![old_v, v], 2),
            ),
            None => (k, v),
        };
        self.0 = Some((k.clone(), v.clone()));
        (k, v)
    }

    /// Positions it holds.
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |(k, _)| k.dims()[2])
    }
}

/// Causal self-attention: four projections and the scores between them.
///
/// It needs the [`LayerPlan`] of a block and the sizes of a model. Its parameters are those of four [`Projection`]s, as
/// `q.weight`, and of [`Scores`], as `scores.gain.value`.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, `[D, H K]`.
    pub q: Projection,
    /// Keys, `[D, G K]`.
    pub k: Projection,
    /// Values, `[D, G K]`.
    pub v: Projection,
    /// Between the projections.
    pub scores: Scores,
    /// Output, `[H K, D]`.
    pub o: Projection,
    heads: usize,
    kv_heads: usize,
    head: usize,
}

impl Attention {
    /// Initial weights depend on the initializer and on `block`, the name of the block the layer is in.
    pub fn new(
        plan: &LayerPlan,
        block: &str,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let project = |site: Site, plan| {
            Projection::new(plan, site, &format!("{block}.{site}"), d, init, device)
        };
        Self {
            q: project(Site::Q, &plan.q),
            k: project(Site::K, &plan.k),
            v: project(Site::V, &plan.v),
            scores: Scores::new(
                &plan.attention,
                &format!("{block}.attn.scores"),
                d,
                init,
                device,
            ),
            o: project(Site::O, &plan.o),
            heads: d.heads,
            kv_heads: d.kv_heads,
            head: d.head,
        }
    }

    /// The same attention whose projections round their factors to a precision. Scores and weights stay as they are.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.q = self.q.with_precision(precision);
        self.k = self.k.with_precision(precision);
        self.v = self.v.with_precision(precision);
        self.o = self.o.with_precision(precision);
        self
    }

    /// Attention over the positions of `x`; with `cache`, over those that it holds too, which those of `x` follow.
    ///
    /// # Shapes
    /// - `x`: `[B, T, D]`
    /// - output: `[B, T, D]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        context: &BlockContext<'_>,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let turned = |x, heads| match context.rotary {
            Some(rotary) => rotary.forward(x, heads),
            None => x,
        };
        let q = turned(self.q.forward(x.clone()), self.heads);
        let k = turned(self.k.forward(x.clone()), self.kv_heads);
        let (q, k) = self.scores.prepare(q, k, self.heads);
        let kv_heads = k.dims()[2] / self.head;
        if let Some(largest) = context.largest {
            let scores = self.largest_scores(q.clone(), k.clone(), context);
            largest.0.borrow_mut().push(scores);
        }
        let v = repeat_heads(self.v.forward(x), self.head, kv_heads);
        let ([_, t, _], earlier) = (q.dims(), cache.as_deref().map_or(0, LayerCache::len));
        let y = match context.mask {
            // Of the rows of sequences that share positions, each is a sequence of its own.
            AttentionMask::Shared(shared) => {
                let [q, k, v] = [q, k, v].map(|x| shared.unpacked(x));
                let context = BlockContext {
                    mask: &AttentionMask::Causal,
                    ..context.clone()
                };
                shared.packed(self.over(q, k, v, &context, cache))
            }
            _ => self.over(q, k, v, context, cache),
        };
        let y = match self.scores.factor {
            AttentionFactor::Dense => {
                let (dtype, device) = (y.dtype(), y.device());
                y * context.mask.counts(earlier, t, dtype, &device).sqrt()
            }
            AttentionFactor::None | AttentionFactor::Exact => y,
        };
        self.o.forward(y)
    }

    /// The mean of `v` by the scores of `q` and `k`, all `[B, T, heads K]`.
    fn over(
        &self,
        q: Tensor<3>,
        k: Tensor<3>,
        v: Tensor<3>,
        context: &BlockContext<'_>,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        match cache {
            None if !self.needs_weights(context) => {
                let (starts, scale) = (context.mask.starts(), self.scores.scale);
                let kv_heads = k.dims()[2] / self.head;
                causal_attention(q, k, v, starts, self.heads, kv_heads, scale)
            }
            cache => self.attend(q, k, v, context, cache),
        }
    }

    /// Whether the weights of the mean have to be there one by one.
    fn needs_weights(&self, context: &BlockContext<'_>) -> bool {
        self.scores.factor == AttentionFactor::Exact || context.dropout.is_some()
    }

    /// `[B, T, heads K] -> [B, heads, T, K]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [b, t, width] = x.dims();
        x.reshape([b, t, width / self.head, self.head])
            .swap_dims(1, 2)
    }

    /// The largest score of each query head over all that its queries may see, `[H]`.
    fn largest_scores(&self, q: Tensor<3>, k: Tensor<3>, context: &BlockContext<'_>) -> Tensor<1> {
        let scores = self.masked(self.split(q), self.split(k), context.mask);
        let [b, heads, t, keys] = scores.dims();
        let largest = scores.reshape([b, heads, t * keys]).max_dim(2).max_dim(0);
        largest.reshape([heads])
    }

    /// Scores `[B, H, T, S]` of queries and keys `[B, heads, .., K]`, negative infinity where hidden.
    fn masked(&self, q: Tensor<4>, k: Tensor<4>, mask: &AttentionMask) -> Tensor<4> {
        let [b, heads, t, _] = q.dims();
        let keys = k.dims()[2];
        let groups = k.dims()[1];
        let k = repeat_groups(k, heads / groups);
        let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar(self.scores.scale);
        let hidden = mask.hidden(t, keys, &scores.device());
        let hidden = hidden.unsqueeze_dim::<4>(1).expand([b, heads, t, keys]);
        scores.mask_fill(hidden, f64::NEG_INFINITY)
    }

    /// Attention behind a cache, or from the weights themselves.
    fn attend(
        &self,
        q: Tensor<3>,
        k: Tensor<3>,
        v: Tensor<3>,
        context: &BlockContext<'_>,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let [b, t, width] = q.dims();
        let (q, k, v) = (self.split(q), self.split(k), self.split(v));
        let (k, v) = match cache {
            Some(cache) => cache.extend(k, v),
            None => (k, v),
        };
        let y = if self.needs_weights(context) {
            self.weighted(q, k, v, context)
        } else {
            self.mean(q, k, v, context.mask)
        };
        y.swap_dims(1, 2).reshape([b, t, width])
    }

    /// `softmax(q k + mask) v` of heads `[B, H, T, K]`, by Burn's own operation.
    fn mean(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: &AttentionMask) -> Tensor<4> {
        let ([b, heads, t, _], keys) = (q.dims(), k.dims()[2]);
        let hidden = mask.starts().map(|_| {
            let hidden = mask.hidden(t, keys, &q.device());
            hidden.unsqueeze_dim::<4>(1).expand([b, heads, t, keys])
        });
        let options = AttentionModuleOptions {
            scale: Some(self.scores.scale),
            softcap: None,
            is_causal: hidden.is_none(),
            // The queries are the newest positions: the last one sees every key.
            causal_alignment: CausalAlignment::BottomRight,
        };
        attention(q, k, v, hidden, None, options)
    }

    /// The same from the weights themselves: with dropout on them, or divided by the root of their squares, which no
    /// gradient passes through.
    fn weighted(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        context: &BlockContext<'_>,
    ) -> Tensor<4> {
        let v = repeat_groups(v, q.dims()[1] / k.dims()[1]);
        let weights = softmax(self.masked(q, k, context.mask), 3);
        let length = match self.scores.factor {
            AttentionFactor::Exact => Some(weights.clone().detach().square().sum_dim(3).sqrt()),
            AttentionFactor::None | AttentionFactor::Dense => None,
        };
        let y = context.drop(weights, "attn.weights").matmul(v);
        match length {
            Some(length) => y / length,
            None => y,
        }
    }
}

/// `[B, G, S, K] -> [B, G each, S, K]`, each head `each` times in a row.
fn repeat_groups(x: Tensor<4>, each: usize) -> Tensor<4> {
    let [b, groups, s, width] = x.dims();
    if each == 1 {
        return x;
    }
    let x: Tensor<5> = x.reshape([b, groups, 1, s, width]).repeat_dim(2, each);
    x.reshape([b, groups * each, s, width])
}
