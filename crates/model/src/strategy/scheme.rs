//! A scheme that was chosen: its name, its options, and the strategy they make.

use super::{AnGpt, NormStrategy};
use crate::config::ModelConfig;
use crate::error::PlanError;
use crate::named::from_options;
use crate::plan::Plan;
use crate::registry::RegistryError;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use std::sync::Arc;
use toml::Table;

/// The key that names the scheme among its options.
pub(crate) const TAG: &str = "scheme";
/// What errors call one.
pub(crate) const KIND: &str = "scheme";

/// A strategy with a name and options, which a configuration can choose.
///
/// The fields of the type are the options: their names, their types, their defaults and, by their documentation, their
/// meanings. They have to be what TOML has: numbers, booleans, text, lists, tables, and enums of words. A
/// [`Registry`](crate::Registry) that the type is entered in has the scheme in everything: in `[norm] scheme = NAME`, among
/// the configuration keys, in recorded plans and runs.
///
/// ```
/// use evenburn_model::plan::{GainRole, NormPlan, ResidualPlan};
/// use evenburn_model::strategy::{NormStrategy, SchemeOptions};
/// use evenburn_model::{Branch, Dims, ModelConfig, Registry};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// /// Normalizes what a branch writes instead of what it reads.
/// #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
/// #[serde(default, deny_unknown_fields)]
/// struct OutputNorm {
///     /// Epsilon of every normalization.
///     eps: f64,
/// }
///
/// impl Default for OutputNorm {
///     fn default() -> Self {
///         Self { eps: 1e-5 }
///     }
/// }
///
/// impl SchemeOptions for OutputNorm {
///     const NAME: &'static str = "output_norm";
///     const ABOUT: &'static str = "RMSNorm after each branch.";
/// }
///
/// impl NormStrategy for OutputNorm {
///     fn name(&self) -> &str {
///         Self::NAME
///     }
///     fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
///         let output = Some(NormPlan::rms(self.eps, GainRole::Output));
///         ResidualPlan { output, ..ResidualPlan::plain() }
///     }
/// }
///
/// let registry = Registry::default().with_scheme::<OutputNorm>()?;
/// let scheme = registry.read("scheme = 'output_norm'\neps = 1e-4".parse()?)?;
/// let plan = scheme.plan(&ModelConfig::default())?;
/// assert_eq!(plan.options["eps"].as_float(), Some(1e-4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SchemeOptions:
    NormStrategy + Serialize + DeserializeOwned + JsonSchema + Default + Clone + 'static
{
    /// What a configuration calls it; [`NormStrategy::name`] returns it too.
    const NAME: &'static str;
    /// What it is, in a sentence, with its source.
    const ABOUT: &'static str;
}

/// A scheme by name with its options: the `[norm]` section of a configuration.
///
/// One that a run recorded and this program doesn't know has a name and options, and no strategy: its run is read by its
/// plan, and no other plan can be made of it.
///
/// ```
/// use evenburn_model::strategy::{PreNorm, QkNorm, Scheme};
/// let scheme = Scheme::from(PreNorm { qk: QkNorm::None, ..PreNorm::default() });
/// assert_eq!(scheme.name(), "pre_norm");
/// assert_eq!(scheme.options()["qk"].as_str(), Some("none"));
/// ```
#[derive(Debug, Clone)]
pub struct Scheme {
    name: String,
    options: Table,
    /// In words, why there is none.
    strategy: Result<Arc<dyn NormStrategy>, String>,
}

impl Scheme {
    /// A scheme that can make no plan; `why` continues its name.
    pub(crate) fn without_strategy(name: String, options: Table, why: String) -> Self {
        Self {
            name,
            options,
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

    /// Whether there is a strategy, so that plans can be made.
    pub fn is_known(&self) -> bool {
        self.strategy.is_ok()
    }

    /// The decisions of this scheme.
    ///
    /// # Errors
    /// [`PlanError::Scheme`] for a scheme that this program doesn't know.
    pub fn strategy(&self) -> Result<&dyn NormStrategy, PlanError> {
        match &self.strategy {
            Ok(strategy) => Ok(strategy.as_ref()),
            Err(why) => Err(PlanError::Scheme {
                scheme: self.name.clone(),
                why: why.clone(),
            }),
        }
    }

    /// The plan of a model of these sizes, with the options of the scheme in it.
    ///
    /// # Errors
    /// [`PlanError`], as [`Plan::new`]; [`PlanError::Scheme`] for a scheme that this program doesn't know.
    pub fn plan(&self, config: &ModelConfig) -> Result<Plan, PlanError> {
        let plan = Plan::new(config, self.strategy()?)?;
        Ok(Plan {
            options: self.options.clone(),
            ..plan
        })
    }
}

impl<S: SchemeOptions> From<S> for Scheme {
    fn from(scheme: S) -> Self {
        let name = S::NAME.to_owned();
        match Table::try_from(&scheme) {
            Ok(options) => Self {
                name,
                options,
                strategy: Ok(Arc::new(scheme)),
            },
            Err(error) => {
                let why = format!("has options that TOML can't express: {error}");
                Self::without_strategy(name, Table::new(), why)
            }
        }
    }
}

impl Default for Scheme {
    /// The scheme of the default preset; `docs/log.md` has the comparison it won.
    fn default() -> Self {
        AnGpt::default().into()
    }
}

impl PartialEq for Scheme {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.options) == (&other.name, &other.options)
    }
}

impl Serialize for Scheme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.options.len()))?;
        map.serialize_entry(TAG, &self.name)?;
        for (option, value) in &self.options {
            map.serialize_entry(option, value)?;
        }
        map.end()
    }
}

/// What a registry knows of a scheme.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// With its default options.
    pub(crate) default: Scheme,
    /// The JSON schema of its options, the tag among them.
    pub(crate) schema: fn() -> Schema,
    read: fn(Table) -> Result<Scheme, String>,
}

impl Entry {
    pub(crate) fn of<S: SchemeOptions>() -> Self {
        Self {
            name: S::NAME,
            about: S::ABOUT,
            default: S::default().into(),
            schema: schema::<S>,
            read: |options| Ok(from_options::<S>(options)?.into()),
        }
    }

    /// The scheme with these options.
    pub(crate) fn read(&self, options: Table) -> Result<Scheme, RegistryError> {
        (self.read)(options).map_err(|why| self.refused(why))
    }

    fn refused(&self, why: String) -> RegistryError {
        RegistryError::Options {
            kind: KIND,
            name: self.name.to_owned(),
            why,
        }
    }

    /// Refuses a scheme that could not be chosen: one without a strategy, with another name, or with an option called as the
    /// tag is.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        let refuse = |why| self.refused(why);
        let strategy = self
            .default
            .strategy()
            .map_err(|error| refuse(error.to_string()))?;
        if strategy.name() != self.name {
            let why = format!("its strategy calls itself `{}`", strategy.name());
            return Err(refuse(why));
        }
        if self.default.options.contains_key(TAG) {
            return Err(refuse(format!("no option can be called `{TAG}`")));
        }
        Ok(())
    }
}

fn schema<S: SchemeOptions>() -> Schema {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.subschema_for::<S>();
    let object = schema.ensure_object();
    object.insert("description".to_owned(), json!(S::ABOUT));
    object.insert("required".to_owned(), json!([TAG]));
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        let tag = json!({ "type": "string", "const": S::NAME });
        properties.insert(TAG.to_owned(), tag);
    }
    schema
}
