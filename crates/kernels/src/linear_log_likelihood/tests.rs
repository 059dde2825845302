use crate::check::{Gradients, Spread, Trial, assert_safe, both, integers, singles};
use crate::{Precision, linear_log_likelihood, reference};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

fn matrix(shape: [usize; 2], seed: u64) -> Tensor<2> {
    let data = TensorData::new(singles(shape[0] * shape[1], seed), shape);
    Tensor::from_data(data, &Device::flex())
}

fn targets(n: usize, v: usize) -> Tensor<1, Int> {
    integers(n, 0, v as i64, 5, &Device::flex())
}

fn flags(tensor: Tensor<1, burn::tensor::Bool>) -> Vec<bool> {
    tensor.into_data().iter::<bool>().collect()
}

#[test]
fn agrees_with_the_reference() {
    // The last two take several chunks; the second of them because of its vocabulary.
    for (n, d, v) in [
        (1, 1, 2),
        (1, 8, 70),
        (5, 33, 20),
        (100, 24, 333),
        (600, 32, 100),
        (430, 4, 40_000),
    ] {
        let (h, w) = (matrix([n, d], 1), matrix([v, d], 2).transpose());
        let (found, is_largest) =
            linear_log_likelihood(h.clone(), w.clone(), targets(n, v), Precision::F32);
        let [h, w] = [h, w].map(|x| x.cast(DType::F64));
        let (exact, largest) =
            reference::linear_log_likelihood(h, w, targets(n, v), Precision::F32);
        let error = (found.cast(DType::F64) - exact).abs().max();
        let error = error.into_scalar::<f64>();
        assert!(error < 1e-5, "{n} x {d} x {v}: {error:e}");
        assert_eq!(flags(is_largest), flags(largest), "{n} x {d} x {v}");
    }
}

#[test]
fn bf16_agrees_with_the_reference() {
    let (n, d, v) = (70, 33, 200);
    let (h, w) = (matrix([n, d], 1), matrix([d, v], 2));
    let ways = [linear_log_likelihood, reference::linear_log_likelihood];
    let [found, exact] =
        ways.map(|way| way(h.clone(), w.clone(), targets(n, v), Precision::Bf16).0);
    // The reference rounds the logits too, of which the largest are 20.
    let error = (found - exact).abs().max().into_scalar::<f32>();
    assert!(error < 0.1, "{error:e}");
}

#[test]
fn of_equal_logits_the_first_is_the_largest() {
    let device = Device::flex();
    for dtype in [DType::F32, DType::F64] {
        let h = Tensor::<2>::ones([4, 1], (&device, dtype));
        let w = Tensor::<2>::from_floats([[0.5, 2.0, 2.0, -1.0]], &device).cast(dtype);
        let targets = Tensor::from_ints([0, 1, 2, 3], &device);
        let (_, is_largest) = linear_log_likelihood(h, w, targets, Precision::F32);
        assert_eq!(flags(is_largest), [false, true, false, false]);
    }
}

#[test]
fn nan_stays() {
    let h = Tensor::<2>::from_floats([[1.0], [f32::NAN]], &Device::flex());
    let w = Tensor::<2>::ones([1, 70], &Device::flex());
    let (found, _) = linear_log_likelihood(h, w, targets(2, 70), Precision::F32);
    let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
    assert!(found[0].is_finite() && found[1].is_nan());
}

#[test]
fn is_safe() {
    assert_safe("linear log-likelihood", |draw| {
        let [n, d] = [(); 2].map(|()| draw.size());
        let v = draw.size() + 1;
        let (rows, w) = (draw.input([n, d]), draw.input([d, v]));
        let ways = [linear_log_likelihood, reference::linear_log_likelihood];
        Trial {
            name: format!("of {rows:?} and {w:?}"),
            sizes: vec![rows.size(), w.size()],
            terms: d,
            gradients: Gradients::None,
            spread: Spread::Less,
            ways: both(ways, move |way, x| {
                let targets = integers(n, 0, v as i64, 5, &x[0].device());
                way(rows.of(&x[0]), w.of(&x[1]), targets, Precision::F32).0
            }),
        }
    });
}
