//! Packed text in a plain Burn program: `cargo run -p plain-burn -- TEXT`.
//!
//! A prepared corpus is a `Dataset` for Burn's own loaders; a stream, which has no length and no random access, is a loader
//! by itself.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_data::{
    Batch, Boundaries, DataConfig, Evaluation, Sample, Stream, prepare, prepare_ahead,
};

/// Positions per sample.
const CONTEXT: usize = 16;
/// Samples per batch.
const SAMPLES: usize = 8;

/// Inputs and the tokens that follow them, `[B, T]` each.
#[derive(Debug, Clone)]
struct Packed {
    inputs: Tensor<2, Int>,
    targets: Tensor<2, Int>,
}

impl Packed {
    fn new(batch: &Batch, device: &Device) -> Self {
        let tensor = |ids: &Vec<i32>| {
            Tensor::from_data(
                TensorData::new(ids.clone(), [batch.batch, batch.time]),
                device,
            )
        };
        Self {
            inputs: tensor(&batch.tokens),
            targets: tensor(&batch.targets),
        }
    }
}

/// Puts samples of a dataset together.
struct SampleBatcher(Boundaries);

impl Batcher<Sample, Packed> for SampleBatcher {
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> Packed {
        let mut batch = Batch::new(CONTEXT);
        for sample in &samples {
            batch.push(sample, self.0);
        }
        Packed::new(&batch, device)
    }
}

/// A stream as a loader: a pass over it is a number of batches from where the pass before ended.
#[derive(Clone)]
struct StreamLoader {
    stream: Arc<Mutex<Stream>>,
    batches: usize,
    device: Device,
}

impl DataLoader<Packed> for StreamLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Packed> + 'a> {
        Box::new(Pass {
            loader: self,
            done: 0,
        })
    }

    fn num_items(&self) -> usize {
        self.batches * SAMPLES
    }

    fn expected_num_items(&self) -> Option<usize> {
        Some(self.num_items())
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Packed>> {
        Arc::new(Self {
            device: device.clone(),
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Packed>> {
        Arc::new(Self {
            batches: (end - start).div_ceil(SAMPLES),
            ..self.clone()
        })
    }
}

/// Some batches of a stream.
struct Pass<'a> {
    loader: &'a StreamLoader,
    done: usize,
}

impl Iterator for Pass<'_> {
    type Item = Result<Packed, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.loader.batches {
            return None;
        }
        self.done += 1;
        let stream = self.loader.stream.lock();
        let batch = stream
            .unwrap_or_else(PoisonError::into_inner)
            .next_batch(SAMPLES);
        let batch = batch.map(|batch| Packed::new(&batch, &self.loader.device));
        Some(batch.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<Packed> for Pass<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done * SAMPLES, self.loader.num_items(), None)
    }
}

/// `p(next | token)` by a table of logits.
#[derive(Module, Debug)]
struct Bigram {
    logits: Embedding,
}

impl Bigram {
    fn loss(&self, batch: &Packed, loss: &CrossEntropyLoss) -> Tensor<1> {
        let logits: Tensor<2> = self.logits.forward(batch.inputs.clone()).flatten(0, 1);
        loss.forward(logits, batch.targets.clone().flatten(0, 1))
    }
}

/// Passes over a loader. The mean loss of the last one, in nats per token.
fn train(
    loader: &dyn DataLoader<Packed>,
    vocab: usize,
    passes: usize,
    device: &Device,
) -> Result<f32, DatasetError> {
    let mut model = Bigram {
        logits: EmbeddingConfig::new(vocab, vocab).init(device),
    };
    let mut optimizer = AdamWConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(device);
    let mut mean = 0.0;
    for _ in 0..passes {
        let mut losses = Vec::new();
        for batch in loader.iter() {
            let loss = model.loss(&batch?, &loss);
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.1, model, gradients);
        }
        mean = losses.iter().sum::<f32>() / losses.len() as f32;
    }
    Ok(mean)
}

/// Trains on a prepared corpus and on a stream of the same text. Their last losses.
fn both(text: &str, cache: &Path) -> Result<(f32, f32), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let config = DataConfig {
        path: text.into(),
        tokenizer_vocab: 300,
        validation_fraction: 0.0,
        ..DataConfig::default()
    };
    let corpus = prepare(&config, cache, &())?;
    let vocab = corpus.tokenizer.vocab_size();
    let samples = corpus.train.dataset(CONTEXT)?;
    let loader = DataLoaderBuilder::new(SampleBatcher(corpus.train.boundaries()))
        .batch_size(SAMPLES)
        .shuffle(1)
        .set_device(device.clone())
        .build(samples);
    let prepared = train(&*loader, vocab, 3, &device)?;

    // No evaluation, so that no validation text is looked for.
    let none = Evaluation {
        context: CONTEXT,
        samples: 0,
    };
    let corpus = prepare_ahead(&config, none, cache, &())?;
    let loader = StreamLoader {
        stream: Arc::new(Mutex::new(corpus.stream(CONTEXT, 1)?)),
        batches: loader.num_items().div_ceil(SAMPLES),
        device: device.clone(),
    };
    let streamed = train(&loader, vocab, 3, &device)?;
    Ok((prepared, streamed))
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).ok_or("give a text file")?;
    let (prepared, streamed) = both(&text, ".evenburn".as_ref())?;
    println!("nats per token: {prepared:.3} prepared, {streamed:.3} streamed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_learn_something() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        let sentence = |n| format!("The number {n} comes before {}.\n", n + 1);
        let documents: Vec<String> = (0..300).map(sentence).collect();
        std::fs::write(&text, documents.join("<|endoftext|>\n")).unwrap();
        let (prepared, streamed) = both(text.to_str().unwrap(), folder.path()).unwrap();
        // An even guess among 300 tokens is ln 300 = 5.7 nats.
        assert!(prepared < 4.0, "{prepared}");
        assert!(streamed < 4.0, "{streamed}");
    }
}
