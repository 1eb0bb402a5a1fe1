//! The parameters of four rows: biases and scales.

use super::weights::PANEL_ROWS;
use crate::fixed::{QuantizedMultiplier, requantize};
use bytemuck::Pod;

/// Bias and scale of four rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BiasScale {
    /// Added to the accumulator.
    pub bias: [i32; PANEL_ROWS],
    /// From the accumulator to the output.
    pub scale: [QuantizedMultiplier; PANEL_ROWS],
}

/// Bias, scale and token scale of four rows to which a token's gate row adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TokenScale {
    /// Added to the accumulator.
    pub bias: [i32; PANEL_ROWS],
    /// From the accumulator to the output.
    pub scale: [QuantizedMultiplier; PANEL_ROWS],
    /// The token's value times this is added to the accumulator.
    pub token_scale: [i32; PANEL_ROWS],
}

/// Bias, scale, input-side bias and token scale of four rows of a GRU candidate whose reset gate multiplies the recurrent
/// product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CandidateTokenScale {
    /// Added to the accumulator of the recurrent side.
    pub bias: [i32; PANEL_ROWS],
    /// From that accumulator to the recurrent side, Q4.11.
    pub scale: [QuantizedMultiplier; PANEL_ROWS],
    /// Bias of the input side, Q5.26.
    pub input_bias: [i32; PANEL_ROWS],
    /// The token's value times this is added to the input side.
    pub token_scale: [i32; PANEL_ROWS],
}

/// The parameters of four units of a GRU that reads gate rows and resets after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GruParams {
    /// z
    pub update: TokenScale,
    /// r
    pub reset: TokenScale,
    /// n
    pub candidate: CandidateTokenScale,
}

/// The parameters of four units of an LSTM that reads gate rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LstmParams {
    /// i
    pub input: TokenScale,
    /// o
    pub output: TokenScale,
    /// f
    pub forget: TokenScale,
    /// g, also named c
    pub candidate: TokenScale,
}

// The rows' outputs. A parser bounds each sum by 2^31 (accumulators) and 2^30 (input side).
impl BiasScale {
    /// The output of row `row` of the panel.
    #[inline(always)]
    pub(crate) fn requantize(&self, row: usize, product: i32) -> i32 {
        requantize(product + self.bias[row], self.scale[row]).into()
    }
}

impl TokenScale {
    /// The output of row `row` of the panel, to which `token` adds.
    #[inline(always)]
    pub(crate) fn requantize(&self, row: usize, product: i32, token: i8) -> i32 {
        let sum = product + self.bias[row] + i32::from(token) * self.token_scale[row];
        requantize(sum, self.scale[row]).into()
    }
}

impl CandidateTokenScale {
    /// The recurrent side of row `row` of the panel, Q4.11.
    #[inline(always)]
    pub(crate) fn requantize(&self, row: usize, product: i32) -> i32 {
        requantize(product + self.bias[row], self.scale[row]).into()
    }

    /// The input side of row `row` of the panel, Q5.26.
    #[inline(always)]
    pub(crate) fn input_side(&self, row: usize, token: i8) -> i32 {
        self.input_bias[row] + i32::from(token) * self.token_scale[row]
    }
}

/// The blocks of a layer that has one gate group with the parameters `P`, of `LEN` words, per four units: the parameters and the
/// `weights_len` words of weights after them.
#[inline(always)]
pub(crate) fn param_blocks<P: Pod, const LEN: usize>(
    mut words: &[u32],
    weights_len: usize,
) -> impl Iterator<Item = (&P, &[u32])> {
    core::iter::from_fn(move || {
        let (params, rest) = words.split_first_chunk::<LEN>()?;
        // Split at this length and not at a block's, so that a kernel's comparison of lengths is seen to hold.
        let (weights, rest) = rest.split_at_checked(weights_len)?;
        words = rest;
        Some((bytemuck::must_cast_ref(params), weights))
    })
}

/// The kind of a gate's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowParams {
    /// [`BiasScale`]
    BiasScale,
    /// [`TokenScale`]
    TokenScale,
    /// [`CandidateTokenScale`]
    CandidateTokenScale,
}

impl RowParams {
    /// Length in words.
    #[allow(clippy::len_without_is_empty, reason = "the length of what it names")]
    pub const fn len(self) -> usize {
        let bytes = match self {
            Self::BiasScale => size_of::<BiasScale>(),
            Self::TokenScale => size_of::<TokenScale>(),
            Self::CandidateTokenScale => size_of::<CandidateTokenScale>(),
        };
        bytes / size_of::<u32>()
    }

    /// Splits parameters of this kind from the front of `words`; `None` if there are too few.
    pub fn split_from<'a>(self, words: &mut &'a [u32]) -> Option<GateParams<'a>> {
        fn split<'a, P: Pod, const LEN: usize>(words: &mut &'a [u32]) -> Option<&'a P> {
            let (params, rest) = words.split_first_chunk::<LEN>()?;
            *words = rest;
            Some(bytemuck::must_cast_ref(params))
        }
        Some(match self {
            Self::BiasScale => GateParams::BiasScale(split::<_, { Self::BiasScale.len() }>(words)?),
            Self::TokenScale => {
                GateParams::TokenScale(split::<_, { Self::TokenScale.len() }>(words)?)
            }
            Self::CandidateTokenScale => {
                const LEN: usize = RowParams::CandidateTokenScale.len();
                GateParams::CandidateTokenScale(split::<_, LEN>(words)?)
            }
        })
    }
}

/// The parameters of a gate's four rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateParams<'a> {
    /// Of a gate that reads a vector.
    BiasScale(&'a BiasScale),
    /// Of a gate to which a token's gate row adds.
    TokenScale(&'a TokenScale),
    /// Of a GRU candidate to whose input side a token's gate row adds.
    CandidateTokenScale(&'a CandidateTokenScale),
}

impl GruParams {
    /// Length in words.
    pub const LEN: usize = size_of::<Self>() / size_of::<u32>();
}

impl LstmParams {
    /// Length in words.
    pub const LEN: usize = size_of::<Self>() / size_of::<u32>();
}

impl BiasScale {
    /// Length in words.
    pub const LEN: usize = RowParams::BiasScale.len();
}

impl TokenScale {
    /// Length in words.
    pub const LEN: usize = RowParams::TokenScale.len();
}
