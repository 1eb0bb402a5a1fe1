//! The image: a trained, quantized network in one run of bytes that is read where it stands.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic `PIPS` |
//! | 4..8 | CRC-32 (ISO-HDLC) of everything after |
//! | 8..10 | format version |
//! | 10..12 | length of the metadata, m |
//! | 12..16 | length of the image |
//! | 16..20 | digest of the outputs over a fixed sequence of tokens: [`crate::selftest::digest`] |
//! | 20..20+m | metadata, postcard: [`Metadata`], then [`Provenance`] |
//! | then | sections, each 4-byte aligned by zeros, in this order and with no lengths of their own: the shapes say them |
//!
//! All numbers are little-endian. H, E and V below are padded to multiples of 4, but V stands as it is where tokens index.
//!
//! | section | type and shape |
//! |---|---|
//! | vocabulary | u32 offsets `[V + 1]`, u16 ids by text `[V]`, UTF-8 |
//! | token table (embedding = 0) | i8 `[V][3H]`, in the order of [`pipsqueak_kernels::cell`]: what a token adds, times its row's factor |
//! | or embedding (embedding = E) | i8 `[V][E]`, in 1/128 of each column's scale, which the weights hold |
//! | each layer | [`pipsqueak_kernels::cell`] |
//! | head | a dense layer, H to V: [`pipsqueak_kernels::rows`] |
//!
//! The CRC finds accidents, not intent: whoever can write an image can write its CRC. So nothing is trusted for being
//! covered by it, and [`Image::parse`] checks shapes, vocabulary and the range of every row from the weights themselves.

use crate::certificate;
use crate::say::{Part, Say, display};
use crate::vocabulary::Vocabulary;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use pipsqueak_kernels::cell::Gru;
use pipsqueak_kernels::kernel::{ROWS, padded};
use pipsqueak_kernels::rows::{DENSE_QUADS, Panel, Record, dense_panel};
use serde::{Deserialize, Serialize};

/// The first bytes of an image.
pub const MAGIC: [u8; 4] = *b"PIPS";
/// The format that this library reads and writes.
pub const VERSION: u16 = 2;
/// Bytes before the metadata.
pub const HEADER_LEN: usize = 20;
/// The most layers of a network.
pub const MAX_LAYERS: usize = 8;
/// The most units of a layer and the largest embedding: 32 bits hold every sum over them.
pub const MAX_UNITS: u16 = 16_384;

/// The cell of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    /// GRU whose reset gate multiplies the recurrent product (`linear_before_reset = 1`; PyTorch, Keras `reset_after`).
    GruResetAfter,
    /// GRU whose reset gate multiplies the state (`linear_before_reset = 0`; Keras `reset_after=False`).
    GruResetBefore,
}

/// The shape of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its cell.
    pub cell: Cell,
    /// Units, H: 1 to [`MAX_UNITS`].
    pub hidden: u16,
}

/// Where a network comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance<'a> {
    /// The corpus' file name.
    pub corpus: &'a str,
    /// The part of it that was trained on.
    pub split: &'a str,
    /// Optimizer steps done.
    pub steps: u32,
    /// Seed of the training.
    pub seed: u64,
    /// Loss on the training part in 1/1000 nats per character.
    pub train_loss: Option<u16>,
    /// Loss on the validation part in 1/1000 nats per character.
    pub validation_loss: Option<u16>,
}

/// What the sections are read by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Number of tokens, V: 1 to 65,535.
    pub tokens: u16,
    /// Bytes of all tokens' texts.
    pub text_len: u32,
    /// The token that a text without a prompt begins after.
    pub start: u16,
    /// Elements of an embedding, E, or 0 where the token table has the first layer's input products.
    pub embedding: u16,
    /// The layers, from the input on.
    pub layers: heapless::Vec<Layer, MAX_LAYERS>,
    /// Fraction bits of a logit, at most 15.
    pub logit_bits: u8,
}

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
    /// A row whose sum could pass 32 bits, or whose scale is out of bounds: the range certificate fails.
    Range {
        /// The layer, from 0; the number of layers for the head.
        layer: u8,
        /// The row in it.
        row: u32,
    },
}

