//! The factors on what attention takes.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn_model::plan::AttentionFactor;
use evenburn_model::strategy::{AnGpt, HeadNorm, SoftmaxGain, UnitNorm};
use evenburn_model::{Decoder, ForwardContext, KvCache, ModelConfig, Plan, weights};
use std::collections::BTreeMap;

fn plan(attention_factor: AttentionFactor) -> Plan {
    let config = ModelConfig {
        vocab_size: 23,
        dim: 16,
        layers: 2,
        heads: 6,
        kv_heads: Some(2),
        head_dim: Some(4),
        context: 8,
        ..ModelConfig::default()
    };
    let scheme = AnGpt {
        // A norm behind them would divide the factors out.
        branch_norm: UnitNorm::None,
        softmax_gain: SoftmaxGain::None,
        qk: HeadNorm::None,
        attention_factor,
        ..AnGpt::default()
    };
    Plan::new(&config, &scheme).unwrap()
}

fn tokens(device: &Device) -> Tensor<2, Int> {
    Tensor::from_ints([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]], device)
}

/// Logits `[2, 6, V]` of an anGPT whose query weights are multiplied by `sharpness`.
fn logits(attention_factor: AttentionFactor, sharpness: f64, documents: bool) -> Vec<f64> {
    let device = Device::flex();
    let model = Decoder::new(&plan(attention_factor), 2, &device);
    let values: BTreeMap<_, _> = weights::collect(&model)
        .into_iter()
        .map(|(path, data)| {
            let shape = data.shape().clone();
            let times = if path.ends_with("attn.q.weight") {
                sharpness
            } else {
                1.0
            };
            let v: Vec<f64> = data.convert::<f64>().try_to_vec().unwrap();
            let v: Vec<f64> = v.into_iter().map(|v| v * times).collect();
            (path, TensorData::new(v, shape))
        })
        .collect();
    let model = weights::replace(model, values).unwrap();
    let segments = documents
        .then(|| Tensor::<2, Int>::from_ints([[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]], &device));
    let context = ForwardContext {
        segments,
        ..Default::default()
    };
    let y = model.logits(model.forward(tokens(&device), &context).hidden);
    assert_eq!(y.dtype(), DType::F64);
    y.into_data().try_to_vec().unwrap()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()))
}

#[test]
fn both_factors_agree_where_a_query_sees_all_keys_alike() {
    for documents in [false, true] {
        let dense = logits(AttentionFactor::Dense, 0.0, documents);
        let exact = logits(AttentionFactor::Exact, 0.0, documents);
        assert!(distance(&dense, &exact) < 1e-12);
        let none = logits(AttentionFactor::None, 0.0, documents);
        assert!(distance(&dense, &none) > 1e-3);
    }
}

#[test]
fn the_exact_factor_vanishes_where_a_query_sees_one_key() {
    // Scores so far apart that one weight is 1: the mean has the length of one value already.
    let exact = logits(AttentionFactor::Exact, 1e6, false);
    let none = logits(AttentionFactor::None, 1e6, false);
    assert!(distance(&exact, &none) < 1e-9);
    let dense = logits(AttentionFactor::Dense, 1e6, false);
    assert!(distance(&exact, &dense) > 1e-3);
}

#[test]
fn the_factors_count_what_the_cache_holds() {
    let device = Device::flex();
    let numbers = |y: Tensor<3>| -> Vec<f64> { y.into_data().iter::<f64>().collect() };
    for factor in [AttentionFactor::Dense, AttentionFactor::Exact] {
        let model = Decoder::new(&plan(factor), 2, &device);
        let whole = numbers(model.logits(model.hidden(tokens(&device))));
        let mut cache = KvCache::new(&model);
        let parts = [(0, 2), (2, 1), (3, 3)].map(|(first, count)| {
            let new = tokens(&device).narrow(1, first, count);
            model.forward_cached(new, &mut cache).unwrap()
        });
        let parts = numbers(Tensor::cat(parts.to_vec(), 1));
        assert!(distance(&whole, &parts) < 1e-5, "{factor:?}");
    }
}
