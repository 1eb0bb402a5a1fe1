//! Random lists of layers, for tests of what no list of samples thinks of.

use super::ModelConfig;
use super::samples::{Builder, dense};
use crate::format::{
    ConstantKind, Normalization, OpConfig, OutputConfig, Phase, RecurrentLayerConfig, Role,
    TokenRowsConfig, VectorId,
};
use alloc::vec::Vec;
use pipsqueak_kernels::cell::Cell;
use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::packed::{WeightFormat, round_up};
use rand_core::Rng;
use rand_pcg::Pcg32;

/// A valid configuration of 2 to 24 small layers: each kind of layer in each phase that allows it, with random references.
///
/// It has no vocabularies. The same seed gives the same configuration.
pub fn random_config(seed: u64) -> ModelConfig {
    let mut program = Program {
        rng: Pcg32::new(seed, 3),
        builder: Builder::default(),
        vectors: Vec::new(),
        reads_features: false,
    };
    program.begin();
    if program.one_in(3) {
        program.stepped(Phase::Source);
        program.begin();
    }
    let (vocab_size, tied) = program.stepped(Phase::Step);
    program.output_layers(vocab_size, tied);
    program.outputs(vocab_size);
    let mut config = program.builder.config;
    config.metadata.fixed_steps = 3;
    config.metadata.steps_per_token = [0; 2].map(|_| 1 + (program.rng.next_u32() % 3) as u8);
    config
}

/// A vector that later layers can read.
#[derive(Clone, Copy)]
struct Vector {
    id: VectorId,
    size: u16,
    /// Whether it has a format of its own: not a frame and not a cell state.
    has_format: bool,
    phase: Phase,
    is_mean: bool,
}

struct Program {
    rng: Pcg32,
    builder: Builder,
    vectors: Vec<Vector>,
    reads_features: bool,
}

