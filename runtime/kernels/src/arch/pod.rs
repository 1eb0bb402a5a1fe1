//! Which of the crate's types words may be read as.

use crate::fixed::QuantizedMultiplier;
use crate::packed::{BiasScale, CandidateTokenScale, GruParams, I16x4, LstmParams, TokenScale};
use bytemuck::{Pod, Zeroable};

macro_rules! pod {
    ($($type:ty: $words:literal words)*) => {$(
        // As long as its fields, each of 4 bytes: there is no padding.
        const _: () = assert!(size_of::<$type>() == 4 * $words && align_of::<$type>() == 4);
        // SAFETY: the type is `repr(C)` or `repr(transparent)` and made of integers, for which every bit pattern is valid; by
        // the assertion it has no padding.
        unsafe impl Zeroable for $type {}
        // SAFETY: as above.
        unsafe impl Pod for $type {}
    )*};
}

pod! {
    QuantizedMultiplier: 1 words
    I16x4: 2 words
    BiasScale: 8 words
    TokenScale: 12 words
    CandidateTokenScale: 16 words
    GruParams: 40 words
    LstmParams: 48 words
}
