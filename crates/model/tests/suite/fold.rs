//! A folded network computes what the trained one does, with nothing in it that a matrix could carry.

use crate::common::{Subject, config, distance, model, numbers, plan, subjects, tokens};
use burn::tensor::{DType, Device, TensorData};
use evenburn_model::function::{GatedNorm, Placed, PlacedAt, Taper};
use evenburn_model::plan::{
    Form, GainPlan, GainRole, HeadPlan, LerpFactor, LinearPlan, MixPlan, NormPlan, Normed, Place,
    Plan, ResidualPlan, Spot, Visit,
};
use evenburn_model::strategy::{AnGpt, HeadNorm, NormStrategy, PreNorm, QkNorm, UnitNorm};
use evenburn_model::{
    Branch, Decoder, Dims, FoldError, Folded, ModelConfig, Scheme, Site, fold, weights,
};
use std::collections::BTreeMap;

fn logits(model: &Decoder) -> Vec<f64> {
    let device = model.embed.weight.val().device();
    numbers(model.logits(model.hidden(tokens(1, &device))))
}

/// Largest difference over the largest value.
fn error(a: &[f64], b: &[f64]) -> f64 {
    distance(a, b) / b.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

fn in_single(model: Decoder) -> Decoder {
    let values: BTreeMap<_, _> = weights::collect(&model)
        .into_iter()
        .map(|(path, data)| (path, data.convert_dtype(DType::F32)))
        .collect();
    weights::replace(model, values).unwrap()
}

fn is_one(v: f64) -> bool {
    (v - 1.0).abs() < f64::EPSILON
}

/// A scale that stays must be stored as its used value.
fn stays(gain: &GainPlan) -> bool {
    gain.form == Form::Direct && is_one(gain.ratio()) && !gain.decay
}

fn norm_is_folded(norm: &NormPlan, may_keep_gain: bool) -> bool {
    let gain = norm.gain.as_ref();
    if !norm.function.gain_is_last() {
        return gain.is_none_or(stays);
    }
    gain.is_none_or(|g| may_keep_gain && stays(g)) && (gain.is_none() || is_one(norm.factor))
}

fn linear_is_folded(site: Site, plan: &LinearPlan, gated: bool) -> bool {
    // Behind v and the linear branch of a gated MLP stands the next matrix, up to sums over tokens and a product.
    let absorbed = site == Site::V || (site == Site::Up && gated);
    let around = is_one(plan.factor) && plan.before.is_none();
    around
        && match &plan.norm {
            None => plan.after.is_none(),
            Some(norm) => {
                let kept = !absorbed || norm.bias.is_some();
                let after = plan.after.as_ref();
                norm_is_folded(norm, kept) && after.is_none_or(|gain| kept && stays(gain))
            }
        }
}

/// Written from what a plan means, not from what `fold` does.
fn nothing_foldable_is_left(plan: &Plan) -> Result<(), String> {
    let ends = &plan.ends;
    let check = |ok: bool, what: &str| if ok { Ok(()) } else { Err(what.to_owned()) };
    check(
        is_one(ends.embedding.factor) && ends.embedding.gain.is_none(),
        "embedding",
    )?;
    check(ends.head.logit_gain.is_none(), "logits")?;
    if let Some(norm) = &ends.head.final_norm {
        check(norm_is_folded(norm, norm.bias.is_some()), "final norm")?;
    }
    let gated = plan.dims.mlp.inside() == Site::Gate;
    for (n, layer) in plan.layers.iter().enumerate() {
        check(layer.attention.softmax_gain.is_none(), "softmax scale")?;
        check(
            is_one(layer.mlp.before) && is_one(layer.mlp.after),
            "activation",
        )?;
        for site in Site::BLOCK.into_iter().chain([Site::Router]) {
            if let Some(site_plan) = layer.site(site) {
                let ok = linear_is_folded(site, &site_plan.linear, gated);
                check(ok, &format!("block {n} {site}"))?;
            }
        }
        for residual in [&layer.attn_residual, &layer.mlp_residual] {
            if let Some(input) = &residual.input {
                let ok = norm_is_folded(input, false) && input.bias.is_none();
                check(ok, &format!("block {n} input norm"))?;
            }
            for norm in [
                &residual.stream,
                &residual.output,
                &residual.skip,
                &residual.after,
            ] {
                let ok = norm.as_ref().is_none_or(|norm| norm_is_folded(norm, true));
                check(ok, &format!("block {n} norm"))?;
            }
            let normed = residual.skip.is_some() || residual.after.is_some();
            let lerp = match &residual.mix {
                MixPlan::Lerp { alpha, .. } => normed && stays(alpha),
                MixPlan::Add | MixPlan::Scaled { .. } | MixPlan::Rule { .. } => true,
            };
            check(lerp, &format!("block {n} interpolation"))?;
        }
    }
    Ok(())
}

#[test]
fn logits_are_preserved_and_nothing_foldable_is_left() {
    let device = Device::flex();
    for subject in subjects() {
        for head in [
            evenburn_model::HeadWeights::Untied,
            evenburn_model::HeadWeights::Tied,
        ] {
            let subject = Subject {
                name: subject.name.clone(),
                config: ModelConfig {
                    head,
                    ..subject.config.clone()
                },
                scheme: subject.scheme.clone(),
            };
            let (plan, trained) = (plan(&subject), model(&subject, &device));
            let folded = fold(&plan, &trained, &device).unwrap();
            let found = error(&logits(&folded.decoder), &logits(&trained));
            assert!(found < 1e-9, "{}: {found}", subject.name);
            if let Err(what) = nothing_foldable_is_left(&folded.plan) {
                panic!("{}: {what} is left", subject.name);
            }
            let planned: Vec<_> = folded.plan.params().into_iter().map(|s| s.path).collect();
            let built: Vec<_> = weights::collect(&folded.decoder)
                .into_iter()
                .map(|(path, _)| path)
                .collect();
            assert_eq!(planned, built, "{}", subject.name);
            for path in &folded.kept {
                assert!(built.contains(&format!("{path}.value")), "{path}");
            }

            let single = in_single(trained);
            let folded = fold(&plan, &single, &device).unwrap();
            let found = error(&logits(&folded.decoder), &logits(&single));
            assert!(found < 1e-4, "{} in f32: {found}", subject.name);
        }
    }
}

#[test]
fn folding_twice_changes_nothing() {
    let device = Device::flex();
    for subject in subjects() {
        let first = fold(&plan(&subject), &model(&subject, &device), &device).unwrap();
        let again = fold(&first.plan, &first.decoder, &device).unwrap();
        assert_eq!(again.plan, first.plan, "{}", subject.name);
        assert_eq!(logits(&again.decoder), logits(&first.decoder));
    }
}

/// A decoder without any normalization, constant or scale.
#[derive(Debug)]
struct Plain;

impl NormStrategy for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan::plain()
    }
    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan::plain()
    }
}

