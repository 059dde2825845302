//! The models that the tests are about.

use burn::tensor::Device;
use evenburn_model::plan::AttentionFactor;
use evenburn_model::strategy::{
    AnGpt, Bias, EmbedNorm, EmbedScale, FirstLayer, GainForm, HeadNorm, HybridNorm, Ngpt, PeriNorm,
    PreNorm, QkGain, QkNorm, Scheme, Statistics,
};
use evenburn_model::{
    Balance, Biases, Decoder, Double, DoubleAt, ExpertsConfig, Gates, Kept, MlpKind, ModelConfig,
    Plan, Positions, Registry, ScaleSwitches, ScaleVectors, Stored,
};

pub(crate) use evenburn_conformance::{Subject, VOCAB, config, distance, numbers, tokens};

/// Every scheme, and the variants that take another way through the atoms.
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
    for qk in [QkNorm::None, QkNorm::Full] {
        let scheme = PreNorm {
            qk,
            ..PreNorm::default()
        };
        add("qk", config(), Scheme::from(scheme));
    }
    let qk = HeadNorm::None;
    let ngpt = Ngpt {
        qk,
        ..Ngpt::default()
    };
    add("without q/k norm", config(), Scheme::from(ngpt));
    let angpt = AnGpt {
        qk,
        ..AnGpt::default()
    };
    add("without q/k norm", config(), Scheme::from(angpt));
    for (name, attention_factor) in [
        ("dense", AttentionFactor::Dense),
        ("exact", AttentionFactor::Exact),
    ] {
        let angpt = AnGpt {
            attention_factor,
            qk_gain: QkGain::Learned,
            ..AnGpt::default()
        };
        add(name, config(), Scheme::from(angpt));
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
    let grouped = ModelConfig {
        heads: 6,
        ..config()
    };
    add("three queries to a key", grouped, Scheme::default());
    for scheme in registry.schemes() {
        add("with another body", plain.clone(), scheme);
    }
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
    for scheme in registry.schemes() {
        let unified = ModelConfig {
            scale_vectors: ScaleVectors::Unified,
            ..config()
        };
        // Schemes without an input norm have nothing to give to each linear map.
        if scheme.plan(&unified).is_ok() {
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

pub(crate) fn plan(subject: &Subject) -> Plan {
    subject.plan()
}

/// A model in f64 whose gains are not all equal, so that a misplaced one shows.
pub(crate) fn model(subject: &Subject, device: &Device) -> Decoder {
    subject.model(device)
}
