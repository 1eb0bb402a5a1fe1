//! Writes images; for the host, behind the feature `encode`.

use crate::image::{
    Cell, HEADER_LEN, Image, ImageError, Layer, MAGIC, Metadata, Provenance, VERSION, checksum,
};
use crate::selftest;
use crate::state::State;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::Gru;
use pipsqueak_kernels::fixed::Scale;
use pipsqueak_kernels::kernel::{ROWS, pack, padded};
use pipsqueak_kernels::rows::{DENSE_QUADS, Panel, Record};
use rand_core::Rng;
use rand_pcg::Pcg32;

/// Rows of a matrix, not padded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Columns of each part, side by side: of the input and of the state, or of one of them.
    pub columns: Vec<usize>,
    /// `[rows][sum of columns]`, -127 to 127.
    pub weights: Vec<i8>,
    /// `[rows]`, in units of the accumulator, half of the scale's shift included.
    pub bias: Vec<i32>,
    /// `[rows]`
    pub scale: Vec<Scale>,
}

/// A GRU layer's values; gates in the order z, r, h.
#[derive(Clone, Debug, PartialEq)]
pub struct GruParts {
    /// Cell and units.
    pub layer: Layer,
    /// Rows `[H][joint columns]` of each gate; the candidate's over the state alone when the reset gate comes after.
    pub gates: [Rows; 3],
    /// Over a token table, its factors, `[3][H]`.
    pub factors: Vec<i32>,
    /// The candidate's input bias, `[H]` in Q5.26: over a token table with the reset gate after.
    pub candidate_bias: Vec<i32>,
    /// The candidate's input rows, `[H][inputs]`: over a vector with the reset gate after.
    pub candidate: Rows,
}

/// What a token feeds to the first layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// `[V][3][H]`: what it adds to each gate, over the layer's factors.
    Table(Vec<i8>),
    /// `[V][E]`
    Embedding {
        /// E
        columns: usize,
        /// In 1/128 of each column's scale.
        values: Vec<i8>,
    },
}

/// All that an image holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts<'a> {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// The token that a text without a prompt begins after.
    pub start: u16,
    /// What a token feeds to the first layer.
    pub input: Input,
    /// The layers, from the input on.
    pub layers: Vec<GruParts>,
    /// Rows `[V][H]`.
    pub head: Rows,
    /// Fraction bits of a logit.
    pub logit_bits: u8,
    /// Where the network comes from.
    pub provenance: Provenance<'a>,
}

impl Parts<'static> {
    /// An untrained network, for tests and measurements: random numbers of the size that trained ones have.
    ///
    /// Tokens are the letters from `a` on, and then characters from U+100 on. `embedding` 0 is a token table.
    ///
    /// # Panics
    /// If a size is 0 or there are more than 60,000 tokens.
    pub fn random(seed: u64, tokens: usize, embedding: usize, layers: &[Layer]) -> Self {
        let mut rng = Pcg32::new(seed, 1);
        let mut below = |end: i32| (rng.next_u32() % (2 * end as u32 + 1)) as i32 - end;
        let character = |id: u32| char::from_u32(if id < 26 { 97 + id } else { 0x100 - 26 + id });
        let mut rows = |rows: usize, columns: &[usize]| {
            let width: usize = columns.iter().sum();
            // Wide rows have small weights, for the range certificate.
            let largest = (60_000 / width as u32).clamp(1, 127);
            // Sums grow with the square root of the columns; 2^13 * 2^-(15 + shift) brings them to about 1 in Q11.
            let shift = (2 + largest.ilog2() + width.ilog2() / 2) as u8;
            Rows {
                columns: columns.to_vec(),
                weights: (0..rows * width)
                    .map(|_| below(largest as i32) as i8)
                    .collect(),
                bias: (0..rows).map(|_| below(1 << 20)).collect(),
                scale: (0..rows)
                    .map(|_| Scale::new((12_000 + below(4000)) as u16, shift))
                    .collect(),
            }
        };
        let mut inputs = embedding;
        let layers: Vec<GruParts> = layers
            .iter()
            .map(|&layer| {
                let units = usize::from(layer.hidden);
                let after = layer.cell == Cell::GruResetAfter;
                let joint = if inputs == 0 {
                    vec![units]
                } else {
                    vec![inputs, units]
                };
                let own = if after { vec![units] } else { joint.clone() };
                let gates = [rows(units, &joint), rows(units, &joint), rows(units, &own)];
                let candidate = if after && inputs > 0 {
                    rows(units, &[inputs])
                } else {
                    Rows::default()
                };
                let table = inputs == 0;
                inputs = units;
                GruParts {
                    layer,
                    gates,
                    factors: if table {
                        vec![1 << 16; 3 * units]
                    } else {
                        Vec::new()
                    },
                    candidate_bias: if table && after {
                        vec![1 << 20; units]
                    } else {
                        Vec::new()
                    },
                    candidate,
                }
            })
            .collect();
        let head = rows(tokens, &[inputs]);
        let mut values = |count: usize| (0..count).map(|_| below(127) as i8).collect();
        let input = match (embedding, layers.first()) {
            (0, Some(first)) => Input::Table(values(tokens * 3 * usize::from(first.layer.hidden))),
            (columns, _) => Input::Embedding {
                columns,
                values: values(tokens * columns),
            },
        };
        Self {
            tokens: (0..tokens as u32)
                .filter_map(character)
                .map(String::from)
                .collect(),
            start: 0,
            input,
            layers,
            head,
            logit_bits: 9,
            provenance: Provenance {
                corpus: "none",
                split: "untrained",
                ..Provenance::default()
            },
        }
    }
}