/// A plan without what makes no operation: how weights start, where they may go, and the constant inside the softmax.
fn operations(mut plan: Plan) -> String {
    plan.scheme.clear();
    plan.options.clear();
    let plain = Plan::new(&config(), &Plain).unwrap();
    plan.embedding = plain.embedding.clone();
    plan.head.clone_from(&plain.head);
    for (layer, other) in plan.layers.iter_mut().zip(&plain.layers) {
        layer.attention.softmax_scale = 1.0;
        layer.mlp.combine = other.mlp.combine;
        for (mine, its) in [
            (&mut layer.q, &other.q),
            (&mut layer.k, &other.k),
            (&mut layer.v, &other.v),
            (&mut layer.o, &other.o),
            (&mut layer.up, &other.up),
            (&mut layer.down, &other.down),
        ] {
            mine.weight = its.weight.clone();
        }
        if let (Some(mine), Some(its)) = (&mut layer.gate, &other.gate) {
            mine.weight = its.weight.clone();
        }
    }
    format!("{plan:?}")
}

fn folded_angpt(scheme: AnGpt) -> Folded {
    let device = Device::flex();
    let subject = Subject {
        name: "angpt".to_owned(),
        config: config(),
        scheme: Scheme::from(scheme),
    };
    fold(&plan(&subject), &model(&subject, &device), &device).unwrap()
}

#[test]
fn a_folded_norm_free_angpt_has_the_operations_of_a_decoder_without_norms() {
    let fold_of = |qk| {
        folded_angpt(AnGpt {
            branch_norm: UnitNorm::None,
            qk,
            ..AnGpt::default()
        })
    };
    let plain = operations(Plan::new(&config(), &Plain).unwrap());
    let without = fold_of(HeadNorm::None);
    assert_eq!(operations(without.plan), plain);
    assert!(without.kept.is_empty());
    // Unit heads of q and k are a normalization and stay; nothing else does.
    let mut with = fold_of(HeadNorm::Unit).plan;
    assert_ne!(operations(with.clone()), plain);
    for layer in &mut with.layers {
        assert!(layer.attention.qk_norm.take().is_some());
    }
    assert_eq!(operations(with), plain);
}

/// Normalizations that a token goes through, those of q and k as two.
fn norms(plan: &Plan) -> usize {
    struct Count<'a> {
        plan: &'a Plan,
        norms: usize,
    }
    impl Visit for Count<'_> {
        fn norm(&mut self, at: &Spot, _: &NormPlan) {
            let scores = at.param.layer.filter(|_| at.param.place == Place::Scores);
            self.norms += match scores.map(|layer| self.plan.layers[layer].attention.normed) {
                Some(Normed::Both) => 2,
                Some(Normed::Keys) | None => 1,
            };
        }
    }
    let mut count = Count { plan, norms: 0 };
    plan.visit(&mut count);
    count.norms
}

