//! Which normalization functions and residual rules a program knows, by name.

use crate::config::ModelConfig;
use crate::error::PlanError;
use crate::function::{
    AT, Anchored, Erf, Function, GatedNorm, Layer, NAME, NormFunction, PlacedAt, PreAffine, Rms,
    SeedNorm, Tanh, Taper, Unit,
};
use crate::named::{Named, Options, Recorded, from_options};
use crate::plan::{MixPlan, NormPlan, Plan, Spot, VisitMut};
use crate::registry::RegistryError;
use crate::rule::{Geodesic, MixRule, Rule};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;
use std::collections::BTreeMap;

/// Reads the options of a kind; in words, why it can't.
type Make<T> = fn(Options) -> Result<Named<T>, String>;

/// One kind of function or rule.
struct Kind<T: ?Sized> {
    about: &'static str,
    make: Make<T>,
    /// The JSON schema of its options.
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl<T: ?Sized> Clone for Kind<T> {
    fn clone(&self) -> Self {
        Self {
            about: self.about,
            make: self.make,
            schema: self.schema,
        }
    }
}

/// The normalization functions and residual rules that plans may name.
///
/// ```
/// use evenburn_model::Kinds;
/// let known = Kinds::default();
/// assert!(known.functions().any(|(name, _)| name == "rms"));
/// ```
#[derive(Clone)]
pub struct Kinds {
    functions: BTreeMap<&'static str, Kind<dyn NormFunction>>,
    rules: BTreeMap<&'static str, Kind<dyn MixRule>>,
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kinds")
            .field("functions", &self.functions.keys())
            .field("rules", &self.rules.keys())
            .finish()
    }
}

impl Default for Kinds {
    /// Everything built in, one line each.
    fn default() -> Self {
        Self {
            functions: [
                function::<Rms>(),
                function::<Unit>(),
                function::<Layer>(),
                function::<Tanh>(),
                function::<Erf>(),
                function::<SeedNorm>(),
                function::<GatedNorm>(),
                function::<PreAffine>(),
                function::<Taper>(),
                function::<Anchored>(),
            ]
            .into(),
            rules: [rule::<Geodesic>()].into(),
        }
    }
}

fn function<F: NormFunction + Recorded>() -> (&'static str, Kind<dyn NormFunction>) {
    let kind = Kind {
        about: F::ABOUT,
        make: (|options| Ok(Function::from(from_options::<F>(options)?))) as Make<dyn NormFunction>,
        schema: F::json_schema,
    };
    (F::NAME, kind)
}

fn rule<R: MixRule + Recorded>() -> (&'static str, Kind<dyn MixRule>) {
    let kind = Kind {
        about: R::ABOUT,
        make: (|options| Ok(Rule::from(from_options::<R>(options)?))) as Make<dyn MixRule>,
        schema: R::json_schema,
    };
    (R::NAME, kind)
}

/// What errors call a function.
const FUNCTION: &str = "normalization function";
/// What errors call a rule.
const RULE: &str = "residual rule";

