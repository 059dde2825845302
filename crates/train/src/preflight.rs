//! What happens only at a checkpoint, an evaluation, a sample or the end of a run, asked before its first step.
//!
//! | when | what | asked |
//! |---|---|---|
//! | checkpoint | its folder can be written, the disk has room | here |
//! | sample | the prompt has tokens, fits the learned positions and leaves room for new ones; its folder can be written | here |
//! | each step | the history, the TensorBoard events and `run.log` can be written | when they are opened |
//! | each step | `optim.qk_clip` goes with the scheme, the groups name parameters | [`groups::engine`](crate::groups::engine) |
//! | evaluation | the validation split holds a sample of `model.context` | [`ValidationSplit::open`](crate::validation::ValidationSplit) |
//! | evaluation, baselines | the tokenizer has no more ids than the model | [`Trainer::run`](crate::Trainer::run) |
//!
//! A value given to this launch is refused by its key. A default is fitted, and so is a value that a run has recorded: what
//! it was started with must not keep it from going on.

use std::fs::{self, File};
use std::path::Path;

use evenburn_data::Tokenizer;
use evenburn_model::{Plan, Positions};

use crate::config::{Origin, Resolved};
use crate::error::TrainError;
use crate::estimate;
use crate::launch::Start;
use crate::run_dir;
use crate::samples::opening;

/// What was found, and what to say about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Preflight {
    /// Tokens of a sample.
    pub(crate) sample_tokens: usize,
    /// Lines for the user.
    pub(crate) notes: Vec<String>,
}

/// Asks what the configuration, the plan and the tokenizer decide.
///
/// # Errors
/// [`TrainError::Invalid`] for a prompt or a number of tokens that no sample can be made of, [`TrainError::Data`] for a
/// prompt without tokens.
pub(crate) fn check(
    resolved: &Resolved,
    plan: &Plan,
    tokenizer: &Tokenizer,
    start: &Start,
) -> Result<Preflight, TrainError> {
    let mut found = sample(resolved, plan, tokenizer, start)?;
    if matches!(start, Start::Fresh(_)) {
        found.notes.extend(vocabulary(plan, tokenizer));
    }
    Ok(found)
}

/// Whether the launch itself gives a key, rather than the run that it goes on with.
fn is_given(resolved: &Resolved, start: &Start, key: &str) -> bool {
    let (Start::Continue(run) | Start::Branch { run, .. }) = start else {
        return resolved.origins.of(key) != Origin::Default;
    };
    match resolved.origins.of(key) {
        Origin::Default => false,
        Origin::CommandLine => true,
        Origin::File { file, .. } => file != run_dir::config_of(run).display().to_string(),
    }
}

fn sample(
    resolved: &Resolved,
    plan: &Plan,
    tokenizer: &Tokenizer,
    start: &Start,
) -> Result<Preflight, TrainError> {
    let train = &resolved.config.train;
    let fits = |sample_tokens, note: Option<String>| Preflight {
        sample_tokens,
        notes: note.into_iter().collect(),
    };
    if train.sample_tokens == 0 {
        return Ok(fits(0, None));
    }
    let given = |key| is_given(resolved, start, key);
    let prompt = opening(tokenizer, &train.prompt).map(|ids| ids.len());
    let prompt = match prompt {
        Ok(tokens) => tokens,
        Err(error) if given("train.prompt") => {
            return Err(TrainError::invalid("train.prompt", error.to_string()));
        }
        Err(error) => return Ok(fits(0, Some(format!("no samples: train.prompt: {error}")))),
    };
    let dims = plan.dims();
    if dims.positions != Positions::Learned {
        return Ok(fits(train.sample_tokens, None));
    }
    let positions = dims.context;
    let Some(room) = positions.checked_sub(prompt).filter(|room| *room > 0) else {
        let why = format!(
            "has {prompt} tokens with the one that begins a text, and the model has learned {positions} positions \
            (model.context): none is left for a sample"
        );
        if given("train.prompt") {
            return Err(TrainError::invalid("train.prompt", why));
        }
        return Ok(fits(0, Some(format!("no samples: train.prompt {why}"))));
    };
    if train.sample_tokens <= room {
        return Ok(fits(train.sample_tokens, None));
    }
    let why = format!(
        "the model has learned {positions} positions (model.context), of which the prompt takes {prompt}"
    );
    if given("train.sample_tokens") {
        let why = format!(
            "{} don't fit: {why}; give at most {room}",
            train.sample_tokens
        );
        return Err(TrainError::invalid("train.sample_tokens", why));
    }
    let note = format!(
        "samples have {room} tokens instead of {}: {why}",
        train.sample_tokens
    );
    Ok(fits(room, Some(note)))
}

