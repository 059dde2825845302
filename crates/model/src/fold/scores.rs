//! The learned scale of the scores becomes the constant inside the softmax.

use super::Work;
use crate::plan::{ParamRef, Place};

impl Work {
    /// `softmax(g q k)` with the value that `g` has. One that training has brought to 0 or below, where no constant may
    /// be, stays.
    pub(super) fn scores(&mut self, index: usize) {
        let path = ParamRef::in_block(index, Place::Scores, "softmax.value").to_string();
        let attention = &mut self.plan.layers[index].attention;
        if attention.softmax_gain.is_none() {
            return;
        }
        let used = self.tensors.take(&path);
        match used.first() {
            Some(g) if *g > 0.0 => {
                attention.softmax_gain = None;
                attention.softmax_scale = *g;
            }
            _ => self.tensors.set_vector(path, used),
        }
    }
}
