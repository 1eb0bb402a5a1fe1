//! Why bytes are not a model.

use super::Field;
use crate::message::{Fragment, Message, counts, display};

/// Why bytes were refused as a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelError {
    /// Only erased flash (0xff) or zeros where a model would begin.
    Empty,
    /// The bytes do not begin at a multiple of 4.
    Misaligned,
    /// Fewer bytes than the header needs or states.
    Truncated {
        /// Bytes needed.
        expected: u32,
        /// Bytes present.
        found: u32,
    },
    /// Another magic number.
    NotAModel {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// Another format version.
    Version {
        /// The version that this library reads.
        expected: u16,
        /// The version of the file.
        found: u16,
    },
    /// The checksum differs.
    Checksum {
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// The metadata cannot be decoded.
    Metadata,
    /// A number of the metadata is out of its range.
    OutOfRange {
        /// What the number is.
        what: Field,
        /// Inclusive maximum. The minimum is 1, or 0 if the message says `(0 or more)`.
        expected: u32,
        /// The number in the file.
        found: u32,
    },
    /// The sections that the metadata describes have another length than the model.
    SizeMismatch {
        /// Bytes that the metadata describes.
        expected: u32,
        /// Bytes of the model.
        found: u32,
    },
    /// The text of a token is empty, not UTF-8 or not sorted. `token` = number of tokens: the vocabulary as a whole is invalid.
    Vocabulary {
        /// The token.
        token: u32,
    },
    /// A layer does not fit the others.
    Inconsistent {
        /// The layer, counted from 0 in execution order; the number of layers for an output or the model as a whole.
        layer: u8,
        /// What is wrong.
        what: Inconsistency,
    },
    /// The library was built without what a layer needs.
    Unsupported {
        /// The layer, counted from 0 in execution order; the number of layers for the model as a whole.
        layer: u8,
        /// The cargo feature that is missing.
        feature: Feature,
    },
    /// A sum of a row can leave 32 bits, or its multiplier is out of range.
    AccumulatorOverflow {
        /// The layer, counted from 0 in execution order.
        layer: u8,
        /// The row, counted through the layer's gate groups.
        row: u32,
    },
}

/// What does not fit in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inconsistency {
    /// It reads a layer that does not come before it.
    InputOrder,
    /// It reads a cell state of a layer that has none.
    NoCellState,
    /// It joins gate inputs with other vectors.
    JoinedGateRows,
    /// It reads nothing.
    NoInputs,
    /// Its inputs are too long.
    InputsTooLong,
    /// It reads vectors that it does not use.
    UnusedInputs,
    /// The result of tanh or sigmoid has other than 15 fraction bits.
    ActivationFormat,
    /// Another than a recurrent layer reads gate inputs.
    GateRowsReader,
    /// It reads gate inputs of another size or phase.
    GateRowsShape,
    /// Its weights have another length.
    WeightsLen,
    /// It adds vectors of different sizes or formats.
    SumInputs,
    /// It averages other than one vector with a format of its own.
    MeanInputs,
    /// Another than an output layer reads a mean.
    MeanReader,
    /// It has an initial cell state and no cell state.
    InitialCellState,
    /// Its initial state has another size, or no format.
    InitialStateSize,
    /// Its initial state is not known when its phase begins.
    InitialStatePhase,
    /// Its phase is before that of the layer before it.
    PhaseOrder,
    /// No layer runs in a step.
    NoStep,
    /// It reads a second token or frame of the same phase.
    SecondReader,
    /// It cannot run in its phase.
    WrongPhase,
    /// A tied embedding has no int8 dense layer of its size.
    TiedTable,
    /// An output has no format of its own.
    OutputFormat,
    /// The logits are not of the tokens that the step reads.
    LogitsSize,
    /// The source vocabulary has another size than the inputs.
    SourceVocabularySize,
    /// The vocabulary has another size than the outputs.
    VocabularySize,
}

