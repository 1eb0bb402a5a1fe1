//! Untrained parameters, for tests and measurements: random numbers of the size that trained ones have.

use super::{
    DenseParams, LayerParams, ModelConfig, ModelParams, OpParams, QuantizedMatrix, RecurrentParams,
    TokenRows, VocabularyParams, language_model,
};
use crate::format::{
    ConstantKind, OpConfig, Phase, RecurrentLayerConfig, TokenRowsConfig, TrainingInfo, VectorId,
    VocabularyConfig,
};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::Cell;
use pipsqueak_kernels::fixed::QuantizedMultiplier;
use pipsqueak_kernels::packed::{GROUP_SIZE, RowFormat, WeightFormat};
use rand_core::Rng;
use rand_pcg::Pcg32;

impl ModelParams<'static> {
    /// An untrained language model: [`random`](Self::random) parameters for [`language_model`].
    ///
    /// # Panics
    /// As [`random`](Self::random).
    pub fn random_language_model(
        seed: u64,
        vocab_size: usize,
        embedding_dim: usize,
        layers: &[RecurrentLayerConfig],
    ) -> Self {
        Self::random(seed, &language_model(vocab_size, embedding_dim, layers))
    }

    /// An untrained model of this configuration.
    ///
    /// Tokens are the letters from `a` on, and then characters from U+100 on.
    ///
    /// # Panics
    /// If a size is 0, a layer reads one that does not come before it, or there are more than 60,000 tokens.
    pub fn random(seed: u64, config: &ModelConfig) -> Self {
        let mut random = Random(Pcg32::new(seed, 1));
        let mut ops: Vec<Option<OpParams>> = vec![None; config.layers.len()];
        for index in drawing_order(config) {
            ops[index] = Some(random.op(config, index, &ops));
        }
        let layers = config
            .layers
            .iter()
            .zip(ops)
            .map(|(layer, op)| LayerParams {
                phase: layer.phase,
                inputs: layer.inputs.iter().collect(),
                op: op.expect("every layer is drawn"),
            });
        let metadata = &config.metadata;
        Self {
            vocabularies: metadata.vocabularies.map(vocabulary),
            max_tokens: metadata.max_tokens,
            fixed_steps: metadata.fixed_steps,
            steps_per_token: metadata.steps_per_token,
            layers: layers.collect(),
            outputs: metadata.outputs.to_vec(),
            io_names: Vec::new(),
            training: TrainingInfo {
                corpus: "none",
                split: "untrained",
                ..TrainingInfo::default()
            },
        }
    }
}

fn vocabulary(config: VocabularyConfig) -> VocabularyParams {
    let character = |id: u32| char::from_u32(if id < 26 { 97 + id } else { 0x100 - 26 + id });
    VocabularyParams {
        tokenization: config.tokenization,
        tokens: (0..config.tokens.into())
            .filter_map(character)
            .map(String::from)
            .collect(),
        initial_token: config.initial_token,
        special_tokens: config.special_tokens,
    }
}

/// The order in which layers draw their numbers: of the source and then of the step, what its layers read, its recurrent layers,
/// their initial states, the output layers, and last what reads tokens, which may be tied to them.
fn drawing_order(config: &ModelConfig) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let layers = &config.layers;
    // The layers that make the vectors `ids`, from the first on.
    let add_ancestors = |order: &mut Vec<usize>, ids: Vec<VectorId>| {
        let (mut found, mut left): (Vec<usize>, _) = (Vec::new(), ids);
        while let Some(id) = left.pop() {
            let layer = &layers[id.layer()];
            let drawn = order.contains(&id.layer()) || found.contains(&id.layer());
            if !drawn && !matches!(layer.op, OpConfig::Token { .. } | OpConfig::Recurrent(_)) {
                found.push(id.layer());
                left.extend(layer.inputs.iter());
            }
        }
        found.sort_unstable();
        order.extend(found);
    };
    for phase in [Phase::Source, Phase::Step] {
        let of_phase = |index: &usize| layers[*index].phase == phase;
        let recurrent = |index: &usize| matches!(layers[*index].op, OpConfig::Recurrent(_));
        let stepped: Vec<usize> = (0..layers.len()).filter(of_phase).collect();
        let inputs = stepped
            .iter()
            .flat_map(|&index| layers[index].inputs.iter());
        add_ancestors(&mut order, inputs.collect());
        order.extend(stepped.iter().copied().filter(recurrent));
        for &index in &stepped {
            if let OpConfig::Recurrent(recurrent) = layers[index].op {
                for id in recurrent.init.into_iter().flatten() {
                    add_ancestors(&mut order, vec![id]);
                }
            }
        }
        if phase == Phase::Step {
            order.extend((0..layers.len()).filter(|&index| layers[index].phase == Phase::Output));
        }
        order.extend(stepped);
    }
    order.extend(0..layers.len());
    let mut seen = vec![false; layers.len()];
    order.retain(|&index| !core::mem::replace(&mut seen[index], true));
    order
}