impl Say for ImageError {
    fn say(&self, out: &mut dyn FnMut(Part)) {
        use Part::{Hex, Number, Text};
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

/// A checked image. It borrows the bytes and holds no copy of them.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The image and nothing after it.
    bytes: &'a [u8],
    layers: heapless::Vec<Layer, MAX_LAYERS>,
    vocabulary: Vocabulary<'a>,
    /// Where the token table or embedding begins.
    input: usize,
    start: u16,
    embedding: u16,
    logit_bits: u8,
}

impl<'a> Image<'a> {
    /// Checks `bytes` and reads them in place. They may go on after the image, as a board's slot does.
    ///
    /// Whatever this accepts runs without a panic, an overflow or a read out of bounds, be the CRC right or made to be right.
    ///
    /// # Errors
    /// The first [`ImageError`] met. Never panics, for any bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let (bytes, metadata) = frame(bytes)?;
        let header = HEADER_LEN + metadata.len();
        let (metadata, _) = Metadata::decode(metadata).ok_or(ImageError::Metadata)?;
        check_bounds(&metadata)?;
        let mut sections = Sections {
            rest: bytes.get(padded(header)..).unwrap_or_default(),
            taken: padded(header),
        };
        let tokens = usize::from(metadata.tokens);
        let vocabulary = Vocabulary::take(&mut sections, tokens, metadata.text_len as usize)?;
        let image = Self {
            bytes,
            layers: metadata.layers,
            vocabulary,
            input: sections.taken,
            start: metadata.start,
            embedding: metadata.embedding,
            logit_bits: metadata.logit_bits,
        };
        image.check_rows()?;
        Ok(image)
    }

    /// That the layers and the head end where the image does, and the range certificate of every row.
    fn check_rows(&self) -> Result<(), ImageError> {
        let layers: usize = self.shapes().map(|gru| gru.words()).sum();
        let (quads, units) = self.head_shape();
        let needed = layers + head_words(quads, units);
        if self.rows().len() != needed || !self.bytes.len().is_multiple_of(4) {
            let before = padded(self.input + self.input_len());
            return Err(ImageError::Length {
                expected: (needed as u32)
                    .saturating_mul(4)
                    .saturating_add(before as u32),
                found: self.bytes.len() as u32,
            });
        }
        let mut refused = Ok(());
        self.panels(&mut |panel| {
            refused = certificate::check(panel).map_err(|lane| ImageError::Range {
                layer: panel.layer,
                row: panel.row + lane,
            });
            refused.is_ok()
        });
        refused
    }

    /// Visits the panels of rows in the order of the image, until `visit` is false.
    pub(crate) fn panels(&self, visit: &mut dyn FnMut(&PanelWords) -> bool) {
        let mut words = self.rows();
        let mut go_on = true;
        let mut take = |layer: usize, row: u32, panel: &Panel, columns: usize| {
            let records = words.split_off(..panel.record_words());
            let weights = words.split_off(..columns * panel.gates.len());
            go_on = go_on
                && visit(&PanelWords {
                    layer: layer as u8,
                    row,
                    gates: panel.gates,
                    records: records.unwrap_or_default(),
                    weights: weights.unwrap_or_default(),
                });
            row + (ROWS * panel.gates.len()) as u32
        };
        for (layer, gru) in self.shapes().enumerate() {
            let mut row = 0;
            for run in gru.runs() {
                for _ in 0..gru.units / ROWS {
                    for panel in *run {
                        row = take(layer, row, panel, gru.columns(panel.over));
                    }
                }
            }
        }
        let (mut quads, units) = self.head_shape();
        let mut row = 0;
        while quads > 0 {
            let panel = dense_panel(quads.min(DENSE_QUADS));
            row = take(self.layers.len(), row, &panel, units);
            quads -= panel.gates.len();
        }
    }

    /// Runs of four rows of the head, and its columns.
    fn head_shape(&self) -> (usize, usize) {
        let units = self.layers.last().map_or(0, |layer| layer.hidden.into());
        (padded(self.vocabulary.len()) / ROWS, padded(units))
    }

    /// Bytes of the token table or embedding.
    fn input_len(&self) -> usize {
        self.vocabulary.len() * self.token_len()
    }

    /// Elements of a token's row in the table or embedding.
    fn token_len(&self) -> usize {
        match (self.embedding, self.layers.first()) {
            (0, Some(first)) => 3 * padded(first.hidden.into()),
            (embedding, _) => padded(embedding.into()),
        }
    }

