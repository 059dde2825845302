//! What a launch does: start a run, continue one with settings that can't change its past, or branch off from it.

use std::path::{Path, PathBuf};

use crate::Registry;
use evenburn_model::Plan;
use evenburn_model::function::Placed;

use crate::config::{Origin, Resolved, RunConfig};
use crate::error::TrainError;
use crate::place::{Place, locate};
use crate::recorded_plan::RecordedPlan;
use crate::weights_only::ModelOrigin;
use crate::{change, checkpoint, hash, run_dir};

/// Whether to continue a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// Start a new one.
    #[default]
    Never,
    /// The run named by [`Launch::run_dir`], else the newest one; a new one where there is none.
    Auto,
    /// This one, or one of its checkpoints: from one that isn't its newest a new run goes on.
    Run(PathBuf),
}

impl From<&str> for Resume {
    fn from(text: &str) -> Self {
        if text == "auto" {
            Self::Auto
        } else {
            Self::Run(PathBuf::from(text))
        }
    }
}

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Configuration file.
    pub file: Option<PathBuf>,
    /// Overrides `(key, VALUE)`, applied in their order.
    pub overrides: Vec<(String, String)>,
    /// Whether to continue a run.
    pub resume: Resume,
    /// The run directory, instead of one that is named by time.
    pub run_dir: Option<PathBuf>,
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A new run, in this directory if one was named.
    Fresh(Option<PathBuf>),
    /// The run in this directory.
    Continue(PathBuf),
    /// A new run that goes on from a checkpoint of another one, which stays as it is.
    Branch {
        /// The other run.
        run: PathBuf,
        /// Its checkpoint.
        checkpoint: PathBuf,
        /// The directory of the new run if one was named.
        at: Option<PathBuf>,
    },
}

/// Keys that may differ from the run that is resumed: none of them can change a weight or a logged loss. Those of the data
/// say where the text lies and how it is read; what it is, a checkpoint knows by its tokens.
const FREE: [&str; 32] = [
    "run.name",
    "run.dir",
    "train.stop_after",
    "train.reset_optimizer",
    "train.log_every",
    "train.eval_every",
    "train.eval_tokens",
    "train.checkpoint_every",
    "train.keep",
    "train.sample_every",
    "train.sample_tokens",
    "train.prompt",
    "ranks.patience",
    "metrics.norms_every",
    "metrics.peak_tflops",
    "eval.tasks",
    "eval.every",
    "eval.limit",
    "eval.shots",
    "eval.data",
    "eval.task",
    "data.path",
    "data.validation_path",
    "data.config",
    "data.split_names",
    "data.tokenizer",
    "data.text_field",
    "data.on_bad_record",
    "data.cache",
    "data.prepare",
    "data.ahead",
    "data.cache_bytes",
];

impl Start {
    /// The plan with which a launch begins or goes on: the one its configuration makes, or the one that its run recorded.
    ///
    /// # Errors
    /// [`TrainError::Plan`] for a scheme that makes none of these sizes; what is wrong with the recorded one.
    pub fn plan(&self, registry: &Registry, config: &RunConfig) -> Result<Plan, TrainError> {
        Ok(RecordedPlan::at(registry, self, config)?.plan)
    }

    /// The run that goes on, if one does.
    pub(crate) fn run(&self) -> Option<&Path> {
        match self {
            Self::Fresh(_) => None,
            Self::Continue(run) | Self::Branch { run, .. } => Some(run),
        }
    }
}

/// The `tokenizer.json` by which a launch reads its text, where that isn't for `data.tokenizer` to say: a run that goes on
/// keeps the tokenizer it has, wherever that came from, unless this launch names another place.
pub fn own_tokenizer(resolved: &Resolved, start: &Start) -> Option<PathBuf> {
    let given = resolved.origins.of("data.tokenizer") == Origin::CommandLine;
    let own = start.run()?.join(run_dir::TOKENIZER);
    (!given && own.is_file()).then_some(own)
}

