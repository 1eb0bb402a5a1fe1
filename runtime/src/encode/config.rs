//! The metadata of a model with its list of layers, and its numbers in a model file.

use super::{EncodeError, ModelParams, OpParams, RecurrentParams, TokenRows};
use crate::format::{
    ConstantKind, Inputs, LayerConfig, Metadata, Normalization, OpConfig, OutputConfig, Phase,
    RecurrentLayerConfig, Role, StateInit, TokenRowsConfig, VarintReader, VectorId,
    VocabularyConfig,
};
use crate::tokenization::Tokenization;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::Cell;
use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::packed::{WeightFormat, round_up};

/// All that the metadata of a model file says: its sections follow from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelConfig {
    /// The metadata but the layers; its number of layers is set when it is written.
    pub metadata: Metadata,
    /// The layers in execution order.
    pub layers: Vec<LayerConfig>,
}

/// The index of `value` in the list of all values.
fn index_of<T: PartialEq>(all: &[T], value: T) -> u32 {
    let index = all.iter().position(|other| *other == value);
    index.expect("the list has every value") as u32
}

/// A vector as a number.
fn vector(id: VectorId) -> u32 {
    (2 * id.layer() + usize::from(id.is_cell_state())) as u32
}

fn init(init: StateInit) -> u32 {
    init.map_or(0, |id| 1 + vector(id))
}

impl ModelConfig {
    /// Decodes metadata, and returns the bytes after it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = VarintReader::new(bytes);
        let metadata = Metadata::read(&mut reader)?;
        let layers = (0..metadata.layers).map(|_| LayerConfig::read(&mut reader));
        let layers = layers.collect::<Option<Vec<LayerConfig>>>()?;
        Some((Self { metadata, layers }, reader.rest()))
    }

    /// Encodes it as postcard does: each number is a varint.
    pub(super) fn encode(&self) -> Vec<u8> {
        let varint =
            |number| postcard::to_slice(&number, &mut [0; 8]).map_or(Vec::new(), |n| n.to_vec());
        self.numbers().into_iter().flat_map(varint).collect()
    }

    /// Elements of the result of layer `index`; 0 for gate inputs.
    fn result_size(&self, index: usize) -> usize {
        let layer = &self.layers[index];
        match layer.op {
            OpConfig::Token {
                rows: TokenRowsConfig::Gates,
                ..
            } => 0,
            OpConfig::Token { dim, .. } => dim as usize,
            OpConfig::Frame { size } | OpConfig::Constant { size, .. } => size.into(),
            OpConfig::Dense { output_size, .. } => output_size.into(),
            OpConfig::Recurrent(recurrent) => recurrent.hidden_size.into(),
            OpConfig::Sum { .. } | OpConfig::Mean => {
                let first = layer.inputs.iter().next();
                first.map_or(0, |id| self.result_size(id.layer()))
            }
        }
    }

    /// Columns over the joined inputs of layer `index`: all vectors but the last are padded.
    ///
    /// # Panics
    /// If there is no such layer, or it reads one that does not exist.
    pub fn input_columns(&self, index: usize) -> usize {
        let inputs = self.layers[index].inputs.iter();
        inputs.fold(0, |joined, id| {
            round_up(joined) + self.result_size(id.layer())
        })
    }

    /// The columns of layer `index` that stand for padding between its joined inputs. Their weights are 0: what is in the padding of
    /// a vector is not specified.
    ///
    /// # Panics
    /// As [`input_columns`](Self::input_columns).
    pub fn padding_columns(&self, index: usize) -> Vec<usize> {
        let (mut padding, mut joined) = (Vec::new(), 0);
        for id in self.layers[index].inputs.iter() {
            padding.extend(joined..round_up(joined));
            joined = round_up(joined) + self.result_size(id.layer());
        }
        padding
    }

    fn numbers(&self) -> Vec<u32> {
        let metadata = &self.metadata;
        let mut out = Vec::new();
        for vocabulary in &metadata.vocabularies {
            out.extend([
                index_of(&Tokenization::ALL, vocabulary.tokenization),
                vocabulary.tokens.into(),
                vocabulary.text_len,
                vocabulary.initial_token.into(),
            ]);
            let specials = vocabulary.special_tokens.all();
            out.extend(specials.map(|id| id.map_or(0, |id| u32::from(id) + 1)));
        }
        out.extend([metadata.max_tokens, metadata.fixed_steps].map(u32::from));
        out.extend(metadata.steps_per_token.map(u32::from));
        out.extend([metadata.io_names_len, metadata.outputs.len() as u32]);
        for output in &metadata.outputs {
            out.extend([
                vector(output.vector),
                index_of(&Role::ALL, output.role),
                output.every_step.into(),
                index_of(&Normalization::ALL, output.normalization),
            ]);
        }
        out.push(self.layers.len() as u32);
        for layer in &self.layers {
            push_layer(&mut out, layer);
        }
        out
    }
}