/// Draws numbers.
struct Random(Pcg32);

impl Random {
    /// A number from `-max` to `max`.
    fn symmetric(&mut self, max: i32) -> i32 {
        (self.0.next_u32() % (2 * max as u32 + 1)) as i32 - max
    }

    fn values(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.symmetric(127) as i8).collect()
    }

    fn op(&mut self, config: &ModelConfig, index: usize, ops: &[Option<OpParams>]) -> OpParams {
        let layer = &config.layers[index];
        let input_size = config.input_columns(index);
        match layer.op {
            OpConfig::Token {
                vocab_size,
                dim,
                rows,
            } => {
                let (vocab_size, dim) = (usize::from(vocab_size), dim as usize);
                let rows = match rows {
                    TokenRowsConfig::Gates => {
                        let reads = |layer: &&crate::format::LayerConfig| {
                            layer.inputs.single() == Some(VectorId::result(index))
                        };
                        let reader = config.layers.iter().find(reads);
                        let row = match reader.map(|reader| reader.op) {
                            Some(OpConfig::Recurrent(recurrent)) => {
                                recurrent.cell.num_gates() * usize::from(recurrent.hidden_size)
                            }
                            _ => dim,
                        };
                        TokenRows::Gates(self.values(vocab_size * row))
                    }
                    TokenRowsConfig::Embedding => TokenRows::Embedding {
                        dim,
                        values: self.values(vocab_size * dim),
                    },
                    TokenRowsConfig::Tied { layer, .. } => TokenRows::Tied {
                        dim,
                        layer: layer.into(),
                        min_shift: match &ops[usize::from(layer)] {
                            Some(OpParams::Dense(dense)) => smallest_shift(&dense.matrix),
                            _ => 0,
                        },
                    },
                };
                OpParams::Token { vocab_size, rows }
            }
            OpConfig::Frame { size } => OpParams::Frame {
                exponents: vec![0; size.into()],
            },
            OpConfig::Constant { size, kind } => {
                let values = (0..size).map(|_| self.symmetric(30_000));
                match kind {
                    ConstantKind::Vector { frac_bits } => OpParams::Constant {
                        values: values.map(|value| value as i16).collect(),
                        frac_bits,
                    },
                    ConstantKind::CellState => OpParams::ConstantCell {
                        values: values.collect(),
                    },
                }
            }
            OpConfig::Dense {
                output_size,
                activation,
                frac_bits,
                format,
            } => {
                let mut matrix = self.matrix(output_size.into(), [format; 2], [input_size, 0]);
                matrix.clear_columns(&config.padding_columns(index));
                OpParams::Dense(DenseParams {
                    matrix,
                    activation,
                    frac_bits,
                })
            }
            OpConfig::Recurrent(recurrent) => {
                let mut params = self.recurrent(&recurrent, input_size);
                for matrix in &mut params.gates {
                    matrix.clear_columns(&config.padding_columns(index));
                }
                OpParams::Recurrent(params)
            }
            OpConfig::Sum { frac_bits } => OpParams::Sum { frac_bits },
            OpConfig::Mean => OpParams::Mean,
        }
    }

    fn matrix(
        &mut self,
        rows: usize,
        formats: [WeightFormat; 2],
        columns: [usize; 2],
    ) -> QuantizedMatrix {
        let format = RowFormat { formats, columns };
        let width = format.num_columns();
        // Long rows have small weights, for the accumulator bounds.
        let max = 60_000 / width as u32;
        // Of the formats of the layer, not only of the columns that this matrix has.
        if formats != [WeightFormat::Int8; 2] {
            return self.scaled_matrix(rows, format, (max / 8).clamp(1, 255));
        }
        let largest = max.clamp(1, 127);
        // Sums grow with the square root of the columns; 2^13 * 2^-(15 + shift) brings them to about 1 in Q4.11.
        let shift = (2 + largest.ilog2() + width.ilog2() / 2) as u8;
        let mut symmetric = |max: i32| self.symmetric(max);
        QuantizedMatrix {
            format,
            weights: (0..rows * width)
                .map(|_| symmetric(largest as i32) as i8)
                .collect(),
            scales: vec![],
            bias: (0..rows).map(|_| symmetric(1 << 20)).collect(),
            multiplier: (0..rows)
                .map(|_| QuantizedMultiplier::new((12_000 + symmetric(4000)) as u16, shift))
                .collect(),
        }
    }

    /// Rows in groups that have scales, up to `largest` for int4 and as much smaller as its weights are larger for int8.
    fn scaled_matrix(&mut self, rows: usize, format: RowFormat, largest: u32) -> QuantizedMatrix {
        let width = format.num_columns();
        // As above: a weight times its scale is about 4 times the largest scale.
        let shift = (4 + largest.ilog2() + width.ilog2() / 2) as u8;
        let mut matrix = QuantizedMatrix {
            format,
            ..QuantizedMatrix::default()
        };
        let mut within =
            |min: i32, max: i32| min + (self.0.next_u32() % (max - min + 1) as u32) as i32;
        for _ in 0..rows {
            for (columns, format) in format.columns.into_iter().zip(format.formats) {
                let [min, max] = match format {
                    // Without a scale, weights are as large as the others with theirs.
                    WeightFormat::Int8 => [-(largest.min(127) as i8), largest.min(127) as i8],
                    _ => format.range(),
                };
                let weights = (0..columns).map(|_| within(min.into(), max.into()) as i8);
                matrix.weights.extend(weights);
            }
        }
        for _ in 0..rows {
            let parts = format.columns.into_iter().zip(format.formats);
            let is_concat = format.is_concat();
            for (columns, format) in parts.filter(|(columns, _)| *columns > 0 && !is_concat) {
                let groups = match format {
                    WeightFormat::Int4 => columns.div_ceil(GROUP_SIZE),
                    WeightFormat::Int8 | WeightFormat::Int8Scaled => 1,
                };
                let [_, max] = format.range();
                let max = (7 * largest as i32 / i32::from(max)).max(1);
                matrix.scales.extend((0..groups).map(|_| match format {
                    WeightFormat::Int8 => 1,
                    _ => within(1, max) as u8,
                }));
            }
        }
        matrix.bias = (0..rows).map(|_| within(-1 << 20, 1 << 20)).collect();
        matrix.multiplier = (0..rows)
            .map(|_| QuantizedMultiplier::new(within(8_000, 16_000) as u16, shift))
            .collect();
        matrix
    }

    fn recurrent(&mut self, config: &RecurrentLayerConfig, input_size: usize) -> RecurrentParams {
        let (units, gates) = (usize::from(config.hidden_size), config.cell.num_gates());
        let after = config.cell == Cell::GruResetAfter;
        let gate_rows = input_size == 0;
        let mut matrices: Vec<QuantizedMatrix> = (0..gates)
            .map(|gate| match gate {
                2 if after => self.matrix(units, config.formats, [0, units]),
                _ => self.matrix(units, config.formats, [input_size, units]),
            })
            .collect();
        if after && !gate_rows {
            matrices.push(self.matrix(units, config.formats, [input_size, 0]));
        }
        RecurrentParams {
            cell: config.cell,
            hidden_size: units,
            state_shift: config.state_shift,
            formats: config.formats,
            gates: matrices,
            token_scales: vec![1 << 16; if gate_rows { gates * units } else { 0 }],
            candidate_input_bias: vec![1 << 20; if gate_rows && after { units } else { 0 }],
            init: config.init,
        }
    }
}

fn smallest_shift(matrix: &QuantizedMatrix) -> u8 {
    let shifts = matrix.multiplier.iter().map(|m| m.shift() as u8);
    shifts.min().expect("a matrix has rows")
}
