//! Causal attention, over whole sequences or within documents.
//!
//! `B` batch, `T` time, `H` query heads, `G` key/value heads, `K` head width.

#[cfg(any(feature = "cube", all(test, feature = "flex")))]
pub(crate) mod blocks;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(feature = "flex")]
mod kernels;
#[cfg(test)]
mod tests;

use burn::tensor::module::attention_fallback;
use burn::tensor::ops::{AttentionModuleOptions, CausalAlignment};
use burn::tensor::{Bool, Int, Tensor};

/// How the channels of a row are divided, and the factor of the scores.
#[cfg(any(feature = "flex", feature = "cube"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heads {
    pub(crate) query: usize,
    pub(crate) key: usize,
    pub(crate) scale: f64,
}

/// Causal attention with heads side by side in a row: `y_t = sum_s softmax_s(scale q_t . k_s) v_s` for each head, both
/// over `start_t <= s <= t`.
///
/// `q` is `[B, T, H K]`, `k` and `v` are `[B, T, G K]` with `H = heads` a multiple of `G = kv_heads`: key and value head
/// `g` serves the `H / G` query heads from `g H / G` on. The result is `[B, T, H K]`.
///
/// `starts [B, T]` holds the first position that each query sees: that of its document's first token where a sequence
/// holds several. Without it every query sees all from position 0 on. A start before 0 is taken for 0, one behind its
/// query for the query itself, which sees itself in any case.
///
/// The CPU's kernel keeps no `T x T` matrix of scores or of a mask: the backward pass computes the scores again, and 128 queries
/// at a time multiply the keys from the smallest of their starts on. A NaN or infinite value reaches queries that don't
/// see it, because their weight 0 doesn't silence it: here those among the 128, in the [`reference()`] all of the
/// sequence. A query whose scores are all negative infinity is out of range and gives NaN here, where the reference
/// gives 0.
///
/// Sources: Vaswani et al., *Attention Is All You Need* (2017), 3.2.1; Ainslie et al., *GQA* (2023), 2.2; the backward
/// pass that computes the scores again is that of Dao et al. (2022), arXiv 2205.14135, appendix B.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let q = Tensor::<3>::zeros([1, 2, 1], &device);
/// let v = Tensor::<3>::from_floats([[[1.0], [3.0]]], &device);
/// // Equal scores: the mean of what is visible.
/// let y = evenburn_kernels::causal_attention(q.clone(), q.clone(), v.clone(), None, 1, 1, 1.0);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] - 2.0).abs() < 1e-6);
/// // The second position begins a document: it sees itself alone.
/// let starts = Tensor::from_ints([[0, 1]], &device);
/// let y = evenburn_kernels::causal_attention(q.clone(), q, v, Some(starts), 1, 1, 1.0);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] - 3.0).abs() < 1e-6);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// If the widths are not those of `heads` and `kv_heads` heads, `heads` is no multiple of `kv_heads`, or there is not one
/// start for each query.
pub fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    starts: Option<Tensor<2, Int>>,
    heads: usize,
    kv_heads: usize,
    scale: f64,
) -> Tensor<3> {
    check(&q, &k, &v, starts.as_ref(), heads, kv_heads);
    #[cfg(any(feature = "flex", feature = "cube"))]
    let split = Heads {
        query: heads,
        key: kv_heads,
        scale,
    };
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        if is_plain(&q) && is_plain(&k) && is_plain(&v) && on_flex(&q) {
            return flex::dispatch(q, k, v, starts, split);
        }
    }
    #[cfg(feature = "cube")]
    {
        use crate::route::on_cube;
        let same = q.dtype() == k.dtype() && q.dtype() == v.dtype();
        if same && on_cube(&q) {
            // Burn's own attention has kernels for both passes, but gradients of some shapes are wrong (docs/log.md).
            let starts = starts.unwrap_or_else(|| {
                let [b, t, _] = q.dims();
                Tensor::zeros([b, t], &q.device())
            });
            return cube::dispatch(q, k, v, starts, split);
        }
    }
    reference(q, k, v, starts, heads, kv_heads, scale)
}

/// Shapes that don't fit could be read as others that do, so they are refused.
fn check(
    q: &Tensor<3>,
    k: &Tensor<3>,
    v: &Tensor<3>,
    starts: Option<&Tensor<2, Int>>,
    heads: usize,
    kv_heads: usize,
) {
    assert!(
        kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads),
        "{heads} query heads are no multiple of {kv_heads} key heads"
    );
    let ([b, t, width], keys, values) = (q.dims(), k.dims(), v.dims());
    assert!(
        width.is_multiple_of(heads),
        "queries of width {width} don't split into {heads} heads"
    );
    let expected = [b, t, width / heads * kv_heads];
    assert!(
        keys == expected && values == expected,
        "keys {keys:?} and values {values:?} should be {expected:?}"
    );
    if let Some(starts) = starts {
        let found = starts.dims();
        assert!(
            found == [b, t],
            "starts {found:?} for {b} sequences of {t} positions"
        );
    }
}

/// [`causal_attention`] composed of plain tensor operations; with starts, under a mask `[B, H, T, T]`.
///
/// # Panics
///
/// As [`causal_attention`].
pub fn reference(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    starts: Option<Tensor<2, Int>>,
    heads: usize,
    kv_heads: usize,
    scale: f64,
) -> Tensor<3> {
    check(&q, &k, &v, starts.as_ref(), heads, kv_heads);
    let [b, t, width] = q.dims();
    // Composed of operations on any device, where Burn's `attention` may be a kernel of its own. It shares key heads in the
    // same order.
    let split = |x: Tensor<3>, groups: usize| -> Tensor<4> {
        x.reshape([b, t, groups, width / heads]).swap_dims(1, 2)
    };
    let mask = starts.map(|starts| {
        hidden(starts)
            .unsqueeze_dim::<4>(1)
            .expand([b, heads, t, t])
    });
    let options = AttentionModuleOptions {
        scale: Some(scale),
        softcap: None,
        is_causal: mask.is_none(),
        causal_alignment: CausalAlignment::BottomRight,
    };
    let (q, k, v) = (split(q, heads), split(k, kv_heads), split(v, kv_heads));
    let y = attention_fallback(q, k, v, mask, None, options);
    y.swap_dims(1, 2).reshape([b, t, width])
}

/// The positions, `[B, T, T]`, that each query doesn't see.
fn hidden(starts: Tensor<2, Int>) -> Tensor<3, Bool> {
    let ([b, t], device) = (starts.dims(), starts.device());
    let places: Tensor<1, Int> = Tensor::arange(0..t as i64, (&device, starts.dtype()));
    let own: Tensor<2, Int> = places.clone().unsqueeze::<2>().expand([b, t]);
    let starts: Tensor<3, Int> = starts.min_pair(own).unsqueeze_dim::<3>(2).expand([b, t, t]);
    let future = Tensor::<2, Bool>::tril_mask([t, t], 0, &device);
    let earlier = places.unsqueeze::<3>().expand([b, t, t]).lower(starts);
    earlier.bool_or(future.unsqueeze::<3>().expand([b, t, t]))
}
