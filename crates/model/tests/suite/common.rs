//! The models that the tests are about.

use burn::tensor::Device;
use evenburn_model::function::{GatedNorm, Placed, PlacedAt, PreAffine, SeedNorm, Taper};
use evenburn_model::plan::AttentionFactor;
use evenburn_model::strategy::{
    AnGpt, AngleDecay, Bias, EmbedNorm, EmbedScale, FinalNorm, FirstBlock, FirstLayer, GainForm,
    GateScale, GeoNorm, HeadNorm, HybridNorm, Keel, Ngpt, PeriNorm, PostNorm, PreNorm, QkNorm,
    ResidualFactor, Scheme, SiameseNorm, SoftmaxGain, Statistics, Streams, UnitNorm, WeightInit,
};
use evenburn_model::{
    Balance, Biases, Decoder, Double, DoubleAt, ExpertsConfig, Gates, Joined, Kept, MlpKind,
    ModelConfig, NormalizedOver, OutputInit, Plan, PlanError, Positions, Registry, ScaleSwitches,
    ScaleVectors, Stored,
};

pub(crate) use evenburn_conformance::{Subject, VOCAB, config, distance, numbers, tokens};

/// Every scheme, and the variants that take another way through the modules.
#[allow(clippy::too_many_lines)] // one entry per variant
pub(crate) fn subjects() -> Vec<Subject> {
    let registry = Registry::default();
    let mut all: Vec<Subject> = registry.schemes().map(Subject::of).collect();
    let mut add = |name: &str, config: ModelConfig, scheme: Scheme| {
        all.push(Subject {
            name: format!("{} {name}", scheme.name()),
            config,
            scheme,
        });
    };
    for qk in [QkNorm::None, QkNorm::Full, QkNorm::Unit, QkNorm::Keys] {
        let scheme = PreNorm {
            qk,
            ..PreNorm::default()
        };
        add(&format!("{qk:?}"), config(), Scheme::from(scheme));
        // The other choice than the one it brings along.
        let softmax_gain = Some(match qk {
            QkNorm::Unit => SoftmaxGain::None,
            _ => SoftmaxGain::Learned,
        });
        let scheme = PreNorm {
            qk,
            softmax_gain,
            softmax_scale: Some(0.7),
            ..PreNorm::default()
        };
        let name = format!("{qk:?} scored otherwise");
        add(&name, config(), Scheme::from(scheme));
    }
    let keys = PostNorm {
        qk: QkNorm::Keys,
        ..PostNorm::default()
    };
    add("keys", config(), Scheme::from(keys));
    let qk = HeadNorm::None;
    let ngpt = Ngpt {
        qk,
        ..Ngpt::default()
    };
    add("without q/k norm", config(), Scheme::from(ngpt));
    for skip_norm in [None, Some(UnitNorm::Unit)] {
        let ngpt = Ngpt {
            residual_factor: ResidualFactor::SecondMoment,
            skip_norm,
            ..Ngpt::default()
        };
        let name = format!("with nu, skip {skip_norm:?}");
        add(&name, config(), Scheme::from(ngpt));
    }
    let angpt = AnGpt {
        qk,
        ..AnGpt::default()
    };
    add("without q/k norm", config(), Scheme::from(angpt));
    for (name, attention_factor) in [
        ("norm-free", AttentionFactor::None),
        ("dense", AttentionFactor::Dense),
        ("exact", AttentionFactor::Exact),
    ] {
        add(name, config(), norm_free(attention_factor));
    }
    let ablation = AnGpt {
        gate_scale: GateScale::One,
        softmax_gain: SoftmaxGain::None,
        residual_factor: ResidualFactor::One,
        attention_factor: AttentionFactor::Exact,
        ..AnGpt::default()
    };
    add("ablation", config(), Scheme::from(ablation));
    let gpt2 = PreNorm {
        qk: QkNorm::None,
        norm: Statistics::Layer,
        bias: Bias::Learned,
        ..PreNorm::default()
    };
    let plain = ModelConfig {
        positions: Positions::Learned,
        mlp: MlpKind::GeluTanh,
        biases: Biases::All,
        ..config()
    };
    add("as GPT-2", plain.clone(), Scheme::from(gpt2));
    let gemma = PeriNorm {
        gain: GainForm::OnePlus,
        embed_norm: EmbedNorm::None,
        embed_scale: EmbedScale::SqrtDim,
        ..PeriNorm::default()
    };
    let geglu = ModelConfig {
        positions: Positions::RopeHalves,
        mlp: MlpKind::GegluTanh,
        biases: Biases::Qkv,
        ..config()
    };
    add("as Gemma", geglu, Scheme::from(gemma));
    let star = HybridNorm {
        first: FirstLayer::PreNorm,
        ..HybridNorm::default()
    };
    add("star", config(), Scheme::from(star));
    for (decay, final_norm) in [
        (AngleDecay::Sqrt, FinalNorm::Rms),
        (AngleDecay::Linear, FinalNorm::Layer),
    ] {
        let geo = GeoNorm {
            decay,
            clamp: 0.3,
            embed_norm: EmbedNorm::Normalized,
            final_norm,
            ..GeoNorm::default()
        };
        add("normalized", config(), Scheme::from(geo));
    }
    let siamese = SiameseNorm {
        streams: Streams::HybridPre,
        ..SiameseNorm::default()
    };
    add("hybrid", config(), Scheme::from(siamese));
    let grouped = ModelConfig {
        heads: 6,
        ..config()
    };
    add("three queries to a key", grouped, Scheme::default());
    for positions in [Positions::Rope, Positions::RopeHalves] {
        let part = ModelConfig {
            positions,
            rope_fraction: 0.4,
            ..config()
        };
        add(
            &format!("{positions:?} of 4 in 10"),
            part,
            Scheme::default(),
        );
    }
    for scheme in registry.schemes() {
        add("with another body", plain.clone(), scheme);
    }
    let bare = norm_free(AttentionFactor::None);
    add("norm-free with another body", plain, bare);
    for scheme in registry.schemes() {
        let experts = ExpertsConfig {
            count: 4,
            shared: 1,
            ..ExpertsConfig::default()
        };
        let mixture = ModelConfig {
            experts,
            ..config()
        };
        add("with experts", mixture, scheme);
    }
    let sigmoid = ModelConfig {
        experts: ExpertsConfig {
            count: 5,
            top_k: 3,
            gates: Gates::Sigmoid,
            kept: Kept::AsIs,
            scale: 2.5,
            balance: Balance::Bias,
            ..ExpertsConfig::default()
        },
        mlp: MlpKind::Gelu,
        ..config()
    };
    add("with sigmoid experts", sigmoid, Scheme::default());
    for mlp in [MlpKind::Geglu, MlpKind::Gelu, MlpKind::Relu2] {
        let body = ModelConfig {
            mlp,
            positions: Positions::None,
            ..config()
        };
        add(&format!("{mlp:?}"), body, Scheme::default());
    }
    for function in functions() {
        for scheme in registry.schemes() {
            let name = format!("of {}", function.function.name());
            let placed = ModelConfig {
                function: Some(function.clone()),
                ..config()
            };
            match scheme.plan(&placed) {
                Ok(_) => add(&name, placed, scheme),
                // Nothing else may be wrong with it.
                Err(error) => lacks(&error, "a scheme without RMSNorm before its branches"),
            }
        }
    }
    for scheme in registry.schemes() {
        let unified = ModelConfig {
            scale_vectors: ScaleVectors::Unified,
            ..config()
        };
        match scheme.plan(&unified) {
            Ok(_) => add("unified", unified, scheme.clone()),
            Err(error) => lacks(&error, "no normalization with a gain before any of them"),
        }
        let exp = ModelConfig {
            scale: ScaleSwitches {
                stored: Some(Stored::ExpProduct),
                double: Some(Double::Plain),
                double_at: Some(DoubleAt::BlockOutputs),
                ..ScaleSwitches::default()
            },
            ..config()
        };
        add("doubly placed", exp, scheme);
    }
    let sdd = ModelConfig {
        scale: ScaleSwitches {
            double: Some(Double::NormalizedAfter),
            double_at: Some(DoubleAt::All),
            normalized_over: Some(NormalizedOver::Full),
            output_init: Some(OutputInit::PerLayer),
            stored: Some(Stored::CenteredExp),
            ..ScaleSwitches::default()
        },
        ..config()
    };
    let post = PostNorm {
        norm: Statistics::Rms,
        start: WeightInit::Sdd,
        ..PostNorm::default()
    };
    add("SDD", sdd, Scheme::from(post));
    let after = ModelConfig {
        scale: ScaleSwitches {
            double: Some(Double::After),
            ..ScaleSwitches::default()
        },
        ..config()
    };
    add("after", after, Scheme::from(PreNorm::default()));
    let roots = ModelConfig {
        scale_vectors: ScaleVectors::Unified,
        experts: ExpertsConfig {
            count: 4,
            shared: 2,
            shared_hidden: Some(28),
            combine: Joined::Sqrt,
            ..ExpertsConfig::default()
        },
        ..config()
    };
    add("roots of gates", roots, Scheme::from(PreNorm::default()));
    let first_block = FirstBlock::Post;
    let keel = Keel {
        first_block,
        norm: Statistics::Rms,
        skip_scale: Some(1.5),
        ..Keel::default()
    };
    add("from the first block on", config(), Scheme::from(keel));
    all
}