fn push_layer(out: &mut Vec<u32>, layer: &LayerConfig) {
    let (kind, numbers) = match layer.op {
        OpConfig::Token {
            vocab_size,
            dim,
            rows,
        } => {
            let (kind, tied) = match rows {
                TokenRowsConfig::Gates => (0, Vec::new()),
                TokenRowsConfig::Embedding => (1, Vec::new()),
                TokenRowsConfig::Tied { layer, min_shift } => {
                    (2, [layer, min_shift].map(u32::from).to_vec())
                }
            };
            (kind, [[vocab_size.into(), dim].to_vec(), tied].concat())
        }
        OpConfig::Frame { size } => (3, [size.into()].to_vec()),
        OpConfig::Constant { size, kind } => {
            let format = match kind {
                ConstantKind::Vector { frac_bits } => frac_bits.into(),
                ConstantKind::CellState => 16,
            };
            (4, [size.into(), format].to_vec())
        }
        OpConfig::Dense {
            output_size,
            activation,
            frac_bits,
            format,
        } => {
            let activation = index_of(&Activation::ALL, activation);
            let format = index_of(&WeightFormat::ALL, format);
            let numbers = [output_size.into(), activation, frac_bits.into(), format];
            (5, numbers.to_vec())
        }
        OpConfig::Recurrent(config) => {
            let [input, hidden] = config.formats;
            let numbers = [
                index_of(&Cell::ALL, config.cell),
                config.hidden_size.into(),
                config.state_shift.into(),
                index_of(&WeightFormat::ALL, input),
                index_of(&WeightFormat::ALL, hidden),
            ];
            (6, [&numbers[..], &config.init.map(init)].concat())
        }
        OpConfig::Sum { frac_bits } => (7, [frac_bits.into()].to_vec()),
        OpConfig::Mean => (8, Vec::new()),
    };
    out.extend([kind, index_of(&Phase::ALL, layer.phase)]);
    out.push(layer.inputs.iter().count() as u32);
    out.extend(layer.inputs.iter().map(vector));
    out.extend(numbers);
}