impl Program {
    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn choose<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        match all.len() {
            0 => None,
            len => Some(all[self.below(len)]),
        }
    }

    /// Mostly the size of an earlier vector, so that there are sums and initial states.
    fn size(&mut self) -> u16 {
        let any = [1 + self.below(12), 1 + self.below(40)][self.below(2)] as u16;
        let sizes: Vec<u16> = self.vectors.iter().map(|vector| vector.size).collect();
        match self.choose(&sizes) {
            Some(size) if !self.one_in(3) => size,
            _ => any,
        }
    }

    /// Adds a layer, whose result later layers can read.
    fn add(&mut self, phase: Phase, inputs: &[VectorId], op: OpConfig, size: u16) -> usize {
        let layer = self.builder.layer(phase, inputs, op);
        self.vectors.push(Vector {
            id: VectorId::result(layer),
            size,
            has_format: !matches!(op, OpConfig::Frame { .. }),
            phase,
            is_mean: op == OpConfig::Mean,
        });
        layer
    }

    /// One to four vectors that a layer of `phase` can read.
    fn inputs(&mut self, phase: Phase) -> Vec<VectorId> {
        let readable = |vector: &&Vector| !vector.is_mean || phase == Phase::Output;
        let ids: Vec<VectorId> = self.vectors.iter().filter(readable).map(|v| v.id).collect();
        let recent = &ids[ids.len().saturating_sub(3)..];
        let count = [1, 1, 1, 2, 2, 3, 4][self.below(7)];
        let ids = (0..count).map(|_| match self.one_in(3) {
            true => self.choose(&ids),
            false => self.choose(recent),
        });
        ids.flatten().collect()
    }

    fn dense(&mut self, phase: Phase) {
        let inputs = self.inputs(phase);
        let (size, activation) = (self.size(), Activation::ALL[self.below(4)]);
        let mut op = dense(size, activation, WeightFormat::ALL[self.below(3)]);
        if let OpConfig::Dense { frac_bits, .. } = &mut op
            && *frac_bits != 15
        {
            *frac_bits = 5 + self.below(11) as u8;
        }
        if !inputs.is_empty() {
            self.add(phase, &inputs, op, size);
        }
    }

    fn sum(&mut self, phase: Phase) {
        let readable = |v: &&Vector| v.has_format && (!v.is_mean || phase == Phase::Output);
        let all: Vec<Vector> = self.vectors.iter().filter(readable).copied().collect();
        let Some(first) = self.choose(&all) else {
            return;
        };
        let same: Vec<VectorId> = all
            .iter()
            .filter(|v| v.size == first.size)
            .map(|v| v.id)
            .collect();
        let inputs: Vec<VectorId> = (0..=self.below(4))
            .flat_map(|_| self.choose(&same))
            .collect();
        let frac_bits = 4 + self.below(12) as u8;
        self.add(phase, &inputs, OpConfig::Sum { frac_bits }, first.size);
    }

    fn constant(&mut self) {
        let size = self.size();
        let kind = match self.below(3) {
            0 => ConstantKind::CellState,
            _ => ConstantKind::Vector {
                frac_bits: self.below(16) as u8,
            },
        };
        let constant = self.add(Phase::Begin, &[], OpConfig::Constant { size, kind }, size);
        if let (ConstantKind::CellState, Some(last)) = (kind, self.vectors.last_mut()) {
            (last.id, last.has_format) = (VectorId::cell_state(constant), false);
        }
    }

    fn begin(&mut self) {
        for _ in 0..self.below(4) {
            match self.below(4) {
                0 => self.constant(),
                1 if !self.reads_features => {
                    self.reads_features = true;
                    let size = self.size();
                    self.add(Phase::Begin, &[], OpConfig::Frame { size }, size);
                }
                2 => self.sum(Phase::Begin),
                _ => self.dense(Phase::Begin),
            }
        }
    }

    /// An initial state of `size` elements: a vector that is known when `phase` begins.
    fn init(&mut self, phase: Phase, size: u16) -> Option<VectorId> {
        let fits = |vector: &&Vector| {
            let known = vector.phase < phase || vector.phase == Phase::Begin;
            let has_format = vector.has_format || vector.id.is_cell_state();
            known && has_format && vector.size == size
        };
        let fitting: Vec<VectorId> = self.vectors.iter().filter(fits).map(|v| v.id).collect();
        self.choose(&fitting)
    }

    fn recurrent(&mut self, phase: Phase, inputs: &[VectorId], config: RecurrentLayerConfig) {
        let size = config.hidden_size;
        let hidden = self.init(phase, size);
        let cell = self.init(phase, size).filter(|_| config.cell == Cell::Lstm);
        let op = OpConfig::Recurrent(RecurrentLayerConfig {
            init: [hidden, cell],
            ..config
        });
        let layer = self.add(phase, inputs, op, size);
        if config.cell == Cell::Lstm {
            self.vectors.push(Vector {
                id: VectorId::cell_state(layer),
                size,
                has_format: false,
                phase,
                is_mean: false,
            });
        }
    }

    fn recurrent_config(&mut self, hidden_size: u16) -> RecurrentLayerConfig {
        let format = |program: &mut Self| WeightFormat::ALL[program.below(3)];
        RecurrentLayerConfig {
            state_shift: [0, 0, 1, 3][self.below(4)],
            formats: [format(self), format(self)],
            ..RecurrentLayerConfig::new(Cell::ALL[self.below(4)], hidden_size)
        }
    }

    /// The layers of an encoder or of the step. Returns the number of tokens, and the dimension of a tied embedding.
    fn stepped(&mut self, phase: Phase) -> (Option<u16>, Option<u16>) {
        let vocab_size = 1 + self.below(9) as u16;
        let size = self.size();
        let kinds = if phase == Phase::Step { 6 } else { 4 };
        let kind = self.below(kinds);
        let token = |rows, dim| OpConfig::Token {
            vocab_size,
            dim,
            rows,
        };
        let mut tied = None;
        match kind {
            0 => {
                let config = self.recurrent_config(size);
                let dim = config.cell.num_gates() * round_up(size.into());
                let rows = token(TokenRowsConfig::Gates, dim as u32);
                let rows = VectorId::result(self.builder.layer(phase, &[], rows));
                self.recurrent(phase, &[rows], config);
            }
            1 => {
                self.add(
                    phase,
                    &[],
                    token(TokenRowsConfig::Embedding, size.into()),
                    size,
                );
            }
            4 => {
                // The output layer is added later.
                let rows = TokenRowsConfig::Tied {
                    layer: u8::MAX,
                    min_shift: 0,
                };
                self.add(phase, &[], token(rows, size.into()), size);
                tied = Some(size);
            }
            // Nothing, if there is something else to read.
            5 if self.vectors.iter().any(|vector| !vector.is_mean) => {}
            _ => {
                self.add(phase, &[], OpConfig::Frame { size }, size);
            }
        }
        for _ in 0..1 + self.below(5) {
            match self.below(6) {
                0 => self.dense(phase),
                1 => self.sum(phase),
                2 if phase == Phase::Step => self.mean(),
                _ => {
                    let inputs = self.inputs(phase);
                    let size = self.size();
                    let config = self.recurrent_config(size);
                    if !inputs.is_empty() {
                        self.recurrent(phase, &inputs, config);
                    }
                }
            }
        }
        if self
            .builder
            .config
            .layers
            .last()
            .is_none_or(|layer| layer.phase != phase)
        {
            self.dense(phase);
        }
        (matches!(kind, 0 | 1 | 4).then_some(vocab_size), tied)
    }

    fn mean(&mut self) {
        let all: Vec<Vector> = self
            .vectors
            .iter()
            .filter(|v| v.has_format && !v.is_mean)
            .copied()
            .collect();
        if let Some(vector) = self.choose(&all) {
            self.add(Phase::Step, &[vector.id], OpConfig::Mean, vector.size);
        }
    }

    fn output_layers(&mut self, vocab_size: Option<u16>, tied: Option<u16>) {
        for _ in 0..self.below(3) {
            match self.one_in(4) {
                true => self.sum(Phase::Output),
                false => self.dense(Phase::Output),
            }
        }
        if let (Some(vocab_size), Some(dim)) = (vocab_size, tied) {
            let fits = |v: &&Vector| round_up(v.size.into()) == round_up(dim.into());
            let ids: Vec<VectorId> = self.vectors.iter().filter(fits).map(|v| v.id).collect();
            let id = self.choose(&ids).expect("the embedding fits");
            let op = dense(vocab_size, Activation::Linear, WeightFormat::Int8);
            let output = self.add(Phase::Output, &[id], op, vocab_size);
            for layer in &mut self.builder.config.layers {
                if let OpConfig::Token {
                    rows: TokenRowsConfig::Tied { layer, .. },
                    ..
                } = &mut layer.op
                {
                    *layer = output as u8;
                }
            }
        }
    }

    fn outputs(&mut self, vocab_size: Option<u16>) {
        let fits = |vector: &&Vector| vector.has_format;
        let mut all: Vec<Vector> = self.vectors.iter().filter(fits).copied().collect();
        if all.is_empty() {
            self.dense(Phase::Output);
            all = self.vectors.iter().filter(fits).copied().collect();
        }
        let recent = &all[all.len().saturating_sub(2)..];
        for index in 0..=self.below(4) {
            let vectors = if index == 0 { recent } else { &all };
            let Some(vector) = self.choose(vectors) else {
                continue;
            };
            let role = match vocab_size == Some(vector.size) {
                true => Role::Logits,
                false => [Role::Scores, Role::Values][self.below(2)],
            };
            let output = OutputConfig {
                vector: vector.id,
                role,
                every_step: role == Role::Logits || self.one_in(2),
                normalization: Normalization::ALL[self.below(4)],
            };
            let pushed = self.builder.config.metadata.outputs.push(output);
            pushed.expect("few outputs");
        }
    }
}
