//! The grids that weights of 4 bits stand on.

use std::collections::BTreeMap;

/// The grid of each tensor whose weights have 4 bits, by the name that export reports it by, such as `layer 0 gate z`.
pub type Grids = BTreeMap<String, TensorGrid>;

/// What the weights of a tensor are multiples of: a row's unit times its group's scale, -8 to 7 times.
///
/// They are weights on the vector as integers have it: a recurrent weight is itself, times a power of two where its layer's
/// state has fewer fraction bits; one over an embedding is multiplied by its column's scale.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TensorGrid {
    /// `[rows]`, exact in an image's record: below 2^14 times a power of two.
    pub units: Vec<f32>,
    /// `[rows][groups]`, 1 to 255; a group has 32 columns, anew over the input and over the state.
    pub scales: Vec<u8>,
}
