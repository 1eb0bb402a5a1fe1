//! What a prediction is computed from: costs of quantities, and what each board's firmware takes.

/// What a character's cycles are a sum over. Rows, units and columns count with their padding to multiples of 4.
///
/// A panel is the rows that one call multiplies: four rows of each gate, or 16 rows of the output layer. A panel with 4-bit weights
/// calls a kernel for each part of its columns, and that kernel starts once for every group of columns.
pub const QUANTITIES: [&str; 15] = [
    "multiply-accumulate",
    "4-bit multiply-accumulate",
    "4-bit panel",
    "group of a 4-bit panel",
    "8-bit part of a row with 4-bit weights",
    "row of a layer",
    "value of a token's row in a token table",
    "unit",
    "unit whose reset gate is before the product",
    "unit of an LSTM",
    "unit of an LSTM over a token table",
    "unit of a plain layer",
    "layer",
    "logit",
    "character",
];

/// A number for each of [`QUANTITIES`].
pub(crate) type Quantities = [f64; QUANTITIES.len()];

/// What a board's firmware takes, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The board's name.
    pub board: &'static str,
    /// Bytes of flash.
    pub flash: usize,
    /// Bytes of stack from the start to a text, `info` and `selftest` with a shipped model.
    pub stack: usize,
}
