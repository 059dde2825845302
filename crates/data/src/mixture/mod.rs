//! Mixtures: several sources, of which each sample is drawn from one.

mod draw;
mod source;
mod stream;
mod tokenizer;
mod weight;

pub use draw::draw;
pub use source::SourceConfig;
pub use stream::{Mixture, MixturePosition, MixtureSource, SourcePosition};
pub use tokenizer::mixture_tokenizer;
pub use weight::Weight;
