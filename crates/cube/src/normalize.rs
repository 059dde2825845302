//! Normalization by the size of a vector, one cube of units a row.

use crate::Buffer;
use cubecl::client::Client;
use cubecl::prelude::*;

/// Every row of `width` numbers is divided by `sqrt(share * sum of squares + eps)`.
///
/// `share = 1 / width` is the root mean square (Zhang and Sennrich, *Root Mean Square Layer Normalization*, 2019, eq. 4),
/// `share = 1` the Euclidean length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Numbers of a row.
    pub width: usize,
    /// The factor on the sum of squares.
    pub share: f32,
    /// Added to it.
    pub eps: f32,
}

/// Rows that one cube takes in the backward pass; it sums the gain's gradient over them.
const ROWS_A_CUBE: usize = 16;

/// Units of a cube, a power of two: enough for short rows, and few enough that long ones keep each unit busy.
fn units(width: usize) -> u32 {
    (width as u32).next_power_of_two().clamp(32, 256)
}

/// The sum of `part` over the units of a cube.
#[cube]
fn total(part: f32, #[comptime] units: u32) -> f32 {
    let mut sums = Shared::new_slice(units as usize);
    let unit = UNIT_POS_X as usize;
    sums[unit] = part;
    sync_cube();
    let mut half = CUBE_DIM_X as usize / 2;
    while half > 0 {
        if unit < half {
            let other = sums[unit + half];
            sums[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    let sum = sums[0];
    // No unit writes the next sum before all have read this one.
    sync_cube();
    sum
}

/// `y = gain * x / size`, and `1 / size`.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn forward_kernel<F: Float>(
    x: &[F],
    gain: &[F],
    y: &mut [F],
    factors: &mut [f32],
    rows: u32,
    width: u32,
    share: f32,
    eps: f32,
    #[comptime] units: u32,
    #[comptime] gained: bool,
    #[define(F)] _dtype: ElemType,
) {
    let row = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize;
    if row >= rows as usize {
        terminate!();
    }
    let width = width as usize;
    let start = row * width;
    let mut part = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < width {
        let x = f32::cast_from(x[start + i]);
        part += x * x;
        i += CUBE_DIM_X as usize;
    }
    let sum = total(part, units);
    let square = sum * share + eps;
    // Zeros have no direction: they stay zeros, and so do their gradients.
    let mut factor = 0.0f32;
    if square != 0.0f32 {
        factor = 1.0f32 / square.sqrt();
    }
    if UNIT_POS_X == 0 {
        factors[row] = factor;
    }
    let mut i = UNIT_POS_X as usize;
    while i < width {
        let mut value = f32::cast_from(x[start + i]) * factor;
        if gained {
            value *= f32::cast_from(gain[i]);
        }
        y[start + i] = F::cast_from(value);
        i += CUBE_DIM_X as usize;
    }
}

/// With `f = 1 / size` and `g = gain * dy`: `dx = f (g - x f^2 share (g . x))`; and `dy x f`, summed over a cube's rows.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn backward_kernel<F: Float>(
    x: &[F],
    gain: &[F],
    factors: &[f32],
    dy: &[F],
    dx: &mut [F],
    parts: &mut [f32],
    rows: u32,
    width: u32,
    share: f32,
    rows_a_cube: u32,
    #[comptime] units: u32,
    #[comptime] gained: bool,
    #[define(F)] _dtype: ElemType,
) {
    let cube = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize;
    let first = cube * rows_a_cube as usize;
    let rows = rows as usize;
    if first >= rows {
        terminate!();
    }
    let width = width as usize;
    for step in 0..rows_a_cube as usize {
        let row = first + step;
        if row < rows {
            let start = row * width;
            let factor = factors[row];
            let mut part = 0.0f32;
            let mut i = UNIT_POS_X as usize;
            while i < width {
                let mut g = f32::cast_from(dy[start + i]);
                if gained {
                    g *= f32::cast_from(gain[i]);
                }
                part += g * f32::cast_from(x[start + i]);
                i += CUBE_DIM_X as usize;
            }
            let along = total(part, units) * factor * factor * share;
            let mut i = UNIT_POS_X as usize;
            while i < width {
                let x = f32::cast_from(x[start + i]);
                let dy = f32::cast_from(dy[start + i]);
                let mut g = dy;
                if gained {
                    g *= f32::cast_from(gain[i]);
                    let add = dy * x * factor;
                    // A channel is one unit's in every row.
                    if step == 0 {
                        parts[cube * width + i] = add;
                    } else {
                        let before = parts[cube * width + i];
                        parts[cube * width + i] = before + add;
                    }
                }
                dx[start + i] = F::cast_from(factor * (g - x * along));
                i += CUBE_DIM_X as usize;
            }
        }
    }
}

/// Cubes for so many pieces of work, within what the device takes in one direction.
fn count(client: &Client, pieces: usize) -> CubeCount {
    let (most, _, _) = client.properties().hardware.max_cube_count;
    let across = (pieces as u32).min(most).max(1);
    CubeCount::Static(across, (pieces as u32).div_ceil(across), 1)
}

/// Writes `gain * x / size(x)` to `y` and `1 / size` of each row, in f32, to `factors`.
///
/// `x` and `y` are `[N, width]` in the format `dtype`, `gain` `[width]`, `factors` `[N]`.
pub fn forward(
    client: &Client,
    [x, y]: [&Buffer; 2],
    gain: Option<&Buffer>,
    factors: &Buffer,
    rule: Rule,
    dtype: ElemType,
) {
    let (rows, units) = (x.len() / rule.width, units(rule.width));
    forward_kernel::launch(
        client,
        count(client, rows),
        CubeDim::new_1d(units),
        x.arg(),
        // Without a gain nothing is read there.
        gain.unwrap_or(x).arg(),
        y.arg(),
        factors.arg(),
        rows as u32,
        rule.width as u32,
        rule.share,
        rule.eps,
        units,
        gain.is_some(),
        dtype,
    );
}

/// Sums over rows that [`backward`] leaves of the gain's gradient, `[parts, width]`.
pub fn parts(rows: usize) -> usize {
    rows.div_ceil(ROWS_A_CUBE)
}

/// What [`backward`] reads of the forward pass.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    /// The rows, `[N, width]`.
    pub x: &'a Buffer,
    /// What multiplied them, `[width]`.
    pub gain: Option<&'a Buffer>,
    /// `1 / size` of each, `[N]`, in f32.
    pub factors: &'a Buffer,
}

