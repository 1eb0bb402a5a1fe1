//! The grids that weights of 4 bits stand on, and those of 8 bits beside them.

use crate::quantize::formats::{INT4, INT8_INT4, WeightFormats};
use pipsqueak::RowFormat;
use std::collections::BTreeMap;

/// The grid of each tensor whose weights have 4 bits, or 8 over the input and 4 over the state, by the name that export reports it by, such as `layer 0 gate z`.
pub type Grids = BTreeMap<String, TensorGrid>;

/// What the weights of a tensor are multiples of: a row's unit times its group's scale, -8 to 7 times, or -127 to 127 times
/// where they have 8 bits.
///
/// They are weights on the vector as integers have it: a recurrent weight is itself, times a power of two where its layer's
/// state has fewer fraction bits; one over an embedding is multiplied by its column's scale.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TensorGrid {
    /// `[rows]`, exact in an image's record: below 2^14 times a power of two.
    pub units: Vec<f32>,
    /// `[rows][groups]`, 1 to 255; a group has 32 columns, anew over the input and over the state. Of a wide input all columns
    /// over it are one group.
    pub scales: Vec<u8>,
    /// Whether the layer's weights over its input have 8 bits, [`INT8_INT4`]; else all have 4.
    #[serde(default)]
    pub wide_input: bool,
}

impl TensorGrid {
    /// An empty grid of weights of these formats.
    pub(crate) fn of(formats: WeightFormats) -> Self {
        Self {
            wide_input: formats == INT8_INT4,
            ..Self::default()
        }
    }

    /// The formats of the weights.
    pub fn formats(&self) -> WeightFormats {
        match self.wide_input {
            true => INT8_INT4,
            false => INT4,
        }
    }

    /// Whether rows go over an input too, beside a state of so many units.
    pub(crate) fn is_joint(&self, units: usize) -> bool {
        let state = RowFormat {
            formats: self.formats(),
            columns: [0, units],
        };
        self.scales.len() > self.units.len() * state.scale_groups().count()
    }
}
