//! The gated activation of a feed-forward network, one unit a number.

use crate::Buffer;
use cubecl::client::Client;
use cubecl::prelude::*;

/// `y = after * up * silu(before * gate)`.
#[cube(launch)]
fn forward_kernel<F: Float>(
    gate: &[F],
    up: &[F],
    y: &mut [F],
    before: f32,
    after: f32,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= y.len() {
        terminate!();
    }
    let z = f32::cast_from(gate[i]) * before;
    let value = after * f32::cast_from(up[i]) * z / (1.0f32 + (-z).exp());
    y[i] = F::cast_from(value);
}

/// With `s = 1 / (1 + e^-z)`: `silu(z) = z s`, `silu'(z) = s + z s (1 - s)`.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn backward_kernel<F: Float>(
    gate: &[F],
    up: &[F],
    dy: &[F],
    dgate: &mut [F],
    dup: &mut [F],
    before: f32,
    after: f32,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= dgate.len() {
        terminate!();
    }
    let z = f32::cast_from(gate[i]) * before;
    let s = 1.0f32 / (1.0f32 + (-z).exp());
    let silu = z * s;
    let dy = f32::cast_from(dy[i]) * after;
    dup[i] = F::cast_from(dy * silu);
    dgate[i] = F::cast_from(dy * f32::cast_from(up[i]) * before * (s + silu * (1.0f32 - s)));
}

/// The constants before and after the activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// Multiplies the gate.
    pub before: f32,
    /// Multiplies the output.
    pub after: f32,
}

/// Writes `after * up * silu(before * gate)` to `y`, all of one length and in the format `dtype`.
///
/// Source: Shazeer, *GLU Variants Improve Transformer* (2020), section 2, with a scale on either side.
pub fn forward(
    client: &Client,
    [gate, up]: [&Buffer; 2],
    y: &Buffer,
    scales: Scales,
    dtype: ElemType,
) {
    let dim = CubeDim::new(client, y.len());
    forward_kernel::launch(
        client,
        cubecl::calculate_cube_count_elemwise(client, y.len(), dim),
        dim,
        gate.arg(),
        up.arg(),
        y.arg(),
        scales.before,
        scales.after,
        dtype,
    );
}

/// Writes the gradients of both inputs to `dgate` and `dup`, from the inputs themselves and `dy`.
pub fn backward(
    client: &Client,
    [gate, up]: [&Buffer; 2],
    dy: &Buffer,
    [dgate, dup]: [&Buffer; 2],
    scales: Scales,
    dtype: ElemType,
) {
    let dim = CubeDim::new(client, dy.len());
    backward_kernel::launch(
        client,
        cubecl::calculate_cube_count_elemwise(client, dy.len(), dim),
        dim,
        gate.arg(),
        up.arg(),
        dy.arg(),
        dgate.arg(),
        dup.arg(),
        scales.before,
        scales.after,
        dtype,
    );
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;
    use crate::check::{Gpu, normal};

    #[test]
    fn agrees_with_its_formula() {
        let gpu = Gpu::new();
        for (n, before, after) in [
            (1, 1.0, 1.0),
            (17, 2.5, 0.5),
            (63, 30.0, 1.0),
            (100_003, 1.0, 3.7),
        ] {
            let scales = Scales { before, after };
            let [gate, up, dy] = [1, 2, 3].map(|seed| normal(n, seed));
            let [mut y, mut dgate, mut dup] = [(); 3].map(|()| Vec::new());
            let (before, after) = (f64::from(before), f64::from(after));
            for ((&gate, &up), &dy) in gate.iter().zip(&up).zip(&dy) {
                let (z, up, dy) = (f64::from(gate) * before, f64::from(up), f64::from(dy));
                let s = 1.0 / (1.0 + (-z).exp());
                y.push(after * up * z * s);
                dgate.push(dy * after * up * before * (s + z * s * (1.0 - s)));
                dup.push(dy * after * z * s);
            }
            let [gates, ups, dys] = [&gate, &up, &dy].map(|x| gpu.upload(x));
            let [ys, dgates, dups] = [(); 3].map(|()| gpu.empty(n));
            forward(&gpu.client, [&gates, &ups], &ys, scales, gpu.dtype);
            backward(
                &gpu.client,
                [&gates, &ups],
                &dys,
                [&dgates, &dups],
                scales,
                gpu.dtype,
            );
            gpu.assert_close(&format!("{n}: y"), &ys, &y);
            gpu.assert_close(&format!("{n}: dgate"), &dgates, &dgate);
            gpu.assert_close(&format!("{n}: dup"), &dups, &dup);
        }
    }
}
