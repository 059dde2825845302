//! The models that the tests are about.

use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::function::{GatedNorm, Place, Placed, PreAffine, SeedNorm, Taper};
use evenburn_model::plan::AttentionFactor;
use evenburn_model::strategy::{
    AnGpt, Bias, EmbedNorm, EmbedScale, FirstLayer, GainForm, HeadNorm, HybridNorm, Ngpt, PeriNorm,
    PreNorm, QkGain, QkNorm, Scheme, Statistics,
};
use evenburn_model::{
    Balance, Biases, Decoder, Double, DoubleAt, ExpertsConfig, Gates, Kept, MlpKind, ModelConfig,
    Plan, Positions, ScaleSwitches, ScaleVectors, Stored, weights,
};
use std::collections::BTreeMap;

pub(crate) const VOCAB: usize = 37;

/// A model that every test is about.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) config: ModelConfig,
    pub(crate) scheme: Scheme,
}

impl Subject {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Every scheme, and the variants that take another way through the atoms.
#[allow(clippy::too_many_lines)] // one entry per variant
pub(crate) fn subjects() -> Vec<Subject> {
    let mut all: Vec<Subject> = Scheme::all()
        .into_iter()
        .map(|scheme| Subject {
            name: scheme.name().to_owned(),
            config: config(),
            scheme,
        })
        .collect();
    let mut add = |name: &str, config: ModelConfig, scheme: Scheme| {
        all.push(Subject {
            name: format!("{} {name}", scheme.name()),
            config,
            scheme,
        });
    };
    for qk in [QkNorm::None, QkNorm::Full] {
        let scheme = PreNorm {
            qk,
            ..PreNorm::default()
        };
        add("qk", config(), Scheme::PreNorm(scheme));
    }
    let qk = HeadNorm::None;
    let ngpt = Ngpt {
        qk,
        ..Ngpt::default()
    };
    add("without q/k norm", config(), Scheme::Ngpt(ngpt));
    let angpt = AnGpt {
        qk,
        ..AnGpt::default()
    };
    add("without q/k norm", config(), Scheme::AnGpt(angpt));
    for (name, attention_factor) in [
        ("dense", AttentionFactor::Dense),
        ("exact", AttentionFactor::Exact),
    ] {
        let angpt = AnGpt {
            attention_factor,
            qk_gain: QkGain::Learned,
            ..AnGpt::default()
        };
        add(name, config(), Scheme::AnGpt(angpt));
    }
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
    add("as GPT-2", plain.clone(), Scheme::PreNorm(gpt2));
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
    add("as Gemma", geglu, Scheme::PeriNorm(gemma));
    let star = HybridNorm {
        first: FirstLayer::PreNorm,
        ..HybridNorm::default()
    };
    add("star", config(), Scheme::HybridNorm(star));
    let grouped = ModelConfig {
        heads: 6,
        ..config()
    };
    add("three queries to a key", grouped, Scheme::default());
    for scheme in Scheme::all() {
        add("with another body", plain.clone(), scheme);
    }
    for scheme in Scheme::all() {
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
        for scheme in Scheme::all() {
            let name = format!("of {}", function.function.name());
            let placed = ModelConfig {
                function: Some(function.clone()),
                ..config()
            };
            // Schemes without RMSNorm before their branches have no place for it.
            if Plan::new(&placed, scheme.strategy()).is_ok() {
                add(&name, placed, scheme);
            }
        }
    }
    for scheme in Scheme::all() {
        let unified = ModelConfig {
            scale_vectors: ScaleVectors::Unified,
            ..config()
        };
        // Schemes without an input norm have nothing to give to each linear map.
        if Plan::new(&unified, scheme.strategy()).is_ok() {
            add("unified", unified, scheme.clone());
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
    all
}

/// The functions that take the place of RMSNorm, with options that aren't their defaults.
pub(crate) fn functions() -> Vec<Placed> {
    let anywhere = |placed: Placed| Placed {
        at: Some(Place::InputsAndFinal),
        ..placed
    };
    let taper = |gate| Taper { gate, c: 0.8 };
    vec![
        SeedNorm::default().into(),
        SeedNorm { heads: 3 }.into(),
        GatedNorm { rank: 5 }.into(),
        PreAffine {}.into(),
        taper(0.35).into(),
        anywhere(taper(0.7).into()),
        anywhere(taper(0.0).into()),
    ]
}

/// Grouped heads whose width is not `dim / heads`, three blocks.
pub(crate) fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: VOCAB,
        dim: 24,
        layers: 3,
        heads: 4,
        kv_heads: Some(2),
        head_dim: Some(10),
        hidden: Some(40),
        context: 16,
        ..Default::default()
    }
}

pub(crate) fn plan(subject: &Subject) -> Plan {
    Plan::new(&subject.config, subject.scheme.strategy()).unwrap()
}

/// A model in f64 whose gains are not all equal, so that a misplaced one shows.
pub(crate) fn model(scheme: &Subject, device: &Device) -> Decoder {
    let model = Decoder::new(&plan(scheme), 11, device);
    let values: BTreeMap<_, _> = weights::collect(&model)
        .into_iter()
        .enumerate()
        .map(|(n, (path, data))| {
            let shape = data.shape().clone();
            let mut v: Vec<f64> = data.convert::<f64>().try_to_vec().unwrap();
            if shape.len() == 1 {
                for (i, v) in v.iter_mut().enumerate() {
                    let wave = 0.3 * ((i * 7 + n * 3) as f64).sin();
                    // What starts at zero is added, the rest multiplies.
                    *v = if *v == 0.0 { wave } else { *v * (1.0 + wave) };
                }
            }
            (path, TensorData::new(v, shape))
        })
        .collect();
    weights::replace(model, values).unwrap()
}

pub(crate) fn tokens(seed: usize, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = (0..24)
        .map(|i| ((i * i * 5 + i * seed + seed) % VOCAB) as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, [2, 12]), device)
}

pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_to_vec().unwrap()
}

pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m: f64, (a, b)| {
        if (a - b).is_nan() {
            f64::NAN
        } else {
            m.max((a - b).abs())
        }
    })
}
