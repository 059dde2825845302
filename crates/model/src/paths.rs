//! Walks over a module's parameters that know each one's path.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Looks at float parameters with their paths; [`visit`] goes from one to the next.
pub trait ParameterVisitor {
    /// Looks at one parameter, of `D` dimensions.
    fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>);
}

/// Replaces float parameters by their paths; [`map`] goes from one to the next.
pub trait ParameterMapper {
    /// What stands in the place of one parameter, of `D` dimensions.
    fn parameter<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>>;
}

/// Shows a visitor every float parameter with its path, in visiting order.
///
/// ```
/// use burn::{module::Param, tensor::{Device, Tensor}};
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm, weights};
///
/// /// Path of the largest parameter, and its elements.
/// #[derive(Default)]
/// struct Largest(String, usize);
/// impl weights::ParameterVisitor for Largest {
///     fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
///         let elements = param.lazy_shape().num_elements();
///         if elements > self.1 {
///             *self = Self(path.to_owned(), elements);
///         }
///     }
/// }
///
/// let config = ModelConfig { vocab_size: 512, dim: 32, layers: 2, heads: 2, ..Default::default() };
/// let plan = Plan::new(&config, &PreNorm::default())?;
/// let mut largest = Largest::default();
/// weights::visit(&Decoder::new(&plan, 0, &Device::flex()), &mut largest);
/// assert_eq!((largest.0.as_str(), largest.1), ("embed.weight", 512 * 32));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
pub fn visit<M: Module, V: ParameterVisitor>(module: &M, visitor: &mut V) {
    module.visit(&mut WithPath {
        path: Vec::new(),
        inner: visitor,
    });
}

/// The module with every float parameter replaced by what a mapper returns for it.
///
/// ```
/// use burn::{module::Param, tensor::{Device, Tensor}};
/// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::PreNorm, weights};
///
/// /// Zeroes the output matrices of attention.
/// struct Silence;
/// impl weights::ParameterMapper for Silence {
///     fn parameter<const D: usize>(&mut self, path: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
///         if path.ends_with("attn.o.weight") { param.map(|w| w.zeros_like()) } else { param }
///     }
/// }
///
/// let config = ModelConfig { vocab_size: 64, dim: 32, layers: 2, heads: 2, ..Default::default() };
/// let plan = Plan::new(&config, &PreNorm::default())?;
/// let model = weights::map(Decoder::new(&plan, 0, &Device::flex()), &mut Silence);
/// let zeros = weights::collect(&model).into_iter().filter(|(_, data)| data.iter::<f32>().all(|w| w == 0.0));
/// assert_eq!(zeros.count(), 2);
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
pub fn map<M: Module, V: ParameterMapper>(module: M, mapper: &mut V) -> M {
    module.map(&mut WithPath {
        path: Vec::new(),
        inner: mapper,
    })
}

/// Keeps the names on the way to a parameter.
struct WithPath<'v, V> {
    path: Vec<String>,
    inner: &'v mut V,
}

impl<V: ParameterVisitor> ModuleVisitor for WithPath<'_, V> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.inner.parameter(&self.path.join("."), param);
    }
}

impl<V: ParameterMapper> ModuleMapper for WithPath<'_, V> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.inner.parameter(&self.path.join("."), param)
    }
}
