//! Writes images; for the host, behind the feature `encode`.

use crate::bits::Bits;
use crate::image::{
    Activation, Columns, Dense, HEADER_LEN, Image, ImageError, Input, Layer, MAGIC, Metadata,
    Network, Normalization, Provenance, Reads, Recurrent, Specials, Start, StartFrom, VERSION,
    VocabularyShape, checksum,
};
use crate::level::Level;
use crate::selftest;
use crate::state::State;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::{GateGroupConfig, RecurrentConfig};
use pipsqueak_kernels::dense::DENSE_PANELS;
use pipsqueak_kernels::fixed::QuantizedMultiplier as Scale;
use pipsqueak_kernels::packed::{
    GROUP_SIZE as GROUP, PANEL_ROWS as ROWS, RowParams, pack_int4, pack_int8, round_up as padded,
};

mod random;

pub use random::{language_model, shapes};

/// Rows of a matrix, not padded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// How many columns there are over the input and over the state, side by side, and how wide weights are.
    pub columns: Columns,
    /// `[rows][columns]`, -127 to 127; of 4 bits -8 to 7.
    pub weights: Vec<i8>,
    /// What weights are multiplied with, `[rows][groups]`: of 4 bits 32 columns at a time, anew over the state; of
    /// [`Bits::Mixed`] all columns over the input as one group. Rows of [`Bits::Eight`] have none.
    pub scales: Vec<u8>,
    /// `[rows]`, in units of the accumulator, half of the scale's shift included.
    pub bias: Vec<i32>,
    /// `[rows]`
    pub scale: Vec<Scale>,
}

impl Rows {
    /// The width of the weights.
    pub fn bits(&self) -> Bits {
        self.columns.bits
    }
}

/// A dense layer's values.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseParts {
    /// Rows `[outputs][inputs]`; before tanh and sigmoid their outputs are Q4.11.
    pub rows: Rows,
    /// What they go through.
    pub activation: Activation,
    /// Fraction bits of the outputs: 15 after tanh and sigmoid.
    pub bits: u8,
}

/// Where a state begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StartParts {
    /// At zero, or at what the caller sets.
    #[default]
    Zero,
    /// At these numbers, `[H]`: a hidden state with 15 less its shift fraction bits, a cell state in Q8.23.
    Constant(Vec<i32>),
    /// At what dense layers, at least one, make of the feature vector.
    Features(Vec<DenseParts>),
    /// At a state of the encoder, through dense layers if there are any.
    Encoder {
        /// The encoder's layer.
        layer: usize,
        /// Whether it is the cell state, which enters dense layers as Q5.10.
        cell: bool,
        /// On the way.
        dense: Vec<DenseParts>,
    },
}

/// A recurrent layer's values. Gates stand in the order `z, r, h` of a GRU and `i, o, f, c` of an LSTM.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerParts {
    /// Cell and units.
    pub layer: Layer,
    /// The hidden state has 15 less this many fraction bits.
    pub shift: u8,
    /// Rows `[H][joint columns]` of each gate; the candidate's of a GRU whose reset gate comes after over the state alone,
    /// and then, over a vector, the candidate's input rows, `[H][inputs]`, as one gate more.
    pub gates: Vec<Rows>,
    /// Over a token table, its factors, `[gates][H]`.
    pub factors: Vec<i32>,
    /// The candidate's input bias, `[H]` in Q5.26: over a token table with the reset gate after.
    pub candidate_bias: Vec<i32>,
    /// Where the hidden state begins, and the cell state.
    pub starts: [StartParts; 2],
}

/// What a network is fed.
#[derive(Clone, Debug, PartialEq)]
pub enum InputParts {
    /// `[V][gates][H]`: what a token adds to each gate, over the layer's factors.
    Table(Vec<i8>),
    /// `[V][E]`
    Embedding {
        /// E
        columns: usize,
        /// In 1/128 of each column's scale.
        values: Vec<i8>,
    },
    /// A token's row of the last dense layer of the head, which has V of them.
    Tied {
        /// The smallest shift of such a row.
        shift: u8,
    },
    /// A vector; an element is below 2^channel.
    Vectors(Vec<i8>),
    /// The feature vector after the dense layers, at each of so many steps.
    Features {
        /// T
        steps: u16,
    },
}