    /// The row of `token` in the table or embedding; token 0's for one that is not in the vocabulary.
    pub(crate) fn token_row(&self, token: u16) -> &'a [i8] {
        let token = if usize::from(token) < self.vocabulary.len() {
            usize::from(token)
        } else {
            0
        };
        let start = self.input + token * self.token_len();
        bytemuck::cast_slice(
            self.bytes
                .get(start..start + self.token_len())
                .unwrap_or_default(),
        )
    }

    /// The layers' cells.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = Gru> {
        let mut inputs = padded(self.embedding.into());
        self.layers.iter().map(move |layer| {
            let units = padded(layer.hidden.into());
            Gru {
                reset_after: layer.cell == Cell::GruResetAfter,
                inputs: core::mem::replace(&mut inputs, units),
                units,
            }
        })
    }

    /// The words of the layers, and then of the head.
    pub(crate) fn rows(&self) -> &'a [u32] {
        let start = padded(self.input + self.input_len());
        let rows = self.bytes.get(start..).unwrap_or_default();
        bytemuck::try_cast_slice(rows).unwrap_or_default()
    }

    /// The head's words, and its columns.
    pub(crate) fn head(&self) -> (&'a [u32], usize) {
        let (quads, units) = self.head_shape();
        let rows = self.rows();
        let start = rows.len().saturating_sub(head_words(quads, units));
        (rows.get(start..).unwrap_or_default(), units)
    }

    /// Bytes of the image.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// 32-bit words of memory that a [`crate::State`] or [`crate::Generator`] of this image needs.
    pub fn workspace_len(&self) -> usize {
        crate::state::Plan::new(self).len.div_ceil(2)
    }

    /// The tokens.
    pub fn vocabulary(&self) -> Vocabulary<'a> {
        self.vocabulary
    }

    /// The layers' shapes, from the input on; at least one.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Elements of the embedding, or 0 where it is folded into a token table.
    pub fn embedding(&self) -> usize {
        self.embedding.into()
    }

    /// The token that a text without a prompt begins after.
    pub fn start(&self) -> u16 {
        self.start
    }

    /// Fraction bits of a logit.
    pub fn logit_bits(&self) -> u32 {
        self.logit_bits.into()
    }

    /// What [`selftest::digest`](crate::selftest::digest) gave when the image was made.
    pub fn digest(&self) -> u32 {
        let header = self.bytes.first_chunk::<HEADER_LEN>();
        header.map_or(0, |&[.., a, b, c, d]| u32::from_le_bytes([a, b, c, d]))
    }

    /// Where the network comes from; nothing if that cannot be read.
    pub fn provenance(&self) -> Provenance<'a> {
        frame_unchecked(self.bytes)
            .and_then(Metadata::decode)
            .and_then(|(_, rest)| postcard::from_bytes(rest).ok())
            .unwrap_or_default()
    }
}

/// The words of a panel, and whose they are.
pub(crate) struct PanelWords<'a> {
    /// The layer, from 0; the number of layers for the head.
    pub layer: u8,
    /// Its first row, counted through the layer in the order of the image.
    pub row: u32,
    pub gates: &'static [Record],
    pub records: &'a [u32],
    pub weights: &'a [u32],
}

/// Words of a head.
fn head_words(quads: usize, columns: usize) -> usize {
    (columns + Record::Plain.words()).saturating_mul(quads)
}

/// The image's own bytes and its metadata's, after everything that can be said without decoding.
fn frame(bytes: &[u8]) -> Result<(&[u8], &[u8]), ImageError> {
    let truncated = |expected: usize| ImageError::Truncated {
        expected: expected as u32,
        found: bytes.len() as u32,
    };
    if !bytes.as_ptr().addr().is_multiple_of(4) {
        return Err(ImageError::Misaligned);
    }
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(truncated(HEADER_LEN));
    };
    if header.iter().all(|&b| b == 0xff) || header.iter().all(|&b| b == 0) {
        return Err(ImageError::Empty);
    }
    let [fields @ .., _, _, _, _] = *header;
    let [m0, m1, m2, m3, c0, c1, c2, c3, v0, v1, _, _, l0, l1, l2, l3] = fields;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(ImageError::NotAnImage {
            found: [m0, m1, m2, m3],
        });
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(ImageError::Version {
            expected: VERSION,
            found: version,
        });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let image = bytes
        .get(..length.max(HEADER_LEN))
        .ok_or(truncated(length))?;
    let expected = checksum(image);
    let found = u32::from_le_bytes([c0, c1, c2, c3]);
    if expected != found {
        return Err(ImageError::Checksum { expected, found });
    }
    Ok((image, frame_unchecked(image).ok_or(ImageError::Metadata)?))
}

/// The metadata's bytes.
fn frame_unchecked(image: &[u8]) -> Option<&[u8]> {
    let length = u16::from_le_bytes([*image.get(10)?, *image.get(11)?]);
    image.get(HEADER_LEN..)?.get(..length.into())
}

