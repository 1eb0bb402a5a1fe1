//! Untrained images, for tests and measurements.

use super::{
    DenseParts, InputParts, LayerParts, NetworkParts, Parts, Rows, StartParts, VocabularyParts,
};
use crate::image::{
    Activation, Bits, Cell, Columns, Dense, Input, Layer, Metadata, Network, Normalization,
    Provenance, Reads, Recurrent, Specials, Start, StartFrom, VocabularyShape,
};
use crate::level::Level;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::fixed::QuantizedMultiplier as Scale;
use rand_core::Rng;
use rand_pcg::Pcg32;

/// The shape of a language model of one step per token, whose head is one dense layer with weights of 8 bits.
///
/// `embedding` 0 is a token table.
///
/// # Panics
/// If there are more layers than an image holds.
pub fn language_model(tokens: usize, embedding: usize, layers: &[Layer]) -> Metadata {
    let count = tokens as u16;
    let recurrent = |&layer| Recurrent {
        layer,
        shift: 0,
        starts: Default::default(),
    };
    let vocabulary = VocabularyShape {
        tokens: count,
        ..VocabularyShape::default()
    };
    Metadata {
        vocabularies: [VocabularyShape::default(), vocabulary],
        networks: heapless::Vec::from_array([Network {
            input: match embedding {
                0 => Input::Table,
                columns => Input::Embedding(columns as u16),
            },
            count,
            features: 0,
            dense: 0,
            layers: layers.len() as u8,
            steps_per_token: 1,
            head: 1,
            reads: Reads::EveryStep,
            normalization: Normalization::None,
        }]),
        layers: layers.iter().map(recurrent).collect(),
        dense: heapless::Vec::from_array([Dense::new(count, Activation::Linear, 9, Bits::Eight)]),
        ..Metadata::default()
    }
}

impl Parts<'static> {
    /// An untrained language model, for tests and measurements: [`random_of`](Self::random_of) its shape,
    /// [`language_model`].
    ///
    /// # Panics
    /// If a size is 0, or there are more layers than an image holds or more than 60,000 tokens.
    pub fn random(seed: u64, tokens: usize, embedding: usize, layers: &[Layer]) -> Self {
        Self::random_of(seed, &language_model(tokens, embedding, layers))
    }

    /// An untrained image of these shapes, for tests and measurements: random numbers of the size that trained ones have.
    ///
    /// Tokens are the letters from `a` on, and then characters from U+100 on. Lengths of texts and names are not looked at.
    ///
    /// # Panics
    /// If a size is 0, there are fewer layers than the networks have, or more than 60,000 tokens.
    pub fn random_of(seed: u64, shapes: &Metadata) -> Self {
        let mut random = Random(Pcg32::new(seed, 1));
        let (mut layers, mut dense) = (&shapes.layers[..], &shapes.dense[..]);
        let mut encoder: Vec<usize> = Vec::new();
        let mut networks = Vec::new();
        for network in &shapes.networks {
            let own = layers.split_off(..network.layers.into()).expect("layers");
            let units = |layer: &Recurrent| usize::from(layer.layer.hidden);
            let features = usize::from(network.features);
            let raw = match network.input {
                Input::Table => 0,
                Input::Embedding(columns) => columns.into(),
                Input::Vectors => network.count.into(),
                Input::Features { .. } => features,
                Input::Tied { .. } => {
                    let starts = own.iter().flat_map(|layer| layer.starts);
                    let starts: u8 = starts.map(|start| start.dense).sum();
                    let list = dense.get(..(network.dense + starts + network.head).into());
                    match (network.head, list) {
                        (2.., Some([.., before, _])) => before.outputs.into(),
                        _ => own.last().map_or(1, units),
                    }
                }
            };
            let before = random.chain(&mut dense, network.dense, raw);
            let width = before.last().map_or(raw, |last| last.rows.bias.len());
            let mut inputs = width;
            let mut made: Vec<LayerParts> = Vec::new();
            for recurrent in own {
                made.push(random.layer(recurrent, inputs));
                inputs = units(recurrent);
            }
            for (recurrent, parts) in own.iter().zip(&mut made) {
                for (start, to) in recurrent.starts.iter().zip(&mut parts.starts) {
                    *to = match start.from() {
                        StartFrom::Zero => StartParts::Zero,
                        StartFrom::Constant => StartParts::Constant(
                            (0..units(recurrent))
                                .map(|_| random.below(30_000))
                                .collect(),
                        ),
                        StartFrom::Features => {
                            StartParts::Features(random.chain(&mut dense, start.dense, features))
                        }
                        StartFrom::Encoder { layer, cell } => StartParts::Encoder {
                            layer,
                            cell,
                            dense: random.chain(&mut dense, start.dense, encoder[layer]),
                        },
                    };
                }
            }
            encoder = own.iter().map(units).collect();
            let head = random.chain(&mut dense, network.head, inputs);
            let count = usize::from(network.count);
            let input = match network.input {
                Input::Table => {
                    let rows = own
                        .first()
                        .map_or(0, |l| l.layer.cell.num_gates() * units(l));
                    InputParts::Table(random.values(count * rows))
                }
                Input::Embedding(_) => InputParts::Embedding {
                    columns: raw,
                    values: random.values(count * raw),
                },
                Input::Tied { .. } => InputParts::Tied {
                    shift: head.last().map_or(0, smallest_shift),
                },
                Input::Vectors => InputParts::Vectors(vec![0; raw]),
                Input::Features { steps } => InputParts::Features { steps },
            };
            networks.push(NetworkParts {
                input,
                count,
                features: vec![0; features],
                dense: before,
                layers: made,
                steps_per_token: network.steps_per_token,
                head,
                reads: network.reads,
                normalization: network.normalization,
            });
        }
        let character = |id: u32| char::from_u32(if id < 26 { 97 + id } else { 0x100 - 26 + id });
        let vocabulary = |shape: VocabularyShape| VocabularyParts {
            level: shape.level,
            tokens: (0..shape.tokens.into())
                .filter_map(character)
                .map(String::from)
                .collect(),
            start: shape.start,
            specials: shape.specials,
        };
        Self {
            vocabularies: shapes.vocabularies.map(vocabulary),
            limit: shapes.limit,
            networks,
            interface: Vec::new(),
            provenance: Provenance {
                corpus: "none",
                split: "untrained",
                ..Provenance::default()
            },
        }
    }
}