/// A sum of branch outputs with gains, no norm in the stream (2505.22014 claims GPT+'s time).
#[test]
fn a_folded_angpt_is_an_output_norm_net_with_the_norms_of_gpt_plus_less_its_final_one() {
    let gpt_plus = PreNorm {
        qk: QkNorm::Unit,
        ..PreNorm::default()
    };
    let gpt_plus = Plan::new(&config(), &gpt_plus).unwrap();
    let Folded { plan, kept, .. } = folded_angpt(AnGpt::default());
    assert_eq!(norms(&plan), norms(&gpt_plus) - 1);
    for layer in &plan.layers {
        for residual in [&layer.attn_residual, &layer.mlp_residual] {
            let expected = ResidualPlan {
                output: Some(NormPlan {
                    gain: Some(GainPlan::ones(GainRole::Output)),
                    ..NormPlan::unit()
                }),
                ..ResidualPlan::plain()
            };
            assert_eq!(*residual, expected);
        }
        assert_eq!(layer.attention.softmax_gain, None);
    }
    let gains = |path: &String| path.ends_with("_residual.output.gain");
    assert_eq!(kept.len(), 2 * plan.layers.len());
    assert!(kept.iter().all(gains), "{kept:?}");
}

#[test]
fn a_softmax_scale_that_no_constant_may_be_stays_learned() {
    let device = Device::flex();
    let subject = Subject {
        name: "angpt".to_owned(),
        config: config(),
        scheme: Scheme::from(AnGpt::default()),
    };
    let trained = model(&subject, &device);
    let mut values: BTreeMap<_, _> = weights::collect(&trained).into_iter().collect();
    let path = "blocks.1.attn.scores.softmax.value";
    values.insert(path.to_owned(), TensorData::new(vec![-2.0_f64], [1]));
    let trained = weights::replace(trained, values).unwrap();
    let folded = fold(&plan(&subject), &trained, &device).unwrap();
    assert!(
        folded
            .kept
            .contains(&"blocks.1.attn.scores.softmax".to_owned())
    );
    assert!(folded.plan.layers[0].attention.softmax_gain.is_none());
    assert!(error(&logits(&folded.decoder), &logits(&trained)) < 1e-9);
}

#[test]
fn an_interpolation_that_keeps_nothing_is_refused_by_its_place() {
    let device = Device::flex();
    let subject = Subject {
        name: "angpt".to_owned(),
        config: config(),
        scheme: Scheme::from(AnGpt {
            alpha_init: 1.0,
            alpha_scale: 1.0,
            ..AnGpt::default()
        }),
    };
    let trained = model(&subject, &device);
    let mut values: BTreeMap<_, _> = weights::collect(&trained).into_iter().collect();
    let path = "blocks.1.mlp_residual.mix.alpha.value";
    for (name, data) in &mut values {
        if name.ends_with("alpha.value") {
            let mut alpha = vec![0.3; 24];
            if name == path {
                alpha[5] = 1.0;
            }
            *data = TensorData::new(alpha, [24]);
        }
    }
    let trained = weights::replace(trained, values).unwrap();
    let refused = fold(&plan(&subject), &trained, &device).unwrap_err();
    assert!(matches!(refused, FoldError::Vanishes { channel: 5, .. }));
    let message = refused.to_string();
    assert!(message.contains("block 1, mlp_residual"), "{message}");
}

/// At gate 0 a tapered norm before linear maps is a scale, which they take up whole.
#[test]
fn what_has_tapered_off_is_gone() {
    let device = Device::flex();
    let taper = |gate| ModelConfig {
        function: Some(Placed {
            at: Some(PlacedAt::InputsAndFinal),
            ..Taper::fixed(gate, 0.8).into()
        }),
        ..config()
    };
    let norms = |config: &ModelConfig| {
        let plan = Plan::new(config, &PreNorm::default()).unwrap();
        let folded = fold(&plan, &Decoder::new(&plan, 3, &device), &device).unwrap();
        let inputs = folded.plan.layers.iter();
        let inputs = inputs.flat_map(|l| [&l.attn_residual, &l.mlp_residual]);
        let inputs = inputs.filter(|r| r.input.is_some()).count();
        (inputs, folded.plan.ends.head.final_norm.is_some())
    };
    assert_eq!(norms(&taper(0.5)), (6, true));
    assert_eq!(norms(&taper(0.0)), (0, false));
}

/// Interpolations with branch outputs that no gain could make longer.
#[derive(Debug)]
struct Gated;

impl NormStrategy for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }
    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        let gate = GatedNorm { rank: 3 };
        ResidualPlan {
            output: Some(NormPlan {
                function: gate.into(),
                ..NormPlan::rms(1e-5, GainRole::Output)
            }),
            mix: MixPlan::Lerp {
                alpha: GainPlan {
                    init: 0.2,
                    ..GainPlan::ones(GainRole::Output)
                },
                factor: LerpFactor::SecondMoment,
            },
            ..ResidualPlan::plain()
        }
    }
    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan::plain()
    }
}

#[test]
fn an_interpolation_stays_where_a_gate_stands_behind_the_gain_of_the_branch() {
    let device = Device::flex();
    let plan = Plan::new(&config(), &Gated).unwrap();
    let trained = Decoder::new(&plan, 3, &device);
    let folded = fold(&plan, &trained, &device).unwrap();
    let mix = &folded.plan.layers[0].mlp_residual.mix;
    assert!(matches!(mix, MixPlan::Lerp { .. }), "{mix:?}");
    assert!(error(&logits(&folded.decoder), &logits(&trained)) < 1e-5);
}
