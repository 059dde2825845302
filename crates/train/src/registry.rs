//! What a program knows by name, of everything that a configuration chooses from.

use evenburn_model::function::NormFunction;
use evenburn_model::rule::MixRule;
use evenburn_model::strategy::SchemeOptions;
use evenburn_model::{Recorded, RegistryError};
use evenburn_optim::{OptimError, OptimizerRegistry, RecipeOptions};

/// The schemes, normalization functions, residual rules and optimizer recipes that a program's configurations can choose.
///
/// The default one has all that is built in; a program that adds its own has them in every command.
///
/// ```
/// use evenburn_train::Registry;
/// let registry = Registry::default();
/// assert!(registry.model.names().any(|scheme| scheme == "pre_norm"));
/// assert!(registry.optimizers.names().any(|recipe| recipe == "muon"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The schemes, and the functions and rules that plans may name.
    pub model: evenburn_model::Registry,
    /// The optimizer recipes.
    pub optimizers: OptimizerRegistry,
}

impl Registry {
    /// The same with a scheme of one's own.
    ///
    /// # Errors
    /// As [`evenburn_model::Registry::with_scheme`].
    pub fn with_scheme<S: SchemeOptions>(self) -> Result<Self, RegistryError> {
        let model = self.model.with_scheme::<S>()?;
        Ok(Self { model, ..self })
    }

    /// The same with a normalization function of one's own.
    ///
    /// # Errors
    /// As [`evenburn_model::Registry::with_function`].
    pub fn with_function<F: NormFunction + Recorded>(self) -> Result<Self, RegistryError> {
        let model = self.model.with_function::<F>()?;
        Ok(Self { model, ..self })
    }

    /// The same with a residual rule of one's own.
    ///
    /// # Errors
    /// As [`evenburn_model::Registry::with_rule`].
    pub fn with_rule<R: MixRule + Recorded>(self) -> Result<Self, RegistryError> {
        let model = self.model.with_rule::<R>()?;
        Ok(Self { model, ..self })
    }

    /// The same with an optimizer recipe of one's own.
    ///
    /// # Errors
    /// As [`OptimizerRegistry::with_recipe`].
    pub fn with_recipe<R: RecipeOptions>(self) -> Result<Self, OptimError> {
        let optimizers = self.optimizers.with_recipe::<R>()?;
        Ok(Self { optimizers, ..self })
    }
}

impl From<evenburn_model::Registry> for Registry {
    fn from(model: evenburn_model::Registry) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }
}
