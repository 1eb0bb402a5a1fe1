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
//! | 20..20+m | metadata, postcard: [`Metadata`] |
//! | then | sections, each 4-byte aligned by zeros, in this order and with no lengths of their own: the shapes say them |
//!
//! All numbers are little-endian. H, E and V below are padded to multiples of 4, but V stands as it is where tokens index.
//!
//! | section | type and shape |
//! |---|---|
//! | vocabulary | u32 offsets `[V + 1]`, u16 ids by text `[V]`, UTF-8 |
//! | token table (embedding = 0) | i8 `[V][3H]`, gates in the order of the rows: what a token adds, times its row's factor |
//! | or embedding (embedding = E) | i8 `[V][E]`, in 1/128 of each column's scale, which the weights hold |
//! | each layer | [`crate::cell`] |
//! | head | rows V x H, with bias and scale |
//!
//! The CRC finds accidents, not intent: whoever can write an image can write its CRC. So nothing is trusted for being
//! covered by it, and [`Image::parse`] checks shapes, vocabulary and the range of every row from the weights themselves.

use crate::cell::{Gru, Rows};
use crate::vocabulary::Vocabulary;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use pipsqueak_kernels::kernel::padded;
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

/// What stands between the header and the sections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata<'a> {
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
    /// Where the network comes from.
    #[serde(borrow)]
    pub provenance: Provenance<'a>,
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
    /// The metadata cannot be decoded, or has bytes left over.
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

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        // Numbers as u32 and texts without padding only: each other type would cost a microcontroller its own formatter.
        match *self {
            Self::Empty => f.write_str("no image here: the first bytes are all erased"),
            Self::Misaligned => f.write_str("the image does not begin at a multiple of 4 bytes"),
            Self::Truncated { expected, found } => write!(
                f,
                "the image is cut off: expected {expected} bytes, found {found}"
            ),
            Self::NotAnImage { found } => {
                let [a, b, c, d] = found.map(u32::from);
                write!(
                    f,
                    "not an image: expected the bytes 50 49 50 53 (PIPS), found {a:02x} {b:02x} {c:02x} {d:02x}"
                )
            }
            Self::Version { expected, found } => {
                let (expected, found) = (u32::from(expected), u32::from(found));
                write!(
                    f,
                    "image format: expected version {expected}, found {found}; export the model anew"
                )
            }
            Self::Checksum { expected, found } => {
                write!(
                    f,
                    "the image is damaged: expected CRC {found:08x}, found {expected:08x}; write it anew"
                )
            }
            Self::Metadata => f.write_str("the image's metadata cannot be read"),
            Self::Bounds {
                what,
                expected,
                found,
            } => {
                f.write_str(what)?;
                write!(f, ": expected at most {expected}, found {found}")
            }
            Self::Length { expected, found } => {
                write!(
                    f,
                    "the image's shapes need {expected} bytes, but it has {found}"
                )
            }
            Self::Vocabulary { token } => write!(f, "the vocabulary is malformed at token {token}"),
            Self::Range { layer, row } => {
                let layer = u32::from(layer);
                write!(
                    f,
                    "row {row} of layer {layer} could leave 32 bits or has a bad scale"
                )
            }
        }
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
        let metadata = decode(metadata)?;
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
        image.check_rows(sections)?;
        Ok(image)
    }

    /// The range certificate of every row, and that the sections end where the image does.
    fn check_rows(&self, mut sections: Sections<'a>) -> Result<(), ImageError> {
        sections.take::<i8>(self.input_len())?;
        for (index, shape) in self.shapes().enumerate() {
            let range = |row| ImageError::Range {
                layer: index as u8,
                row,
            };
            Gru::take(&mut sections, shape)?.check().map_err(range)?;
        }
        let range = |row| ImageError::Range {
            layer: self.layers.len() as u8,
            row,
        };
        self.take_head(&mut sections)?
            .check(&|_| 0)
            .map_err(range)?;
        match sections.rest.len() {
            0 => Ok(()),
            _ => Err(ImageError::Length {
                expected: sections.taken as u32,
                found: self.bytes.len() as u32,
            }),
        }
    }

    /// The head's rows.
    fn take_head(&self, sections: &mut Sections<'a>) -> Result<Rows<'a>, ImageError> {
        let units = self
            .layers
            .last()
            .map_or(0, |layer| usize::from(layer.hidden));
        Rows::take(sections, self.vocabulary.len(), padded(units))
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

    /// What each layer's step needs to know of its shape.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = LayerShape> {
        let mut inputs = usize::from(self.embedding);
        self.layers.iter().map(move |layer| {
            let shape = LayerShape {
                cell: layer.cell,
                hidden: layer.hidden.into(),
                inputs,
            };
            inputs = layer.hidden.into();
            shape
        })
    }

    /// The sections from the first layer on.
    pub(crate) fn layer_sections(&self) -> Sections<'a> {
        let mut sections = Sections {
            rest: self.bytes.get(self.input..).unwrap_or_default(),
            taken: self.input,
        };
        // Parse took the same once.
        let _ = sections.take::<i8>(self.input_len());
        sections
    }

    /// The head's rows; parse has read them before.
    pub(crate) fn head(&self) -> Option<Rows<'a>> {
        let mut sections = self.layer_sections();
        for shape in self.shapes() {
            Gru::take(&mut sections, shape).ok()?;
        }
        self.take_head(&mut sections).ok()
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

    /// Where the network comes from.
    pub fn provenance(&self) -> Provenance<'a> {
        frame_unchecked(self.bytes)
            .and_then(|metadata| decode(metadata).ok())
            .map_or_else(Provenance::default, |m| m.provenance)
    }
}

/// What a layer's sections and step depend on. All in elements, not padded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerShape {
    pub cell: Cell,
    pub hidden: usize,
    /// 0 where the token table has the input's products.
    pub inputs: usize,
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

fn decode(bytes: &[u8]) -> Result<Metadata<'_>, ImageError> {
    match postcard::take_from_bytes(bytes) {
        Ok((metadata, [])) => Ok(metadata),
        _ => Err(ImageError::Metadata),
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
        let total = self.taken + self.rest.len();
        let needed = count
            .checked_mul(size_of::<T>())
            .and_then(|length| Some((length, length.checked_add(3)? & !3)));
        let length = |needed: usize| ImageError::Length {
            expected: self.taken.saturating_add(needed).min(u32::MAX as usize) as u32,
            found: total as u32,
        };
        let (used, needed) = needed.ok_or(length(usize::MAX))?;
        let (section, rest) = self.rest.split_at_checked(needed).ok_or(length(needed))?;
        let values = section
            .get(..used)
            .and_then(|used| bytemuck::try_cast_slice(used).ok());
        let values = values.ok_or(ImageError::Misaligned)?;
        self.rest = rest;
        self.taken += needed;
        Ok(values)
    }
}