/// Why parts do not make an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The metadata is too long: more layers than an image holds, or long names.
    Metadata,
    /// The image would be refused.
    Refused(ImageError),
}

impl core::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        match self {
            Self::Metadata => {
                write!(
                    f,
                    "an image holds at most {} layers and 1,024 bytes of metadata",
                    crate::image::MAX_LAYERS
                )
            }
            Self::Refused(error) => write!(f, "the image would be refused: {error}"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// The image of `parts` as words, so that it is aligned. It has passed [`Image::parse`].
///
/// # Errors
/// If the parts do not fit together or do not fit an image.
///
/// # Panics
/// If a token table, embedding or matrix does not have the length that its shape says.
pub fn encode(parts: &Parts) -> Result<Vec<u32>, EncodeError> {
    let text: String = parts.tokens.concat();
    let mut layers = heapless::Vec::new();
    for gru in &parts.layers {
        layers.push(gru.layer).map_err(|_| EncodeError::Metadata)?;
    }
    let metadata = Metadata {
        tokens: u16::try_from(parts.tokens.len()).map_err(|_| EncodeError::Metadata)?,
        text_len: text.len() as u32,
        start: parts.start,
        embedding: match parts.input {
            Input::Table(_) => 0,
            Input::Embedding { columns, .. } => u16::try_from(columns).unwrap_or(u16::MAX),
        },
        layers,
        logit_bits: parts.logit_bits,
    };
    let mut buffer = [0; 1024];
    let metadata = postcard::to_slice(&(metadata, parts.provenance), &mut buffer)
        .map_err(|_| EncodeError::Metadata)?;

    let mut out = Writer(vec![0; HEADER_LEN]);
    out.section(metadata);
    let mut offset = 0;
    let ends = parts.tokens.iter().map(|token| {
        offset += token.len() as u32;
        offset
    });
    out.words(core::iter::once(0u32).chain(ends));
    let mut sorted: Vec<u16> = (0..parts.tokens.len() as u16).collect();
    sorted.sort_by_key(|&id| parts.tokens[usize::from(id)].as_bytes());
    out.section(bytemuck::cast_slice(&sorted));
    out.section(text.as_bytes());
    match &parts.input {
        Input::Table(values) => {
            let units = parts
                .layers
                .first()
                .map_or(1, |gru| gru.layer.hidden.into());
            for token in values.chunks_exact(3 * units) {
                out.section(bytemuck::cast_slice(&interleaved(token, units)));
            }
        }
        Input::Embedding { columns, values } => {
            for token in values.chunks_exact(*columns) {
                out.section(bytemuck::cast_slice(token));
            }
        }
    }
    for gru in &parts.layers {
        let [z, r, h] = &gru.gates;
        let gates = [z, r, h, &gru.candidate].map(|rows| rows.quads());
        let shape = Gru {
            reset_after: gru.layer.cell == Cell::GruResetAfter,
            // Whether there is an input vector is all that the panels depend on.
            inputs: usize::from(gru.factors.is_empty()),
            units: gru.layer.hidden.into(),
        };
        let mut first = 0;
        for run in shape.runs() {
            let mut after = first;
            for block in 0..gates[0].len() {
                after = first;
                for panel in *run {
                    let end = after + panel.gates.len();
                    out.panel(panel, &gates[after..end], gru, after, block);
                    after = end;
                }
            }
            first = after;
        }
    }
    for panel in parts.head.quads().chunks(DENSE_QUADS) {
        for quad in panel {
            out.words(quad.record);
        }
        for quad in panel {
            out.words(quad.weights.iter().copied());
        }
    }

    let Writer(mut image) = out;
    let length = image.len() as u32;
    image[0..4].copy_from_slice(&MAGIC);
    image[8..10].copy_from_slice(&VERSION.to_le_bytes());
    image[10..12].copy_from_slice(&(metadata.len() as u16).to_le_bytes());
    image[12..16].copy_from_slice(&length.to_le_bytes());
    seal(&mut image);
    let mut words = aligned(&image);
    let digest = digest(bytes(&words)).map_err(EncodeError::Refused)?;
    words[DIGEST_WORD] = digest.to_le();
    seal(bytemuck::cast_slice_mut(&mut words));
    Ok(words)
}

/// The word of the header with the digest.
const DIGEST_WORD: usize = 4;

/// The digest of the outputs of an image, whatever digest it has recorded.
fn digest(image: &[u8]) -> Result<u32, ImageError> {
    let image = Image::parse(image)?;
    let mut workspace = vec![0; image.workspace_len()];
    let mut state =
        State::new(&image, &mut workspace).expect("the workspace has the length asked for");
    Ok(selftest::digest(&mut state))
}

/// Writes the CRC that fits the rest of an image of at least 8 bytes.
pub fn seal(image: &mut [u8]) {
    let crc = checksum(image);
    image[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// A copy of `bytes` that begins at a word; zeros fill the last one.
pub fn aligned(bytes: &[u8]) -> Vec<u32> {
    let mut words = vec![0u32; bytes.len().div_ceil(4)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

/// The bytes of words.
pub fn bytes(words: &[u32]) -> &[u8] {
    bytemuck::cast_slice(words)
}

struct Writer(Vec<u8>);

impl Writer {
    /// Bytes, and zeros up to a multiple of 4.
    fn section(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(padded(self.0.len()), 0);
    }

    fn words<T: TryInto<i64>>(&mut self, words: impl IntoIterator<Item = T>) {
        let bits = |word: T| word.try_into().map_or(0, |word: i64| word as u32);
        let words = words.into_iter().map(bits);
        self.0.extend(words.flat_map(u32::to_le_bytes));
    }

    /// The records of a block's panel, then its weights.
    /// `gates` are its own, of which the first is the layer's gate `first`.
    fn panel(
        &mut self,
        panel: &Panel,
        gates: &[Vec<Quad>],
        gru: &GruParts,
        first: usize,
        block: usize,
    ) {
        let units = usize::from(gru.layer.hidden);
        for (index, (quads, &record)) in gates.iter().zip(panel.gates).enumerate() {
            self.words(quads[block].record);
            if record == Record::Candidate {
                self.words(quad(&gru.candidate_bias, block));
            }
            if record != Record::Plain {
                let factors = &gru.factors[(first + index) * units..][..units];
                self.words(quad(factors, block));
            }
        }
        for quads in gates {
            self.words(quads[block].weights.iter().copied());
        }
    }
}

/// Four rows.
struct Quad {
    /// Biases and scales.
    record: [u32; 2 * ROWS],
    weights: Vec<u32>,
}

/// Values 4 `index` to 4 `index` + 3, or zeros after the last.
fn quad(values: &[i32], index: usize) -> [u32; ROWS] {
    let value = |lane: usize| values.get(ROWS * index + lane).copied().unwrap_or_default();
    core::array::from_fn(|lane| value(lane) as u32)
}

impl Rows {
    /// Four rows at a time, padded.
    fn quads(&self) -> Vec<Quad> {
        let scales: Vec<i32> = self.scale.iter().map(|scale| scale.0 as i32).collect();
        let with_record = |(index, columns): (usize, Vec<[i8; ROWS]>)| {
            let record = [quad(&self.bias, index), quad(&scales, index)];
            Quad {
                record: bytemuck::cast(record),
                weights: pack(&columns).collect(),
            }
        };
        self.columns_by_four()
            .into_iter()
            .enumerate()
            .map(with_record)
            .collect()
    }

    /// The padded columns of four rows at a time.
    fn columns_by_four(&self) -> Vec<Vec<[i8; ROWS]>> {
        let width: usize = self.columns.iter().sum();
        let rows = self.bias.len();
        assert_eq!(
            self.weights.len(),
            rows * width,
            "rows of {:?} columns",
            self.columns
        );
        let weights: Vec<&[i8]> = self.weights.chunks_exact(width.max(1)).collect();
        let columns = |block: &[&[i8]]| {
            let mut columns = Vec::new();
            let mut start = 0;
            for &part in &self.columns {
                let lane = |row: usize, column: usize| block.get(row).map_or(0, |row| row[column]);
                columns.extend(
                    (start..start + part)
                        .map(|column| core::array::from_fn(|row| lane(row, column))),
                );
                columns.resize(padded(columns.len()), [0; ROWS]);
                start += part;
            }
            columns
        };
        weights.chunks(ROWS).map(columns).collect()
    }
}

/// Runs of `units` values as blocks of four of each in turn, padded by zeros.
fn interleaved<T: Copy + Default>(values: &[T], units: usize) -> Vec<T> {
    let runs: Vec<&[T]> = values.chunks_exact(units.max(1)).collect();
    let place = |i: usize| {
        let (block, run, lane) = (i / ROWS / runs.len(), i / ROWS % runs.len(), i % ROWS);
        runs[run]
            .get(block * ROWS + lane)
            .copied()
            .unwrap_or_default()
    };
    (0..padded(units) * runs.len()).map(place).collect()
}
