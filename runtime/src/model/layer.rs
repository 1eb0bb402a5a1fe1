//! A layer of a parsed model: its checked slices of the model file and its places in the workspace.

use super::Segment;
use crate::feature::{Graph, Source};
use crate::format::{Inputs, Phase, StateInit};
use pipsqueak_kernels::cell::{Cell, RecurrentConfig, RecurrentLayer};
use pipsqueak_kernels::dense::{DenseConfig, DenseLayer};
use pipsqueak_kernels::packed::{GateGroup, I16x4, round_up};

/// A part of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// Vectors that are kept from one phase to another.
    State,
    /// Vectors that live while one phase runs.
    Scratch,
}

/// Where a vector is in the workspace: its start in units of four elements, and in the highest bit its region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(u16);

impl Place {
    const SCRATCH: u16 = 1 << 15;
    /// The largest start.
    pub const MAX_START: u16 = Self::SCRATCH - 1;

    /// The place at `start`, at most [`MAX_START`](Self::MAX_START).
    pub fn new(region: Region, start: u16) -> Self {
        match region {
            Region::State => Self(start),
            Region::Scratch => Self(start | Self::SCRATCH),
        }
    }

    pub fn region(self) -> Region {
        match self.0 & Self::SCRATCH {
            0 => Region::State,
            _ => Region::Scratch,
        }
    }

    pub fn start(self) -> usize {
        usize::from(self.0 & Self::MAX_START)
    }

    /// The place `quads` units after this one: at most [`MAX_START`](Self::MAX_START) in the region.
    pub fn offset(self, quads: usize) -> Self {
        Self(self.0.wrapping_add(quads as u16))
    }
}

/// One layer of a model.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    pub(crate) segment: Segment,
    pub(crate) inputs: Inputs,
    /// Elements of the result, without padding.
    pub(crate) size: u16,
    /// Whether the inputs must be copied to `operand` before the layer runs.
    pub(crate) gather: bool,
    /// The joined inputs; of a recurrent layer also its hidden state after them.
    pub(crate) operand: Place,
    /// The result.
    pub(crate) result: Place,
    pub(crate) op: Op<'a>,
}

/// What a layer computes, with its checked slices of the model file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op<'a> {
    /// Rows of gate inputs, one per token: `[vocab_size][dim]`.
    GateRows {
        rows: &'a [i8],
        dim: u32,
    },
    /// `[vocab_size][padded size]`
    Embedding {
        rows: &'a [i8],
    },
    /// A token's row of the int8 dense layer `table`.
    TiedEmbedding {
        vocab_size: u16,
        table: u8,
        min_shift: u8,
        _feature: Graph,
    },
    /// Exponents: an element of the frame is Q15 of 2^exponent.
    Frame {
        exponents: &'a [i8],
    },
    /// A vector of the model file.
    Constant {
        values: &'a [I16x4],
        frac_bits: u8,
        _feature: Source,
    },
    /// A cell state of the model file, Q8.23.
    ConstantCell {
        values: &'a [[i32; 4]],
        _feature: Source,
    },
    Dense {
        layer: DenseLayer<'a>,
        frac_bits: u8,
    },
    Recurrent(Recurrent<'a>),
    Sum {
        frac_bits: u8,
        _feature: Graph,
    },
    /// The sums and the number of steps are in the wide region from `sums` on, in units of four elements.
    Mean {
        frac_bits: u8,
        sums: u16,
        _feature: Graph,
    },
}

/// A recurrent layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurrent<'a> {
    pub layer: RecurrentLayer<'a>,
    /// Of the hidden state and of the cell state.
    pub init: [StateInit; 2],
    /// The cell state in the wide region, in units of four elements.
    pub cell: u16,
    /// The step's own memory in the scratch region, in units of four elements.
    pub scratch: u16,
}

impl<'a> Layer<'a> {
    /// When the layer runs.
    pub fn phase(&self) -> Phase {
        self.segment.phase()
    }

    /// The vectors that the layer reads.
    pub fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// Number of elements of the result; 0 for a token layer that gives gate inputs.
    #[allow(clippy::len_without_is_empty, reason = "a layer is not a collection")]
    pub fn len(&self) -> usize {
        self.size.into()
    }

    /// The shape of a recurrent layer, with padded sizes.
    pub fn recurrent(&self) -> Option<RecurrentConfig> {
        match &self.op {
            Op::Recurrent(recurrent) => Some(recurrent.layer.config()),
            _ => None,
        }
    }

    /// The shape of a dense layer, with padded sizes.
    pub fn dense(&self) -> Option<DenseConfig> {
        match &self.op {
            Op::Dense { layer, .. } => Some(layer.config()),
            _ => None,
        }
    }

    /// The cell of a recurrent layer.
    pub fn cell(&self) -> Option<Cell> {
        self.recurrent().map(|config| config.cell)
    }

    /// Number of tokens, if the layer reads one.
    pub fn vocab_size(&self) -> Option<usize> {
        match self.op {
            Op::GateRows { rows, dim } => rows.len().checked_div(dim as usize),
            Op::Embedding { rows } => rows.len().checked_div(round_up(self.len())),
            Op::TiedEmbedding { vocab_size, .. } => Some(vocab_size.into()),
            _ => None,
        }
    }

    /// Whether the layer reads the caller's token or frame.
    pub(crate) fn reads_caller(&self) -> bool {
        matches!(
            self.op,
            Op::GateRows { .. }
                | Op::Embedding { .. }
                | Op::TiedEmbedding { .. }
                | Op::Frame { .. }
        )
    }

    /// The exponents of a frame, `[len]`: an element of the caller's vector is Q15 of 2^exponent.
    pub fn exponents(&self) -> Option<&'a [i8]> {
        match self.op {
            Op::Frame { exponents } => Some(exponents),
            _ => None,
        }
    }

    /// Fraction bits of the result; `None` if it has no format of its own: a frame's elements differ, gate inputs have those of
    /// their rows, and a cell state is Q8.23.
    pub fn frac_bits(&self) -> Option<u32> {
        match &self.op {
            Op::GateRows { .. } | Op::Frame { .. } | Op::ConstantCell { .. } => None,
            Op::Embedding { .. } | Op::TiedEmbedding { .. } => Some(15),
            Op::Constant { frac_bits, .. }
            | Op::Dense { frac_bits, .. }
            | Op::Sum { frac_bits, .. }
            | Op::Mean { frac_bits, .. } => Some((*frac_bits).into()),
            Op::Recurrent(recurrent) => 15u32.checked_sub(recurrent.layer.config().state_shift),
        }
    }

    /// Elements of the result with padding, in units of four.
    pub(crate) fn quads(&self) -> usize {
        round_up(self.len()) / 4
    }

    /// Calls `visit` with the layer's gate groups in the order of the model file, until it returns false.
    pub(crate) fn for_each_gate_group(&self, visit: &mut dyn FnMut(GateGroup) -> bool) -> bool {
        match &self.op {
            Op::Dense { layer, .. } => layer.gate_groups().all(visit),
            Op::Recurrent(recurrent) => recurrent.layer.gate_groups().all(visit),
            _ => true,
        }
    }
}