/// Writes the gradient of the rows to `dx`, and parts of the gain's, in f32, to `parts`: their sum over the first
/// dimension is the gradient.
///
/// `dy` and `dx` are `[N, width]` in the format `dtype`; `parts` is `[parts(N), width]` with a gain, and one number that
/// is not written without.
pub fn backward(
    client: &Client,
    kept: &Kept,
    [dy, dx]: [&Buffer; 2],
    parts: &Buffer,
    rule: Rule,
    dtype: ElemType,
) {
    let (rows, units) = (kept.x.len() / rule.width, units(rule.width));
    backward_kernel::launch(
        client,
        count(client, self::parts(rows)),
        CubeDim::new_1d(units),
        kept.x.arg(),
        kept.gain.unwrap_or(kept.x).arg(),
        kept.factors.arg(),
        dy.arg(),
        dx.arg(),
        parts.arg(),
        rows as u32,
        rule.width as u32,
        rule.share,
        ROWS_A_CUBE as u32,
        units,
        kept.gain.is_some(),
        dtype,
    );
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;
    use crate::check::{Gpu, normal};

    /// Both passes by their formulas, in f64.
    struct Expected {
        y: Vec<f64>,
        dx: Vec<f64>,
        dgain: Vec<f64>,
        /// The largest of the terms whose difference is `dx`.
        terms: f64,
    }

    fn expected(x: &[f32], gain: Option<&[f32]>, dy: &[f32], rule: Rule) -> Expected {
        let width = rule.width;
        let (mut y, mut dx, mut dgain) = (Vec::new(), Vec::new(), vec![0.0; width]);
        let mut terms = 0.0_f64;
        for (x, dy) in x.chunks(width).zip(dy.chunks(width)) {
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let dy: Vec<f64> = dy.iter().map(|&x| f64::from(x)).collect();
            let gain = |i: usize| gain.map_or(1.0, |gain| f64::from(gain[i]));
            let squares: f64 = x.iter().map(|x| x * x).sum();
            let f = 1.0 / (squares * f64::from(rule.share) + f64::from(rule.eps)).sqrt();
            let along: f64 = (0..width).map(|i| gain(i) * dy[i] * x[i]).sum();
            for i in 0..width {
                y.push(gain(i) * x[i] * f);
                let g = gain(i) * dy[i];
                terms = terms.max((f * g).abs());
                dx.push(f * (g - x[i] * f * f * f64::from(rule.share) * along));
                dgain[i] += dy[i] * x[i] * f;
            }
        }
        Expected {
            y,
            dx,
            dgain,
            terms,
        }
    }

    #[test]
    fn agrees_with_its_formula() {
        let gpu = Gpu::new();
        for (rows, width) in [
            (1, 1),
            (3, 17),
            (65, 63),
            (40, 257),
            (17, 1000),
            (70_000, 2),
        ] {
            for (gained, share) in [(false, 1.0), (true, 1.0 / width as f32)] {
                let name = format!("{rows} x {width}, gain {gained}");
                let rule = Rule {
                    width,
                    share,
                    eps: 1e-6,
                };
                let n = rows * width;
                let (x, dy, gain) = (normal(n, 1), normal(n, 2), normal(width, 3));
                let gain = gained.then_some(gain.as_slice());
                let expected = expected(&x, gain, &dy, rule);

                let (xs, dys) = (gpu.upload(&x), gpu.upload(&dy));
                let gains = gain.map(|gain| gpu.upload(gain));
                let (ys, factors) = (gpu.empty(n), gpu.empty(rows));
                forward(
                    &gpu.client,
                    [&xs, &ys],
                    gains.as_ref(),
                    &factors,
                    rule,
                    gpu.dtype,
                );
                gpu.assert_close(&format!("{name}: y"), &ys, &expected.y);

                let sums = gpu.empty(if gained { parts(rows) * width } else { 1 });
                let dxs = gpu.empty(n);
                let kept = Kept {
                    x: &xs,
                    gain: gains.as_ref(),
                    factors: &factors,
                };
                backward(&gpu.client, &kept, [&dys, &dxs], &sums, rule, gpu.dtype);
                gpu.assert_close_of(&format!("{name}: dx"), &dxs, &expected.dx, expected.terms);
                if gained {
                    let sums = gpu.download(&sums);
                    let mut found = vec![0.0; width];
                    for part in sums.chunks(width) {
                        for (sum, part) in found.iter_mut().zip(part) {
                            *sum += f64::from(*part);
                        }
                    }
                    crate::check::assert_near(
                        &format!("{name}: dgain"),
                        &found,
                        &expected.dgain,
                        0.0,
                    );
                }
            }
        }
    }
}
