use crate::check::{assert_agree, integers};
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
