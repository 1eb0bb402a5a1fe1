//! What a prediction is computed from: costs of quantities, and what each board's firmware takes.

/// What a character's cycles are a sum over. Rows, units and columns count with their padding to multiples of 4.
///
/// A panel is what one call multiplies: four rows of some gates, or 16 rows of the head. One of 4 bits, or of 4 beside 8,
/// calls kernels for each part of its columns, and these begin anew with every group of columns.
pub const QUANTITIES: [&str; 15] = [
    "multiply-accumulate",
    "multiply-accumulate of 4 bits",
    "panel of 4 bits",
    "group of a panel of 4 bits",
    "row of 8 bits beside 4",
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