impl Launch {
    /// Reads the configuration, with the schemes of a registry, and finds the run to continue. Without a configuration file a resumed run keeps its own
    /// configuration, but for `train.stop_after` and `train.reset_optimizer`, which were instructions to the launch before.
    ///
    /// Under another budget, a warm-up that is a fraction of the run stays as many steps as it was.
    ///
    /// # Errors
    /// What [`RunConfig::load`] finds wrong; [`TrainError::Invalid`] without a budget, or with one that is over already;
    /// [`TrainError::NotARun`] for a folder without one; [`TrainError::WeightsOnly`] for a model without training state;
    /// [`TrainError::ConfigDiffers`] with every key whose value differs and can change the past; [`TrainError::PastDiffers`]
    /// for a budget or a schedule under which steps that are taken would have had other rates.
    pub fn resolve(&self, registry: &Registry) -> Result<(Resolved, Start), TrainError> {
        let (resolved, start) = self.find(registry)?;
        let config = &resolved.config;
        // Asked before any text is read: a run needs a budget.
        config.optim.check_known()?;
        has_an_end(config)
            .and_then(|()| config.train.total_steps(config.model.context))
            .map_err(|e| e.locate(&resolved.origins))?;
        Ok((resolved, start))
    }

    fn find(&self, registry: &Registry) -> Result<(Resolved, Start), TrainError> {
        let in_run = |run| Place {
            run,
            checkpoint: None,
        };
        let place = match &self.resume {
            Resume::Never => None,
            Resume::Run(path) => Some(locate(path)?),
            Resume::Auto => {
                if let Some(path) = &self.run_dir {
                    run_dir::is_run(path).then(|| in_run(path.clone()))
                } else {
                    let config = self.load(registry, self.file.as_deref())?.config;
                    run_dir::newest(&config.run.dir)?.map(in_run)
                }
            }
        };
        let Some(place) = place else {
            return Ok((
                self.load(registry, self.file.as_deref())?,
                Start::Fresh(self.run_dir.clone()),
            ));
        };
        let run = place.run;
        if let Some(origin) = ModelOrigin::read(&run)? {
            return Err(TrainError::WeightsOnly { path: run, origin });
        }
        let newest = checkpoint::newest(&run.join(run_dir::CHECKPOINTS))?;
        let newest = newest.as_deref().and_then(Path::file_name);
        let older = place.checkpoint.filter(|path| path.file_name() != newest);
        let start = match older {
            Some(checkpoint) => Start::Branch {
                run: run.clone(),
                checkpoint,
                at: self.run_dir.clone(),
            },
            None => Start::Continue(run.clone()),
        };
        let given = self.given(registry, &run, change::taken(&start)?)?;
        // Once more when the run is locked; asked here before any text is read.
        change::check(registry, &run, &given, &start)?;
        Ok((given, start))
    }

    /// The configuration that a run which has taken `taken` steps is to go on with.
    fn given(&self, registry: &Registry, run: &Path, taken: u64) -> Result<Resolved, TrainError> {
        let mut given = self.load(registry, Some(self.file.as_deref().unwrap_or(run)))?;
        let asked = |key| self.file.is_some() || given.origins.of(key) == Origin::CommandLine;
        let (stop, reset) = (asked("train.stop_after"), asked("train.reset_optimizer"));
        if !stop {
            given.config.train.stop_after = None;
        }
        if !reset {
            given.config.train.reset_optimizer = false;
        }
        if taken > 0 {
            let recorded = run_dir::config(registry, run)?;
            change::keep_warmup(&recorded, &mut given.config)?;
        }
        Ok(given)
    }

    fn load(&self, registry: &Registry, file: Option<&Path>) -> Result<Resolved, TrainError> {
        RunConfig::load(registry, file, &self.overrides)
    }
}

/// The function of a configuration that changes in the course of a run.
pub(crate) fn scheduled(config: &RunConfig) -> Option<&Placed> {
    let placed = config.model.function.as_ref();
    placed.filter(|placed| placed.function.scheduled().is_some())
}

/// A normalization that changes in the course of a run needs one that has an end.
fn has_an_end(config: &RunConfig) -> Result<(), TrainError> {
    match scheduled(config) {
        Some(placed) if config.train.steps.is_none() && config.train.tokens.is_none() => {
            let why = format!(
                "`{}` changes over the length of the run, which only a budget tells: give train.steps or train.tokens",
                placed.function.name()
            );
            Err(TrainError::invalid("model.function.name", why))
        }
        _ => Ok(()),
    }
}

