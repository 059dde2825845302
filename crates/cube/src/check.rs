//! A device to run kernels on, and comparisons with numbers in f64.

use crate::Buffer;
use cubecl::client::Client;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

/// A software adapter where there is no other: Mesa's lavapipe, or `SwiftShader`.
pub(crate) struct Gpu {
    pub(crate) client: Client,
    pub(crate) dtype: ElemType,
}

/// Of the largest expected number. WGSL allows an exponential three units in the last place and more for large ones.
const TOLERANCE: f64 = 2e-6;

impl Gpu {
    pub(crate) fn new() -> Self {
        let device = cubecl::wgpu::WgpuDevice::default();
        Self {
            client: cubecl::Device::Wgpu(device).client(),
            dtype: ElemType::Float(FloatKind::F32),
        }
    }

    pub(crate) fn upload(&self, values: &[f32]) -> Buffer {
        Buffer::new(
            self.client.create_from_slice(f32::as_bytes(values)),
            values.len(),
        )
    }

    pub(crate) fn empty(&self, len: usize) -> Buffer {
        Buffer::new(self.client.empty(len * size_of::<f32>()), len)
    }

    pub(crate) fn download(&self, buffer: &Buffer) -> Vec<f32> {
        let bytes = self.client.read_one(buffer.handle());
        let bytes = bytes.expect("the adapter hands over what it computed");
        f32::from_bytes(&bytes).to_vec()
    }

    pub(crate) fn assert_close(&self, name: &str, found: &Buffer, expected: &[f64]) {
        self.assert_close_of(name, found, expected, 0.0);
    }

    /// The same, where terms of size `terms` may cancel.
    pub(crate) fn assert_close_of(&self, name: &str, found: &Buffer, expected: &[f64], terms: f64) {
        let found: Vec<f64> = self.download(found).into_iter().map(f64::from).collect();
        assert_near(name, &found, expected, terms);
    }
}

pub(crate) fn assert_near(name: &str, found: &[f64], expected: &[f64], terms: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(terms, |m: f64, x| m.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs() / scale;
        assert!(
            off < TOLERANCE,
            "{name}: {found} for {expected} at {i}, off by {off:.1e}"
        );
    }
}

/// Numbers around zero that depend on a seed alone.
pub(crate) fn normal(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 + 0.5) / (1u64 << 24) as f32
    };
    (0..n)
        .map(|_| (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos())
        .collect()
}
