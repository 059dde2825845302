//! A plain Burn classifier with SimpleNorm after its first linear map: `cargo run -p norm-module`.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use evenburn_model::modules::Norm;
use evenburn_model::plan::{GainRole, NormPlan};

const HIDDEN: usize = 16;

/// `sigmoid(W2 relu(gain * N(W1 x)))`.
#[derive(Module, Debug)]
struct Classifier {
    first: Linear,
    norm: Norm,
    second: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        let norm = NormPlan::rms(1e-5, GainRole::Output);
        Self {
            first: LinearConfig::new(2, HIDDEN).with_bias(false).init(device),
            norm: norm.init_full(HIDDEN, device),
            second: LinearConfig::new(HIDDEN, 1).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        sigmoid(
            self.second
                .forward(relu(self.norm.forward(self.first.forward(x)))),
        )
    }
}

/// The four corners of a square, the opposite ones in one class: no linear classifier separates them.
fn corners(device: &Device) -> (Tensor<2>, Tensor<2>) {
    let x = TensorData::new(vec![1.0f32, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0], [4, 2]);
    let y = TensorData::new(vec![1.0f32, 0.0, 0.0, 1.0], [4, 1]);
    (Tensor::from_data(x, device), Tensor::from_data(y, device))
}

/// Trains and returns the mean squared error before and after.
fn train(steps: usize) -> (f32, f32) {
    let device = Device::flex().autodiff();
    device.seed(3);
    let mut model = Classifier::new(&device);
    let mut optimizer = AdamWConfig::new().init();
    let (x, y) = corners(&device);
    let error = |model: &Classifier| (model.forward(x.clone()) - y.clone()).square().mean();
    let before = error(&model).into_scalar::<f32>();
    for _ in 0..steps {
        let gradients = GradientsParams::from_grads(error(&model).backward(), &model);
        model = optimizer.step(0.02, model, gradients);
    }
    (before, error(&model).into_scalar::<f32>())
}

fn main() {
    let (before, after) = train(200);
    println!("mean squared error {before:.4} before training, {after:.4} after");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corners_are_separated() {
        let (before, after) = super::train(200);
        assert!(before > 0.1 && after < 0.02, "{before} {after}");
    }
}
