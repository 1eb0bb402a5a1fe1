//! Why bytes are not a model.

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
        what: &'static str,
        /// Inclusive maximum. The minimum is 1, or 0 if `what` ends in `(0 or more)`.
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
        what: &'static str,
    },
    /// The library was built without support for a cell or a weight format.
    Unsupported {
        /// The layer, counted from 0 in execution order.
        layer: u8,
        /// The cargo feature that is missing.
        feature: &'static str,
    },
    /// A sum of a row can leave 32 bits, or its multiplier is out of range.
    AccumulatorOverflow {
        /// The layer, counted from 0 in execution order.
        layer: u8,
        /// The row, counted through the layer's gate groups.
        row: u32,
    },
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
                out(Text(what));
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
                out(Text(what));
            }
            Self::Unsupported { layer, feature } => {
                out(Text("layer "));
                out(Number(layer.into()));
                out(Text(" needs the cargo feature "));
                out(Text(feature));
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
