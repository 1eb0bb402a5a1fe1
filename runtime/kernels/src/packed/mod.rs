//! The packed layout of a layer's words: what Rust and assembly share.
//!
//! A layer's rows are packed four at a time: a *panel* is four rows of one gate over one vector, the rows of four consecutive
//! units ([`WeightFormat`] says how their weights are ordered). A *gate group* ([`GateGroup`]) has the panels of several gates of
//! the same four units over the same vector, after the parameters of their rows:
//!
//! | words | content |
//! |---|---|
//! | per gate [`RowParams::len`] | bias, scale and more of four rows: [`BiasScale`], [`TokenScale`] or [`CandidateTokenScale`] |
//! | gates x columns | int8 panels over the whole vector, if every part of the vector has [`WeightFormat::Int8`] |
//! | else gates x [`WeightFormat::panel_len`] | the gates' panels over the input part, |
//! | and gates x [`WeightFormat::panel_len`] | then those over the hidden part ([`RowFormat`]) |
//!
//! All numbers are little-endian.

mod activations;
mod gate_group;
mod params;
mod weights;

pub use activations::{I16x4, PackedActivations, elements, elements_mut};
pub use gate_group::{Gate, GateGroup};
pub(crate) use params::param_blocks;
pub use params::{
    BiasScale, CandidateTokenScale, GateParams, GruParams, LstmParams, RowParams, TokenScale,
};
pub use weights::{
    GROUP_SIZE, INT4_RANGE, INT8_RANGE, PANEL_ROWS, RowFormat, WeightFormat, l1_norms, pack_int4,
    pack_int8, round_up, unpack_int4, unpack_int8, unpack_int8_row,
};
pub(crate) use weights::{int4_groups, int4_weight, panels};
