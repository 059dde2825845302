//! Burn modules that carry plans out: embedding, attention, networks, residual connections, output layer.
//!
//! None of them knows which scheme runs; what a plan leaves out costs nothing. Each is usable alone in any Burn model:
//! [`Norm`], [`Gain`] and [`Rotary`] from a width, the others from the [`Plan`](crate::Plan) of a model or a part of it.

mod arrays;
mod attention;
mod embedding;
mod experts;
mod gain;
mod head;
mod mlp;
mod norm;
mod projection;
mod residual;
mod rotary;
mod shared;
mod stream;
mod watch;

pub use arrays::Arrays;
pub use attention::{Attention, AttentionMask, BlockContext, LargestScores, LayerCache, Scores};
pub use embedding::Embedding;
pub use experts::{Experts, Routing, penalty};
pub use gain::Gain;
pub use head::Head;
pub use mlp::Mlp;
pub use norm::Norm;
pub use projection::Projection;
pub use residual::{Companion, Mix, Residual};
pub use rotary::{Layout, Rotary};
pub use shared::SharedPositions;
pub use stream::{Join, Stream};
pub use watch::Watch;

pub use crate::init::Initializer;
pub use crate::noise::Dropout;
