//! The schemes that are built in: one line each.

use super::scheme::Entry;
use super::{
    AnGpt, DeepNorm, Derf, DyT, GeoNorm, HybridNorm, Keel, LnScaling, Ngpt, Olmo2, PeriNorm,
    PostNorm, PreNorm, SiameseNorm, SimpleNorm,
};

/// Every scheme of this crate, in the order in which they are listed.
pub(crate) fn built_in() -> Vec<Entry> {
    vec![
        Entry::of::<PreNorm>(),
        Entry::of::<PostNorm>(),
        Entry::of::<PeriNorm>(),
        Entry::of::<Olmo2>(),
        Entry::of::<HybridNorm>(),
        Entry::of::<DeepNorm>(),
        Entry::of::<Keel>(),
        Entry::of::<LnScaling>(),
        Entry::of::<DyT>(),
        Entry::of::<Derf>(),
        Entry::of::<GeoNorm>(),
        Entry::of::<SiameseNorm>(),
        Entry::of::<SimpleNorm>(),
        Entry::of::<Ngpt>(),
        Entry::of::<AnGpt>(),
    ]
}
