//! The recipes that a program knows by name: a configuration chooses from them.

use schemars::{JsonSchema, Schema, json_schema, schema_for};
use toml::{Table, Value};

use crate::recipe::{Entry, TAG, built_in, from_options};
use crate::{OptimConfig, OptimError, Override, Recipe, RecipeOptions};

/// The key of the groups in `[optim]`.
const GROUPS: &str = "groups";

/// The recipes that a program's configurations can choose.
///
/// The default one has all of this crate; a program that adds its own has them in every command.
///
/// ```
/// use evenburn_optim::OptimizerRegistry;
/// let registry = OptimizerRegistry::default();
/// assert!(registry.names().any(|name| name == "muon"));
/// let config = registry.read("recipe = 'muon'\nmomentum = 0.9\nlr = 3e-3".parse()?)?;
/// assert_eq!(config.recipe.options()["momentum"].as_float(), Some(0.9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct OptimizerRegistry {
    recipes: Vec<Entry>,
}

impl Default for OptimizerRegistry {
    fn default() -> Self {
        Self {
            recipes: built_in(),
        }
    }
}

impl OptimizerRegistry {
    /// The same with a recipe of one's own.
    ///
    /// # Errors
    /// [`OptimError::RecipeTwice`] for a name that is taken, [`OptimError::RecipeOptions`] for options that a configuration
    /// can't hold or that have the name of a key that all recipes have.
    pub fn with_recipe<R: RecipeOptions>(mut self) -> Result<Self, OptimError> {
        let entry = Entry::of::<R>();
        if self.entry(entry.name).is_some() {
            return Err(OptimError::RecipeTwice {
                recipe: entry.name.to_owned(),
            });
        }
        check(&entry)?;
        self.recipes.push(entry);
        Ok(self)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.recipes.iter().find(|entry| entry.name == name)
    }

