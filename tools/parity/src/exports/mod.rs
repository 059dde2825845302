//! Models that are written for `transformers`, with the logits they must have there.

mod cases;

pub use cases::cases;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use cases::VOCABULARY;
use evenburn::data::Tokenizer;
use evenburn::interchange::{Ends, ExportModel, Target, Token, export};
use evenburn_model::{Decoder, ModelConfig, Plan, Scheme, weights};
use std::collections::BTreeMap;
use std::path::Path;

const END_OF_TEXT: &str = "<|endoftext|>";

/// A tokenizer learned from a few words.
///
/// # Errors
/// When it can't be learned.
pub fn tokenizer() -> anyhow::Result<Tokenizer> {
    let texts = [
        "low lower lowest",
        "new newer newest",
        "slow slower slowest",
    ];
    let texts = texts.into_iter().map(|text| Ok(text.to_owned()));
    Ok(Tokenizer::train(texts, VOCABULARY, END_OF_TEXT)?)
}

/// A model and the class that must be found for it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name of its folder.
    pub name: String,
    /// Sizes.
    pub config: ModelConfig,
    /// Scheme.
    pub scheme: Scheme,
    /// The class that loads it.
    pub class: &'static str,
}

impl Case {
    /// The plan.
    ///
    /// # Errors
    /// When sizes and scheme don't fit.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        Ok(self.scheme.plan(&self.config)?)
    }

    /// Weights in a number format, every vector uneven so that a misplaced one shows.
    ///
    /// # Errors
    /// When they don't fit the plan.
    pub fn decoder(&self, dtype: DType) -> anyhow::Result<Decoder> {
        let model = Decoder::new(&self.plan()?, 11, &Device::flex());
        let values: BTreeMap<_, _> = weights::collect(&model)
            .into_iter()
            .enumerate()
            .map(|(n, (path, data))| {
                let shape = data.shape().clone();
                let single = shape.len() == 1;
                let values: Vec<f64> = data
                    .iter::<f64>()
                    .enumerate()
                    .map(|(i, v)| {
                        let wave = 0.3 * ((i * 7 + n * 3) as f64).sin();
                        match single {
                            true if v == 0.0 => wave,
                            true => v * (1.0 + wave),
                            false => v,
                        }
                    })
                    .collect();
                (path, TensorData::new(values, shape).convert_dtype(dtype))
            })
            .collect();
        Ok(weights::replace(model, values)?)
    }
}

/// The tokens that logits are compared on, `[2, 12]`.
pub fn tokens() -> Tensor<2, Int> {
    let ids: Vec<i32> = (0..24)
        .map(|i| (i * i * 5 + i * 31 + 1) % VOCABULARY as i32)
        .collect();
    Tensor::from_data(TensorData::new(ids, [2, 12]), &Device::flex())
}

/// Writes one folder for each case and number format, `reference.safetensors` beside the model; returns how many.
///
/// # Errors
/// When a model can't be written, or another class is found for it than the case says.
pub fn write(folder: &Path) -> anyhow::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let tokenizer = tokenizer()?;
    let mut written = 0;
    for case in cases() {
        for (dtype, suffix) in [(DType::F32, "f32"), (DType::F64, "f64")] {
            let decoder = case.decoder(dtype)?;
            let place = folder.join(format!("{}_{suffix}", case.name));
            let model = ExportModel {
                plan: case.plan()?,
                weights: weights::collect(&decoder),
                tokenizer: Some(tokenizer.json().to_owned()),
                ends: Ends::Trained {
                    begin: None,
                    end: Token {
                        name: END_OF_TEXT.to_owned(),
                        id: tokenizer.eod(),
                    },
                },
            };
            let exported = export(&model, &Target::Auto, &place)?;
            anyhow::ensure!(
                exported.class == case.class,
                "{}: written for {}, not for {}",
                case.name,
                exported.class,
                case.class
            );
            reference(&decoder, &place.join("reference.safetensors"))?;
            written += 1;
        }
    }
    Ok(written)
}

/// `tokens` and the `logits` a decoder makes of them.
fn reference(decoder: &Decoder, path: &Path) -> anyhow::Result<()> {
    use safetensors::tensor::{Dtype, TensorView};
    let logits = decoder.logits(decoder.hidden(tokens())).into_data();
    let ids = tokens().into_data().convert::<i32>();
    let dtype = match logits.dtype() {
        DType::F64 => Dtype::F64,
        _ => Dtype::F32,
    };
    let views = [
        (
            "logits",
            TensorView::new(dtype, logits.shape().to_vec(), logits.as_bytes())?,
        ),
        (
            "tokens",
            TensorView::new(Dtype::I32, ids.shape().to_vec(), ids.as_bytes())?,
        ),
    ];
    Ok(safetensors::serialize_to_file(views, None, path)?)
}
