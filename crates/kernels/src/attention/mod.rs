//! Causal attention.
//!
//! `B` batch, `T` time, `H` query heads, `G` key/value heads, `K` head width.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(feature = "flex")]
mod kernels;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, CausalAlignment};

/// Causal attention with heads side by side in a row: `y_t = sum_{s <= t} softmax_s(scale q_t . k_s) v_s` for each
/// head.
///
/// `q` is `[B, T, H K]`, `k` and `v` are `[B, T, G K]` with `H = heads` a multiple of `G = kv_heads`: key and value head
/// `g` serves the `H / G` query heads from `g H / G` on. The result is `[B, T, H K]`. The CPU's way keeps no `T x T`
/// matrix of scores: the way back computes them again.
///
/// Sources: Vaswani et al., *Attention Is All You Need* (2017), 3.2.1; Ainslie et al., *GQA* (2023), 2.2; the backward
/// pass from the logarithm of the row sums is Dao et al. (2022), arXiv 2205.14135, appendix B.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let q = Tensor::<3>::zeros([1, 2, 1], &device);
/// let v = Tensor::<3>::from_floats([[[1.0], [3.0]]], &device);
/// // Equal scores: the mean of what is visible.
/// let y = evenburn_kernels::causal_attention(q.clone(), q, v, 1, 1, 1.0);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] - 2.0).abs() < 1e-6);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// If the widths are not those of `heads` and `kv_heads` heads, or `heads` is no multiple of `kv_heads`.
pub fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: usize,
    kv_heads: usize,
    scale: f64,
) -> Tensor<3> {
    check(&q, &k, &v, heads, kv_heads);
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        if is_plain(&q) && is_plain(&k) && is_plain(&v) && on_flex(&q) {
            return flex::dispatch(q, k, v, heads, kv_heads, scale);
        }
    }
    reference(q, k, v, heads, kv_heads, scale)
}

/// Shapes that don't fit could be read as others that do, so they are refused.
fn check(q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>, heads: usize, kv_heads: usize) {
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
}

/// [`causal_attention`] of plain tensor operations.
///
/// # Panics
///
/// As [`causal_attention`].
pub fn reference(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: usize,
    kv_heads: usize,
    scale: f64,
) -> Tensor<3> {
    check(&q, &k, &v, heads, kv_heads);
    let [b, t, width] = q.dims();
    let split = |x: Tensor<3>, groups: usize| -> Tensor<4> {
        let x: Tensor<4> = x.reshape([b, t, groups, width / heads]).swap_dims(1, 2);
        if groups == heads {
            return x;
        }
        let each: Tensor<5> = x.unsqueeze_dim::<5>(2).repeat_dim(2, heads / groups);
        each.reshape([b, heads, t, width / heads])
    };
    let options = AttentionModuleOptions {
        scale: Some(scale),
        softcap: None,
        is_causal: true,
        causal_alignment: CausalAlignment::BottomRight,
    };
    let (q, k, v) = (split(q, heads), split(k, kv_heads), split(v, kv_heads));
    let y = attention(q, k, v, None, None, options);
    y.swap_dims(1, 2).reshape([b, t, width])
}
