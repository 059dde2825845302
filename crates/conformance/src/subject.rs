//! The models that are checked.

use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::{
    Biases, Decoder, ExpertsConfig, MlpKind, ModelConfig, Plan, Positions, Scheme, weights,
};
use std::collections::BTreeMap;

/// Entries of the vocabulary of [`config`].
pub const VOCAB: usize = 37;

/// A model to check: a scheme and the sizes it is planned for.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What a failed check calls it.
    pub name: String,
    /// The sizes.
    pub config: ModelConfig,
    /// The scheme.
    pub scheme: Scheme,
}

impl Subject {
    /// A scheme in the sizes of [`config`].
    pub fn of(scheme: impl Into<Scheme>) -> Self {
        let scheme = scheme.into();
        Self {
            name: scheme.name().to_owned(),
            config: config(),
            scheme,
        }
    }

    /// The same in other sizes; `what` says in which.
    #[must_use]
    pub fn in_body(&self, what: &str, config: ModelConfig) -> Self {
        Self {
            name: format!("{} {what}", self.name),
            config,
            scheme: self.scheme.clone(),
        }
    }

    /// A scheme in the bodies that take every way through a decoder: gated MLP and rotary positions, plain MLP with biases
    /// and learned positions, and a mixture of experts.
    pub fn bodies(scheme: &Scheme) -> Vec<Self> {
        let usual = Self::of(scheme.clone());
        let plain = ModelConfig {
            positions: Positions::Learned,
            mlp: MlpKind::GeluTanh,
            biases: Biases::All,
            ..config()
        };
        let experts = ExpertsConfig {
            count: 4,
            shared: 1,
            ..ExpertsConfig::default()
        };
        let mixture = ModelConfig {
            experts,
            ..config()
        };
        let others = [
            usual.in_body("with another body", plain),
            usual.in_body("with experts", mixture),
        ];
        std::iter::once(usual).chain(others).collect()
    }

    /// Its plan.
    pub fn plan(&self) -> Plan {
        let plan = self.scheme.plan(&self.config);
        plan.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Its model in f64, with gains that are not all equal, so that a misplaced one shows.
    pub fn model(&self, device: &Device) -> Decoder {
        let model = Decoder::new(&self.plan(), 11, device);
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
}

/// Grouped heads whose width is not `dim / heads`, three blocks.
pub fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: VOCAB,
        dim: 24,
        layers: 3,
        heads: 4,
        kv_heads: Some(2),
        head_dim: Some(10),
        hidden: Some(40),
        context: 16,
        ..ModelConfig::default()
    }
}

/// Two sequences of 12 tokens, `[2, 12]`, that a seed decides.
pub fn tokens(seed: usize, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = (0..24)
        .map(|i| ((i * i * 5 + i * seed + seed) % VOCAB) as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, [2, 12]), device)
}
