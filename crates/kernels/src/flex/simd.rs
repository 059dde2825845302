//! Row arithmetic that compiles to vector instructions.
//!
//! The compiler may not reorder floating-point sums, so sums run in independent lanes here, and always in the same
//! ones: the result depends on the length alone.
#![expect(
    clippy::inline_always,
    reason = "a helper gets vector instructions only by being inlined into a `target_feature` function"
)]

use std::ops::AddAssign;

/// Defines a function whose body is compiled once per instruction set and chosen at run time.
///
/// On x86-64 the sets are AVX-512 and AVX2 with FMA; [`available`] says whether one of them is there. Elsewhere the
/// target's own baseline is used.
macro_rules! simd {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident : $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::inline_always)]
            fn body($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $type),*) $(-> $result)? {
                body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $type),*) $(-> $result)? {
                body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            {
                if $crate::flex::simd::avx512() {
                    // Safety: the processor has every feature the function is compiled for.
                    #[allow(unsafe_code, reason = "calls a function for checked instructions")]
                    return unsafe { avx512($($arg),*) };
                }
                if $crate::flex::simd::avx2() {
                    // Safety: the processor has every feature the function is compiled for.
                    #[allow(unsafe_code, reason = "calls a function for checked instructions")]
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use simd;

/// Whether the AVX-512 variant of every kernel can run here.
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && avx2()
}

/// Whether the AVX2 variant of every kernel can run here.
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Whether the kernels are fast here: without a fused multiply-add each one is a library call.
pub(crate) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx2();
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// Independent partial sums: four registers of sixteen.
const LANES: usize = 64;
/// The step for what is left of a row after the full lanes.
const HALF: usize = 16;

/// Sum of the lanes by halves.
#[inline(always)]
fn total<T: Copy + AddAssign, const N: usize>(mut lanes: [T; N]) -> T {
    let mut width = N / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `sum_i a_i b_i`.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    let ((a, a_tail), (b, b_tail)) = (a_rest.as_chunks::<HALF>(), b_rest.as_chunks::<HALF>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..HALF {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    let mut tail = 0.0f32;
    for (a, b) in a_tail.iter().zip(b_tail) {
        tail = a.mul_add(*b, tail);
    }
    total(lanes) + tail
}

/// [`dot`], summed in double precision.
///
/// For sums that cancel, or that a whole row is divided by: their rounding errors are the same for all entries and don't
/// average out.
#[inline(always)]
pub(crate) fn dot_in_double(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0f64; HALF];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<HALF>(), b.as_chunks::<HALF>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..HALF {
            lanes[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane += f64::from(a) * f64::from(b);
    }
    total(lanes)
}

/// The largest entry, skipping NaN; negative infinity for an empty row.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (full, rest) = row.as_chunks::<LANES>();
    for x in full {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] {
                lanes[i + width]
            } else {
                lanes[i]
            };
        }
        width /= 2;
    }
    lanes[0]
}

/// Replaces the row by `exp(x - shift)` and returns its sum.
#[inline(always)]
pub(crate) fn exp_and_sum(row: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (full, rest) = row.as_chunks_mut::<LANES>();
    for x in full {
        for i in 0..LANES {
            x[i] = exp(x[i] - shift);
            lanes[i] += x[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exp(*x - shift);
        *lane += *x;
    }
    total(lanes)
}

/// `e^x` within 1.2e-7 of its value for `x` between -87.3 and 88.3, 0 below and infinity beyond; NaN stays.
///
/// `x = n ln 2 + r` with an integer `n` and `|r| <= ln 2 / 2`; `e^r` is a polynomial of degree 6 (the coefficients of
/// Cephes' `expf`), and `2^n` is made of its bits. Nothing branches, so it vectorizes.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding `1.5 * 2^23` rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// `ln 2` as a sum, the first part with few bits: its product with `n` is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// The exponent of 1 in the bits of a number, and where they begin.
    const ONE: [u32; 2] = [127, 23];
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2[0], x);
    let r = n.mul_add(-LN_2[1], r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    // The last step rounds a number near 1 once; what is rounded before it is smaller by r.
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    let y = p * f32::from_bits(rounded.to_bits().wrapping_add(ONE[0]) << ONE[1]);
    let y = if x < -87.3 { 0.0 } else { y };
    if x > 88.3 { f32::INFINITY } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_over_its_range_and_keeps_nan() {
        for i in -8000..8000 {
            let x = i as f32 * 0.01;
            let (y, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(((y - exact) / exact).abs() < 1.5e-7, "{x}: {y} {exact}");
        }
        for payload in 0..1024 {
            assert!(exp(f32::from_bits(f32::NAN.to_bits() | payload)).is_nan());
            assert!(exp(f32::from_bits((-f32::NAN).to_bits() | payload)).is_nan());
        }
        for far in [87.4, 200.0, 1e5, 1e9, 1e30, f32::MAX, f32::INFINITY] {
            assert!(exp(-far).to_bits() == 0);
            assert!(exp(1.1 * far).is_infinite());
        }
    }

    #[test]
    fn sums_and_maxima_cover_every_entry() {
        for n in [1, 15, 16, 17, 63, 64, 65, 80, 127, 200] {
            let row: Vec<f32> = (0..n).map(|i| (i * 7 % 13) as f32 - 3.0).collect();
            let expected: f32 = row.iter().map(|x| x * x).sum();
            assert!((dot(&row, &row) - expected).abs() < 1e-3);
            // Whole numbers are exact.
            assert!((dot_in_double(&row, &row) - f64::from(expected)).abs() < f64::EPSILON);
            for peak in 0..n {
                let mut row = row.clone();
                row[peak] = 100.0;
                assert!((largest(&row) - 100.0).abs() < f32::EPSILON);
            }
            let mut e = row.clone();
            let sum = exp_and_sum(&mut e, 2.0);
            let expected: f64 = row.iter().map(|&x| f64::from(x - 2.0).exp()).sum();
            assert!((f64::from(sum) - expected).abs() < 1e-5 * expected);
        }
        assert!(largest(&[]).is_infinite());
    }
}
