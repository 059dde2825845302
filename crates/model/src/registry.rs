//! What a program knows by name: a configuration chooses from it.

use crate::error::PlanError;
use crate::function::NormFunction;
use crate::kinds::Kinds;
use crate::named::Recorded;
use crate::plan::Plan;
use crate::rule::MixRule;
use crate::strategy::scheme::{Entry, KIND, TAG};
use crate::strategy::{Scheme, SchemeOptions, built_in};
use schemars::{Schema, json_schema};
use toml::{Table, Value};

/// An entry that a registry can't take, or a choice that it can't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A name that is taken.
    #[error("the {kind} `{name}` is registered twice")]
    Twice {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Options that a configuration couldn't hold, or that the entry doesn't have.
    #[error("the {kind} `{name}`: {why}")]
    Options {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Entries in the order in which they came, each under a name of its own.
#[derive(Debug, Clone)]
struct ByName<T> {
    /// What the entries are.
    kind: &'static str,
    entries: Vec<(&'static str, T)>,
}

impl<T> ByName<T> {
    fn new(kind: &'static str, entries: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        let entries = entries.into_iter().collect();
        Self { kind, entries }
    }

    fn add(&mut self, name: &'static str, entry: T) -> Result<(), RegistryError> {
        if self.get(name).is_some() {
            return Err(RegistryError::Twice {
                kind: self.kind,
                name: name.to_owned(),
            });
        }
        self.entries.push((name, entry));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&T> {
        let mut entries = self.entries.iter();
        entries.find_map(|(known, entry)| (*known == name).then_some(entry))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().map(|(name, _)| *name)
    }
}

/// The schemes that a program's configurations can choose, and the functions and rules that plans may name.
///
/// The default one has all of this crate; a program that adds its own has them in every command.
///
/// ```
/// use evenburn_model::Registry;
/// let registry = Registry::default();
/// assert!(registry.names().any(|name| name == "pre_norm"));
/// let scheme = registry.read("scheme = 'pre_norm'\nqk = 'none'".parse()?)?;
/// assert_eq!(scheme.options()["qk"].as_str(), Some("none"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    schemes: ByName<Entry>,
    kinds: Kinds,
}

impl Default for Registry {
    fn default() -> Self {
        let schemes = built_in().into_iter().map(|entry| (entry.name, entry));
        Self {
            schemes: ByName::new(KIND, schemes),
            kinds: Kinds::default(),
        }
    }
}

impl Registry {
    /// The same with a scheme of one's own.
    ///
    /// # Errors
    /// [`RegistryError::Twice`] for a name that is taken, [`RegistryError::Options`] for options that a configuration can't
    /// hold.
    pub fn with_scheme<S: SchemeOptions>(mut self) -> Result<Self, RegistryError> {
        let entry = Entry::of::<S>();
        entry.check()?;
        self.schemes.add(S::NAME, entry)?;
        Ok(self)
    }

    /// The same with a normalization function that plans and `[model.function]` may name.
    ///
    /// # Errors
    /// [`RegistryError::Twice`] for a name that is taken, [`RegistryError::Options`] for options that a configuration can't
    /// hold.
    pub fn with_function<F: NormFunction + Recorded>(self) -> Result<Self, RegistryError> {
        let kinds = self.kinds.with_function::<F>()?;
        Ok(Self { kinds, ..self })
    }

    /// The same with a residual rule that plans may name.
    ///
    /// # Errors
    /// [`RegistryError::Twice`] for a name that is taken, [`RegistryError::Options`] for options that a plan can't hold.
    pub fn with_rule<R: MixRule + Recorded>(self) -> Result<Self, RegistryError> {
        let kinds = self.kinds.with_rule::<R>()?;
        Ok(Self { kinds, ..self })
    }

    /// The normalization functions and residual rules.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Gives the functions and rules of a plan that was read from a file the objects that carry them out.
    ///
    /// # Errors
    /// [`PlanError::Unknown`] with the place and the name of one that isn't registered, or whose options it can't read.
    pub fn resolve(&self, plan: &mut Plan) -> Result<(), PlanError> {
        self.kinds.resolve(plan)
    }

    /// Names of the schemes.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.schemes.names()
    }

    /// What a scheme is, in a sentence.
    pub fn about(&self, scheme: &str) -> Option<&'static str> {
        self.schemes.get(scheme).map(|entry| entry.about)
    }

    /// Every scheme with its default options.
    pub fn schemes(&self) -> impl Iterator<Item = Scheme> {
        self.schemes
            .entries
            .iter()
            .map(|(_, entry)| entry.default.clone())
    }

    /// The JSON schema of a section that chooses a scheme: `oneOf` its options, told apart by `scheme`.
    pub fn schema(&self) -> Schema {
        let entries = self.schemes.entries.iter();
        let schemas: Vec<Schema> = entries.map(|(_, entry)| (entry.schema)()).collect();
        json_schema!({ "oneOf": schemas })
    }

    /// The scheme that a table chooses by its key `scheme`, with the options beside it; the default one where nothing is
    /// chosen. A name that isn't registered gives a scheme that can make no plan, and says so when it is to.
    ///
    /// # Errors
    /// [`RegistryError::Options`] for an option that the scheme doesn't have, or of the wrong type.
    pub fn read(&self, mut table: Table) -> Result<Scheme, RegistryError> {
        let name = match table.remove(TAG) {
            None => Scheme::default().name().to_owned(),
            Some(Value::String(name)) => name,
            Some(other) => other.to_string(),
        };
        if let Some(entry) = self.schemes.get(&name) {
            return entry.read(table);
        }
        let names: Vec<&str> = self.names().collect();
        let why = format!(
            "is registered nowhere in this program, which knows {}",
            names.join(", ")
        );
        Ok(Scheme::without_strategy(name, table, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{NormStrategy, PreNorm};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    /// A scheme that decides nothing, with one option.
    macro_rules! scheme {
        ($type:ident, $name:literal, $says:literal, $option:ident: $kind:ty) => {
            #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
            #[serde(default, deny_unknown_fields)]
            struct $type {
                $option: $kind,
            }

            impl SchemeOptions for $type {
                const NAME: &'static str = $name;
                const ABOUT: &'static str = "A test.";
            }

            impl NormStrategy for $type {
                fn name(&self) -> &'static str {
                    $says
                }
            }
        };
    }

    scheme!(Mine, "mine", "mine", width: f64);
    scheme!(Taken, "angpt", "angpt", width: f64);
    scheme!(Other, "other", "another", width: f64);
    scheme!(Tagged, "tagged", "tagged", scheme: f64);
    scheme!(Nested, "nested", "nested", pairs: Vec<(f64, Vec<Option<f64>>)>);

    #[test]
    fn the_built_in_ones_could_be_registered() {
        let mut names = Vec::new();
        for entry in built_in() {
            entry.check().unwrap();
            assert!(!names.contains(&entry.name), "{}", entry.name);
            names.push(entry.name);
        }
    }

    #[test]
    fn a_name_is_taken_once() {
        let registry = Registry::default().with_scheme::<Mine>().unwrap();
        let error = registry.with_scheme::<Mine>().unwrap_err();
        assert_eq!(error.to_string(), "the scheme `mine` is registered twice");
        let error = Registry::default().with_scheme::<Taken>().unwrap_err();
        assert_eq!(error.to_string(), "the scheme `angpt` is registered twice");
    }

    #[test]
    fn what_would_surprise_is_refused() {
        let refused = |error: RegistryError| error.to_string();
        let message = refused(Registry::default().with_scheme::<Other>().unwrap_err());
        assert!(message.contains("calls itself `another`"), "{message}");
        let message = refused(Registry::default().with_scheme::<Tagged>().unwrap_err());
        assert!(message.contains("called `scheme`"), "{message}");
        Registry::default().with_scheme::<Nested>().unwrap();
    }

    #[test]
    fn tables_are_read_by_name() {
        let registry = Registry::default().with_scheme::<Mine>().unwrap();
        assert_eq!(registry.about("mine"), Some("A test."));
        let read = |text: &str| registry.read(text.parse().unwrap());
        assert_eq!(read("").unwrap(), Scheme::default());
        assert_eq!(
            read("scheme = 'pre_norm'").unwrap(),
            PreNorm::default().into()
        );
        let mine = read("scheme = 'mine'\nwidth = 2.5").unwrap();
        assert_eq!(mine.options()["width"].as_float(), Some(2.5));
        assert!(mine.is_known());
        let error = read("scheme = 'mine'\nheight = 2.5").unwrap_err();
        assert!(error.to_string().contains("height"), "{error}");

        let unknown = read("scheme = 'theirs'\nheight = 2.5").unwrap();
        assert_eq!(unknown.name(), "theirs");
        let message = unknown.strategy().unwrap_err().to_string();
        for part in ["`theirs`", "angpt", "mine"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_scheme_is_written_as_it_is_read() {
        for scheme in Registry::default().schemes() {
            let text = toml::to_string_pretty(&scheme).unwrap();
            assert!(
                text.starts_with(&format!("scheme = \"{}\"", scheme.name())),
                "{text}"
            );
            let read = Registry::default().read(text.parse().unwrap()).unwrap();
            assert_eq!(read, scheme);
            assert!(read.is_known());
        }
    }
}