/// A network's values.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkParts {
    /// What it is fed.
    pub input: InputParts,
    /// Tokens, V, or elements of a vector.
    pub count: usize,
    /// The channels of the feature vector; empty where there is none.
    pub features: Vec<i8>,
    /// What an input vector goes through.
    pub dense: Vec<DenseParts>,
    /// The recurrent layers, from the input on.
    pub layers: Vec<LayerParts>,
    /// The head: none where the last hidden state itself is the output.
    pub head: Vec<DenseParts>,
    /// How often all layers step for a token; 1 where it reads none.
    pub steps_per_token: u8,
    /// At which steps it is read.
    pub reads: Reads,
    /// What its outputs go through afterwards.
    pub normalization: Normalization,
}

/// A vocabulary's values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VocabularyParts {
    /// What the tokens are.
    pub level: Level,
    /// Their texts, and names of special ones. None where there is no vocabulary; at [`Level::Bytes`] they count alone.
    pub tokens: Vec<String>,
    /// The token that a text without a prompt begins after.
    pub start: u16,
    /// Tokens that stand for no text.
    pub specials: Specials,
}

/// All that an image holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts<'a> {
    /// Of what goes in, where that is something else than what comes out; and of what comes out.
    pub vocabularies: [VocabularyParts; 2],
    /// The most tokens of a text; 0: no limit.
    pub limit: u16,
    /// The network, or an encoder and its decoder.
    pub networks: Vec<NetworkParts>,
    /// Names of the graph's arrays, for the host.
    pub interface: Vec<u8>,
    /// Where the network comes from.
    pub provenance: Provenance<'a>,
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
/// If a layer has too few gates or gates of another width than it says, or a token table, embedding or matrix does not have
/// the length that its shape says, or weights are out of their range.
pub fn encode(parts: &Parts) -> Result<Vec<u32>, EncodeError> {
    let mut bytes = numbers(&metadata(parts)?);
    let mut buffer = [0; 1024];
    let provenance = postcard::to_slice(&parts.provenance, &mut buffer);
    bytes.extend_from_slice(provenance.map_err(|_| EncodeError::Metadata)?);
    let metadata_len = u16::try_from(bytes.len()).map_err(|_| EncodeError::Metadata)?;

    let mut out = Writer(vec![0; HEADER_LEN]);
    out.section(&bytes);
    for vocabulary in &parts.vocabularies {
        out.vocabulary(vocabulary);
    }
    for network in &parts.networks {
        out.network(network);
    }
    out.section(&parts.interface);

    let Writer(mut image) = out;
    let length = image.len() as u32;
    image[0..4].copy_from_slice(&MAGIC);
    image[8..10].copy_from_slice(&VERSION.to_le_bytes());
    image[10..12].copy_from_slice(&metadata_len.to_le_bytes());
    image[12..16].copy_from_slice(&length.to_le_bytes());
    seal(&mut image);
    let mut words = aligned(&image);
    let digest = digest(self::bytes(&words)).map_err(EncodeError::Refused)?;
    words[DIGEST_WORD] = digest.to_le();
    seal(bytemuck::cast_slice_mut(&mut words));
    Ok(words)
}