impl ModelParams<'_> {
    /// The configuration of a model with these parameters.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`].
    pub fn config(&self) -> Result<ModelConfig, EncodeError> {
        let u16 = |n: usize| u16::try_from(n).map_err(|_| EncodeError::TooLarge);
        let mut config = ModelConfig::default();
        let metadata = &mut config.metadata;
        (metadata.max_tokens, metadata.fixed_steps) = (self.max_tokens, self.fixed_steps);
        metadata.steps_per_token = self.steps_per_token;
        metadata.io_names_len = self.io_names.len() as u32;
        metadata.layers = u8::try_from(self.layers.len()).map_err(|_| EncodeError::TooLarge)?;
        for output in &self.outputs {
            let pushed = metadata.outputs.push(OutputConfig { ..*output });
            pushed.map_err(|_| EncodeError::TooLarge)?;
        }
        for (to, from) in metadata.vocabularies.iter_mut().zip(&self.vocabularies) {
            *to = VocabularyConfig {
                tokenization: from.tokenization,
                tokens: u16(from.tokens.len())?,
                text_len: match from.tokenization {
                    Tokenization::Byte => 0,
                    _ => from.tokens.iter().map(|token| token.len() as u32).sum(),
                },
                initial_token: from.initial_token,
                special_tokens: from.special_tokens,
            };
        }
        for (layer, index) in self.layers.iter().zip(0..) {
            config.layers.push(LayerConfig {
                phase: layer.phase,
                inputs: Inputs::new(layer.inputs.iter().copied()).ok_or(EncodeError::TooLarge)?,
                op: self.op_config(&layer.op, index)?,
            });
        }
        Ok(config)
    }

    fn op_config(&self, op: &OpParams, index: usize) -> Result<OpConfig, EncodeError> {
        let u16 = |n: usize| u16::try_from(n).map_err(|_| EncodeError::TooLarge);
        Ok(match op {
            OpParams::Token { vocab_size, rows } => {
                let (rows, dim) = match rows {
                    TokenRows::Gates(_) => (TokenRowsConfig::Gates, self.gate_row_len(index)),
                    TokenRows::Embedding { dim, .. } => (TokenRowsConfig::Embedding, *dim),
                    TokenRows::Tied {
                        dim,
                        layer,
                        min_shift,
                    } => {
                        let rows = TokenRowsConfig::Tied {
                            layer: *layer as u8,
                            min_shift: *min_shift,
                        };
                        (rows, *dim)
                    }
                };
                OpConfig::Token {
                    vocab_size: u16(*vocab_size)?,
                    dim: dim as u32,
                    rows,
                }
            }
            OpParams::Frame { exponents } => OpConfig::Frame {
                size: u16(exponents.len())?,
            },
            OpParams::Constant { values, frac_bits } => OpConfig::Constant {
                size: u16(values.len())?,
                kind: ConstantKind::Vector {
                    frac_bits: *frac_bits,
                },
            },
            OpParams::ConstantCell { values } => OpConfig::Constant {
                size: u16(values.len())?,
                kind: ConstantKind::CellState,
            },
            OpParams::Dense(dense) => OpConfig::Dense {
                output_size: u16(dense.matrix.bias.len())?,
                activation: dense.activation,
                frac_bits: dense.frac_bits,
                format: dense.matrix.format.formats[0],
            },
            OpParams::Recurrent(recurrent) => OpConfig::Recurrent(RecurrentLayerConfig {
                cell: recurrent.cell,
                hidden_size: u16(recurrent.hidden_size)?,
                state_shift: recurrent.state_shift,
                formats: recurrent.formats,
                init: recurrent.init,
            }),
            OpParams::Sum { frac_bits } => OpConfig::Sum {
                frac_bits: *frac_bits,
            },
            OpParams::Mean => OpConfig::Mean,
        })
    }

    /// The recurrent layer that reads layer `index`.
    pub(super) fn reader_of(&self, index: usize) -> Option<&RecurrentParams> {
        let reads = |layer: &&super::LayerParams| layer.inputs == [VectorId::result(index)];
        self.layers
            .iter()
            .filter(reads)
            .find_map(|layer| match &layer.op {
                OpParams::Recurrent(recurrent) => Some(recurrent),
                _ => None,
            })
    }

    /// Elements of a row of gate inputs.
    fn gate_row_len(&self, index: usize) -> usize {
        self.reader_of(index).map_or(0, |reader| {
            reader.cell.num_gates() * round_up(reader.hidden_size)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{random_config, sample_configs};
    use crate::format::SpecialTokens;

    fn all_configs() -> impl Iterator<Item = ModelConfig> {
        let samples = sample_configs().into_iter().map(|(_, config)| config);
        samples
            .chain((0..200).map(random_config))
            .chain([largest()])
    }

    /// Numbers of several bytes, and every value of each list.
    fn largest() -> ModelConfig {
        let vocabulary = VocabularyConfig {
            tokenization: Tokenization::SpacedWord { lowercase: true },
            tokens: 65_535,
            text_len: u32::MAX,
            initial_token: 300,
            special_tokens: SpecialTokens {
                bos: Some(0),
                eos: Some(65_534),
                pad: None,
                unk: Some(1),
            },
        };
        let mut config = ModelConfig::default();
        config.metadata.vocabularies = [VocabularyConfig::default(), vocabulary];
        config.metadata.max_tokens = 65_535;
        config.metadata.fixed_steps = 300;
        config.metadata.steps_per_token = [4, 3];
        config.metadata.io_names_len = u32::MAX;
        for (role, index) in Role::ALL.into_iter().zip(0..) {
            let output = OutputConfig {
                vector: [VectorId::result(127), VectorId::cell_state(index)][index % 2],
                role,
                every_step: index == 1,
                normalization: Normalization::ALL[index + 1],
            };
            config.metadata.outputs.push(output).unwrap();
        }
        let rows = [
            TokenRowsConfig::Gates,
            TokenRowsConfig::Embedding,
            TokenRowsConfig::Tied {
                layer: 200,
                min_shift: 24,
            },
        ];
        let token = |rows| OpConfig::Token {
            vocab_size: 65_535,
            dim: match rows {
                TokenRowsConfig::Gates => 65_536,
                _ => 16_384,
            },
            rows,
        };
        let constant = |kind| OpConfig::Constant { size: 300, kind };
        let kinds = [
            ConstantKind::Vector { frac_bits: 15 },
            ConstantKind::Vector { frac_bits: 0 },
            ConstantKind::CellState,
        ];
        let dense = |(activation, format)| OpConfig::Dense {
            output_size: 65_532,
            activation,
            frac_bits: 14,
            format,
        };
        let recurrent = |cell| {
            OpConfig::Recurrent(RecurrentLayerConfig {
                cell,
                hidden_size: 16_384,
                state_shift: 8,
                formats: [WeightFormat::Int4, WeightFormat::Int8Scaled],
                init: [None, Some(VectorId::cell_state(126))],
            })
        };
        let formats = WeightFormat::ALL.into_iter().cycle();
        let ops = rows.map(token).into_iter().chain(kinds.map(constant));
        let ops = ops.chain(Activation::ALL.into_iter().zip(formats).map(dense));
        let ops = ops.chain(Cell::ALL.map(recurrent)).chain([
            OpConfig::Frame { size: 16_384 },
            OpConfig::Sum { frac_bits: 13 },
            OpConfig::Mean,
        ]);
        for (op, index) in ops.zip(0..) {
            let ids = (0..index % 5).map(|input| VectorId::result(100 + input));
            config.layers.push(LayerConfig {
                phase: Phase::ALL[index % 4],
                inputs: Inputs::new(ids).unwrap(),
                op,
            });
        }
        config.metadata.layers = config.layers.len() as u8;
        config
    }

    #[test]
    fn metadata_is_read_as_it_was_written() {
        for mut config in all_configs() {
            config.metadata.layers = config.layers.len() as u8;
            let mut bytes = config.encode();
            bytes.push(7);
            let (decoded, rest) = ModelConfig::decode(&bytes).unwrap();
            assert_eq!(decoded, config);
            assert_eq!(rest, [7]);
            for length in 0..bytes.len() - 1 {
                assert_eq!(ModelConfig::decode(&bytes[..length]), None);
            }
        }
    }
}
