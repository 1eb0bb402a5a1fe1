//! The step of recurrent layers.
//!
//! A layer's words are one or two passes over its units, four at a time; for each four units a pass has gate groups
//! ([`crate::packed`]):
//!
//! | cell | gate groups of four units |
//! |---|---|
//! | GRU, reset after, reads a gate row | z, r with [`TokenScale`](RowParams::TokenScale), n with [`CandidateTokenScale`](RowParams::CandidateTokenScale), over h |
//! | GRU, reset after, reads a vector | z, r over `[x; h]`; the recurrent side of n over h; the input side of n over x |
//! | GRU, reset before, reads a gate row | z, r with [`TokenScale`](RowParams::TokenScale); in a second pass n with [`TokenScale`](RowParams::TokenScale), over the reset state |
//! | GRU, reset before, reads a vector | z, r over `[x; h]`; in a second pass n over x and the reset state |
//! | LSTM, reads a gate row | i, o, f, g with [`TokenScale`](RowParams::TokenScale), over h |
//! | LSTM, reads a vector | i, o, f, g over `[x; h]` |
//! | Elman, reads a gate row | one gate with [`TokenScale`](RowParams::TokenScale), over h |
//! | Elman, reads a vector | one gate over `[x; h]` |
//!
//! Parameters are [`BiasScale`](RowParams::BiasScale) where the table names none.
//! A gate row has the token's values of all gates of units 0 to 3, gate by gate, then of units 4 to 7, and so on.
//! The reset gate is *after* if it multiplies the recurrent product, *before* if it multiplies the hidden state.
//!
//! A layer's hidden state has `15 - state_shift` fraction bits: an initial state from outside may be larger than 1.

mod elman;
mod gru;
mod layer;
mod lstm;
mod step;

#[cfg(doc)]
use crate::packed::RowParams;
pub use layer::{
    Cell, ColumnSpan, GateGroupConfig, MAX_STATE_SHIFT, RecurrentConfig, RecurrentLayer,
};
