//! Conversions between the formats of states and vectors.

use pipsqueak_kernels::fixed::{CELL_FRAC_BITS, saturate_i16};

/// A cell state is read as a vector in Q5.10.
pub(super) const CELL_VECTOR_FRAC_BITS: u32 = 10;

/// `value` from `from` to `to` fraction bits, both at most 31: rounded to nearest and saturated.
pub(super) fn convert_frac_bits(value: i32, from: u32, to: u32) -> i16 {
    match from.checked_sub(to) {
        Some(right) => saturate_i16(value.saturating_add(1 << right >> 1) >> right),
        None => saturate_i16(value.saturating_mul(1 << (to - from))),
    }
}

/// An element of a cell state, Q8.23, as an element of a vector, Q5.10.
pub(super) fn cell_to_vector(cell: i32) -> i16 {
    convert_frac_bits(cell, CELL_FRAC_BITS, CELL_VECTOR_FRAC_BITS)
}

/// An element of a vector with `frac_bits` fraction bits, at most 15, as an element of a cell state, saturated.
pub(super) fn vector_to_cell(value: i16, frac_bits: u32) -> i32 {
    i32::from(value).saturating_mul(1 << (CELL_FRAC_BITS - frac_bits.min(15)))
}
