//! Where each parameter lies in the vector that ranks exchange.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};
use evenburn_model::Decoder;
use evenburn_model::weights::{self, ParameterMapper, ParameterVisitor};
use evenburn_optim::{OptimError, replace_value};

use super::member::floats;
use super::ownership::owners;
use crate::error::TrainError;

/// Where a parameter lies, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    owner: usize,
    range: Range<usize>,
    shape: Vec<usize>,
}

/// The trainable parameters of a decoder as one vector of `f32`: first those of rank 0, then those of rank 1.
#[derive(Debug)]
pub(super) struct Layout {
    places: HashMap<String, Place>,
    /// The part of each rank.
    ranges: Vec<Range<usize>>,
}

impl Layout {
    /// The layout of a decoder's parameters on so many ranks.
    pub(super) fn new(decoder: &Decoder, world: usize) -> Result<Self, TrainError> {
        let found = trainable(decoder)?;
        let sizes: Vec<usize> = found.iter().map(|(_, shape)| size(shape)).collect();
        let owners = owners(&sizes, world);
        let mut places = HashMap::new();
        let mut ranges = Vec::with_capacity(world);
        let mut end = 0;
        for rank in 0..world {
            let start = end;
            for ((path, shape), owner) in found.iter().zip(&owners) {
                if *owner == rank {
                    let range = end..end + size(shape);
                    end = range.end;
                    let shape = shape.clone();
                    let owner = *owner;
                    places.insert(
                        path.clone(),
                        Place {
                            owner,
                            range,
                            shape,
                        },
                    );
                }
            }
            ranges.push(start..end);
        }
        Ok(Self { places, ranges })
    }

    /// The part of each rank.
    pub(super) fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Elements of all parameters.
    pub(super) fn len(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// Paths of the parameters of a rank.
    pub(super) fn owned(&self, rank: usize) -> BTreeSet<String> {
        let own = self.places.iter().filter(|(_, place)| place.owner == rank);
        own.map(|(path, _)| path.clone()).collect()
    }

    /// Gradients as one vector; they are consumed.
    pub(super) fn flatten(
        &self,
        decoder: &Decoder,
        gradients: GradientsParams,
        step: u64,
    ) -> Result<Vec<f32>, TrainError> {
        let mut visitor = Flatten {
            layout: self,
            gradients,
            flat: vec![0.0; self.len()],
            missing: Vec::new(),
            unread: None,
        };
        weights::visit(decoder, &mut visitor);
        if !visitor.missing.is_empty() {
            let parameters = visitor.missing;
            return Err(OptimError::MissingGradient { step, parameters }.into());
        }
        match visitor.unread {
            Some(error) => Err(error),
            None => Ok(visitor.flat),
        }
    }

    /// The gradients of one rank's parameters, or of all, from such a vector.
    pub(super) fn gradients(
        &self,
        decoder: &Decoder,
        flat: &[f32],
        of: Option<usize>,
    ) -> GradientsParams {
        let mut visitor = Unflatten {
            layout: self,
            flat,
            of,
            gradients: GradientsParams::new(),
        };
        weights::visit(decoder, &mut visitor);
        visitor.gradients
    }

    /// The values of one rank's parameters, at their places in a vector that is zero elsewhere.
    pub(super) fn values(&self, decoder: &Decoder, of: usize) -> Result<Vec<f32>, TrainError> {
        let mut visitor = Values {
            layout: self,
            of,
            flat: vec![0.0; self.len()],
            unread: None,
        };
        weights::visit(decoder, &mut visitor);
        match visitor.unread {
            Some(error) => Err(error),
            None => Ok(visitor.flat),
        }
    }

    /// The decoder with the values of a vector in all parameters but those of one rank.
    pub(super) fn replace(&self, decoder: Decoder, flat: &[f32], except: usize) -> Decoder {
        let mut mapper = Replace {
            layout: self,
            flat,
            except,
        };
        weights::map(decoder, &mut mapper)
    }
}

fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Paths and shapes of the parameters that have gradients, in visiting order.
fn trainable(decoder: &Decoder) -> Result<Vec<(String, Vec<usize>)>, TrainError> {
    struct Find {
        found: Vec<(String, Vec<usize>)>,
        foreign: Option<(String, DType)>,
    }
    impl ParameterVisitor for Find {
        fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
            let value = param.val();
            if !value.is_require_grad() {
                return;
            }
            if value.dtype() != DType::F32 {
                self.foreign.get_or_insert((path.to_owned(), value.dtype()));
            }
            self.found.push((path.to_owned(), value.dims().to_vec()));
        }
    }
    let mut visitor = Find {
        found: Vec::new(),
        foreign: None,
    };
    weights::visit(decoder, &mut visitor);
    match visitor.foreign {
        None => Ok(visitor.found),
        Some((path, format)) => Err(TrainError::DeviceRead {
            why: format!("ranks exchange parameters in f32, and {path} is {format:?}"),
        }),
    }
}

