//! What generation keeps of the positions it has been through.

use crate::decoder::Decoder;
use crate::error::CacheError;
use crate::modules::LayerCache;

/// Keys and values of the positions a decoder has seen, block by block: [`Decoder::forward_cached`] reads and extends it.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
}

impl KvCache {
    /// An empty cache for a model.
    pub fn new(model: &Decoder) -> Self {
        Self {
            layers: vec![LayerCache::default(); model.blocks.len()],
            len: 0,
        }
    }

    /// Positions it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is a cache of this model, which has positions for `time` more tokens.
    pub(crate) fn check(&self, model: &Decoder, time: usize) -> Result<(), CacheError> {
        if self.layers.len() != model.blocks.len() {
            return Err(CacheError::Depth {
                model: model.blocks.len(),
                cache: self.layers.len(),
            });
        }
        let end = self.len + time;
        if let Some(context) = model.longest()
            && end > context
        {
            return Err(CacheError::Context {
                context,
                position: end,
            });
        }
        Ok(())
    }

    /// The place of the first of `time` new positions, which it counts from now on, and the caches of the blocks.
    pub(crate) fn extended(&mut self, time: usize) -> (usize, &mut [LayerCache]) {
        let start = self.len;
        self.len += time;
        (start, &mut self.layers)
    }
}
