use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both, integers};
use crate::{embedding, reference};
use burn::tensor::{Int, Tensor};

fn tokens(shape: [usize; 2], v: usize, like: &Tensor<1>) -> Tensor<2, Int> {
    integers(shape[0] * shape[1], 0, v as i64, 4, &like.device()).reshape(shape)
}

#[test]
fn agrees_with_the_reference() {
    for (shape, v, d) in [
        ([1, 1], 1, 1),
        ([2, 7], 5, 33),
        ([3, 100], 333, 20),
        ([8, 70], 20, 256),
    ] {
        assert_agree::<3>(
            &format!("embedding {shape:?} of {v} x {d}"),
            &[v * d],
            2e-6,
            &move |x| embedding(x[0].clone().reshape([v, d]), tokens(shape, v, &x[0])),
            &move |x| reference::embedding(x[0].clone().reshape([v, d]), tokens(shape, v, &x[0])),
        );
    }
}

#[test]
fn takes_strided_inputs() {
    assert_agree::<3>(
        "embedding of a transposed table",
        &[40 * 30],
        2e-6,
        &|x| {
            embedding(
                x[0].clone().reshape([30, 40]).transpose(),
                tokens([5, 7], 40, &x[0]).transpose(),
            )
        },
        &|x| {
            reference::embedding(
                x[0].clone().reshape([30, 40]).transpose(),
                tokens([5, 7], 40, &x[0]).transpose(),
            )
        },
    );
}

#[test]
#[should_panic(expected = "token 3, number 1 of 4, is outside a vocabulary of 3")]
fn a_token_without_a_row_is_named() {
    let device = burn::tensor::Device::flex();
    let table = Tensor::<2>::zeros([3, 5], &device);
    embedding(table, Tensor::from_ints([[2, 3], [0, -1]], &device));
}

#[test]
fn is_safe() {
    assert_safe("embedding", |draw| {
        let (shape, v) = ([draw.pick(&[1, 3]), draw.size()], draw.size());
        let d = draw.size();
        let table = draw.input([v, d]);
        Trial {
            name: format!("{shape:?} of {table:?}"),
            sizes: vec![table.size()],
            terms: shape[0] * shape[1],
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both([embedding, reference::embedding], move |embedding, x| {
                embedding(table.of(&x[0]), tokens(shape, v, &x[0]))
            }),
        }
    });
}
