//! The reference numbers that the tests compare with, and what each of them is computed by here.

use evenburn::interchange::import;
use evenburn_model::{ModelConfig, Plan, ScaleSwitches, ScaleVectors, Scheme};
use std::path::Path;

/// Who computed a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A case of `tests/fixtures`.
    Case,
    /// A class of `transformers`, in `tests/fixtures/peers`.
    Peer,
}

/// Numbers computed elsewhere, with the model of ours that must give them.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) source: Source,
    /// File or folder.
    pub(crate) name: String,
    pub(crate) config: ModelConfig,
    pub(crate) scheme: Scheme,
}

impl Reference {
    /// The plan of the same scheme and sizes under another configuration.
    pub(crate) fn plan(&self, config: &ModelConfig) -> anyhow::Result<Plan> {
        Ok(self.scheme.plan(config)?)
    }

    /// The configuration with the learned scales that the scheme has by itself.
    pub(crate) fn standard(&self) -> ModelConfig {
        ModelConfig {
            scale_vectors: ScaleVectors::Standard,
            scale: ScaleSwitches::default(),
            ..self.config.clone()
        }
    }

    /// Whether its learned scales are those of the scheme.
    pub(crate) fn is_standard(&self) -> anyhow::Result<bool> {
        Ok(self.plan(&self.config)? == self.plan(&self.standard())?)
    }
}

/// Every reference, cases first, by name.
///
/// # Errors
/// When a folder of references can't be read or one of them makes no plan.
pub(crate) fn references() -> anyhow::Result<Vec<Reference>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let mut found: Vec<Reference> = evenburn_parity::models(&fixtures)?
        .into_iter()
        .map(|(name, config, scheme)| Reference {
            source: Source::Case,
            name,
            config,
            scheme,
        })
        .collect();
    for entry in std::fs::read_dir(fixtures.join("peers"))? {
        let folder = entry?.path();
        if folder.join("reference.safetensors").is_file() {
            let peer = import(&folder)?;
            let name = folder.file_name().unwrap_or_default();
            found.push(Reference {
                source: Source::Peer,
                name: name.to_string_lossy().into_owned(),
                config: peer.config,
                scheme: peer.scheme,
            });
        }
    }
    found.sort_by(|a, b| (a.source, &a.name).cmp(&(b.source, &b.name)));
    Ok(found)
}

/// More names than this are counted.
const SHOWN: usize = 8;

/// The cases, then the peers.
pub(crate) fn listed<'a>(references: impl Iterator<Item = &'a Reference>) -> String {
    let (cases, peers): (Vec<_>, Vec<_>) = references.partition(|r| r.source == Source::Case);
    let groups = [(cases, "", "cases"), (peers, "peers ", "peers")];
    let groups: Vec<String> = groups
        .into_iter()
        .filter(|(group, ..)| !group.is_empty())
        .map(|(group, before, kind)| match group.len() {
            0..=SHOWN => format!("{before}{}", names(&group)),
            count => format!("{count} {kind}"),
        })
        .collect();
    match groups.len() {
        0 => "nothing outside this project".to_owned(),
        _ => groups.join("; "),
    }
}

fn names(references: &[&Reference]) -> String {
    let quoted: Vec<String> = references.iter().map(|r| format!("`{}`", r.name)).collect();
    quoted.join(", ")
}