/// Vocabularies are padded to a multiple of this at most: what products of matrices on GPUs like best.
const PADDING: usize = 128;

/// A share of ids that no text has, beyond which padding can't be the reason.
const UNUSED: f64 = 0.1;

/// A line where the model's vocabulary is far above the tokenizer's.
fn vocabulary(plan: &Plan, tokenizer: &Tokenizer) -> Option<String> {
    let (model, known) = (plan.dims().vocab, tokenizer.vocab_size());
    let padded = known.next_multiple_of(PADDING);
    if model <= padded || model as f64 <= (1.0 + UNUSED) * known as f64 {
        return None;
    }
    let unused = model - known;
    let width = plan.dims().model;
    // One table where the output layer is the embedding's.
    let is_table = |path: &str| path == "embed.weight" || path == "head.weight";
    let tables = plan
        .params()
        .iter()
        .filter(|param| is_table(&param.path))
        .count();
    let parameters = tables * unused * width;
    let share = 100.0 * parameters as f64 / plan.cost().params as f64;
    Some(format!(
        "model.vocab_size = {model} is far above the tokenizer's {known}: {unused} entries that no text has are {parameters} \
        parameters ({share:.0} % of the model), and every step computes their logits; {padded} would do"
    ))
}

/// Checks that files can be made in a folder, which is made where it is missing.
///
/// # Errors
/// [`TrainError::Io`].
pub(crate) fn writable(folder: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|e| TrainError::io("create", folder, e))?;
    let probe = folder.join(".probe");
    File::create(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|e| TrainError::io("write", &probe, e))
}

/// A line where the disk has less room than a checkpoint takes.
///
/// # Errors
/// As [`estimate::memory`].
pub(crate) fn room(
    resolved: &Resolved,
    plan: &Plan,
    checkpoints: &Path,
) -> Result<Option<String>, TrainError> {
    let memory = estimate::memory(plan, &resolved.config)?;
    let free = free_bytes(checkpoints);
    Ok(free.and_then(|free| too_little(memory.weights + memory.optimizer, free, checkpoints)))
}

fn too_little(needed: u64, free: u64, checkpoints: &Path) -> Option<String> {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    (free < needed).then(|| {
        format!(
            "a checkpoint takes about {:.1} MB, and the disk of {} has {:.1} MB left: the run would stop at its first one",
            megabytes(needed),
            checkpoints.display(),
            megabytes(free)
        )
    })
}