/// The smallest shift of a row.
fn smallest_shift(dense: &DenseParts) -> u8 {
    let shifts = dense.rows.scale.iter().map(|scale| scale.shift() as u8);
    shifts.min().unwrap_or(0)
}

/// Random parts.
struct Random(Pcg32);

impl Random {
    /// A number from -`end` to `end`.
    fn below(&mut self, end: i32) -> i32 {
        (self.0.next_u32() % (2 * end as u32 + 1)) as i32 - end
    }

    fn values(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.below(127) as i8).collect()
    }

    fn rows(&mut self, rows: usize, columns: Columns) -> Rows {
        let width = columns.count();
        // Wide rows have small weights, for the range certificate.
        let most = 60_000 / width as u32;
        if columns.bits != Bits::Eight {
            return self.grouped_rows(rows, columns, (most / 8).clamp(1, 255));
        }
        let largest = most.clamp(1, 127);
        // Sums grow with the square root of the columns; 2^13 * 2^-(15 + shift) brings them to about 1 in Q11.
        let shift = (2 + largest.ilog2() + width.ilog2() / 2) as u8;
        let mut below = |end: i32| self.below(end);
        Rows {
            columns,
            weights: (0..rows * width)
                .map(|_| below(largest as i32) as i8)
                .collect(),
            scales: vec![],
            bias: (0..rows).map(|_| below(1 << 20)).collect(),
            scale: (0..rows)
                .map(|_| Scale::new((12_000 + below(4000)) as u16, shift))
                .collect(),
        }
    }

    /// Rows in groups, with scales up to `largest`, or that for 4 bits.
    fn grouped_rows(&mut self, rows: usize, columns: Columns, largest: u32) -> Rows {
        let width = columns.count();
        // As above: a weight times its scale is about 4 times the largest scale.
        let shift = (4 + largest.ilog2() + width.ilog2() / 2) as u8;
        let mut made = Rows {
            columns,
            ..Rows::default()
        };
        let mut from =
            |least: i32, most: i32| least + (self.0.next_u32() % (most - least + 1) as u32) as i32;
        let groups: Vec<(usize, [i8; 2])> = columns.groups().collect();
        for _ in 0..rows {
            for &(columns, [least, most]) in &groups {
                let weights = (0..columns).map(|_| from(least.into(), most.into()) as i8);
                made.weights.extend(weights);
            }
        }
        for _ in 0..rows {
            for &(_, [_, most]) in &groups {
                // As large as that of a group of 4 bits, times its weights.
                let most = (7 * largest as i32 / i32::from(most)).max(1);
                made.scales.push(from(1, most) as u8);
            }
        }
        made.bias = (0..rows).map(|_| from(-1 << 20, 1 << 20)).collect();
        made.scale = (0..rows)
            .map(|_| Scale::new(from(8_000, 16_000) as u16, shift))
            .collect();
        made
    }

    /// The next `count` of `list`, the first one over `columns`.
    fn chain(&mut self, list: &mut &[Dense], count: u8, mut columns: usize) -> Vec<DenseParts> {
        let taken = list.split_off(..count.into()).expect("dense layers");
        let mut made = Vec::new();
        for dense in taken {
            let outputs = dense.outputs.into();
            made.push(DenseParts {
                rows: self.rows(
                    outputs,
                    Columns {
                        bits: dense.bits(),
                        parts: [columns, 0],
                    },
                ),
                activation: dense.activation,
                bits: dense.fraction(),
            });
            columns = outputs;
        }
        made
    }

    /// A layer over a vector of `inputs`, over a token table if that is 0, with states that begin at zero.
    fn layer(&mut self, recurrent: &Recurrent, inputs: usize) -> LayerParts {
        let layer = recurrent.layer;
        let (units, count) = (usize::from(layer.hidden), layer.cell.num_gates());
        let after = layer.cell == Cell::GruResetAfter;
        let table = inputs == 0;
        let columns = |parts| Columns {
            bits: layer.bits,
            parts,
        };
        let mut gates: Vec<Rows> = (0..count)
            .map(|gate| match gate {
                2 if after => self.rows(units, columns([0, units])),
                _ => self.rows(units, columns([inputs, units])),
            })
            .collect();
        if after && !table {
            gates.push(self.rows(units, columns([inputs, 0])));
        }
        LayerParts {
            layer,
            shift: recurrent.shift,
            gates,
            factors: vec![1 << 16; if table { count * units } else { 0 }],
            candidate_bias: vec![1 << 20; if table && after { units } else { 0 }],
            starts: Default::default(),
        }
    }
}

