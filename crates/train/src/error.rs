//! What can go wrong while a run is set up, trained or resumed.

use std::io;
use std::path::{Path, PathBuf};

use evenburn_optim::OptimError;

use crate::config::{Origin, Origins};

/// A run that can't start, continue or be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file or folder that can't be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A configuration file that is not TOML.
    #[error("{file}:{line}: {message}")]
    ConfigSyntax {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key nobody reads.
    #[error("{place}: unknown key `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// Where it was set.
        place: Origin,
        /// The key.
        key: String,
        /// The valid key most like it.
        nearest: Option<String>,
    },
    /// A value of another type, or outside the values allowed.
    #[error("{place}: `{key}` must be {expected}, not {found}{}", nearest.as_ref().map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default())]
    WrongValue {
        /// Where it was set.
        place: Origin,
        /// The key.
        key: String,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
        /// The word most like it, where it must be one of some.
        nearest: Option<Box<str>>,
    },
    /// A key of another variant of a tagged section.
    #[error("{place}: `{key}` {why}")]
    WrongVariant {
        /// Where it was set.
        place: Origin,
        /// The key.
        key: String,
        /// Which values of the tag it goes with, which one was chosen and where.
        why: String,
    },
    /// Values that have the right types and still make no configuration.
    #[error("configuration: {message}")]
    Config {
        /// What is wrong.
        message: String,
    },
    /// A value that is out of range or contradicts another one.
    #[error("{}{key}: {why}", origin.as_ref().map(|o| format!("{o}: ")).unwrap_or_default())]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong with its value.
        why: String,
        /// Where it was set, if it was.
        origin: Option<Origin>,
    },
    /// A value that has no form in the file it is to be written to.
    #[error("{what} can't be written: {why}")]
    Unwritable {
        /// The value.
        what: &'static str,
        /// The reason.
        why: String,
    },
    /// A model that makes no sense.
    #[error(transparent)]
    Plan(#[from] evenburn_model::PlanError),
    /// Weights that do not fit the model.
    #[error(transparent)]
    Weights(#[from] evenburn_model::WeightsError),
    /// Data that can't be read.
    #[error(transparent)]
    Data(#[from] evenburn_data::DataError),
    /// Text that can't be generated.
    #[error("sample: {0}")]
    Sample(#[from] evenburn_model::SampleError),
    /// Tokens that the model doesn't have.
    #[error("batch: {0}")]
    Tokens(#[from] evenburn_model::TokenError),
    /// Groups, gradients or optimizer states that do not fit the model.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// A device this build has no backend for.
    #[error(
        "train.device = \"{device}\" needs a build with the feature `{device}`; this one has {built_in}"
    )]
    Device {
        /// Name of the device.
        device: String,
        /// The devices that the build has.
        built_in: String,
    },
    /// Ranks that can't go on together.
    #[error(transparent)]
    Ranks(#[from] evenburn_ranks::RankError),
    /// A rank that was started with something else than rank 0.
    #[error(
        "rank {rank} on {host} has another {what} than rank 0: every rank has to be started alike"
    )]
    RankDiffers {
        /// Its number.
        rank: usize,
        /// Its machine.
        host: String,
        /// What differs.
        what: String,
    },
    /// A run directory another process works in.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The run directory.
        path: PathBuf,
    },
    /// A folder with a model that can't be trained on.
    #[error("{} holds a model that was {origin}: it has no optimizer state to continue with", path.display())]
    WeightsOnly {
        /// The folder.
        path: PathBuf,
        /// Where the model came from.
        origin: crate::weights_only::ModelOrigin,
    },
    /// A folder that holds no run.
    #[error("{} is not a run directory: it has no {missing}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
    /// A resume with other settings than the run was started with.
    #[error("{} was started with other settings: {}{}", path.display(), differences.join("; "), if *only_optimizer { "; --train.reset_optimizer true goes on with them and with fresh optimizer state" } else { "" })]
    ConfigDiffers {
        /// The run directory.
        path: PathBuf,
        /// One line per key: both values and where the new one came from.
        differences: Vec<String>,
        /// Whether `train.reset_optimizer` would accept them.
        only_optimizer: bool,
    },
    /// Another budget or schedule, under which a step that is taken would have had another rate.
    #[error("{}: {}: with that, step {step} of the {taken} that are taken would have had {} of the peak rate, and it had {}; {}; \
        --train.reset_optimizer true goes on with it all the same, with fresh optimizer state",
        path.display(), differences.join("; "), apart(*is, *was), apart(*was, *is),
        match earlier { Some(p) => format!("--resume {} goes on from before that, in a new run", p.display()), None => "no checkpoint from before that is left".to_owned() })]
    PastDiffers {
        /// The run directory.
        path: PathBuf,
        /// One line per key: both values and where the new one came from.
        differences: Vec<String>,
        /// The first such step, counted from 1.
        step: u64,
        /// Steps that are taken.
        taken: u64,
        /// Its rate, as part of the peak.
        was: f64,
        /// The rate it would have had.
        is: f64,
        /// The newest checkpoint from before it.
        earlier: Option<PathBuf>,
    },
    /// A resume with another model, optimizer or corpus than the checkpoint was made with.
    #[error("{} belongs to another {what}: {why}", path.display())]
    Foreign {
        /// The checkpoint or run.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// How.
        why: String,
    },
    /// A file of a checkpoint that is not what was written.
    #[error("{} is damaged: {why}{}", file.display(), intact.as_ref().map(|p| format!("; {} is intact, and resumes once {} is removed", p.display(), file.parent().unwrap_or(file).display())).unwrap_or_default())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The newest checkpoint of the run that is intact.
        intact: Option<PathBuf>,
    },
    /// A loss or gradient that is no number; the weights are still those of the step before.
    #[error("step {step}: the {what} is {value}; {}", match checkpoint { Some(p) => format!("the last checkpoint is {}", p.display()), None => "there is no checkpoint yet".to_owned() })]
    NonFinite {
        /// The loss, or whose gradient.
        what: String,
        /// Its value.
        value: f64,
        /// The step, counted from 1.
        step: u64,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// A device that did not hand over a result.
    #[error("reading from the device failed: {why}")]
    DeviceRead {
        /// The reason.
        why: String,
    },
    /// A monitor or a validation entry that failed.
    #[error("step {step}: `{name}` failed: {source}")]
    Monitor {
        /// Its name.
        name: String,
        /// The step, counted from 1.
        step: u64,
        /// What it says.
        source: crate::monitor::MonitorError,
    },
    /// burn-train stopped the run.
    #[error("the training loop was stopped: {0}")]
    Stopped(String),
}

