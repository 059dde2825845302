use crate::check::{Gradients, Spread, Trial, assert_safe, both};
use crate::{reference, square_sum};
use burn::tensor::{DType, Device, Distribution, Tensor};

fn number(x: Tensor<1>) -> f64 {
    assert_eq!(x.dims(), [1]);
    x.into_data().iter::<f64>().sum()
}

#[test]
fn agrees_with_the_reference() {
    for shape in [[1, 1], [1, 70], [9, 33], [300, 256], [5, 20_000]] {
        let x = Tensor::<2>::random(shape, Distribution::Default, (&Device::flex(), DType::F32));
        let exact = number(reference::square_sum(x.clone().cast(DType::F64)));
        for y in [x.clone(), x.clone().transpose()] {
            let error = (number(square_sum(y)) / exact - 1.0).abs();
            assert!(error < 1e-6, "{shape:?}: {error:e}");
        }
        let fast = number(square_sum(x.clone().cast(DType::F64)));
        assert!((fast / exact - 1.0).abs() < 1e-14);
        let infinite = x.mul_scalar(f32::INFINITY);
        assert!(!number(square_sum(infinite)).is_finite());
    }
}

#[test]
fn is_safe() {
    assert_safe("square sum", |draw| {
        let shape = [draw.pick(&[1, 3, 17]), draw.size(), draw.size()];
        let input = draw.input(shape);
        Trial {
            name: format!("of {input:?}"),
            sizes: vec![input.size()],
            terms: 1,
            gradients: Gradients::None,
            spread: Spread::AsReference,
            ways: both(
                [square_sum::<3>, reference::square_sum],
                move |square_sum, x| square_sum(input.of(&x[0])),
            ),
        }
    });
}