/// The key of the sources of a mixture, each a table of keys that `data` has too, and of its name and weights.
const SOURCES: &str = "data.sources";

/// Keys that `train.reset_optimizer` frees.
pub(crate) const OPTIMIZER: &str = "optim.";

/// What the keys of the scheme begin with.
const SCHEME: &str = "norm.";

/// BLAKE3 of the keys that decide the numbers of a run and don't have their defaults, so that a key that a later version
/// adds changes nothing. What the scheme decides is in the plan, which has an identity of its own.
pub(crate) fn identity(config: &RunConfig) -> Result<String, TrainError> {
    let mut defaults = RunConfig::default().flatten()?;
    let of_recipe = config.optim.recipe.defaults().iter();
    defaults
        .extend(of_recipe.map(|(option, value)| (format!("{OPTIMIZER}{option}"), value.clone())));
    let lines: String = binding(config)?
        .iter()
        .filter(|(key, value)| !key.starts_with(SCHEME) && defaults.get(*key) != Some(value))
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    Ok(hash::of_text(&lines))
}

/// Keys that decide the numbers of a run, with their values; the rest is free.
pub(crate) fn binding(
    config: &RunConfig,
) -> Result<std::collections::BTreeMap<String, toml::Value>, TrainError> {
    let mut flat = config.flatten()?;
    flat.retain(|key, _| !FREE.contains(&key.as_str()));
    // How many devices there are decides nothing, and neither does which of several it is.
    if let Some(device) = flat.get_mut("train.device") {
        *device = config.train.device.backend()?.name().into();
    }
    // A source of a mixture may lie elsewhere as the text of `data.path` may.
    if let Some(toml::Value::Array(sources)) = flat.get_mut(SOURCES) {
        for source in sources.iter_mut().filter_map(toml::Value::as_table_mut) {
            source.retain(|key, _| !FREE.contains(&format!("data.{key}").as_str()));
        }
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use evenburn_optim::Direction;

    use super::*;

    /// Runs that a program recorded when `[optim]` had the options of all recipes, with the identity that their checkpoints have.
    const BEFORE_RECIPES: [(&str, &str); 4] = [
        (
            "adamw",
            "387de87623963982b015e8012da1019d898784e5f77f3933e0db8c19244146bb",
        ),
        (
            "muon",
            "7fba3a11b1c76b910c04ff4e66f6cab42e7239d58f08b958618ea94e8f34db8f",
        ),
        (
            "scion",
            "86f2781bae96e52c9ae2b5027e05c540d586c2269b5631fd4de45a78a60ec3b3",
        ),
        (
            "group",
            "a21e3b8cf5b4f5b297d137c9da6a4c2a6904d1d9493f4e9dd84416e04ec5906f",
        ),
    ];

    fn before_recipes(name: &str) -> RunConfig {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/before_recipes");
        let file = folder.join(format!("{name}.toml"));
        let resolved = RunConfig::recorded(&Registry::default(), &folder, &file, &[]);
        resolved.unwrap().config
    }

    #[test]
    fn a_configuration_with_the_options_of_all_recipes_is_the_same_one() {
        for (name, recorded) in BEFORE_RECIPES {
            let config = before_recipes(name);
            assert_eq!(identity(&config).unwrap(), recorded, "{name}");
            // As it is written now, too.
            let text = config.to_toml().unwrap();
            let again = RunConfig::from_toml(&Registry::default(), name, &text, &[]);
            assert_eq!(again.unwrap().config, config, "{name}");
        }
        let muon = before_recipes("muon").optim.recipe;
        assert_eq!(muon.options()["momentum"].as_float(), Some(0.9));
        assert_eq!(muon.options()["heads"].as_str(), Some("split"));
        // What a group's recipe had from the run stands with the group.
        let foreign = before_recipes("foreign").optim;
        assert!(foreign.recipe.options().is_empty());
        let group = foreign.groups[0].recipe.as_ref().unwrap();
        assert_eq!(group.options()["momentum"].as_float(), Some(0.8));
    }

    /// The family's options that a run gives are those of a group with another recipe of the family, however they are written.
    #[test]
    fn a_group_of_another_recipe_has_the_options_that_both_have() {
        let text = "[model]\nvocab_size = 300\ndim = 8\nlayers = 1\nheads = 2\ncontext = 16\n\
                    [norm]\nscheme = 'pre_norm'\n[optim]\nrecipe = 'muon'\nmomentum = 0.9\nmatrix_lr = 0.05\n\
                    orthogonal_steps = 3\n";
        let group = "groups = [{ name = 'up', path = '*.up.weight', recipe = 'moonlight' }]\n";
        let registry = Registry::default();
        let of_user = RunConfig::from_toml(&registry, "mine", &format!("{text}{group}"), &[]);
        let of_user = of_user.unwrap().config;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let others = "lion_beta1 = 0.9\nlion_beta2 = 0.99\nheads = 'joined'\nscion_radius = 50.0\n\
                      scion_sign_radius = 3000.0\nscion_form = 'unconstrained'\n";
        std::fs::write(&file, format!("{text}{others}{group}")).unwrap();
        let recorded = RunConfig::recorded(&registry, folder.path(), &file, &[]);
        let recorded = recorded.unwrap().config;
        // As it is recorded today.
        std::fs::write(&file, of_user.to_toml().unwrap()).unwrap();
        let again = RunConfig::recorded(&registry, folder.path(), &file, &[]);
        let again = again.unwrap().config;
        for config in [of_user, recorded, again] {
            let plan = config.norm.plan(&config.model).unwrap();
            let rules = crate::groups::from_plan(&plan, &config.optim).unwrap();
            let muon = &rules["blocks.0.mlp.gate.weight"];
            let moonlight = &rules["blocks.0.mlp.up.weight"];
            assert_eq!((&*muon.group, &*moonlight.group), ("matrices", "up"));
            for rule in [muon, moonlight] {
                assert!((rule.lr - 0.05).abs() < 1e-15, "{}", rule.lr);
                assert_eq!(rule.update.orthogonal().unwrap().steps, 3);
                let parts = rule.update.composition().unwrap();
                let Direction::Momentum(momentum) = parts.direction else {
                    panic!("{}", rule.update);
                };
                assert!((momentum.beta - 0.9).abs() < 1e-15, "{}", rule.update);
            }
            assert_ne!(muon.update.to_string(), moonlight.update.to_string());
        }
    }

    #[test]
    fn a_mixture_is_bound_to_its_names_and_weights_and_not_to_its_places() {
        let config = |sources: &str| {
            let text = format!("[data]\nsources = [{sources}]\n");
            let read = RunConfig::from_toml(&Registry::default(), "mixed", &text, &[]);
            read.unwrap().config
        };
        let one = "{ name = 'a', path = 'x', text_field = 'code', weight = [[0, 1], [9, 2.5]] }";
        let was = identity(&config(one)).unwrap();
        let moved = one.replace("'x'", "['y', 'z']").replace("'code'", "'text'");
        assert_eq!(identity(&config(&moved)).unwrap(), was);
        for other in [one.replace("'a'", "'b'"), one.replace("9, 2.5", "8, 2.5")] {
            assert_ne!(identity(&config(&other)).unwrap(), was);
        }
        assert_ne!(identity(&config("")).unwrap(), was);
        assert_eq!(
            identity(&config("")).unwrap(),
            identity(&RunConfig::default()).unwrap()
        );
        // As it is written, too.
        let written = config(one).to_toml().unwrap();
        let again = RunConfig::from_toml(&Registry::default(), "again", &written, &[]);
        assert_eq!(again.unwrap().config, config(one));
        // The command line takes a list, as a file does.
        let given = [("data.sources".to_owned(), format!("[{one}]"))];
        let given = RunConfig::from_toml(&Registry::default(), "", "", &given);
        assert_eq!(given.unwrap().config, config(one));
        let tables = "[[data.sources]]\nname = 'a'\npath = 'x'\ntext_field = 'code'\nweight = [[0, 1], [9, 2.5]]\n";
        let tables = RunConfig::from_toml(&Registry::default(), "tables", tables, &[]);
        assert_eq!(tables.unwrap().config, config(one));
    }

    #[test]
    fn every_free_key_exists() {
        let keys = crate::config::keys(&Registry::default());
        for free in FREE {
            assert!(keys.iter().any(|key| key.path == free), "{free}");
        }
    }
}
