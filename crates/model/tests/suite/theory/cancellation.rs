//! A constant in front of an L2 norm changes nothing (methods of 2505.22014 with the norm of each branch's output), in f64 on
//! random weights; without those norms each constant acts.

use crate::common::{VOCAB, config, distance, numbers};
use crate::gradients::{random_decoder, random_tokens, values, with};
use burn::tensor::Device;
use evenburn_model::plan::Combine;
use evenburn_model::strategy::{AnGpt, FactorScales, GateScale, UnitNorm};
use evenburn_model::{Decoder, ExpertsConfig, ModelConfig, Plan};

/// Logits of random weights under one plan, computed by another.
fn logits(weights_of: &Plan, plan: &Plan) -> Vec<f64> {
    let device = Device::flex();
    let values = values(&random_decoder(weights_of, 7, &device));
    let model = with(Decoder::new(plan, 7, &device), &values);
    let tokens = random_tokens([2, 12], VOCAB, 3, &device);
    numbers(model.logits(model.hidden(tokens)))
}

fn plan(branch_norm: UnitNorm, config: &ModelConfig, factors: FactorScales) -> Plan {
    let scheme = AnGpt {
        branch_norm,
        factors,
        ..AnGpt::default()
    };
    Plan::new(config, &scheme).unwrap()
}

/// How far a change of the plan moves the logits.
fn moved(
    branch_norm: UnitNorm,
    config: &ModelConfig,
    factors: FactorScales,
    change: impl Fn(&mut Plan),
) -> f64 {
    let base = plan(branch_norm, config, FactorScales::default());
    let mut other = plan(branch_norm, config, factors);
    change(&mut other);
    distance(&logits(&base, &base), &logits(&base, &other))
}

fn scaled() -> [(&'static str, FactorScales); 4] {
    let one = FactorScales::default();
    [
        ("qkv", FactorScales { qkv: 1.7, ..one }),
        ("o", FactorScales { o: 0.4, ..one }),
        (
            "activation",
            FactorScales {
                activation: 0.6,
                ..one
            },
        ),
        ("down", FactorScales { down: 2.3, ..one }),
    ]
}

#[test]
fn constants_before_a_branch_norm_cancel() {
    for (name, factors) in scaled() {
        let cancelled = moved(UnitNorm::Unit, &config(), factors, |_| {});
        assert!(cancelled < 1e-9, "{name}: {cancelled}");
        let acts = moved(UnitNorm::None, &config(), factors, |_| {});
        assert!(acts > 1e-3, "{name}: {acts}");
    }
}

#[test]
fn nu_uz_cancels_at_u_and_acts_at_z() {
    let one = FactorScales::default();
    let u = |plan: &mut Plan| {
        for layer in &mut plan.layers {
            layer.up.linear.factor *= 1.9;
        }
    };
    let cancelled = moved(UnitNorm::Unit, &config(), one, u);
    assert!(cancelled < 1e-9, "{cancelled}");
    let up = FactorScales { up: 1.9, ..one };
    for branch_norm in [UnitNorm::Unit, UnitNorm::None] {
        let acts = moved(branch_norm, &config(), up, |_| {});
        assert!(acts > 1e-3, "{acts}");
    }
    // Without its u, what `up` does is what the gate's own constant does.
    let gate = moved(UnitNorm::Unit, &config(), up, |plan| {
        for layer in &mut plan.layers {
            layer.mlp.before /= 1.9;
        }
    });
    assert!(gate < 1e-9, "{gate}");
    let base = plan(UnitNorm::Unit, &config(), one);
    let plain = AnGpt {
        gate_scale: GateScale::One,
        ..AnGpt::default()
    };
    let plain = Plan::new(&config(), &plain).unwrap();
    let acts = distance(&logits(&base, &base), &logits(&base, &plain));
    assert!(acts > 1e-3, "{acts}");
}

#[test]
fn the_length_of_a_sum_of_experts_cancels() {
    let experts = ExpertsConfig {
        count: 4,
        shared: 1,
        ..ExpertsConfig::default()
    };
    let mixture = ModelConfig {
        experts,
        ..config()
    };
    let sum = |plan: &mut Plan| {
        for layer in &mut plan.layers {
            layer.mlp.combine = Combine::Sum;
        }
    };
    let one = FactorScales::default();
    let cancelled = moved(UnitNorm::Unit, &mixture, one, sum);
    assert!(cancelled < 1e-9, "{cancelled}");
    let acts = moved(UnitNorm::None, &mixture, one, sum);
    assert!(acts > 1e-3, "{acts}");
    for (name, factors) in scaled() {
        let cancelled = moved(UnitNorm::Unit, &mixture, factors, |_| {});
        assert!(cancelled < 1e-9, "{name}: {cancelled}");
    }
}