/// The metadata of `parts`: all that an image says of its shapes.
///
/// # Errors
/// If they do not fit an image.
pub fn metadata(parts: &Parts) -> Result<Metadata, EncodeError> {
    let half = |n: usize| u16::try_from(n).map_err(|_| EncodeError::Metadata);
    let byte = |n: usize| u8::try_from(n).map_err(|_| EncodeError::Metadata);
    let mut metadata = Metadata {
        limit: parts.limit,
        interface_len: parts.interface.len() as u32,
        ..Metadata::default()
    };
    for (shape, from) in metadata.vocabularies.iter_mut().zip(&parts.vocabularies) {
        let text = |token: &String| token.len() as u32;
        *shape = VocabularyShape {
            level: from.level,
            tokens: half(from.tokens.len())?,
            text_len: match from.level {
                Level::Bytes => 0,
                _ => from.tokens.iter().map(text).sum(),
            },
            start: from.start,
            specials: from.specials,
        };
    }
    let dense_of = |metadata: &mut Metadata, list: &[DenseParts]| -> Result<u8, EncodeError> {
        for dense in list {
            let outputs = half(dense.rows.bias.len())?;
            let dense = Dense::new(outputs, dense.activation, dense.bits, dense.rows.bits());
            let pushed = metadata.dense.push(dense);
            pushed.map_err(|_| EncodeError::Metadata)?;
        }
        byte(list.len())
    };
    for from in &parts.networks {
        let input = match &from.input {
            InputParts::Table(_) => Input::Table,
            InputParts::Embedding { columns, .. } => {
                Input::Embedding(u16::try_from(*columns).unwrap_or(u16::MAX))
            }
            InputParts::Tied { shift } => Input::Tied { shift: *shift },
            InputParts::Vectors(_) => Input::Vectors,
            InputParts::Features { steps } => Input::Features { steps: *steps },
        };
        let mut network = Network {
            input,
            count: half(from.count)?,
            features: half(from.features.len())?,
            dense: dense_of(&mut metadata, &from.dense)?,
            layers: byte(from.layers.len())?,
            steps_per_token: from.steps_per_token,
            head: 0,
            reads: from.reads,
            normalization: from.normalization,
        };
        for layer in &from.layers {
            let mut starts = [Start::default(); 2];
            for (start, from) in starts.iter_mut().zip(&layer.starts) {
                *start = match from {
                    StartParts::Zero => Start::default(),
                    StartParts::Constant(_) => Start::new(StartFrom::Constant, 0),
                    StartParts::Features(dense) => {
                        Start::new(StartFrom::Features, dense_of(&mut metadata, dense)?)
                    }
                    StartParts::Encoder { layer, cell, dense } => {
                        let (layer, cell) = (*layer, *cell);
                        let from = StartFrom::Encoder { layer, cell };
                        Start::new(from, dense_of(&mut metadata, dense)?)
                    }
                };
            }
            let recurrent = Recurrent {
                layer: layer.layer,
                shift: layer.shift,
                starts,
            };
            let pushed = metadata.layers.push(recurrent);
            pushed.map_err(|_| EncodeError::Metadata)?;
        }
        network.head = dense_of(&mut metadata, &from.head)?;
        let pushed = metadata.networks.push(network);
        pushed.map_err(|_| EncodeError::Metadata)?;
    }
    Ok(metadata)
}

/// A copy of `image` with other metadata, sealed; the sections and the provenance stay. For tests of what is refused.
///
/// # Panics
/// If `image` is none.
pub fn with_metadata(image: &[u8], metadata: &Metadata) -> Vec<u8> {
    let length = usize::from(u16::from_le_bytes([image[10], image[11]]));
    let (_, provenance) = Metadata::decode(&image[HEADER_LEN..][..length]).expect("an image");
    let sections = &image[padded(HEADER_LEN + length)..];
    let found = [&numbers(metadata)[..], provenance].concat();
    let mut out = Writer(image[..HEADER_LEN].to_vec());
    out.section(&found);
    out.section(sections);
    let Writer(mut changed) = out;
    changed[10..12].copy_from_slice(&(found.len() as u16).to_le_bytes());
    let length = changed.len() as u32;
    changed[12..16].copy_from_slice(&length.to_le_bytes());
    seal(&mut changed);
    changed
}

