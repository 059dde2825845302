//! A recipe that was chosen: its name, its options, and the strategy they make.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use toml::Table;

use super::{AdamW, OptimizerStrategy};
use crate::OptimError;

/// The key that names the recipe among its options.
pub(crate) const TAG: &str = "recipe";

/// A strategy with a name and options, which a configuration can choose.
///
/// The fields of the type are the options: their names, their types, their defaults and, by their documentation, their
/// meanings. They stand in `[optim]` beside the keys that all recipes have, and are refused beside another recipe. An
/// [`OptimizerRegistry`](crate::OptimizerRegistry) that the type is entered in has the recipe in everything: in
/// `[optim] recipe = NAME`, in groups, among the configuration keys, in recorded runs.
///
/// ```
/// use evenburn_optim::{
///     Composition, OptimizerRegistry, OptimizerStrategy, ParamContext, ParamRole, RecipeOptions, Treatment,
/// };
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// /// Steps as long as Muon's inside the blocks, and Adam elsewhere.
/// #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
/// #[serde(default, deny_unknown_fields)]
/// struct SlowMuon {
///     /// Decay of the momentum.
///     inertia: f64,
/// }
///
/// impl Default for SlowMuon {
///     fn default() -> Self {
///         Self { inertia: 0.99 }
///     }
/// }
///
/// impl RecipeOptions for SlowMuon {
///     const NAME: &'static str = "slow_muon";
///     const ABOUT: &'static str = "Muon with a long memory.";
/// }
///
/// impl OptimizerStrategy for SlowMuon {
///     fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
///         match param.role() {
///             ParamRole::Matrix => {
///                 let muon = Composition::muon().with_momentum(|m| m.beta = self.inertia);
///                 param.decayed(muon, 0.02)
///             }
///             _ => param.adamw(),
///         }
///     }
/// }
///
/// let registry = OptimizerRegistry::default().with_recipe::<SlowMuon>()?;
/// let config = registry.read("recipe = 'slow_muon'\ninertia = 0.995\nlr = 1e-3".parse()?)?;
/// assert_eq!(config.recipe.options()["inertia"].as_float(), Some(0.995));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait RecipeOptions:
    OptimizerStrategy + Serialize + DeserializeOwned + JsonSchema + Default + Clone + 'static
{
    /// What a configuration calls it.
    const NAME: &'static str;
    /// What it is, in a sentence, with its source.
    const ABOUT: &'static str;
}

/// A recipe by name with its options.
///
/// One that a run recorded and this program doesn't know has a name and options, and no strategy: its run is read, and no
/// rules can be made of it.
///
/// ```
/// use evenburn_optim::{Muon, Recipe};
/// let recipe = Recipe::from(Muon { matrix_lr: Some(0.05), ..Muon::default() });
/// assert_eq!(recipe.name(), "muon");
/// assert_eq!(recipe.options()["matrix_lr"].as_float(), Some(0.05));
/// ```
#[derive(Debug, Clone)]
pub struct Recipe {
    name: String,
    options: Table,
    /// The options as they were given, where a configuration was read.
    given: Table,
    defaults: Table,
    /// In words, why there is none.
    strategy: Result<Arc<dyn OptimizerStrategy>, String>,
}

