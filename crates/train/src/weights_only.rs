//! A model without training state: folded, or imported from another program.
//!
//! ```text
//! DIR/
//!   frozen.json     where it came from
//!   config.toml     the configuration it is evaluated with
//!   plan.toml       every decision of the model
//!   tokenizer.json  if there is one
//!   checkpoints/    one
//! ```
//!
//! [`crate::load_run`] takes such a folder for a run; training refuses it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use evenburn_data::Position;
use evenburn_model::Plan;
use evenburn_optim::Counts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{Checkpoints, FORMAT, Named, State};
use crate::config::RunConfig;
use crate::durable;
use crate::error::TrainError;
use crate::recorded_plan::RecordedPlan;
use crate::run_dir::{self, CHECKPOINTS, CONFIG, PLAN, TOKENIZER, WEIGHTS_ONLY};

/// Where a model without training state came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "made_by", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelOrigin {
    /// `evenburn fold`.
    Folding {
        /// The checkpoint that was folded.
        #[serde(serialize_with = "path_text")]
        checkpoint: PathBuf,
        /// Learned scales that no matrix could carry.
        kept: Vec<String>,
        /// Where the folded model had been imported: what that recorded of its texts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        texts: Option<Value>,
    },
    /// `evenburn import`.
    Import {
        /// The folder that was read.
        #[serde(serialize_with = "path_text")]
        folder: PathBuf,
        /// The class it was written by.
        class: String,
        /// How its texts begin and end, as whoever exports it again understands it; models that were imported before this
        /// was recorded lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        texts: Option<Value>,
    },
}

/// A path for people to read: it may have bytes that JSON has no text for.
fn path_text<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl fmt::Display for ModelOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folding { checkpoint, .. } => write!(f, "folded from {}", checkpoint.display()),
            Self::Import { folder, class, .. } => {
                write!(f, "imported from {} ({class})", folder.display())
            }
        }
    }
}

impl ModelOrigin {
    /// What was recorded of the texts of the checkpoint that the model once was imported from; `None` for one that was
    /// trained here.
    pub fn texts(&self) -> Option<&Value> {
        match self {
            Self::Folding { texts, .. } | Self::Import { texts, .. } => texts.as_ref(),
        }
    }

    /// What a folder says of itself; nothing where it is an ordinary run.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, TrainError> {
        let path = dir.join(WEIGHTS_ONLY);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(TrainError::io("read", &path, e)),
        };
        let read = serde_json::from_slice(&text).map_err(|e| TrainError::Damaged {
            file: path,
            why: e.to_string(),
            intact: None,
        })?;
        Ok(Some(read))
    }
}

/// A model to be written.
#[derive(Debug)]
pub struct WeightsOnlyModel<'a> {
    /// Where it came from.
    pub origin: ModelOrigin,
    /// The configuration it is evaluated with.
    pub config: &'a RunConfig,
    /// Every decision.
    pub plan: &'a Plan,
    /// Every parameter of the plan, by path.
    pub weights: Vec<Named>,
    /// The text of its `tokenizer.json`.
    pub tokenizer: Option<&'a str>,
    /// Optimizer steps and tokens it was trained for, where they are known.
    pub trained: (u64, u64),
}

impl WeightsOnlyModel<'_> {
    /// Writes the folder, complete or not at all: `at`, or `<run.dir>/<utc>-<run.name>`; returns where it is.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] if something is there already, [`TrainError::Io`] if it can't be written.
    pub fn write(self, at: Option<&Path>) -> Result<PathBuf, TrainError> {
        let place = match at {
            Some(path) => path.to_owned(),
            None => run_dir::free_name(&self.config.run.dir, &self.config.run.name),
        };
        if run_dir::is_occupied(&place) {
            let why = format!("{} already exists; name another", place.display());
            return Err(TrainError::invalid("--out", why));
        }
        let draft = evenburn_files::Draft::begin(&place)?;
        self.fill(draft.path())?;
        draft.finish()?;
        Ok(place)
    }

    fn fill(self, dir: &Path) -> Result<(), TrainError> {
        let plan = RecordedPlan::new(self.plan.clone())?;
        let about =
            serde_json::to_vec_pretty(&self.origin).map_err(|e| TrainError::Unwritable {
                what: "the origin of the model",
                why: e.to_string(),
            })?;
        durable::write(&dir.join(WEIGHTS_ONLY), &about)?;
        durable::write(&dir.join(CONFIG), self.config.to_toml()?.as_bytes())?;
        durable::write(&dir.join(PLAN), plan.text.as_bytes())?;
        if let Some(tokenizer) = self.tokenizer {
            durable::write(&dir.join(TOKENIZER), tokenizer.as_bytes())?;
        }
        let (step, tokens) = self.trained;
        let state = State {
            format: FORMAT,
            step,
            tokens,
            seed: self.config.train.seed,
            cursor: Position::default(),
            optim: Counts::default(),
            metrics_bytes: 0,
            config: String::new(),
            plan: plan.hash(),
            corpus: String::new(),
        };
        let weights = self.weights;
        Checkpoints::open(dir.join(CHECKPOINTS), 1)?.save(&state, || weights, Vec::new)?;
        Ok(durable::sync_folder(dir)?)
    }
}