/// What postcard makes of metadata.
fn numbers(metadata: &Metadata) -> Vec<u8> {
    let number =
        |number| postcard::to_slice(&number, &mut [0; 8]).map_or(Vec::new(), |n| n.to_vec());
    metadata.numbers().into_iter().flat_map(number).collect()
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

    fn vocabulary(&mut self, vocabulary: &VocabularyParts) {
        let VocabularyParts {
            level,
            tokens,
            specials,
            ..
        } = vocabulary;
        if tokens.is_empty() || *level == Level::Bytes {
            return;
        }
        let mut offset = 0;
        let ends = tokens.iter().map(|token| {
            offset += token.len() as u32;
            offset
        });
        self.words(core::iter::once(0u32).chain(ends));
        let ids = 0..tokens.len() as u16;
        let mut sorted: Vec<u16> = ids.filter(|&id| !specials.is(id)).collect();
        sorted.sort_by_key(|&id| tokens[usize::from(id)].as_bytes());
        self.section(bytemuck::cast_slice(&sorted));
        self.section(tokens.concat().as_bytes());
    }

    fn network(&mut self, network: &NetworkParts) {
        match &network.input {
            InputParts::Table(values) => {
                let first = network.layers.first().map(|first| first.layer);
                let units = first.map_or(1, |layer| usize::from(layer.hidden));
                let rows = first.map_or(1, |layer| layer.cell.num_gates() * units);
                for token in values.chunks_exact(rows) {
                    self.section(bytemuck::cast_slice(&interleaved(token, units)));
                }
            }
            InputParts::Embedding { columns, values } => {
                for token in values.chunks_exact(*columns) {
                    self.section(bytemuck::cast_slice(token));
                }
            }
            InputParts::Vectors(channels) => self.section(bytemuck::cast_slice(channels)),
            InputParts::Tied { .. } | InputParts::Features { .. } => {}
        }
        self.section(bytemuck::cast_slice(&network.features));
        self.dense(&network.dense);
        let vector = !matches!(network.input, InputParts::Table(_));
        for (index, layer) in network.layers.iter().enumerate() {
            self.layer(layer, vector || index > 0);
        }
        for layer in &network.layers {
            let units = padded(layer.layer.hidden.into());
            for (index, start) in layer.starts.iter().enumerate() {
                match start {
                    StartParts::Zero => {}
                    StartParts::Constant(values) => {
                        let mut values = values.clone();
                        values.resize(units, 0);
                        if index == 0 {
                            let halves: Vec<i16> = values.iter().map(|&v| v as i16).collect();
                            self.section(bytemuck::cast_slice(&halves));
                        } else {
                            self.section(bytemuck::cast_slice(&values));
                        }
                    }
                    StartParts::Features(dense) | StartParts::Encoder { dense, .. } => {
                        self.dense(dense);
                    }
                }
            }
        }
        self.dense(&network.head);
    }

    fn dense(&mut self, list: &[DenseParts]) {
        for dense in list {
            for panel in dense.rows.quads().chunks(DENSE_PANELS) {
                for quad in panel {
                    self.words(quad.record);
                }
                self.weights(&panel.iter().collect::<Vec<_>>());
            }
        }
    }

    fn layer(&mut self, layer: &LayerParts, vector: bool) {
        let gates: Vec<Vec<Quad>> = layer.gates.iter().map(Rows::quads).collect();
        let has_bits = |rows: &Rows| rows.bits() == layer.layer.bits;
        assert!(layer.gates.iter().all(has_bits), "gates of another width");
        let shape = RecurrentConfig {
            cell: layer.layer.cell,
            // Whether there is an input vector is all that the panels depend on.
            input_size: usize::from(vector),
            hidden_size: layer.layer.hidden.into(),
            state_shift: 0,
            formats: layer.layer.bits.formats(),
        };
        let mut first = 0;
        for run in shape.passes() {
            let mut after = first;
            for block in 0..gates[0].len() {
                after = first;
                for panel in *run {
                    let end = after + panel.params.len();
                    self.panel(panel, &gates[after..end], layer, after, block);
                    after = end;
                }
            }
            first = after;
        }
    }

    /// The records of a block's panel, then its weights.
    /// `gates` are its own, of which the first is the layer's gate `first`.
    fn panel(
        &mut self,
        panel: &GateGroupConfig,
        gates: &[Vec<Quad>],
        from: &LayerParts,
        first: usize,
        block: usize,
    ) {
        let units = usize::from(from.layer.hidden);
        for (index, (quads, &record)) in gates.iter().zip(panel.params).enumerate() {
            self.words(quads[block].record);
            if record == RowParams::CandidateTokenScale {
                self.words(quad(&from.candidate_bias, block));
            }
            if record != RowParams::BiasScale {
                let factors = &from.factors[(first + index) * units..][..units];
                self.words(quad(factors, block));
            }
        }
        self.weights(&gates.iter().map(|quads| &quads[block]).collect::<Vec<_>>());
    }

    /// The weights of a panel: of all its gates over a part, and then over the next one.
    fn weights(&mut self, gates: &[&Quad]) {
        for part in 0..gates.first().map_or(0, |quad| quad.weights.len()) {
            for quad in gates {
                self.words(quad.weights[part].iter().copied());
            }
        }
    }
}