/// Adds an entry under a name of its own whose options a plan and a configuration can hold; `taken` are the keys that stand
/// beside them there.
fn add<T: ?Sized>(
    known: &mut BTreeMap<&'static str, Kind<T>>,
    what: &'static str,
    taken: &[&str],
    (name, kind): (&'static str, Kind<T>),
) -> Result<(), RegistryError> {
    let schema = (kind.schema)(&mut SchemaGenerator::default());
    let refuse = |why: String| RegistryError::Options {
        kind: what,
        name: name.to_owned(),
        why,
    };
    if schema.get("type") != Some(&json!("object")) {
        return Err(refuse("its type is no struct with named fields".to_owned()));
    }
    let options = schema.get("properties");
    if let Some(key) = taken
        .iter()
        .find(|key| options.is_some_and(|options| options.get(key).is_some()))
    {
        return Err(refuse(format!("no option can be called `{key}`")));
    }
    match known.insert(name, kind) {
        Some(_) => Err(RegistryError::Twice {
            kind: what,
            name: name.to_owned(),
        }),
        None => Ok(()),
    }
}

impl Kinds {
    /// The same with a normalization function of one's own.
    ///
    /// # Errors
    /// [`RegistryError::Twice`] if its name is taken, [`RegistryError::Options`] for options that a configuration can't hold.
    pub fn with_function<F: NormFunction + Recorded>(mut self) -> Result<Self, RegistryError> {
        let entry = function::<F>();
        add(&mut self.functions, FUNCTION, &[NAME, AT], entry)?;
        Ok(self)
    }

    /// The same with a residual rule of one's own.
    ///
    /// # Errors
    /// [`RegistryError::Twice`] if its name is taken, [`RegistryError::Options`] for options that a plan can't hold.
    pub fn with_rule<R: MixRule + Recorded>(mut self) -> Result<Self, RegistryError> {
        add(&mut self.rules, RULE, &[], rule::<R>())?;
        Ok(self)
    }

    /// Names of the normalization functions, with a sentence each.
    pub fn functions(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.functions
            .iter()
            .map(|(name, kind)| (*name, kind.about))
    }

    /// Names of the residual rules, with a sentence each.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.rules.iter().map(|(name, kind)| (*name, kind.about))
    }

    /// Gives the functions and rules of a plan that was read from a file the objects that carry them out.
    ///
    /// # Errors
    /// [`PlanError::Unknown`] with the place and the name of one that isn't registered, or whose options it can't read.
    pub fn resolve(&self, plan: &mut Plan) -> Result<(), PlanError> {
        let mut resolve = Resolve {
            kinds: self,
            scheme: plan.scheme.clone(),
            error: None,
        };
        plan.visit_mut(&mut resolve);
        resolve.error.map_or(Ok(()), Err)
    }

    /// Gives the function of a configuration that was read from a file the object that carries it out.
    ///
    /// # Errors
    /// [`PlanError::Unknown`] if it isn't registered, or if its options can't be read.
    pub fn resolve_config(&self, config: &mut ModelConfig) -> Result<(), PlanError> {
        let Some(placed) = &mut config.function else {
            return Ok(());
        };
        let function = &mut placed.function;
        *function = made(&self.functions, function).map_err(|why| PlanError::Unknown {
            scheme: "model.function".to_owned(),
            place: "name".to_owned(),
            what: FUNCTION,
            name: function.name().to_owned(),
            why,
        })?;
        Ok(())
    }

    /// The JSON schema of the `[model.function]` section: `oneOf` the functions, told apart by `name`.
    pub fn placed_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let at = generator.subschema_for::<PlacedAt>();
        let functions = self.functions.iter().map(|(name, kind)| {
            let mut schema = (kind.schema)(generator);
            let object = schema.ensure_object();
            object.insert("description".to_owned(), json!(kind.about));
            object.insert("required".to_owned(), json!([NAME]));
            let properties = object.entry("properties").or_insert_with(|| json!({}));
            if let Some(properties) = properties.as_object_mut() {
                let mut at = at.clone();
                let about = "Normalizations of the scheme that it takes the place of: `inputs` of the branches, or \
                             `inputs_and_final`; when not given those that the function is meant for.";
                at.insert("description".to_owned(), json!(about));
                properties.insert(AT.to_owned(), at.to_value());
                let name = json!({ "type": "string", "const": name });
                properties.insert(NAME.to_owned(), name);
            }
            schema
        });
        let functions: Vec<Schema> = functions.collect();
        json_schema!({ "oneOf": functions })
    }
}

/// The object that carries out one that was read; in words, why there is none.
fn made<T: ?Sized>(
    known: &BTreeMap<&'static str, Kind<T>>,
    named: &Named<T>,
) -> Result<Named<T>, String> {
    match known.get(named.name()) {
        Some(kind) => (kind.make)(named.options().clone()),
        None => Err("this program doesn't know it: it has to be registered".to_owned()),
    }
}

struct Resolve<'a> {
    kinds: &'a Kinds,
    scheme: String,
    error: Option<PlanError>,
}

impl Resolve<'_> {
    fn resolved<T: ?Sized>(
        &mut self,
        at: &Spot,
        what: &'static str,
        known: &BTreeMap<&'static str, Kind<T>>,
        named: &mut Named<T>,
    ) {
        match made(known, named) {
            Ok(made) => *named = made,
            Err(why) => {
                self.error.get_or_insert(PlanError::Unknown {
                    scheme: self.scheme.clone(),
                    place: at.param.to_string(),
                    what,
                    name: named.name().to_owned(),
                    why,
                });
            }
        }
    }
}

impl VisitMut for Resolve<'_> {
    fn norm(&mut self, at: &Spot, plan: &mut NormPlan) {
        let kinds = self.kinds;
        self.resolved(at, FUNCTION, &kinds.functions, &mut plan.function);
    }

    fn mix(&mut self, at: &Spot, plan: &mut MixPlan) {
        if let MixPlan::Rule { rule } = plan {
            let kinds = self.kinds;
            self.resolved(at, RULE, &kinds.rules, rule);
        }
    }
}