impl Recipe {
    /// A recipe that can make no rules; `why` continues its name.
    pub(crate) fn without_strategy(name: String, options: Table, why: String) -> Self {
        Self {
            name,
            given: options.clone(),
            options,
            defaults: Table::new(),
            strategy: Err(why),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its options by name, each that has a value.
    pub fn options(&self) -> &Table {
        &self.options
    }

    /// What its options are when not given, each that then has a value.
    pub fn defaults(&self) -> &Table {
        &self.defaults
    }

    /// The same with other options as those that were given.
    pub(crate) fn given_as(self, given: Table) -> Self {
        Self { given, ..self }
    }

    /// The same, found at a place that errors name: where a run recorded a recipe that this program doesn't know.
    pub fn found_at(mut self, place: &str) -> Self {
        self.strategy = self.strategy.map_err(|why| format!("({place}) {why}"));
        self
    }

    /// Whether there is a strategy, so that rules can be made.
    pub fn is_known(&self) -> bool {
        self.strategy.is_ok()
    }

    /// What trains which parameter.
    ///
    /// # Errors
    /// [`OptimError::UnknownRecipe`] for a recipe that this program doesn't know.
    pub fn strategy(&self) -> Result<&dyn OptimizerStrategy, OptimError> {
        match &self.strategy {
            Ok(strategy) => Ok(strategy.as_ref()),
            Err(why) => Err(OptimError::UnknownRecipe {
                recipe: self.name.clone(),
                why: why.clone(),
            }),
        }
    }

    /// Whether its options are in their ranges; nothing can be said of those of an unknown one.
    pub(crate) fn check(&self) -> Result<(), OptimError> {
        match &self.strategy {
            Ok(strategy) => strategy.check(),
            Err(_) => Ok(()),
        }
    }
}

impl<R: RecipeOptions> From<R> for Recipe {
    fn from(recipe: R) -> Self {
        let name = R::NAME.to_owned();
        let tables = Table::try_from(&recipe).and_then(|options| {
            let defaults = Table::try_from(R::default())?;
            Ok((options, defaults))
        });
        match tables {
            Ok((options, defaults)) => {
                let mut given = options.clone();
                given.retain(|option, value| defaults.get(option) != Some(value));
                Self {
                    name,
                    options,
                    given,
                    defaults,
                    strategy: Ok(Arc::new(recipe)),
                }
            }
            Err(error) => {
                let why = format!("has options that TOML can't express: {error}");
                Self::without_strategy(name, Table::new(), why)
            }
        }
    }
}

impl Default for Recipe {
    /// What most trainers default to.
    fn default() -> Self {
        AdamW::default().into()
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.options) == (&other.name, &other.options)
    }
}

/// The name, and options beside it.
fn named<S: Serializer>(name: &str, options: &Table, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1 + options.len()))?;
    map.serialize_entry(TAG, name)?;
    for (option, value) in options {
        map.serialize_entry(option, value)?;
    }
    map.end()
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        named(&self.name, &self.options, serializer)
    }
}

/// The recipe of a group, with the options that were given for it: those that weren't may be those of the run's recipe.
// serde gives a reference to the field.
#[allow(clippy::ref_option)]
pub(crate) fn as_given<S: Serializer>(
    recipe: &Option<Recipe>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match recipe {
        None => serializer.serialize_none(),
        Some(recipe) => named(&recipe.name, &recipe.given, serializer),
    }
}

/// The value of these options; in words on one line, why there is none.
pub(crate) fn from_options<T: DeserializeOwned>(options: Table) -> Result<T, String> {
    T::deserialize(toml::Value::Table(options))
        .map_err(|error| error.to_string().trim().replace('\n', " "))
}

/// What a registry knows of a recipe.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// With its default options.
    pub(crate) default: Recipe,
    /// The JSON schema of its options, the tag among them.
    pub(crate) schema: Schema,
    read: fn(Table) -> Result<Recipe, String>,
}

impl Entry {
    pub(crate) fn of<R: RecipeOptions>() -> Self {
        Self {
            name: R::NAME,
            about: R::ABOUT,
            default: R::default().into(),
            schema: schema::<R>(),
            read: |options| Ok(from_options::<R>(options)?.into()),
        }
    }

    /// Names of the options.
    pub(crate) fn options(&self) -> impl Iterator<Item = &str> {
        let properties = self.schema.get("properties").and_then(|p| p.as_object());
        let names = properties.into_iter().flat_map(|p| p.keys());
        names.map(String::as_str).filter(|name| *name != TAG)
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options().any(|name| name == option)
    }

    /// The recipe with these options.
    pub(crate) fn read(&self, options: Table) -> Result<Recipe, OptimError> {
        let recipe = (self.read)(options.clone()).map_err(|why| self.refused(why))?;
        Ok(recipe.given_as(options))
    }

    pub(crate) fn refused(&self, why: String) -> OptimError {
        OptimError::RecipeOptions {
            recipe: self.name.to_owned(),
            why,
        }
    }
}

fn schema<R: RecipeOptions>() -> Schema {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.subschema_for::<R>();
    let object = schema.ensure_object();
    object.insert("description".to_owned(), json!(R::ABOUT));
    object.insert("required".to_owned(), json!([TAG]));
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        let tag = json!({ "type": "string", "const": R::NAME });
        properties.insert(TAG.to_owned(), tag);
    }
    schema
}
