//! Options that several schemes have: names, q/k norm, scale of the scores, initial weights.

use super::{D, K, LAYERS, deviations, dims, per_head, scalar, unit};
use crate::common::config;
use evenburn_model::plan::Normed;
use evenburn_model::strategy::{
    AnGpt, Decay, Keel, LnScaling, NormStrategy, Olmo2, PeriNorm, PostNorm, PreNorm, QkNorm,
    SoftmaxGain, WeightInit,
};
use evenburn_model::{ExpertsConfig, ModelConfig, Plan, Registry, Site};

#[test]
fn strategies_and_registry_agree_on_names() {
    let registry = Registry::default();
    for (name, scheme) in registry.names().zip(registry.schemes()) {
        assert_eq!(scheme.strategy().unwrap().name(), name);
    }
}

/// The words that an option takes, by its schema.
fn words(option: &serde_json::Value) -> Vec<&str> {
    let any = option["anyOf"].as_array().into_iter().flatten();
    any.chain([option])
        .flat_map(|schema| {
            let each = schema["oneOf"].as_array().into_iter().flatten();
            let listed = schema["enum"].as_array().into_iter().flatten();
            each.map(|one| &one["const"]).chain(listed)
        })
        .filter_map(serde_json::Value::as_str)
        .collect()
}

#[test]
fn every_word_of_every_option_makes_a_plan_of_its_own() {
    let registry = Registry::default();
    let mixture = ModelConfig {
        experts: ExpertsConfig {
            count: 4,
            ..ExpertsConfig::default()
        },
        ..ModelConfig::default()
    };
    let schema = registry.schema().to_value();
    let mut seen = 0;
    for scheme in schema["oneOf"].as_array().unwrap() {
        let options = scheme["properties"].as_object().unwrap();
        let name = options["scheme"]["const"].as_str().unwrap();
        for (option, about) in options {
            let plans = words(about).into_iter().filter_map(|word| {
                let table = format!("scheme = \"{name}\"\n{option} = \"{word}\"");
                let scheme = registry.read(table.parse().unwrap()).unwrap();
                let plan = scheme.plan(&mixture).ok()?;
                let options = toml::Table::new();
                Some((word, Plan { options, ..plan }))
            });
            let plans: Vec<_> = plans.collect();
            seen += plans.len();
            for (n, (word, plan)) in plans.iter().enumerate() {
                for (other, same) in &plans[..n] {
                    assert_ne!(plan, same, "{name}: {option} = {other} and {word}");
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

/// A choice of the q/k norm acts in every scheme that has it.
#[test]
fn unit_heads_have_a_learned_scale_in_every_scheme() {
    let qk = QkNorm::Unit;
    let schemes: [Box<dyn NormStrategy>; 6] = [
        Box::new(PreNorm {
            qk,
            ..PreNorm::default()
        }),
        Box::new(PostNorm {
            qk,
            ..PostNorm::default()
        }),
        Box::new(PeriNorm {
            qk,
            ..PeriNorm::default()
        }),
        Box::new(Olmo2 {
            qk,
            ..Olmo2::default()
        }),
        Box::new(LnScaling {
            qk,
            ..LnScaling::default()
        }),
        Box::new(Keel {
            qk,
            ..Keel::default()
        }),
    ];
    for scheme in schemes {
        let plan = Plan::new(&config(), scheme.as_ref()).unwrap();
        for layer in &plan.layers {
            assert!(layer.attention.qk_norm.is_some(), "{}", plan.scheme);
            assert!(layer.attention.softmax_gain.is_some(), "{}", plan.scheme);
        }
    }
}

#[test]
fn sdd_starts_by_the_width_alone() {
    let post = PostNorm {
        start: WeightInit::Sdd,
        ..PostNorm::default()
    };
    deviations(&post, |_, _| (1.0 / (2.5 * D).sqrt(), None));
}

#[test]
fn scores_have_the_scale_of_their_norm() {
    let of = |qk, softmax_gain, softmax_scale| {
        let scheme = PreNorm {
            qk,
            softmax_gain,
            softmax_scale,
            ..PreNorm::default()
        };
        let plan = scheme.attention(0, &dims());
        let site = scheme.linear(0, Site::K, &dims());
        assert_eq!(
            site.norm.is_some(),
            matches!(qk, QkNorm::Head | QkNorm::Full)
        );
        let after = plan.qk_norm.is_some().then_some(plan.normed);
        assert_eq!(plan.qk_norm, after.map(|_| per_head(unit())));
        (after, plan.softmax_gain, plan.softmax_scale)
    };
    for (qk, after, natural) in [
        (QkNorm::None, None, 1.0 / K.sqrt()),
        (QkNorm::Head, None, 1.0 / K.sqrt()),
        (QkNorm::Full, None, 1.0 / K.sqrt()),
        (QkNorm::Unit, Some(Normed::Both), K.sqrt()),
        (QkNorm::Keys, Some(Normed::Keys), 1.0),
    ] {
        let constant = (after, None, natural);
        let free = (after, Some(scalar(natural)), 1.0);
        let own = if qk == QkNorm::Unit { &free } else { &constant };
        assert_eq!(of(qk, None, None), *own, "{qk:?}");
        assert_eq!(of(qk, Some(SoftmaxGain::None), None), constant, "{qk:?}");
        assert_eq!(of(qk, Some(SoftmaxGain::Learned), None), free, "{qk:?}");
        let given = of(qk, Some(SoftmaxGain::None), Some(0.3));
        assert_eq!(given, (after, None, 0.3), "{qk:?}");
        let given = of(qk, Some(SoftmaxGain::Learned), Some(0.3));
        assert_eq!(given, (after, Some(scalar(0.3)), 1.0), "{qk:?}");
    }
    // Decay of everything takes the scalar too.
    let all = PreNorm {
        qk: QkNorm::Unit,
        decay: Decay::All,
        ..PreNorm::default()
    };
    let gain = all.attention(0, &dims()).softmax_gain;
    assert!(gain.is_some_and(|gain| gain.decay));
}

#[test]
fn one_scalar_a_layer_is_a_parameter_of_its_own() {
    let plan = Plan::new(&config(), &AnGpt::default()).unwrap();
    for layer in 0..LAYERS {
        let path = format!("blocks.{layer}.attn.scores.softmax.value");
        let spec = plan.params().into_iter().find(|spec| spec.path == path);
        let spec = spec.unwrap();
        assert_eq!((spec.shape, spec.decay), (vec![1], false));
    }
}
