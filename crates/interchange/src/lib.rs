//! Checkpoints of `transformers` in, and out to it.
//!
//! [`import()`] reads a folder with `config.json` and safetensors, sharded or not, of the architectures in [`peer_names`].
//! [`export()`] writes such a folder: for a plan that one of these classes can compute, in that class's own names; for
//! every other plan with a small `modeling_evenburn.py` beside the weights, which computes any plan.
//!
//! Each peer is one file: how its `config.json` reads as sizes and a scheme, how sizes are written back, and one table of
//! names and layouts that serves import and export. Whether a plan *is* a peer's is not decided option by option: the peer's
//! configuration is written, read back and planned, and the two plans are compared as functions.
//!
//! Special ids and the files that say how texts begin and end ([`Texts`]) come along with an imported model, and are written
//! as they were. A model that was trained here is exported with a tokenizer that, called without further ado, gives what a
//! text looked like in training.

mod error;
mod export;
mod fields;
mod folder;
mod fused;
mod import;
mod layout;
mod own;
mod peer;
mod rows;
mod same;
mod template;
mod text_ends;
mod texts;

pub use error::InterchangeError;
pub use export::{Ends, ExportModel, Exported, Target, Token, export};
pub use import::{Imported, import, weight_files};
pub use peer::names as peer_names;
pub use text_ends::TextEnds;
pub use texts::{Ids, Texts};