/// A part of 1 in as many digits as tell it from another one.
fn apart(part: f64, other: f64) -> String {
    let text = |part: f64, digits: usize| format!("{part:.digits$}");
    let digits = (2..17).find(|digits| text(part, *digits) != text(other, *digits));
    text(part, digits.unwrap_or(17))
}

impl TrainError {
    /// Whether the fault is in what the user gave (exit code 2), not in the machine or the run (exit code 1).
    ///
    /// ```
    /// use evenburn_train::Registry;
    /// use evenburn_train::config::RunConfig;
    /// let error = RunConfig::from_toml(&Registry::default(), "x.toml", "[modell]", &[]).unwrap_err();
    /// assert!(error.is_wrong_input());
    /// ```
    pub fn is_wrong_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidInput
            ),
            Self::Data(error) => error.is_wrong_input(),
            // A rule's own failure may be the device's.
            Self::Optim(error) => !matches!(error, OptimError::Update { .. }),
            Self::Monitor { source, .. } => source
                .downcast_ref::<Self>()
                .is_some_and(Self::is_wrong_input),
            Self::ConfigSyntax { .. }
            | Self::UnknownKey { .. }
            | Self::WrongValue { .. }
            | Self::WrongVariant { .. }
            | Self::Config { .. }
            | Self::Invalid { .. }
            | Self::Plan(_)
            | Self::Weights(_)
            | Self::Sample(_)
            | Self::Tokens(_)
            | Self::Device { .. }
            | Self::Locked { .. }
            | Self::NotARun { .. }
            | Self::WeightsOnly { .. }
            | Self::ConfigDiffers { .. }
            | Self::PastDiffers { .. }
            | Self::Foreign { .. }
            | Self::RankDiffers { .. }
            | Self::Damaged { .. } => true,
            Self::Unwritable { .. }
            | Self::Ranks(_)
            | Self::NonFinite { .. }
            | Self::DeviceRead { .. }
            | Self::Stopped(_) => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    pub(crate) fn monitor(name: &str, step: u64, source: crate::monitor::MonitorError) -> Self {
        let name = name.to_owned();
        Self::Monitor { name, step, source }
    }

    /// The same error with the checkpoint that a run has from before it.
    pub(crate) fn after(self, checkpoint: Option<&Path>) -> Self {
        match self {
            Self::NonFinite {
                what, value, step, ..
            } => Self::NonFinite {
                what,
                value,
                step,
                checkpoint: checkpoint.map(Path::to_owned),
            },
            other => other,
        }
    }

    pub(crate) fn invalid(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.into(),
            why: why.into(),
            origin: None,
        }
    }

    /// The same error with the place its key was set at.
    pub(crate) fn locate(self, origins: &Origins) -> Self {
        match self {
            Self::Invalid { key, why, .. } => Self::Invalid {
                origin: Some(origins.of(&key)).filter(|o| *o != Origin::Default),
                key,
                why,
            },
            other => other,
        }
    }
}

impl From<evenburn_files::FileError> for TrainError {
    fn from(error: evenburn_files::FileError) -> Self {
        Self::io(error.action, &error.path, error.source)
    }
}
