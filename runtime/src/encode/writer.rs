//! Packs parameters into the bytes of a model file.

use super::matrix::{PackedRows, four};
use super::{
    EncodeError, ModelConfig, ModelParams, OpParams, QuantizedMatrix, RecurrentParams, TokenRows,
    VocabularyParams, as_bytes, to_words, update_checksum,
};
use crate::format::{HEADER_LEN, MAGIC, ModelError, VERSION};
use crate::model::Model;
use crate::selftest;
use crate::session::Session;
use crate::tokenization::Tokenization;
use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::{GateGroupConfig, RecurrentConfig};
use pipsqueak_kernels::dense::DENSE_PANELS;
use pipsqueak_kernels::packed::{PANEL_ROWS, RowParams, round_up};

/// The model of `params` as words, so that it is aligned. It has passed [`Model::parse`].
///
/// # Errors
/// If the parameters are too large or the model would be refused.
///
/// # Panics
/// If a layer has too few gates or gates of another format than it says, a table or matrix does not have the length of its shape,
/// or weights are out of their range.
pub fn encode(params: &ModelParams) -> Result<Vec<u32>, EncodeError> {
    let config = params.config()?;
    let mut buffer = [0; 1024];
    let training = postcard::to_slice(&params.training, &mut buffer);
    let training = training.map_err(|_| EncodeError::TooLarge)?;
    let mut out = begin(&config, training)?;
    for vocabulary in &params.vocabularies {
        out.vocabulary(vocabulary);
    }
    for index in 0..params.layers.len() {
        out.layer(params, index);
    }
    out.section(&params.io_names);
    let mut words = to_words(&out.finish());
    let digest = digest(as_bytes(&words)).map_err(EncodeError::Refused)?;
    words[DIGEST_WORD] = digest.to_le();
    update_checksum(bytemuck::cast_slice_mut(&mut words));
    Ok(words)
}

/// A copy of `model` with other metadata; sections and training information stay. For tests of what is refused.
///
/// # Errors
/// If the metadata is too long.
///
/// # Panics
/// If `model` is not a model.
pub fn with_config(model: &[u8], config: &ModelConfig) -> Result<Vec<u8>, EncodeError> {
    let length = usize::from(u16::from_le_bytes([model[10], model[11]]));
    let metadata = &model[HEADER_LEN..][..length];
    let (_, training) = ModelConfig::decode(metadata).expect("a model");
    let mut out = begin(config, training)?;
    out.section(&model[(HEADER_LEN + length).next_multiple_of(4)..]);
    let mut changed = out.finish();
    changed[16..20].copy_from_slice(&model[16..20]);
    update_checksum(&mut changed);
    Ok(changed)
}

impl ModelConfig {
    /// The configuration of `model`.
    ///
    /// # Panics
    /// If `model` is not a model.
    pub fn of(model: &[u8]) -> Self {
        let length = usize::from(u16::from_le_bytes([model[10], model[11]]));
        let decoded = Self::decode(&model[HEADER_LEN..][..length]);
        decoded.expect("a model").0
    }
}

/// The word of the header that holds the digest.
const DIGEST_WORD: usize = 4;