/// A configuration asks of a scheme what it doesn't have, and nothing else is wrong.
fn lacks(error: &PlanError, what: &str) {
    let found = matches!(error, PlanError::Clash { second, .. } if second.contains(what));
    assert!(found, "{error}");
}

/// The functions that take the place of RMSNorm, with options that aren't their defaults.
pub(crate) fn functions() -> Vec<Placed> {
    let anywhere = |placed: Placed| Placed {
        at: Some(PlacedAt::InputsAndFinal),
        ..placed
    };
    let taper = |gate| Taper::fixed(gate, 0.8);
    vec![
        SeedNorm::default().into(),
        SeedNorm { heads: 3 }.into(),
        GatedNorm { rank: 5 }.into(),
        PreAffine {}.into(),
        taper(0.35).into(),
        Taper::default().into(),
        anywhere(taper(0.7).into()),
        anywhere(taper(0.0).into()),
    ]
}

/// anGPT without norms but those of q and k.
pub(crate) fn norm_free(attention_factor: AttentionFactor) -> Scheme {
    Scheme::from(AnGpt {
        branch_norm: UnitNorm::None,
        softmax_gain: SoftmaxGain::None,
        attention_factor,
        ..AnGpt::default()
    })
}

pub(crate) fn plan(subject: &Subject) -> Plan {
    subject.plan()
}

/// A model in f64 whose gains are not all equal, so that a misplaced one shows.
pub(crate) fn model(subject: &Subject, device: &Device) -> Decoder {
    subject.model(device)
}
