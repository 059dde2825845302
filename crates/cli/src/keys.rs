//! The configuration keys that each command takes.
//!
//! A command takes the keys that it reads, so that nothing given is ignored, and every key that its errors advise to set.

use crate::args::{Command, Config, Data, TokenizerCommand};
use crate::failure::WrongInput;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_train::Registry;
use evenburn_train::config::{RunConfig, keys};

/// Which configuration keys a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Every key: the command reads a whole configuration.
    All,
    /// These.
    Some(&'static [&'static str]),
}

/// What a command takes that only computes with a model.
const COMPUTE: &[&str] = &[
    "data.eod_token",
    "data.bos_token",
    "train.device",
    "train.precision",
];

/// Of a trained run, its text: everything but the tokenizer, which is the run's.
const EVAL: &[&str] = &[
    "data.path",
    "data.validation_path",
    "data.config",
    "data.split_names",
    "data.validation_fraction",
    "data.eod_token",
    "data.bos_token",
    "data.text_field",
    "data.document_mask",
    "data.cache",
    "data.shard_bytes",
    "data.window_bytes",
    "data.prepare",
    "data.ahead",
    "data.cache_bytes",
    "data.on_bad_record",
    "data.sources",
    "train.device",
    "train.precision",
];

/// Of a model that answers benchmarks, which bring their text.
const BENCHMARKS: &[&str] = &[
    "data.eod_token",
    "data.bos_token",
    "data.cache",
    "train.device",
    "train.precision",
];

/// What `PATH` and `--tokenizer` don't say.
const IDS: &[&str] = &[
    "data.text_field",
    "data.eod_token",
    "data.bos_token",
    "data.config",
    "data.split_names",
    "data.cache",
];

/// What `PATH` doesn't say.
const TOKENIZER: &[&str] = &[
    "data.text_field",
    "data.eod_token",
    "data.tokenizer_vocab",
    "data.validation_path",
    "data.config",
    "data.split_names",
    "data.validation_fraction",
    "data.cache",
];

const IMPORT: &[&str] = &[
    "data.eod_token",
    "data.bos_token",
    "data.cache",
    "run.dir",
    "run.name",
];

impl Keys {
    /// No keys at all.
    pub const NONE: Self = Self::Some(&[]);

    /// Those of a command that is built in.
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Train(_)
            | Command::Describe(_)
            | Command::Config(Config::Print { .. })
            | Command::Data(Data::Inspect { .. } | Data::Bench { .. }) => Self::All,
            Command::Eval(eval) if eval.benchmarks.tasks.is_some() => Self::Some(BENCHMARKS),
            Command::Eval(_) => Self::Some(EVAL),
            Command::Sample(_) | Command::Fold(_) | Command::Export(_) => Self::Some(COMPUTE),
            Command::Import(_) => Self::Some(IMPORT),
            Command::Data(Data::Ids { .. }) => Self::Some(IDS),
            Command::Data(Data::Documents { .. }) => Self::Some(&["data.text_field", "data.cache"]),
            Command::Data(Data::Cache(_)) => Self::Some(&["data.cache"]),
            Command::Tokenizer(TokenizerCommand::Train { .. }) => Self::Some(TOKENIZER),
            Command::Cooldown(_)
            | Command::Config(Config::Keys)
            | Command::Data(Data::Ls { .. }) => Self::NONE,
        }
    }

    fn takes(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(taken) => taken.contains(&key),
        }
    }
}

/// Refuses keys that a command would ignore.
pub(crate) fn check(
    registry: &Registry,
    taken: Keys,
    overrides: &[(String, String)],
) -> Result<()> {
    let Some(refused) = overrides.iter().find(|(key, _)| !taken.takes(key)) else {
        return Ok(());
    };
    let (key, _) = refused;
    let why = match taken {
        Keys::Some(names) if !names.is_empty() => {
            // For a key that doesn't exist, the configuration knows the one that was meant.
            if !keys(registry).iter().any(|known| known.path == *key) {
                RunConfig::from_toml(registry, "", "", std::slice::from_ref(refused))?;
            }
            let names: Vec<String> = names.iter().map(|name| format!("--{name}")).collect();
            format!(
                "--{key}: nothing reads it here; of the configuration this command takes {}",
                names.join(", ")
            )
        }
        _ => format!("--{key}: this command takes no configuration keys"),
    };
    Err(WrongInput(why).into())
}

/// Adds the key that an option of a command stands for.
pub(crate) fn add(
    overrides: &mut Overrides,
    option: &str,
    key: &str,
    value: Option<String>,
) -> Result<()> {
    let Some(value) = value else {
        return Ok(());
    };
    if overrides.iter().any(|(given, _)| given == key) {
        let why = format!("{option} and --{key} are the same; give one of them");
        return Err(WrongInput(why).into());
    }
    overrides.push((key.to_owned(), value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_taken_exists() {
        let all = keys(&Registry::default());
        for name in [COMPUTE, EVAL, IDS, TOKENIZER, IMPORT].concat() {
            assert!(all.iter().any(|key| key.path == name), "{name}");
        }
    }

    #[test]
    fn evaluation_takes_all_of_the_data_but_the_tokenizer() {
        for key in keys(&Registry::default()) {
            let data = key.path.starts_with("data.") && !key.path.starts_with("data.tokenizer");
            assert_eq!(
                EVAL.contains(&key.path.as_str()),
                data || key.path == "train.device" || key.path == "train.precision",
                "{}",
                key.path
            );
        }
    }
}