impl Inconsistency {
    /// What messages print.
    const fn message(self) -> &'static str {
        match self {
            Self::InputOrder => "it reads a layer that does not come before it",
            Self::NoCellState => "it reads a cell state of a layer that has none",
            Self::JoinedGateRows => "gate inputs cannot be joined with other vectors",
            Self::NoInputs => "it reads nothing",
            Self::InputsTooLong => "its inputs are too long",
            Self::UnusedInputs => "it reads vectors that it does not use",
            Self::ActivationFormat => "tanh and sigmoid give 15 fraction bits",
            Self::GateRowsReader => "only a recurrent layer can read gate inputs",
            Self::GateRowsShape => "gate inputs of another size or phase",
            Self::WeightsLen => "its weights have another length",
            Self::SumInputs => "it adds vectors of different sizes or formats",
            Self::MeanInputs => "a mean reads one vector with a format of its own",
            Self::MeanReader => "a mean can be read by output layers only",
            Self::InitialCellState => "an initial cell state without a cell state",
            Self::InitialStateSize => "an initial state of another size or without a format",
            Self::InitialStatePhase => "an initial state that is not known when its phase begins",
            Self::PhaseOrder => "its phase is before that of the layer before it",
            Self::NoStep => "no layer runs in a step",
            Self::SecondReader => "a second token or frame of the same phase",
            Self::WrongPhase => "it cannot run in its phase",
            Self::TiedTable => "a tied embedding needs an int8 dense layer of its size",
            Self::OutputFormat => "an output without a format of its own",
            Self::LogitsSize => "logits of other tokens than the step reads",
            Self::SourceVocabularySize => "a vocabulary of another size than the inputs",
            Self::VocabularySize => "a vocabulary of another size than the outputs",
        }
    }
}

/// A cargo feature of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// `gru`
    Gru,
    /// `lstm`
    Lstm,
    /// `rnn`
    Rnn,
    /// `int4`
    Int4,
    /// `source`
    Source,
    /// `graph`
    Graph,
}

impl Feature {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gru => "gru",
            Self::Lstm => "lstm",
            Self::Rnn => "rnn",
            Self::Int4 => "int4",
            Self::Source => "source",
            Self::Graph => "graph",
        }
    }
}

impl Message for ModelError {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        use Fragment::{Hex, Number, Text};
        match *self {
            Self::Empty => out(Text("no model here: the memory is erased")),
            Self::Misaligned => out(Text("the model does not begin at a multiple of 4 bytes")),
            Self::Truncated { expected, found } => counts(
                out,
                "the model is truncated: expected ",
                expected,
                " bytes, found ",
                found,
                "",
            ),
            Self::NotAModel { found } => {
                out(Text(
                    "not a model: expected the bytes 50 49 50 53 (PIPS), found",
                ));
                for byte in found {
                    out(Text(" "));
                    out(Hex(byte.into(), 2));
                }
            }
            Self::Version { expected, found } => counts(
                out,
                "model format: expected version ",
                expected.into(),
                ", found ",
                found.into(),
                "; export the model again",
            ),
            Self::Checksum { expected, found } => {
                out(Text("the model is damaged: expected CRC "));
                out(Hex(expected, 8));
                out(Text(", found "));
                out(Hex(found, 8));
                out(Text("; write it again"));
            }
            Self::Metadata => out(Text("the model's metadata cannot be decoded")),
            Self::OutOfRange {
                what,
                expected,
                found,
            } => {
                out(Text(what.name()));
                counts(out, ": expected at most ", expected, ", found ", found, "");
            }
            Self::SizeMismatch { expected, found } => counts(
                out,
                "the model's metadata describes ",
                expected,
                " bytes, but it has ",
                found,
                "",
            ),
            Self::Vocabulary { token } => {
                out(Text("the vocabulary is invalid at token "));
                out(Number(token));
            }
            Self::Inconsistent { layer, what } => {
                out(Text("layer "));
                out(Number(layer.into()));
                out(Text(": "));
                out(Text(what.message()));
            }
            Self::Unsupported { layer, feature } => {
                out(Text("layer "));
                out(Number(layer.into()));
                out(Text(" needs the cargo feature "));
                out(Text(feature.name()));
            }
            Self::AccumulatorOverflow { layer, row } => counts(
                out,
                "layer ",
                layer.into(),
                ", row ",
                row,
                ": the sum could leave 32 bits, or the multiplier is out of range",
            ),
        }
    }
}

impl core::fmt::Display for ModelError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for ModelError {}
