//! Why bytes are no image.

use crate::message::{Fragment, Message, display};

/// Why bytes were refused as an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Only erased flash (0xff) or zeros where an image would begin.
    Empty,
    /// The bytes do not begin at a multiple of 4.
    Misaligned,
    /// Fewer bytes than the header or than the header says.
    Truncated {
        /// Bytes needed.
        expected: u32,
        /// Bytes there.
        found: u32,
    },
    /// Not the magic number.
    NotAnImage {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A format of another version.
    Version {
        /// The one that this library reads.
        expected: u16,
        /// The image's.
        found: u16,
    },
    /// The CRC does not fit the bytes.
    Checksum {
        /// What the bytes give.
        expected: u32,
        /// What the header says.
        found: u32,
    },
    /// The metadata cannot be decoded.
    Metadata,
    /// A number of the metadata that is out of its bounds.
    Bounds {
        /// Which.
        what: &'static str,
        /// The largest that is allowed; the smallest is 1, but 0 where the name says so.
        expected: u32,
        /// The image's.
        found: u32,
    },
    /// The sections that the shapes need have another length than the image.
    Length {
        /// Bytes that the shapes need.
        expected: u32,
        /// Bytes of the image.
        found: u32,
    },
    /// A token's text is empty, not UTF-8 or out of order; V stands for the whole list.
    Vocabulary {
        /// Which token.
        token: u32,
    },
    /// Parts of the networks that do not fit together.
    Parts {
        /// What is wrong.
        what: &'static str,
    },
    /// A row whose sum could pass 32 bits, or whose scale is out of bounds: the range certificate fails.
    Range {
        /// The layer, recurrent or dense, from 0 in the order of the image.
        layer: u8,
        /// The row in it.
        row: u32,
    },
}

impl Message for ImageError {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        use Fragment::{Hex, Number, Text};
        match *self {
            Self::Empty => out(Text("no image here: the first bytes are all erased")),
            Self::Misaligned => out(Text("the image does not begin at a multiple of 4 bytes")),
            Self::Truncated { expected, found } => {
                out(Text("the image is cut off: expected "));
                out(Number(expected));
                out(Text(" bytes, found "));
                out(Number(found));
            }
            Self::NotAnImage { found } => {
                out(Text(
                    "not an image: expected the bytes 50 49 50 53 (PIPS), found",
                ));
                for byte in found {
                    out(Text(" "));
                    out(Hex(byte.into(), 2));
                }
            }
            Self::Version { expected, found } => {
                out(Text("image format: expected version "));
                out(Number(expected.into()));
                out(Text(", found "));
                out(Number(found.into()));
                out(Text("; export the model anew"));
            }
            Self::Checksum { expected, found } => {
                out(Text("the image is damaged: expected CRC "));
                out(Hex(found, 8));
                out(Text(", found "));
                out(Hex(expected, 8));
                out(Text("; write it anew"));
            }
            Self::Metadata => out(Text("the image's metadata cannot be read")),
            Self::Bounds {
                what,
                expected,
                found,
            } => {
                out(Text(what));
                out(Text(": expected at most "));
                out(Number(expected));
                out(Text(", found "));
                out(Number(found));
            }
            Self::Length { expected, found } => {
                out(Text("the image's shapes need "));
                out(Number(expected));
                out(Text(" bytes, but it has "));
                out(Number(found));
            }
            Self::Vocabulary { token } => {
                out(Text("the vocabulary is malformed at token "));
                out(Number(token));
            }
            Self::Parts { what } => {
                out(Text("the image's parts do not fit together: "));
                out(Text(what));
            }
            Self::Range { layer, row } => {
                out(Text("row "));
                out(Number(row));
                out(Text(" of layer "));
                out(Number(layer.into()));
                out(Text(" could leave 32 bits or has a bad scale"));
            }
        }
    }
}

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for ImageError {}
