//! The parts that compute: each carries out one plan and is usable alone in any Burn model.
//!
//! None of them knows which scheme runs; what a plan leaves out costs nothing.

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
pub use stream::{Join, Stream};
pub use watch::Watch;

pub use crate::init::Initializer;
pub use crate::noise::Dropout;