struct Flatten<'l> {
    layout: &'l Layout,
    gradients: GradientsParams,
    flat: Vec<f32>,
    missing: Vec<String>,
    unread: Option<TrainError>,
}

impl ParameterVisitor for Flatten<'_> {
    fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
        let Some(place) = self.layout.places.get(path) else {
            return;
        };
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            self.missing.push(path.to_owned());
            return;
        };
        let data = gradient.inner().into_data();
        match floats(&data) {
            Ok(values) => self.flat[place.range.clone()].copy_from_slice(values),
            Err(error) => {
                self.unread.get_or_insert(error);
            }
        }
    }
}

struct Unflatten<'l> {
    layout: &'l Layout,
    flat: &'l [f32],
    of: Option<usize>,
    gradients: GradientsParams,
}

impl ParameterVisitor for Unflatten<'_> {
    fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
        let Some(place) = self.layout.places.get(path) else {
            return;
        };
        if self.of.is_some_and(|rank| rank != place.owner) {
            return;
        }
        let values = self.flat[place.range.clone()].to_vec();
        let data = TensorData::new(values, place.shape.clone());
        let device = param.val().inner().device();
        let gradient = Tensor::<D>::from_data(data, &device);
        self.gradients.register::<D>(param.id, gradient);
    }
}

struct Values<'l> {
    layout: &'l Layout,
    of: usize,
    flat: Vec<f32>,
    unread: Option<TrainError>,
}

impl ParameterVisitor for Values<'_> {
    fn parameter<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
        let place = self.layout.places.get(path);
        let Some(place) = place.filter(|place| place.owner == self.of) else {
            return;
        };
        let data = param.val().inner().into_data();
        match floats(&data) {
            Ok(values) => self.flat[place.range.clone()].copy_from_slice(values),
            Err(error) => {
                self.unread.get_or_insert(error);
            }
        }
    }
}

struct Replace<'l> {
    layout: &'l Layout,
    flat: &'l [f32],
    except: usize,
}

impl ParameterMapper for Replace<'_> {
    fn parameter<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        let place = self.layout.places.get(path);
        let Some(place) = place.filter(|place| place.owner != self.except) else {
            return param;
        };
        let values = self.flat[place.range.clone()].to_vec();
        let data = TensorData::new(values, place.shape.clone());
        replace_value(param, |before| {
            Tensor::<D>::from_data(data, &before.device())
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use evenburn_model::{ModelConfig, Plan, strategy::AnGpt};

    use super::*;

    fn decoder(seed: u64) -> Decoder {
        let config = ModelConfig {
            vocab_size: 32,
            dim: 16,
            layers: 2,
            heads: 2,
            context: 8,
            ..Default::default()
        };
        let plan = Plan::new(&config, &AnGpt::default()).unwrap();
        Decoder::new(&plan, seed, &Device::flex().autodiff())
    }

    #[test]
    fn every_parameter_has_one_owner_and_the_ranks_hold_about_as_much() {
        let decoder = decoder(1);
        let all = trainable(&decoder).unwrap();
        for world in [1, 2, 3, 4, 200] {
            let layout = Layout::new(&decoder, world).unwrap();
            let owned: Vec<_> = (0..world).flat_map(|rank| layout.owned(rank)).collect();
            assert_eq!(owned.len(), all.len(), "{world}");
            assert_eq!(owned.iter().collect::<BTreeSet<_>>().len(), all.len());
            let total: usize = all.iter().map(|(_, shape)| size(shape)).sum();
            assert_eq!(layout.len(), total);
            let largest = all.iter().map(|(_, shape)| size(shape)).max().unwrap();
            let most = layout.ranges().iter().map(Range::len).max().unwrap();
            // No rank has more than an even share and one parameter.
            assert!(
                most <= total / world + largest,
                "{world}: {most} of {total}"
            );
        }
    }

    #[test]
    fn values_of_all_owners_make_the_decoder() {
        let (from, to) = (decoder(1), decoder(2));
        let layout = Layout::new(&from, 3).unwrap();
        let mut flat = vec![0.0; layout.len()];
        for rank in 0..3 {
            let part = layout.ranges()[rank].clone();
            let values = layout.values(&from, rank).unwrap();
            flat[part.clone()].copy_from_slice(&values[part]);
        }
        let copied = layout.replace(to, &flat, usize::MAX);
        let data = |decoder: &Decoder| {
            let all = weights::collect(decoder).into_iter();
            all.map(|(path, data)| (path, data.try_to_vec::<f32>().unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(data(&copied), data(&from));
    }
}