    /// Names of the recipes.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.recipes.iter().map(|entry| entry.name)
    }

    /// What a recipe is, in a sentence.
    pub fn about(&self, recipe: &str) -> Option<&'static str> {
        self.entry(recipe).map(|entry| entry.about)
    }

    /// Every recipe with its default options.
    pub fn recipes(&self) -> impl Iterator<Item = Recipe> {
        self.recipes.iter().map(|entry| entry.default.clone())
    }

    /// A recipe with its default options.
    ///
    /// # Errors
    /// [`OptimError::UnknownRecipe`] for a name that isn't registered.
    pub fn recipe(&self, name: &str) -> Result<Recipe, OptimError> {
        let recipe = self.chosen(name, Table::new())?;
        recipe.strategy()?;
        Ok(recipe)
    }

    /// The JSON schema of the recipes: `oneOf` their options, told apart by `recipe`.
    pub fn schema(&self) -> Schema {
        let schemas: Vec<&Schema> = self.recipes.iter().map(|entry| &entry.schema).collect();
        json_schema!({ "oneOf": schemas })
    }

    /// Whether a recipe has an option.
    pub fn has_option(&self, recipe: &str, option: &str) -> bool {
        self.entry(recipe).is_some_and(|entry| entry.has(option))
    }

    /// Names of the recipes that have an option.
    fn having(&self, option: &str) -> Vec<&'static str> {
        let having = self.recipes.iter().filter(|entry| entry.has(option));
        having.map(|entry| entry.name).collect()
    }

    /// The section `[optim]` that a table says: the keys that all recipes have, `recipe` and its options, and `groups`. A
    /// name that isn't registered gives a recipe that can make no rules, and says so when it is to.
    ///
    /// # Errors
    /// [`OptimError::RecipeOptions`] for an option that the recipe doesn't have, [`OptimError::Config`] for a key that there
    /// isn't and a value of the wrong type.
    pub fn read(&self, mut table: Table) -> Result<OptimConfig, OptimError> {
        let groups = table.remove(GROUPS);
        let name = name_in(&mut table).unwrap_or_else(|| Recipe::default().name().to_owned());
        let options = self.options(&name, &mut table, &keys::<OptimConfig>())?;
        let recipe = self.chosen(&name, options)?;
        let groups = match groups {
            None => Vec::new(),
            Some(Value::Array(groups)) => groups
                .into_iter()
                .map(|group| self.group(group, &recipe))
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(OptimError::config(GROUPS, format!("{other} is no list"))),
        };
        let common: OptimConfig =
            from_options(table).map_err(|why| OptimError::config(TAG, why))?;
        Ok(OptimConfig {
            recipe,
            groups,
            ..common
        })
    }

    /// A group, whose recipe has the options given with it, then those of these names that the run's recipe has and that aren't at
    /// their defaults there, then its defaults.
    fn group(&self, group: Value, of_run: &Recipe) -> Result<Override, OptimError> {
        let Value::Table(mut table) = group else {
            return Err(OptimError::config(GROUPS, format!("{group} is no table")));
        };
        let name = table.get("name").map(ToString::to_string);
        let bad = |why: String| {
            let name = name.clone().unwrap_or_default();
            OptimError::config(GROUPS, format!("group {name}: {why}"))
        };
        let recipe = match name_in(&mut table) {
            None => None,
            Some(recipe) => {
                let given = self
                    .options(&recipe, &mut table, &keys::<Override>())
                    .map_err(|error| bad(error.to_string()))?;
                let mut options = given.clone();
                for (option, value) in of_run.options() {
                    if self.has_option(&recipe, option)
                        && of_run.defaults().get(option) != Some(value)
                    {
                        options.entry(option).or_insert_with(|| value.clone());
                    }
                }
                let recipe = self
                    .chosen(&recipe, options)
                    .map_err(|error| bad(error.to_string()))?;
                Some(recipe.given_as(given))
            }
        };
        let group: Override = from_options(table).map_err(bad)?;
        Ok(Override { recipe, ..group })
    }

    /// Takes the options of a recipe out of a table that has `keys` beside them.
    fn options(
        &self,
        recipe: &str,
        table: &mut Table,
        keys: &[String],
    ) -> Result<Table, OptimError> {
        let entry = self.entry(recipe);
        let is_option = |key: &String| match entry {
            Some(entry) => entry.has(key),
            None => !keys.contains(key),
        };
        let names: Vec<String> = table.keys().filter(|key| is_option(key)).cloned().collect();
        let taken = names
            .into_iter()
            .filter_map(|name| table.remove_entry(&name));
        let options: Table = taken.collect();
        let foreign = table.keys().find(|key| !keys.contains(key));
        if let (Some(entry), Some(key)) = (entry, foreign)
            && let having @ [_, ..] = &self.having(key)[..]
        {
            let why = format!("`{key}` is an option of {}", having.join(", "));
            return Err(entry.refused(why));
        }
        Ok(options)
    }

    fn chosen(&self, name: &str, options: Table) -> Result<Recipe, OptimError> {
        if let Some(entry) = self.entry(name) {
            return entry.read(options);
        }
        let names: Vec<&str> = self.names().collect();
        let why = format!(
            "is registered nowhere in this program, which knows {}",
            names.join(", ")
        );
        Ok(Recipe::without_strategy(name.to_owned(), options, why))
    }
}

/// The recipe that a table names, taken out of it.
fn name_in(table: &mut Table) -> Option<String> {
    table.remove(TAG).map(|name| match name {
        Value::String(name) => name,
        other => other.to_string(),
    })
}

/// The keys of a section, the recipe and its options left out.
fn keys<T: JsonSchema>() -> Vec<String> {
    let schema = schema_for!(T);
    let properties = schema.get("properties").and_then(|p| p.as_object());
    let names = properties.into_iter().flat_map(|p| p.keys());
    names.cloned().collect()
}

/// What would surprise whoever chooses the recipe.
fn check(entry: &Entry) -> Result<(), OptimError> {
    entry.default.strategy()?;
    let options: Vec<&str> = entry.options().collect();
    let stated = entry.default.defaults().keys().map(String::as_str);
    let taken = [
        keys::<OptimConfig>(),
        keys::<Override>(),
        vec![TAG.to_owned()],
    ]
    .concat();
    let mut named = options.iter().copied().chain(stated);
    match named.find(|option| taken.iter().any(|key| key == option)) {
        Some(option) => Err(entry.refused(format!("no option can be called `{option}`"))),
        None => Ok(()),
    }
}