/// Four rows.
struct Quad {
    /// Biases and scales.
    record: [u32; 2 * ROWS],
    /// All of [`Bits::Eight`], or those over each part.
    weights: Vec<Vec<u32>>,
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
        let with_record = |(index, parts): (usize, Vec<Vec<[i8; ROWS]>>)| {
            let record = [quad(&self.bias, index), quad(&scales, index)];
            Quad {
                record: bytemuck::cast(record),
                weights: match self.bits() {
                    Bits::Eight => vec![pack_int8(&parts.concat()).collect()],
                    Bits::Four | Bits::Mixed => self.pack_parts(index, &parts),
                },
            }
        };
        self.columns_by_four()
            .into_iter()
            .enumerate()
            .map(with_record)
            .collect()
    }

    /// The words over each part of rows 4 `index` to 4 `index` + 3.
    fn pack_parts(&self, index: usize, parts: &[Vec<[i8; ROWS]>]) -> Vec<Vec<u32>> {
        let count = self.columns.groups().count();
        let lane = |row: usize, group: usize| {
            let scales = self.scales.chunks_exact(count).nth(ROWS * index + row);
            scales.map_or(0, |scales| scales[group])
        };
        let scales = |group: usize| core::array::from_fn(|row| lane(row, group));
        let mut first = 0;
        let words = parts.iter().enumerate().map(|(part, columns)| {
            let wide = self.bits() == Bits::Mixed && part == 0;
            let size = if wide { columns.len().max(1) } else { GROUP };
            let groups = first..first + columns.len().div_ceil(size);
            first = groups.end;
            if wide {
                let scales = groups.map(|group| u32::from_le_bytes(scales(group)));
                return scales.chain(pack_int8(columns)).collect();
            }
            let scales: Vec<[u8; ROWS]> = groups.map(scales).collect();
            pack_int4(columns, &scales).collect()
        });
        words.collect()
    }

    /// The padded columns over each part of four rows at a time.
    fn columns_by_four(&self) -> Vec<Vec<Vec<[i8; ROWS]>>> {
        let width = self.columns.count();
        let rows = self.bias.len();
        assert_eq!(
            self.weights.len(),
            rows * width,
            "rows of {:?} columns",
            self.columns
        );
        let groups: Vec<(usize, [i8; 2])> = self.columns.groups().collect();
        assert_eq!(self.scales.len(), rows * groups.len(), "scales of groups");
        let weights: Vec<&[i8]> = self.weights.chunks_exact(width.max(1)).collect();
        for mut row in weights.iter().copied() {
            for &(columns, [least, most]) in &groups {
                let own = row.split_off(..columns).unwrap_or_default();
                let mut own = own.iter();
                let within = own.all(|weight| (least..=most).contains(weight));
                assert!(within, "weights within {least} to {most}");
            }
        }
        let parts = |block: &[&[i8]]| {
            let lane = |row: usize, column: usize| block.get(row).map_or(0, |row| row[column]);
            let mut start = 0;
            let parts = self.columns.parts.iter().map(|&part| {
                let own = start..start + part;
                start = own.end;
                let mut columns: Vec<[i8; ROWS]> = own
                    .map(|column| core::array::from_fn(|row| lane(row, column)))
                    .collect();
                columns.resize(padded(part), [0; ROWS]);
                columns
            });
            parts.collect()
        };
        weights.chunks(ROWS).map(parts).collect()
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
