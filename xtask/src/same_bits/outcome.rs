//! What a short run computed: the loss of every step and the weights of its checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use evenburn_files::{Sha256, hex};
use serde::Deserialize;
use serde_json::Value;

use crate::presets;

/// The losses and the weights of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `train/loss` of each step, in order.
    losses: Vec<f64>,
    weights: Vec<Weight>,
}

/// A tensor of the checkpoint.
#[derive(Debug)]
struct Weight {
    name: String,
    /// SHA-256 of its type, its shape and its bytes.
    hash: [u8; 32],
}

/// A tensor as the header of a safetensors file describes it.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl Outcome {
    /// Reads the run at `folder`, which has one checkpoint.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let losses = presets::metrics(folder)?
            .iter()
            .enumerate()
            .map(|(i, line)| {
                line.get("train/loss")
                    .and_then(Value::as_f64)
                    .with_context(|| format!("step {}: train/loss is no number", i + 1))
            })
            .collect::<Result<_>>()?;
        let path = weights_of(folder)?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let weights = weights(&bytes)
            .with_context(|| format!("{} is no safetensors file", path.display()))?;
        Ok(Self { losses, weights })
    }

    pub(super) fn last_loss(&self) -> f64 {
        self.losses.last().copied().unwrap_or(f64::NAN)
    }

    /// One hash over the names, types, shapes and bytes of all weights; the file's header has no part in it.
    pub(super) fn hash(&self) -> String {
        let mut all = Sha256::default();
        for weight in &self.weights {
            all.update(&weight.name);
            all.update([0]);
            all.update(weight.hash);
        }
        hex(&all.bytes()[..8])
    }

    /// The first thing in which two runs differ by a bit, or nothing.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.losses.len() != other.losses.len() {
            let (ours, theirs) = (self.losses.len(), other.losses.len());
            return Some(format!("{ours} steps and {theirs}"));
        }
        let pairs = self.losses.iter().zip(&other.losses).enumerate();
        for (i, (ours, theirs)) in pairs {
            if ours.to_bits() != theirs.to_bits() {
                return Some(format!("step {}: loss {ours} and {theirs}", i + 1));
            }
        }
        let names = |weights: &[Weight]| -> Vec<String> {
            weights.iter().map(|weight| weight.name.clone()).collect()
        };
        let (ours, theirs) = (names(&self.weights), names(&other.weights));
        let lone = ours
            .iter()
            .find(|name| !theirs.contains(name))
            .or_else(|| theirs.iter().find(|name| !ours.contains(name)));
        if let Some(name) = lone {
            return Some(format!("only one has the weight {name}"));
        }
        let mut both = self.weights.iter().zip(&other.weights);
        both.find(|(ours, theirs)| ours.hash != theirs.hash)
            .map(|(weight, _)| format!("the weight {}", weight.name))
    }
}

/// The weights of a run's last checkpoint.
fn weights_of(run: &Path) -> Result<PathBuf> {
    let folder = run.join("checkpoints");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path().join("model.safetensors");
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
        .pop()
        .with_context(|| format!("{} has no checkpoint", folder.display()))
}

/// The tensors of a safetensors file, by name: eight bytes with the length of a header in JSON, the header, the data.
fn weights(bytes: &[u8]) -> Result<Vec<Weight>> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .context("it is shorter than its length")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (header, data) = rest
        .split_at_checked(length)
        .context("it ends within its header")?;
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(header)?;
    header.remove("__metadata__");
    if header.is_empty() {
        bail!("it has no tensors");
    }
    header
        .into_iter()
        .map(|(name, entry)| {
            let entry: Entry = serde_json::from_value(entry)?;
            let [from, to] = entry.data_offsets;
            let data = data
                .get(from..to)
                .with_context(|| format!("{name} lies outside of it"))?;
            let mut hash = Sha256::default();
            hash.update(format!("{} {:?} ", entry.dtype, entry.shape));
            hash.update(data);
            let hash = hash.bytes();
            Ok(Weight { name, hash })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [&length, header.as_bytes(), data].concat()
    }

    fn outcome(losses: &[f64], header: &str, data: &[u8]) -> Outcome {
        Outcome {
            losses: losses.to_vec(),
            weights: weights(&file(header, data)).unwrap(),
        }
    }

    const AB: &str = r#"{"__metadata__":{"x":"1"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    const BA: &str = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;

    #[test]
    fn headers_and_the_order_in_the_file_make_no_difference() {
        let one = outcome(&[1.0], AB, b"aaaabbbb");
        let other = outcome(&[1.0], BA, b"bbbbaaaa");
        assert_eq!(one.difference(&other), None);
        assert_eq!(one.hash(), other.hash());
    }

    #[test]
    fn the_first_difference_is_named() {
        let one = outcome(&[2.0, 1.0], AB, b"aaaabbbb");
        let bit = outcome(&[2.0, 1.0_f64.next_up()], AB, b"aaaabbbb");
        assert_eq!(
            one.difference(&bit).unwrap(),
            "step 2: loss 1 and 1.0000000000000002"
        );
        let weight = outcome(&[2.0, 1.0], AB, b"aaaabbbc");
        assert_eq!(one.difference(&weight).unwrap(), "the weight b");
        assert_ne!(one.hash(), weight.hash());
        let shaped = outcome(&[2.0, 1.0], &AB.replacen("[1]", "[1,1]", 1), b"aaaabbbb");
        assert_eq!(one.difference(&shaped).unwrap(), "the weight a");
        let renamed = outcome(&[2.0, 1.0], &AB.replace("\"b\"", "\"c\""), b"aaaabbbb");
        assert_eq!(
            one.difference(&renamed).unwrap(),
            "only one has the weight b"
        );
        let short = outcome(&[2.0], AB, b"aaaabbbb");
        assert_eq!(one.difference(&short).unwrap(), "2 steps and 1");
    }

    #[test]
    fn what_is_no_safetensors_file_is_an_error() {
        assert!(weights(b"short").is_err());
        assert!(weights(&file("{}", b"")).is_err());
        assert!(weights(&file(AB, b"aaaabbb")).is_err());
    }
}
