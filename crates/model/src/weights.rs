//! A module's parameters by their exact paths.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

use crate::error::WeightsError;
pub use crate::paths::{ParameterMapper, ParameterVisitor, map, visit};

/// Every float parameter with its path, in visiting order.
///
/// ```
/// use burn::tensor::Device;
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm, weights};
/// let plan = Plan::new(&ModelConfig::default(), &PreNorm::default())?;
/// let model = Decoder::new(&plan, 0, &Device::flex());
/// let named = weights::collect(&model);
/// assert_eq!(named[0].0, "embed.weight");
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
pub fn collect<M: Module>(module: &M) -> Vec<(String, TensorData)> {
    struct Collect(Vec<(String, TensorData)>);
    impl ParameterVisitor for Collect {
        fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
            self.0.push((path.to_owned(), param.val().into_data()));
        }
    }
    let mut visitor = Collect(Vec::new());
    visit(module, &mut visitor);
    visitor.0
}

/// The gradient of every float parameter that has one, by its path.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm, weights};
/// let plan = Plan::new(&ModelConfig::default(), &PreNorm::default())?;
/// let device = Device::flex().autodiff();
/// let model = Decoder::new(&plan, 0, &device);
/// let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3]], &device);
/// let gradients = weights::gradients(&model, &model.loss_sum(tokens.clone(), tokens).backward());
/// assert_eq!(gradients.len(), plan.params().len());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
pub fn gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, TensorData> {
    struct Find<'a> {
        gradients: &'a Gradients,
        found: BTreeMap<String, TensorData>,
    }
    impl ParameterVisitor for Find<'_> {
        fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                self.found.insert(path.to_owned(), gradient.into_data());
            }
        }
    }
    let mut visitor = Find {
        gradients,
        found: BTreeMap::new(),
    };
    visit(module, &mut visitor);
    visitor.found
}

/// The module with every float parameter replaced, by what [`collect`] returns or a map of paths; a value's number format
/// becomes the parameter's.
///
/// # Errors
/// [`WeightsError`] when a parameter has no value, a value has no parameter, or shapes differ; nothing is replaced
/// then.
pub fn replace<M: Module>(
    module: M,
    values: impl IntoIterator<Item = (String, TensorData)>,
) -> Result<M, WeightsError> {
    struct Replace {
        values: BTreeMap<String, TensorData>,
        missing: Vec<String>,
        shape: Option<WeightsError>,
    }
    impl ParameterMapper for Replace {
        fn parameter<const D: usize>(
            &mut self,
            path: &str,
            param: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            let Some(data) = self.values.remove(path) else {
                self.missing.push(path.to_owned());
                return param;
            };
            let (expected, found) = (param.lazy_shape().to_vec(), data.shape().to_vec());
            if expected != found {
                self.shape.get_or_insert(WeightsError::Shape {
                    path: path.to_owned(),
                    expected,
                    found,
                });
                return param;
            }
            let (id, old, mapper) = param.consume();
            let device = old.device();
            let dtype = data.dtype();
            let new = Tensor::<D>::from_data(data, (&device, dtype))
                .set_require_grad(old.is_require_grad());
            Param::from_mapped_value(id, new, mapper)
        }
    }
    let mut mapper = Replace {
        values: values.into_iter().collect(),
        missing: Vec::new(),
        shape: None,
    };
    let module = map(module, &mut mapper);
    if let Some(error) = mapper.shape {
        return Err(error);
    }
    if !mapper.missing.is_empty() || !mapper.values.is_empty() {
        return Err(WeightsError::Names {
            missing: mapper.missing,
            unexpected: mapper.values.into_keys().collect(),
        });
    }
    Ok(module)
}