/// The header and the metadata.
fn begin(config: &ModelConfig, training: &[u8]) -> Result<Writer, EncodeError> {
    let metadata = [&config.encode()[..], training].concat();
    let length = u16::try_from(metadata.len()).map_err(|_| EncodeError::TooLarge)?;
    let mut out = Writer(vec![0; HEADER_LEN]);
    out.0[0..4].copy_from_slice(&MAGIC);
    out.0[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out.0[10..12].copy_from_slice(&length.to_le_bytes());
    out.section(&metadata);
    Ok(out)
}

/// The digest of the outputs of a model, whatever digest its header holds.
fn digest(bytes: &[u8]) -> Result<u32, ModelError> {
    let model = Model::parse(bytes)?;
    let mut workspace = vec![0; model.workspace_len()];
    let mut session = Session::new(&model, &mut workspace).expect("a workspace of its length");
    Ok(selftest::output_digest(&mut session).expect("a model that was parsed"))
}

struct Writer(Vec<u8>);

impl Writer {
    /// Writes the length and the checksum.
    fn finish(self) -> Vec<u8> {
        let Self(mut bytes) = self;
        let length = bytes.len() as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        update_checksum(&mut bytes);
        bytes
    }

    /// Bytes, and zeros up to a multiple of 4.
    fn section(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn words(&mut self, words: impl IntoIterator<Item = u32>) {
        self.0.extend(words.into_iter().flat_map(u32::to_le_bytes));
    }

    fn vocabulary(&mut self, vocabulary: &VocabularyParams) {
        let VocabularyParams {
            tokenization,
            tokens,
            special_tokens,
            ..
        } = vocabulary;
        if tokens.is_empty() || *tokenization == Tokenization::Byte {
            return;
        }
        let mut offset = 0;
        let ends = tokens.iter().map(|token| {
            offset += token.len() as u32;
            offset
        });
        self.words(core::iter::once(0).chain(ends));
        let ids = 0..tokens.len() as u16;
        let mut sorted: Vec<u16> = ids.filter(|&id| !special_tokens.contains(id)).collect();
        sorted.sort_by_key(|&id| tokens[usize::from(id)].as_bytes());
        self.section(bytemuck::cast_slice(&sorted));
        self.section(tokens.concat().as_bytes());
    }

    /// The section of layer `index`.
    fn layer(&mut self, params: &ModelParams, index: usize) {
        match &params.layers[index].op {
            OpParams::Token { rows, .. } => self.token_rows(params, index, rows),
            OpParams::Frame { exponents } => self.section(bytemuck::cast_slice(exponents)),
            OpParams::Constant { values, .. } => {
                let mut values = values.clone();
                values.resize(round_up(values.len()), 0);
                self.section(bytemuck::cast_slice(&values));
            }
            OpParams::ConstantCell { values } => {
                let mut values = values.clone();
                values.resize(round_up(values.len()), 0);
                self.section(bytemuck::cast_slice(&values));
            }
            OpParams::Dense(dense) => self.dense(&dense.matrix),
            OpParams::Recurrent(recurrent) => self.recurrent(recurrent),
            OpParams::Sum { .. } | OpParams::Mean => {}
        }
    }

    fn token_rows(&mut self, params: &ModelParams, index: usize, rows: &TokenRows) {
        match rows {
            TokenRows::Gates(values) => {
                let reader = params.reader_of(index).expect("a recurrent layer reads it");
                let row = reader.cell.num_gates() * reader.hidden_size;
                for token in values.chunks_exact(row) {
                    let row = interleaved(token, reader.hidden_size);
                    self.section(bytemuck::cast_slice(&row));
                }
            }
            TokenRows::Embedding { dim, values } => {
                for token in values.chunks_exact(*dim) {
                    self.section(bytemuck::cast_slice(token));
                }
            }
            TokenRows::Tied { .. } => {}
        }
    }

    fn dense(&mut self, matrix: &QuantizedMatrix) {
        for group in matrix.packed_rows().chunks(DENSE_PANELS) {
            for rows in group {
                self.words(rows.params);
            }
            self.weights(&group.iter().collect::<Vec<_>>());
        }
    }

    fn recurrent(&mut self, recurrent: &RecurrentParams) {
        let gates = &recurrent.gates;
        let formats = recurrent.formats;
        assert!(
            gates.iter().all(|gate| gate.format.formats == formats),
            "gates of another format"
        );
        let rows: Vec<Vec<PackedRows>> = gates.iter().map(QuantizedMatrix::packed_rows).collect();
        let config = RecurrentConfig {
            cell: recurrent.cell,
            // Whether there is an input vector is all that the gate groups depend on.
            input_size: if recurrent.token_scales.is_empty() {
                4
            } else {
                0
            },
            hidden_size: round_up(recurrent.hidden_size),
            state_shift: 0,
            formats,
        };
        let mut first = 0;
        for pass in config.passes() {
            let mut end = first;
            for block in 0..rows[0].len() {
                end = first;
                for group in *pass {
                    let gates = end..end + group.params.len();
                    end = gates.end;
                    self.gate_group(group, &rows[gates.clone()], recurrent, gates.start, block);
                }
            }
            first = end;
        }
    }

    /// The parameters of a gate group, then its weights. The first of `gates` is the layer's gate `first`.
    fn gate_group(
        &mut self,
        group: &GateGroupConfig,
        gates: &[Vec<PackedRows>],
        recurrent: &RecurrentParams,
        first: usize,
        block: usize,
    ) {
        let units = recurrent.hidden_size;
        for ((rows, params), gate) in gates.iter().zip(group.params).zip(first..) {
            self.words(rows[block].params);
            if *params == RowParams::CandidateTokenScale {
                self.words(four(&recurrent.candidate_input_bias, block));
            }
            if *params != RowParams::BiasScale {
                let scales = &recurrent.token_scales[gate * units..][..units];
                self.words(four(scales, block));
            }
        }
        self.weights(&gates.iter().map(|rows| &rows[block]).collect::<Vec<_>>());
    }

    /// The weights of a gate group: of all its gates over one part, and then over the next one.
    fn weights(&mut self, gates: &[&PackedRows]) {
        for part in 0..gates.first().map_or(0, |rows| rows.panels.len()) {
            for rows in gates {
                self.words(rows.panels[part].iter().copied());
            }
        }
    }
}

/// `[runs][units]` as blocks of four units of each run in turn, padded by zeros.
fn interleaved(values: &[i8], units: usize) -> Vec<i8> {
    let runs: Vec<&[i8]> = values.chunks_exact(units.max(1)).collect();
    let value = |i: usize| {
        let (block, run, row) = (
            i / PANEL_ROWS / runs.len(),
            i / PANEL_ROWS % runs.len(),
            i % PANEL_ROWS,
        );
        let value = runs[run].get(block * PANEL_ROWS + row);
        value.copied().unwrap_or_default()
    };
    (0..round_up(units) * runs.len()).map(value).collect()
}
