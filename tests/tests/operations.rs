//! Operations counted on a device: a folded anGPT has no more than GPT+, and one without branch norms no more than a decoder
//! without norms.
//!
//! Burn's autodiff numbers the result of every float operation, fused ones too, from one counter of the process: what
//! it moved by is how many there were. Other threads would move it too, so this file has one test.

#![allow(clippy::unwrap_used)] // a test fails where it unwraps nothing

use burn::backend::autodiff::NodeId;
use burn::tensor::{DType, Device, Int, Tensor};
use evenburn_model::strategy::{
    AnGpt, HeadNorm, NormStrategy, PreNorm, QkNorm, SoftmaxGain, UnitNorm,
};
use evenburn_model::{Decoder, KvCache, ModelConfig, Plan, fold, weights};
use evenburn_parity::bare::Bare;

/// What one token through a network takes.
#[derive(Debug, PartialEq)]
struct Operations {
    /// In each block.
    block: u64,
    /// At both ends.
    ends: u64,
}

/// The two ways a model is run.
#[derive(Debug, Clone, Copy)]
enum Run {
    /// A whole sequence, as in training.
    Sequence,
    /// One token behind a cache, as in generation.
    Step,
}

fn config(layers: usize) -> ModelConfig {
    ModelConfig {
        vocab_size: 48,
        dim: 32,
        layers,
        heads: 4,
        kv_heads: Some(2),
        context: 16,
        ..ModelConfig::default()
    }
}

fn operations_of(work: impl FnOnce()) -> u64 {
    let before = NodeId::new().value;
    work();
    NodeId::new().value - before - 1
}

fn count(model: &Decoder, run: Run, device: &Device) -> u64 {
    let tokens = |n| Tensor::<1, Int>::arange(0..n, device).reshape([1, n as usize]);
    match run {
        Run::Sequence => {
            let tokens = tokens(8);
            operations_of(|| drop(model.logits(model.hidden(tokens))))
        }
        Run::Step => {
            let mut cache = KvCache::new(model);
            model.forward_cached(tokens(8), &mut cache).unwrap();
            let token = tokens(1);
            operations_of(|| drop(model.forward_cached(token, &mut cache).unwrap()))
        }
    }
}

/// From a network of two blocks and one of three.
fn operations(
    scheme: &dyn NormStrategy,
    folded: bool,
    run: Run,
    dtype: DType,
    device: &Device,
) -> Operations {
    let [two, three] = [2, 3].map(|layers| {
        let plan = Plan::new(&config(layers), scheme).unwrap();
        let mut model = Decoder::new(&plan, 0, device);
        if folded {
            model = fold(&plan, &model, device).unwrap().decoder;
        }
        let values = weights::collect(&model)
            .into_iter()
            .map(|(path, data)| (path, data.convert_dtype(dtype)));
        let model = weights::replace(model, values).unwrap();
        count(&model, run, device)
    });
    let block = three - two;
    Operations {
        block,
        ends: two - 2 * block,
    }
}

#[test]
fn a_folded_angpt_has_no_more_than_what_it_is_compared_with() {
    let device = Device::flex().autodiff();
    let x = Tensor::<2>::ones([2, 3], &device);
    assert_eq!(operations_of(|| drop((x.clone() + x).exp())), 2);

    for qk in [HeadNorm::None, HeadNorm::Unit] {
        let (bare, angpt) = (
            Bare { qk },
            AnGpt {
                branch_norm: UnitNorm::None,
                softmax_gain: SoftmaxGain::None,
                qk,
                ..AnGpt::default()
            },
        );
        for run in [Run::Sequence, Run::Step] {
            // The kernels take f32; in f64 every operation is Burn's own.
            for dtype in [DType::F32, DType::F64] {
                let of = |scheme: &dyn NormStrategy, folded| {
                    operations(scheme, folded, run, dtype, &device)
                };
                let (plain, folded, trained) =
                    (of(&bare, false), of(&angpt, true), of(&angpt, false));
                println!("{qk:?}, {run:?}, {dtype:?}: {plain:?}, {folded:?}, {trained:?}");
                assert!(
                    folded.block <= plain.block,
                    "{qk:?}, {run:?}, {dtype:?}: {folded:?}"
                );
                assert!(
                    folded.ends <= plain.ends,
                    "{qk:?}, {run:?}, {dtype:?}: {folded:?}"
                );
                // The count sees what folding removes.
                assert!(
                    trained.block > plain.block,
                    "{qk:?}, {run:?}, {dtype:?}: {trained:?}"
                );
            }
        }
    }

    let gpt_plus = PreNorm {
        qk: QkNorm::Unit,
        ..PreNorm::default()
    };
    for run in [Run::Sequence, Run::Step] {
        let of = |scheme: &dyn NormStrategy| operations(scheme, true, run, DType::F32, &device);
        let (baseline, folded) = (of(&gpt_plus), of(&AnGpt::default()));
        println!("{run:?}: {baseline:?}, {folded:?}");
        assert!(folded.block <= baseline.block, "{run:?}: {folded:?}");
        // No final norm.
        assert!(folded.ends < baseline.ends, "{run:?}: {folded:?}");
    }
}
