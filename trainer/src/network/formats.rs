//! Formats of weights, as the trainer chooses them.

use pipsqueak::WeightFormat;

/// Formats of the weights of a recurrent layer over its input and over its hidden state.
pub type WeightFormats = [WeightFormat; 2];

/// int8 weights, one scale per row.
pub const INT8: WeightFormats = [WeightFormat::Int8; 2];
/// int4 weights in groups with scales of their own.
pub const INT4: WeightFormats = [WeightFormat::Int4; 2];
/// int8 weights with a scale over the input, int4 weights over the hidden state.
pub const INT8_INT4: WeightFormats = [WeightFormat::Int8Scaled, WeightFormat::Int4];

/// Bits of a weight of this format.
pub fn bits(format: WeightFormat) -> u8 {
    match format {
        WeightFormat::Int8 | WeightFormat::Int8Scaled => 8,
        WeightFormat::Int4 => 4,
    }
}
