//! Time, operations and memory traffic of the fused operations of the CPU, counted while that is switched on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
#[cfg(feature = "flex")]
use std::time::Instant;

/// What a call computes: a result, gradients, or an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// The result.
    Forward,
    /// Its gradients.
    Backward,
    /// A step of an optimizer, which has no gradient.
    Update,
}

/// All calls of one operation with one shape.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// The function's name.
    pub operation: &'static str,
    /// Which of its passes.
    pub pass: Pass,
    /// The sizes of its problem, as the operation counts them: `[rows, in, out]` of a product.
    pub shape: Vec<usize>,
    /// How often it ran.
    pub calls: u64,
    /// Time of all calls.
    pub time: Duration,
    /// Floating-point operations of products in all calls, two for a multiplication with an addition.
    pub flops: f64,
    /// Bytes of inputs and outputs in all calls, each counted once.
    pub bytes: f64,
}

/// An operation, its pass and its shape.
type Key = (&'static str, Pass, Vec<usize>);

#[derive(Default)]
struct Totals {
    calls: u64,
    time: Duration,
    flops: f64,
    bytes: f64,
}

static ON: AtomicBool = AtomicBool::new(false);
static TOTALS: Mutex<BTreeMap<Key, Totals>> = Mutex::new(BTreeMap::new());

/// Starts counting, from nothing, for the whole process.
///
/// Only the kernels of the CPU are counted: neither operations that run as their reference nor Burn's own.
///
/// ```standalone_crate
/// use burn::tensor::{Device, Tensor};
/// use evenburn_kernels::{Precision, linear, profile};
///
/// profile::start();
/// let x = Tensor::<2>::ones([3, 4], &Device::flex());
/// linear(x, Tensor::ones([4, 5], &Device::flex()), 1.0, Precision::F32);
/// let costs = profile::stop();
/// # #[cfg(all(feature = "flex", target_arch = "x86_64"))]
/// # if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
/// assert_eq!((costs[0].operation, costs[0].flops), ("linear", 2.0 * 3.0 * 4.0 * 5.0));
/// # }
/// ```
pub fn start() {
    totals(BTreeMap::clear);
    ON.store(true, Ordering::Relaxed);
}

/// Stops counting and returns what was counted, by name, pass and shape.
pub fn stop() -> Vec<Cost> {
    ON.store(false, Ordering::Relaxed);
    totals(std::mem::take)
        .into_iter()
        .map(|((operation, pass, shape), totals)| Cost {
            operation,
            pass,
            shape,
            calls: totals.calls,
            time: totals.time,
            flops: totals.flops,
            bytes: totals.bytes,
        })
        .collect()
}

fn totals<R>(f: impl FnOnce(&mut BTreeMap<Key, Totals>) -> R) -> R {
    f(&mut TOTALS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What one call is about.
#[cfg(feature = "flex")]
pub(crate) struct Work {
    pub(crate) operation: &'static str,
    pub(crate) pass: Pass,
    pub(crate) shape: Vec<usize>,
    /// Multiplications with an addition.
    pub(crate) multiplications: usize,
    /// Numbers of inputs and outputs.
    pub(crate) numbers: usize,
}

/// A call that ends when this is dropped.
#[cfg(feature = "flex")]
pub(crate) struct Span(Work, Instant);

/// Begins a call, if calls are counted.
#[cfg(feature = "flex")]
pub(crate) fn span(work: impl FnOnce() -> Work) -> Option<Span> {
    ON.load(Ordering::Relaxed)
        .then(|| Span(work(), Instant::now()))
}

#[cfg(feature = "flex")]
impl Drop for Span {
    fn drop(&mut self) {
        let Self(work, start) = self;
        let time = start.elapsed();
        totals(|all| {
            let key = (work.operation, work.pass, std::mem::take(&mut work.shape));
            let totals = all.entry(key).or_default();
            totals.calls += 1;
            totals.time += time;
            totals.flops += 2.0 * work.multiplications as f64;
            totals.bytes += (size_of::<f32>() * work.numbers) as f64;
        });
    }
}
