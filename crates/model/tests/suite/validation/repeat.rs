//! Two normalizations in a row of which one does nothing.

use super::{Custom, biased, clash, gained, layer, normed, rms};
use evenburn_model::Site;
use evenburn_model::function::Tanh;
use evenburn_model::plan::{
    EmbeddingPlan, GainPlan, GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan,
};

#[test]
fn a_product_and_what_a_branch_writes_are_not_both_normalized() {
    let custom = |site, linear, output| Custom {
        site,
        linear,
        residual: ResidualPlan {
            output: Some(output),
            ..ResidualPlan::plain()
        },
        ..Custom::default()
    };
    for (site, place) in [
        (Site::O, "block 0, attn_residual"),
        (Site::Down, "block 0, mlp_residual"),
    ] {
        let first = format!("the norm of the product of {site}");
        for (a, b, how) in [
            (rms(), rms(), "undoes"),
            (rms(), gained(rms()), "undoes"),
            (rms().scaled(0.3), layer(), "undoes"),
            (NormPlan::unit(), rms(), "undoes"),
            (layer(), layer(), "undoes"),
            // The second keeps what the first takes the mean from, but finds it of length 1.
            (layer(), rms(), "repeats"),
        ] {
            let refused = custom(site, normed(a), b).build();
            let second = format!("the output norm right behind it, which {how} it");
            clash(refused, place, &first, &second);
        }
        // A learned vector between them does something.
        let doubled = LinearPlan {
            after: Some(GainPlan::ones(GainRole::Output)),
            ..normed(rms())
        };
        for linear in [normed(gained(rms())), normed(biased(rms())), doubled] {
            custom(site, linear, rms()).build().unwrap();
        }
        // So does a function of single channels, on either side.
        let pointwise = NormPlan {
            gain: None,
            bias: None,
            ..NormPlan::pointwise(Tanh { slope: 0.5 }, GainRole::Output)
        };
        custom(site, normed(pointwise.clone()), rms())
            .build()
            .unwrap();
        custom(site, normed(rms()), pointwise).build().unwrap();
    }
    // The outputs of experts are summed before they are normalized.
    let down = custom(Site::Down, normed(rms()), gained(rms()));
    down.build_with_experts().unwrap();
}

#[test]
fn a_normalized_stream_is_not_normalized_again() {
    let custom = |residual| Custom {
        residual,
        ..Custom::default()
    };
    let place = "block 0, attn_residual";
    let stream = |stream, input, skip| {
        custom(ResidualPlan {
            stream: Some(stream),
            input,
            skip,
            ..ResidualPlan::plain()
        })
    };
    let refused = stream(rms(), Some(gained(rms())), None).build();
    clash(
        refused,
        place,
        "the stream norm",
        "the input norm right behind it, which repeats it",
    );
    let refused = stream(rms(), None, Some(rms())).build();
    clash(
        refused,
        place,
        "the stream norm",
        "the skip norm right behind it, which repeats it",
    );
    // The skip connection keeps what the input norm undoes, unless it is normalized too.
    stream(rms(), Some(layer()), None).build().unwrap();
    let refused = stream(rms(), Some(layer()), Some(layer())).build();
    clash(
        refused,
        place,
        "the stream norm",
        "the input norm and the skip norm",
    );
    stream(gained(rms()), Some(rms()), None).build().unwrap();
    stream(biased(rms()), Some(rms()), None).build().unwrap();

    let after = |after, input: Option<NormPlan>, stream: Option<NormPlan>| {
        custom(ResidualPlan {
            after: Some(after),
            input,
            stream,
            ..ResidualPlan::plain()
        })
    };
    let (place, first) = (
        "block 0, mlp_residual",
        "the norm after block 0, attn_residual",
    );
    let refused = after(layer(), Some(gained(rms())), None).build();
    clash(
        refused,
        place,
        first,
        "the input norm right behind it, which repeats it",
    );
    let refused = after(rms(), None, Some(gained(layer()))).build();
    clash(
        refused,
        place,
        first,
        "the stream norm right behind it, which undoes it",
    );
    after(rms(), Some(layer()), None).build().unwrap();
    after(gained(rms()), Some(rms()), None).build().unwrap();
    after(gained(rms()), None, Some(rms())).build().unwrap();
}

#[test]
fn both_ends_are_not_normalized_twice() {
    let custom = |residual, embed_norm, final_norm| Custom {
        residual,
        embedding: EmbeddingPlan {
            norm: embed_norm,
            ..EmbeddingPlan::plain()
        },
        head: HeadPlan {
            final_norm,
            ..HeadPlan::plain()
        },
        ..Custom::default()
    };
    let stream = ResidualPlan {
        stream: Some(gained(rms())),
        ..ResidualPlan::plain()
    };
    let refused = custom(stream.clone(), Some(rms()), None).build();
    let embed = "the norm of the embedding";
    clash(
        refused,
        "block 0, attn_residual",
        embed,
        "the stream norm right behind it",
    );
    custom(stream, Some(gained(rms())), None).build().unwrap();
    let both = ResidualPlan {
        input: Some(rms()),
        skip: Some(rms()),
        ..ResidualPlan::plain()
    };
    let refused = custom(both, Some(rms()), None).build();
    clash(
        refused,
        "block 0, attn_residual",
        embed,
        "the input norm and the skip norm",
    );
    // Blocks are alike: in all but the first the input norm does something.
    let input = ResidualPlan {
        input: Some(rms()),
        ..ResidualPlan::plain()
    };
    custom(input, Some(rms()), None).build().unwrap();

    let after = |norm| ResidualPlan {
        after: Some(norm),
        ..ResidualPlan::plain()
    };
    let refused = custom(after(layer()), None, Some(gained(layer()))).build();
    let first = "the norm after block 2, mlp_residual";
    clash(
        refused,
        "final norm",
        first,
        "the final norm right behind it",
    );
    custom(after(gained(layer())), None, Some(layer()))
        .build()
        .unwrap();
}

#[test]
fn heads_are_not_normalized_twice() {
    let custom = |site, linear, qk_norm: NormPlan| Custom {
        site,
        linear,
        qk_norm: Some(qk_norm.per_head()),
        ..Custom::default()
    };
    for (site, place) in [(Site::Q, "block 0, attn.q"), (Site::K, "block 0, attn.k")] {
        for (a, how) in [
            (rms().per_head(), "undoes"),
            // One size for all heads is gone once each has its own.
            (rms(), "undoes"),
            (layer().per_head(), "repeats"),
        ] {
            let refused = custom(site, normed(a), NormPlan::unit()).build();
            let second = format!("the q/k norm right behind it, which {how} it");
            clash(refused, place, "the norm of the product", &second);
        }
        // The rotation moves the mean of a head, so both means are taken from something.
        let centred = custom(site, normed(layer().per_head()), layer());
        centred.build().unwrap();
        custom(site, normed(layer()), NormPlan::unit())
            .build()
            .unwrap();
        let with_gain = normed(gained(rms()).per_head());
        custom(site, with_gain, NormPlan::unit()).build().unwrap();
    }
    custom(Site::V, normed(rms()), NormPlan::unit())
        .build()
        .unwrap();
}