/// What this user may still write to the disk of a folder; nothing where the system doesn't tell.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use crate::Registry;
    use evenburn_model::ModelConfig;
    use evenburn_model::strategy::PreNorm;

    use super::*;
    use crate::config::RunConfig;

    fn tokenizer() -> Tokenizer {
        let texts = ["low lower lowest", "new newer newest"].map(|text| Ok(text.to_owned()));
        Tokenizer::train(texts.into_iter(), 260, "<|endoftext|>").unwrap()
    }

    fn plan(change: impl FnOnce(&mut ModelConfig)) -> Plan {
        let mut config = ModelConfig {
            vocab_size: 260,
            dim: 16,
            layers: 1,
            heads: 2,
            context: 16,
            positions: Positions::Learned,
            ..ModelConfig::default()
        };
        change(&mut config);
        Plan::new(&config, &PreNorm::default()).unwrap()
    }

    /// Positions, launch, name of the file, its text, then: tokens, and a part of the line or the error.
    type Case<'a> = (
        Positions,
        &'a Start,
        &'a str,
        &'a str,
        Result<usize, ()>,
        &'a str,
    );

    #[allow(clippy::too_many_lines)] // one entry per case
    #[test]
    fn a_sample_that_can_not_be_made_is_refused_or_fitted_by_who_asked_for_it() {
        let tokenizer = tokenizer();
        let fresh = Start::Fresh(None);
        let on = Start::Continue("run".into());
        let own = run_dir::config_of(Path::new("run"));
        let own = own.to_str().unwrap();
        let long = "prompt = \"lower lowest newer newest lower lowest newer newest\"";
        let cases: [Case<'_>; 12] = [
            (
                Positions::Rope,
                &fresh,
                "a.toml",
                "sample_tokens = 5000",
                Ok(5000),
                "",
            ),
            (Positions::None, &fresh, "a.toml", "", Ok(64), ""),
            (
                Positions::Learned,
                &fresh,
                "a.toml",
                "",
                Ok(15),
                "15 tokens instead of 64",
            ),
            (
                Positions::Learned,
                &fresh,
                "a.toml",
                "sample_tokens = 15",
                Ok(15),
                "",
            ),
            (
                Positions::Learned,
                &fresh,
                "a.toml",
                "sample_tokens = 16",
                Err(()),
                "a.toml:2: train.sample_tokens: 16 don't fit",
            ),
            (
                Positions::Learned,
                &fresh,
                "a.toml",
                "sample_tokens = 64",
                Err(()),
                "give at most 15",
            ),
            (
                Positions::Learned,
                &fresh,
                "a.toml",
                "sample_tokens = 0",
                Ok(0),
                "",
            ),
            (
                Positions::Learned,
                &fresh,
                "a.toml",
                long,
                Err(()),
                "a.toml:2: train.prompt: has",
            ),
            (Positions::Rope, &fresh, "a.toml", long, Ok(64), ""),
            // What a run has recorded must not keep it from going on.
            (
                Positions::Learned,
                &on,
                own,
                "sample_tokens = 64",
                Ok(15),
                "15 tokens instead of 64",
            ),
            (
                Positions::Learned,
                &on,
                own,
                long,
                Ok(0),
                "no samples: train.prompt",
            ),
            (
                Positions::Learned,
                &on,
                "a.toml",
                "sample_tokens = 64",
                Err(()),
                "a.toml:2: train.sample_tokens",
            ),
        ];
        for (positions, start, file, text, tokens, part) in cases {
            let resolved =
                RunConfig::from_toml(&Registry::default(), file, &format!("[train]\n{text}"), &[])
                    .unwrap();
            let plan = plan(|config| config.positions = positions);
            let found = check(&resolved, &plan, &tokenizer, start)
                .map_err(|error| error.locate(&resolved.origins).to_string());
            let about = format!("{positions:?} {start:?} {text}: {found:?}");
            match (&found, tokens) {
                (Ok(found), Ok(tokens)) => {
                    assert_eq!(found.sample_tokens, tokens, "{about}");
                    assert_eq!(found.notes.is_empty(), part.is_empty(), "{about}");
                    assert!(found.notes.concat().contains(part), "{about}");
                }
                (Err(message), Err(())) => assert!(message.contains(part), "{about}"),
                _ => panic!("{about}"),
            }
        }
    }

    #[test]
    fn a_vocabulary_far_above_the_tokenizers_is_told_with_what_it_costs() {
        let tokenizer = tokenizer();
        let note = |size, tied| {
            let plan = plan(|config| {
                config.vocab_size = size;
                if tied {
                    config.head = evenburn_model::HeadWeights::Tied;
                }
            });
            vocabulary(&plan, &tokenizer)
        };
        let known = tokenizer.vocab_size();
        for size in [known, known + 20, 384] {
            assert_eq!(note(size, false), None, "{size}");
        }
        let far = note(385, false).unwrap();
        let unused = 385 - known;
        assert!(
            far.contains(&format!("{} parameters", 2 * unused * 16)),
            "{far}"
        );
        assert!(far.ends_with("384 would do"), "{far}");
        let far = note(32_000, true).unwrap();
        assert!(
            far.contains(&format!("{} parameters", (32_000 - known) * 16)),
            "{far}"
        );
        // A tenth of a large vocabulary is more than any padding.
        let padded = |known: usize| known.next_multiple_of(PADDING);
        assert!(padded(50_257) < 55_282);
    }

    #[test]
    fn a_folder_that_can_not_be_written_and_a_full_disk_are_found() {
        let dir = tempfile::tempdir().unwrap();
        writable(&dir.path().join("new/deep")).unwrap();
        assert!(dir.path().join("new/deep").is_dir());
        fs::write(dir.path().join("file"), "").unwrap();
        let error = writable(&dir.path().join("file")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");

        assert_eq!(too_little(1000, 1000, dir.path()), None);
        let line = too_little(20_000_000, 1_500_000, dir.path()).unwrap();
        assert!(
            line.contains("20.0 MB") && line.contains("1.5 MB left"),
            "{line}"
        );
        if cfg!(unix) {
            assert!(free_bytes(dir.path()).is_some());
        }
    }
}
