//! The recipes that are built in: one line each.

use super::chosen::Entry;
use super::{
    AdamH, AdamMiniRecipe, AdamRecipe, AdamW, DecoupledAdam, DecoupledMuon, LionRecipe, Moonlight,
    Muon, MuonH, NorMuon, NormConstrainedAdam, PolarExpress, Scion, Soap, UnitNormAdam,
};

/// Every recipe of this crate, in the order in which they are listed.
pub(crate) fn built_in() -> Vec<Entry> {
    vec![
        Entry::of::<AdamW>(),
        Entry::of::<AdamRecipe>(),
        Entry::of::<AdamMiniRecipe>(),
        Entry::of::<LionRecipe>(),
        Entry::of::<NormConstrainedAdam>(),
        Entry::of::<UnitNormAdam>(),
        Entry::of::<AdamH>(),
        Entry::of::<Muon>(),
        Entry::of::<Moonlight>(),
        Entry::of::<NorMuon>(),
        Entry::of::<PolarExpress>(),
        Entry::of::<MuonH>(),
        Entry::of::<Scion>(),
        Entry::of::<DecoupledAdam>(),
        Entry::of::<DecoupledMuon>(),
        Entry::of::<Soap>(),
    ]
}
