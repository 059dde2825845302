//! From a folder of `transformers` to a plan and its weights.

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::peer::Peer;
use crate::texts::Texts;
use crate::{folder, fused, peer, rows};
use burn::tensor::TensorData;
use evenburn_model::{HeadWeights, ModelConfig, Plan, Scheme};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The output layer in memory in every class, and in the checkpoints of most.
const OUTPUT: &str = "lm_head.weight";

/// An imported model: sizes, scheme, plan, weights, tokenizer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The class it was written by.
    pub class: &'static str,
    /// Its sizes, as the `[model]` section has them.
    pub config: ModelConfig,
    /// Its scheme, with the options that make the class's function.
    pub scheme: Scheme,
    /// The plan of both.
    pub plan: Plan,
    /// Every parameter of the plan, by path.
    pub weights: BTreeMap<String, TensorData>,
    /// The text of the folder's `tokenizer.json`, if it has one.
    pub tokenizer: Option<String>,
    /// How texts begin and end.
    pub texts: Texts,
    /// What the tokenizer does to a text and this project doesn't, in sentences.
    pub left_out: Vec<String>,
}

/// Reads a checkpoint of one of [`crate::peer_names`]: what `transformers` reads of the folder, with the defaults of the class
/// where its configuration leaves something out.
///
/// # Errors
/// [`InterchangeError::Inexpressible`] for an architecture or an option that no plan says,
/// [`InterchangeError::Tensors`] with every tensor that is missing, unexpected or of another shape or type.
pub fn import(path: &Path) -> Result<Imported, InterchangeError> {
    let file = path.join(folder::CONFIG);
    let mut config = Fields::new(&file, folder::json(&file)?);
    let name = config.required_text("model_type")?;
    let Some(peer) = peer::of(name) else {
        let why = peer::why_not(name, "read");
        return Err(config.inexpressible("model_type", &why));
    };
    config.rename(peer.second_names());
    let (mut sizes, scheme) = peer.read(&config)?;
    let stored = folder::tensors(path, config.map())?;
    let table = peer.rows();
    let plan = scheme.plan(&sizes)?;
    let mut expected = rows::names(&table, &plan);
    expected.insert(output_name(&table).to_owned());
    let floats = match peer.experts() {
        Some(names) => fused::apart(stored.floats, names),
        None => stored.floats,
    };
    let mut theirs = full_names(peer, floats, &expected);
    let others = full_names(peer, stored.others, &expected);
    let plan = if plan.head.is_none() && tied(&table, &mut theirs) == HeadWeights::Untied {
        sizes.head = HeadWeights::Untied;
        scheme.plan(&sizes)?
    } else {
        plan
    };
    let weights = rows::read(&table, &plan, theirs, &others, path, peer.class())?;
    let mut texts = Texts::read(path, &config, peer.ends())?;
    let tokenizer = folder::text(path, folder::TOKENIZER)?;
    let left_out = match &tokenizer {
        Some(text) => {
            let tokenizer = folder::object(&path.join(folder::TOKENIZER), text)?;
            texts.name_tokens(path, &tokenizer)?
        }
        None => Vec::new(),
    };
    Ok(Imported {
        class: peer.class(),
        config: sizes,
        scheme,
        plan,
        weights,
        tokenizer,
        texts,
        left_out,
    })
}

/// The files of weights that [`import`] reads of a folder, once they are there: what to fetch of a repository whose
/// `config.json` and indices lie in the folder already. `has` says whether the repository has a file of this name.
///
/// # Errors
/// A `config.json` or an index that can't be read, names that lead out of the folder, and a repository without safetensors.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("config.json"), "{}")?;
/// let files = evenburn_interchange::weight_files(folder.path(), |name| name == "model.safetensors")?;
/// assert_eq!(files, [folder.path().join("model.safetensors")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn weight_files(
    folder: &Path,
    has: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, InterchangeError> {
    let config = folder::json(&folder.join(folder::CONFIG))?;
    folder::files(folder, &config, has)
}

/// The output layer in the checkpoints of a class.
fn output_name(table: &[rows::Row]) -> &'static str {
    let row = table.iter().find(|row| row.ours == ["head.weight"]);
    row.map_or(OUTPUT, |row| row.theirs)
}

/// Gives tensors the names that the class has for them, without those that are no parameters of it. A checkpoint of the
/// class without its output layer lacks the names' first part, and one of a model that holds the class has it twice.
fn full_names<T>(
    peer: &dyn Peer,
    stored: BTreeMap<String, T>,
    expected: &BTreeSet<String>,
) -> BTreeMap<String, T> {
    let (prefix, table) = (peer.prefix(), peer.rows());
    let output = output_name(&table);
    let own: BTreeSet<String> = stored.keys().cloned().collect();
    let full = |name: String| {
        let name = if name == OUTPUT && !own.contains(output) {
            output.to_owned()
        } else {
            name
        };
        let longer = format!("{prefix}{name}");
        let shorter = name.strip_prefix(prefix).map(str::to_owned);
        let free = |other: &String| expected.contains(other) && !own.contains(other);
        if expected.contains(&name) {
            return name;
        }
        let other = [Some(longer), shorter].into_iter().flatten().find(free);
        other.unwrap_or(name)
    };
    let buffer = |name: &str| peer.buffers().iter().any(|end| name.ends_with(end));
    stored
        .into_iter()
        .filter(|(name, _)| !buffer(name))
        .map(|(name, value)| (full(name), value))
        .collect()
}

/// What a checkpoint is whose configuration shares the table of embeddings with the output layer. Some programs store the
/// table twice, or under the name of the output layer; two different tables are not shared.
fn tied(table: &[rows::Row], theirs: &mut BTreeMap<String, TensorData>) -> HeadWeights {
    let row = table.iter().find(|row| row.ours == ["embed.weight"]);
    let Some((name, output)) = row
        .map(|row| row.theirs)
        .zip(theirs.remove(output_name(table)))
    else {
        return HeadWeights::Tied;
    };
    match theirs.get(name) {
        Some(first) if *first == output => HeadWeights::Tied,
        Some(_) => {
            theirs.insert(output_name(table).to_owned(), output);
            HeadWeights::Untied
        }
        None => {
            theirs.insert(name.to_owned(), output);
            HeadWeights::Tied
        }
    }
}
