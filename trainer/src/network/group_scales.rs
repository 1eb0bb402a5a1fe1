//! The scales that weights of a network trained for 4 bits are multiples of.

use crate::network::formats::{INT4, INT8_INT4, WeightFormats};
use pipsqueak::RowFormat;
use std::collections::BTreeMap;

/// The scales of each tensor with 4-bit weights, by the name that export reports the tensor by, such as `layer 0 gate z`.
pub type GroupScales = BTreeMap<String, TensorScales>;

/// The scales of one tensor: a weight is a multiple of its row's scale times its group's scale, -8 to 7 times, or -127 to 127 times
/// where it has 8 bits.
///
/// A weight is the float weight times the scale of the element that it reads (a column of an embedding, a power of two of a hidden state
/// with fewer fraction bits).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TensorScales {
    /// `[rows]`, each exactly representable in a model file: below 2^14 times a power of two.
    #[serde(rename = "units")]
    pub row_scales: Vec<f32>,
    /// `[rows][groups]`, 1 to 255. A group has 32 columns; groups begin again at the hidden state. All columns of an 8-bit input are one
    /// group.
    pub scales: Vec<u8>,
    /// Whether the weights over the input have 8 bits ([`INT8_INT4`]); else all have 4.
    #[serde(default, rename = "wide_input")]
    pub input_8bit: bool,
}

impl TensorScales {
    /// No rows, of weights in these formats.
    pub(crate) fn of(formats: WeightFormats) -> Self {
        Self {
            input_8bit: formats == INT8_INT4,
            ..Self::default()
        }
    }

    /// The formats of the weights.
    pub fn formats(&self) -> WeightFormats {
        match self.input_8bit {
            true => INT8_INT4,
            false => INT4,
        }
    }

    /// Whether rows cover an input too, beside a hidden state of `hidden_size` elements.
    pub(crate) fn covers_input(&self, hidden_size: usize) -> bool {
        let state = RowFormat {
            formats: self.formats(),
            columns: [0, hidden_size],
        };
        self.scales.len() > self.row_scales.len() * state.scale_groups().count()
    }
}