/// CRC-32 of everything after the CRC.
pub(crate) fn checksum(image: &[u8]) -> u32 {
    crc(image.get(8..).unwrap_or_default())
}

/// CRC-32 (ISO-HDLC).
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    // Without a table: an image is checked once at start, and flash is scarce.
    const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

impl Metadata {
    /// What postcard makes of `bytes`, and the bytes after it.
    ///
    /// A derived decoder does the same in three times the code: to postcard all of this is a row of numbers.
    fn decode(mut bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut next = || {
            let (number, rest) = postcard::take_from_bytes::<u32>(bytes).ok()?;
            bytes = rest;
            Some(number)
        };
        let half = |number: Option<u32>| u16::try_from(number?).ok();
        let mut metadata = Self {
            tokens: half(next())?,
            text_len: next()?,
            start: half(next())?,
            embedding: half(next())?,
            layers: heapless::Vec::new(),
            logit_bits: 0,
        };
        for _ in 0..next()? {
            let cell = match next()? {
                0 => Cell::GruResetAfter,
                1 => Cell::GruResetBefore,
                _ => return None,
            };
            let hidden = half(next())?;
            metadata.layers.push(Layer { cell, hidden }).ok()?;
        }
        metadata.logit_bits = u8::try_from(next()?).ok()?;
        Some((metadata, bytes))
    }
}

fn check_bounds(metadata: &Metadata) -> Result<(), ImageError> {
    let within = |what, found: u32, least: u32, expected: u32| match found {
        n if n < least || n > expected => Err(ImageError::Bounds {
            what,
            expected,
            found,
        }),
        _ => Ok(()),
    };
    within(
        "number of tokens",
        metadata.tokens.into(),
        1,
        u16::MAX.into(),
    )?;
    within(
        "start token (0 or more)",
        metadata.start.into(),
        0,
        u32::from(metadata.tokens) - 1,
    )?;
    within(
        "embedding (0 or more)",
        metadata.embedding.into(),
        0,
        MAX_UNITS.into(),
    )?;
    within(
        "number of layers",
        metadata.layers.len() as u32,
        1,
        MAX_LAYERS as u32,
    )?;
    for layer in &metadata.layers {
        within("units of a layer", layer.hidden.into(), 1, MAX_UNITS.into())?;
    }
    within(
        "fraction bits of a logit (0 or more)",
        metadata.logit_bits.into(),
        0,
        15,
    )
}

/// The rest of an image, taken section by section.
pub(crate) struct Sections<'a> {
    rest: &'a [u8],
    /// Bytes before `rest`, or how many would have been needed.
    taken: usize,
}

impl<'a> Sections<'a> {
    /// The next `count` values, and the zeros that align what follows.
    pub(crate) fn take<T: bytemuck::AnyBitPattern>(
        &mut self,
        count: usize,
    ) -> Result<&'a [T], ImageError> {
        let bytes = self.bytes(count.saturating_mul(size_of::<T>()))?;
        bytemuck::try_cast_slice(bytes).map_err(|_| ImageError::Misaligned)
    }

    #[inline(never)]
    fn bytes(&mut self, used: usize) -> Result<&'a [u8], ImageError> {
        // Saturated, it is more than there is.
        let needed = used.saturating_add(3) & !3;
        let Some((section, rest)) = self.rest.split_at_checked(needed) else {
            return Err(ImageError::Length {
                expected: self.taken.saturating_add(needed) as u32,
                found: (self.taken + self.rest.len()) as u32,
            });
        };
        self.rest = rest;
        self.taken += needed;
        Ok(section.get(..used).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_decoded_as_postcard_does() {
        let layer = |cell, hidden| Layer { cell, hidden };
        let metadata = Metadata {
            tokens: 65_535,
            text_len: u32::MAX,
            start: 300,
            embedding: 16_384,
            layers: heapless::Vec::from_array([
                layer(Cell::GruResetAfter, 1),
                layer(Cell::GruResetBefore, 65_535),
            ]),
            logit_bits: 15,
        };
        let mut buffer = [0; 64];
        let bytes = postcard::to_slice(&(&metadata, 7u8), &mut buffer).unwrap();
        assert_eq!(Metadata::decode(bytes), Some((metadata, &[7u8][..])));
        for length in 0..bytes.len() - 1 {
            assert_eq!(Metadata::decode(&bytes[..length]), None);
        }
    }
}