/// Small shapes of every kind by name: each cell, input, start and head, each width of weights, two steps for a token, and an
/// encoder with its decoder.
pub fn shapes() -> Vec<(&'static str, Metadata)> {
    let vocabulary = |tokens| VocabularyShape {
        tokens,
        ..VocabularyShape::default()
    };
    let none = VocabularyShape::default();
    let specials = |start, eos, pad, unk| Specials {
        start,
        eos,
        pad,
        unk,
    };
    let network = |input, count, layers, head| Network {
        input,
        count,
        features: 0,
        dense: 0,
        layers,
        steps_per_token: 1,
        head,
        reads: Reads::EveryStep,
        normalization: Normalization::None,
    };
    let starting = |cell, hidden, starts| Recurrent {
        layer: Layer::new(cell, hidden),
        shift: 0,
        starts,
    };
    let layer = |cell, hidden| starting(cell, hidden, Default::default());
    let of_bits = |bits, cell, hidden| Recurrent {
        layer: Layer::new(cell, hidden).with_bits(bits),
        ..layer(cell, hidden)
    };
    let four = |cell, hidden| of_bits(Bits::Four, cell, hidden);
    let dense_of = |outputs, activation, bits| {
        let fraction = match activation {
            Activation::Tanh | Activation::Sigmoid => 15,
            Activation::Linear | Activation::Relu => 9,
        };
        Dense::new(outputs, activation, fraction, bits)
    };
    let dense = |outputs, activation| dense_of(outputs, activation, Bits::Eight);
    let image =
        |vocabularies, limit, networks: &[Network], layers: &[Recurrent], dense: &[Dense]| {
            Metadata {
                vocabularies,
                limit,
                networks: networks.iter().copied().collect(),
                layers: layers.iter().copied().collect(),
                dense: dense.iter().copied().collect(),
                ..Metadata::default()
            }
        };
    let linear = |outputs| dense(outputs, Activation::Linear);
    let from = |from| Start::new(from, 1);
    let features = from(StartFrom::Features);
    let encoder = |cell| from(StartFrom::Encoder { layer: 0, cell });
    vec![
        (
            "lstm",
            image(
                [none, vocabulary(31)],
                0,
                &[network(Input::Table, 31, 1, 1)],
                &[layer(Cell::Lstm, 14)],
                &[linear(31)],
            ),
        ),
        (
            "lstm-rnn",
            image(
                [none, vocabulary(26)],
                0,
                &[network(Input::Embedding(6), 26, 2, 1)],
                &[layer(Cell::Lstm, 9), layer(Cell::Rnn, 7)],
                &[linear(26)],
            ),
        ),
        (
            "rnn",
            image(
                [none, vocabulary(23)],
                0,
                &[network(Input::Table, 23, 1, 1)],
                &[starting(
                    Cell::Rnn,
                    11,
                    [Start::new(StartFrom::Constant, 0), Start::default()],
                )],
                &[linear(23)],
            ),
        ),
        (
            "words",
            image(
                [
                    none,
                    VocabularyShape {
                        level: Level::SpacedLower,
                        start: 3,
                        specials: specials(Some(3), Some(1), Some(0), Some(29)),
                        ..vocabulary(30)
                    },
                ],
                0,
                &[network(Input::Tied { shift: 0 }, 30, 1, 1)],
                &[layer(Cell::GruResetAfter, 10)],
                &[linear(30)],
            ),
        ),
        (
            "translator",
            image(
                [
                    VocabularyShape {
                        specials: specials(None, Some(26), Some(27), Some(28)),
                        ..vocabulary(29)
                    },
                    VocabularyShape {
                        start: 24,
                        specials: specials(Some(24), Some(25), None, None),
                        ..vocabulary(26)
                    },
                ],
                20,
                &[
                    network(Input::Embedding(5), 29, 1, 0),
                    network(Input::Table, 26, 1, 1),
                ],
                &[
                    layer(Cell::Lstm, 13),
                    starting(Cell::Lstm, 8, [encoder(false), encoder(true)]),
                ],
                &[dense(8, Activation::Tanh), linear(8), linear(26)],
            ),
        ),
        (
            "features",
            image(
                [vocabulary(5), none],
                0,
                &[Network {
                    features: 5,
                    dense: 1,
                    ..network(Input::Features { steps: 9 }, 7, 1, 1)
                }],
                &[starting(Cell::Lstm, 10, [features, features])],
                &[
                    dense(7, Activation::Tanh),
                    dense(10, Activation::Tanh),
                    linear(10),
                    linear(6),
                ],
            ),
        ),
        (
            "sensors",
            image(
                [none, vocabulary(4)],
                0,
                &[Network {
                    reads: Reads::Mean,
                    ..network(Input::Vectors, 3, 1, 3)
                }],
                &[layer(Cell::GruResetBefore, 9)],
                &[
                    dense(10, Activation::Relu),
                    dense(6, Activation::Sigmoid),
                    linear(4),
                ],
            ),
        ),
        (
            "four",
            image(
                [none, vocabulary(28)],
                0,
                &[Network {
                    steps_per_token: 2,
                    ..network(Input::Table, 28, 1, 1)
                }],
                &[four(Cell::GruResetAfter, 35)],
                &[dense_of(28, Activation::Linear, Bits::Four)],
            ),
        ),
        (
            "mixed",
            image(
                [vocabulary(27), none],
                0,
                &[Network {
                    steps_per_token: 3,
                    reads: Reads::Mean,
                    ..network(Input::Embedding(6), 27, 3, 2)
                }],
                &[
                    four(Cell::Lstm, 9),
                    layer(Cell::GruResetBefore, 7),
                    four(Cell::GruResetAfter, 5),
                ],
                &[dense_of(6, Activation::Tanh, Bits::Four), linear(4)],
            ),
        ),
        (
            "wide-input",
            image(
                [none, vocabulary(25)],
                0,
                &[Network {
                    steps_per_token: 2,
                    ..network(Input::Embedding(6), 25, 4, 1)
                }],
                &[
                    of_bits(Bits::Mixed, Cell::Rnn, 35),
                    of_bits(Bits::Mixed, Cell::GruResetAfter, 9),
                    of_bits(Bits::Mixed, Cell::Lstm, 6),
                    of_bits(Bits::Mixed, Cell::GruResetBefore, 5),
                ],
                &[dense_of(25, Activation::Linear, Bits::Four)],
            ),
        ),
    ]
}
