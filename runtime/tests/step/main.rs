//! The integer step, initial states and outputs against the [`reference`] in f64, for many lists of layers.
//!
//! Each step begins at the integer states, so errors do not add up over steps.

#[path = "../common/mod.rs"]
mod common;
mod reference;

use common::{Network, dense, dense_of, embedding, gate_rows, linear, sample, tied};
use pipsqueak::encode::{
    ModelConfig, ModelParams, OpParams, QuantizedMatrix, TokenRows, as_bytes, encode,
    language_model, random_config, sample_configs,
};
use pipsqueak::fixed::QuantizedMultiplier;
use pipsqueak::format::{ConstantKind, OpConfig, Phase, Role, VectorId};
use pipsqueak::{
    Activation, Cell, Model, Pcg32, RecurrentLayerConfig, Session, StepInput, WeightFormat,
};
use rand_core::Rng;
use reference::{Given, Q15, Reference, exact, floats, hold, step};
use std::ops::Range;

const INT4: [WeightFormat; 2] = [WeightFormat::Int4; 2];
const INT8_INT4: [WeightFormat; 2] = [WeightFormat::Int8Scaled, WeightFormat::Int4];

/// The layers of `phase`, and those from its first to its last recurrent layer.
fn ranges(params: &ModelParams, phase: Phase) -> [Range<usize>; 2] {
    let of = |recurrent: bool| {
        let fits = |index: &usize| {
            let layer = &params.layers[*index];
            let fits = !recurrent || matches!(layer.op, OpParams::Recurrent(_));
            layer.phase == phase && fits
        };
        let all: Vec<usize> = (0..params.layers.len()).filter(fits).collect();
        all.first().map(|&first| first..all[all.len() - 1] + 1)
    };
    let all = of(false).unwrap_or(0..0);
    let recurrent = of(true).unwrap_or(all.end..all.end);
    [all, recurrent]
}

/// The states of all recurrent layers.
fn states(session: &mut Session) -> Vec<(Vec<i16>, Vec<i32>)> {
    let model = session.model();
    let recurrent = model
        .layers()
        .enumerate()
        .filter(|(_, layer)| layer.cell().is_some());
    recurrent
        .map(|(index, layer)| {
            let hidden = session.hidden(index).unwrap().to_vec();
            let cell = match layer.cell() {
                Some(Cell::Lstm) => session.cell_state(index).unwrap().to_vec(),
                _ => vec![],
            };
            (hidden, cell)
        })
        .collect()
}

fn random_vector(rng: &mut Pcg32, size: usize) -> Vec<i16> {
    (0..size).map(|_| (rng.next_u32() >> 16) as i16).collect()
}

/// Runs a model on random input and compares every state and output with the reference. Returns the largest magnitudes of states
/// and outputs.
///
/// Steps within a token are those of the same model that runs one step per token, and reads the token as often.
fn check(params: &ModelParams<'static>) -> [f64; 2] {
    let words = encode(params).expect("the parameters fit");
    let model = Model::parse(as_bytes(&words)).expect("it is a model");
    let mut workspace = vec![0; model.workspace_len()];
    let mut session = Session::new(&model, &mut workspace).unwrap();
    let single = ModelParams {
        steps_per_token: [1; 2],
        ..params.clone()
    };
    let words = encode(&single).expect("the parameters fit");
    let single = Model::parse(as_bytes(&words)).expect("it is a model");
    let mut workspace = vec![0; single.workspace_len()];
    let mut single = Session::new(&single, &mut workspace).unwrap();
    let mut rng = Pcg32::new(7, 7);
    let mut reference = Reference::new(params);
    let mut largest = 0f64;
    let features = random_vector(&mut rng, 64);
    if let Some(layer) = model.conditioning() {
        session.set_conditioning(&features[..layer.len()]).unwrap();
        single.set_conditioning(&features[..layer.len()]).unwrap();
    }
    for (phase, steps) in [Phase::Source, Phase::Step]
        .into_iter()
        .zip(params.steps_per_token)
    {
        let [all, recurrent] = ranges(params, phase);
        if all.is_empty() {
            continue;
        }
        reference.begin(phase, &features);
        if phase == Phase::Step {
            session.begin_steps().unwrap();
            single.begin_steps().unwrap();
            reference.compare_states("initial state", phase, &mut single);
        }
        let reader = model.input_of(phase);
        for i in 0..12usize {
            let given = match reader.map(|layer| (layer.vocab_size(), layer.len())) {
                None => Given::Nothing,
                Some((None, size)) => Given::Frame(random_vector(&mut rng, size)),
                Some((Some(vocab_size), _)) => Given::Token((i * 7919 % vocab_size) as u16),
            };
            let input = match &given {
                Given::Token(token) => StepInput::Token(*token),
                Given::Frame(frame) => StepInput::Frame(frame),
                Given::Nothing => StepInput::Repeat,
            };
            let push = |session: &mut Session| match phase {
                Phase::Source => session.push_source(input).unwrap(),
                _ => session.push(input).unwrap(),
            };
            push(&mut session);
            reference.run(all.start..recurrent.start, &given, None);
            for _ in 0..steps {
                push(&mut single);
                reference.run(recurrent.clone(), &given, Some(&mut single));
            }
            reference.run(recurrent.end..all.end, &given, None);
            assert_eq!(states(&mut session), states(&mut single), "step {i}");
            if phase == Phase::Step {
                let [after, _] = ranges(params, Phase::Output);
                reference.run(after, &Given::Nothing, None);
                let outputs = session.outputs().unwrap();
                for (index, output) in params.outputs.iter().enumerate() {
                    let (expected, _) = reference.vector(output.vector);
                    let found = floats(outputs.get(index).unwrap());
                    let what = format!("step {i}, output {index}, element");
                    largest = largest.max(hold(&what, &expected, &found));
                }
                assert!(outputs.get(params.outputs.len()).is_none());
            }
        }
    }
    [reference.largest_state, largest]
}

fn check_random(seed: u64, config: &ModelConfig) -> [f64; 2] {
    check(&ModelParams::random(seed, config))
}

fn layer(cell: Cell, hidden_size: u16, state_shift: u8) -> RecurrentLayerConfig {
    RecurrentLayerConfig {
        state_shift,
        ..RecurrentLayerConfig::new(cell, hidden_size)
    }
}

/// How a language model of 11 tokens reads them.
#[derive(Clone, Copy, Debug)]
enum Tokens {
    GateRows,
    Embedding(u32),
}

/// A language model of 11 tokens, with `output` over its last layer.
fn model(tokens: Tokens, layers: &[RecurrentLayerConfig], output: OpConfig) -> ModelConfig {
    let mut network = Network::new();
    match tokens {
        Tokens::GateRows => network.add(Phase::Step, &[], gate_rows(11, &layers[0])),
        Tokens::Embedding(dim) => network.add(Phase::Step, &[], embedding(11, dim)),
    };
    for layer in layers {
        network.then(Phase::Step, OpConfig::Recurrent(*layer));
    }
    network.then(Phase::Output, output);
    network.logits()
}

#[test]
fn every_hidden_size_vocabulary_size_and_embedding_dimension() {
    let lively = |params: ModelParams<'static>| assert!(check(&params)[0] > 0.05);
    for cell in Cell::ALL {
        for size in [1u16, 3, 17, 24, 65, 100, 127, 1024] {
            let n = usize::from(size);
            let hidden = |hidden_size| RecurrentLayerConfig::new(cell, hidden_size);
            lively(ModelParams::random_language_model(7, n, 0, &[hidden(size)]));
            lively(ModelParams::random_language_model(7, n, n, &[hidden(5)]));
            let layers = [hidden(9), hidden(size.min(127))];
            lively(ModelParams::random_language_model(
                7,
                3,
                n.min(127),
                &layers,
            ));
        }
    }
}

#[test]
fn cells_of_all_kinds_stack() {
    let stack = |embedding_dim, layers: &[(Cell, u16)]| {
        let layers: Vec<RecurrentLayerConfig> =
            layers.iter().map(|&(cell, n)| layer(cell, n, 0)).collect();
        check_random(7, &language_model(30, embedding_dim, &layers));
    };
    let [after, before, lstm, rnn] = Cell::ALL;
    stack(
        0,
        &[
            (after, 24),
            (before, 17),
            (lstm, 12),
            (rnn, 20),
            (after, 40),
        ],
    );
    let eight = [
        (before, 8),
        (after, 5),
        (lstm, 3),
        (rnn, 1),
        (lstm, 2),
        (before, 3),
        (rnn, 4),
        (after, 8),
    ];
    stack(6, &eight);
}

#[test]
fn int4_and_mixed_weights_in_every_cell_and_two_steps_per_token() {
    for cell in Cell::ALL {
        for size in [1, 5, 31, 33, 64, 100] {
            for (tokens, shift, formats) in [
                (Tokens::GateRows, 0, INT4),
                (Tokens::GateRows, 2, INT4),
                (Tokens::Embedding(37), 0, INT4),
                (Tokens::GateRows, 0, INT8_INT4),
                (Tokens::Embedding(37), 0, INT8_INT4),
                (Tokens::Embedding(2), 1, INT8_INT4),
                (
                    Tokens::Embedding(37),
                    0,
                    [WeightFormat::Int4, WeightFormat::Int8],
                ),
            ] {
                let layers = [layer(cell, size, shift), layer(cell, 40, 0)];
                let layers = layers.map(|layer| layer.with_formats(formats));
                let output = dense_of(11, Activation::Linear, WeightFormat::Int4);
                let mut config = model(tokens, &layers, output);
                config.metadata.steps_per_token[1] = 2;
                let [state, largest] = check_random(5, &config);
                assert!(
                    state > 0.05 && largest > 50.0,
                    "{cell:?} {size} {tokens:?} {formats:?}: {state}, {largest}"
                );
            }
        }
    }
}

#[test]
fn the_samples() {
    for (name, config) in sample_configs() {
        let [state, largest] = check_random(3, &config);
        assert!(
            state > 0.05 && largest > 300.0,
            "{name}: {state}, {largest}"
        );
    }
}

#[test]
fn random_lists_of_layers() {
    let mut kinds = [0; 9];
    for seed in 0..1500 {
        let config = random_config(seed);
        for layer in &config.layers {
            kinds[match layer.op {
                OpConfig::Token { .. } => 0,
                OpConfig::Frame { .. } => 1,
                OpConfig::Constant { .. } => 2,
                OpConfig::Dense { .. } => 3,
                OpConfig::Recurrent(_) => 4,
                OpConfig::Sum { .. } => 5,
                OpConfig::Mean => 6,
            }] += 1;
            kinds[7] += usize::from(layer.inputs.iter().count() > 1);
            kinds[8] += usize::from(layer.inputs.iter().any(VectorId::is_cell_state));
        }
        println!("seed {seed}: {:?}", config.layers);
        check_random(seed, &config);
    }
    assert!(kinds.iter().all(|&count| count > 300), "{kinds:?}");
}

/// The same network with joined inputs that stand one after another in the workspace, and with a vector between them.
#[test]
fn inputs_in_place_and_gathered_are_the_same() {
    for cell in Cell::ALL {
        for first in [3, 4, 8] {
            // What is also an output is kept, as the hidden states are.
            let run = |between: bool| {
                let mut network = Network::new();
                let frame = network.add(Phase::Step, &[], OpConfig::Frame { size: 5 });
                let other = dense(6, Activation::Relu);
                let ahead = (!between).then(|| network.add(Phase::Step, &[frame], other));
                let a = network.add(Phase::Step, &[frame], dense(first, Activation::Tanh));
                let middle = ahead.unwrap_or_else(|| network.add(Phase::Step, &[frame], other));
                let b = network.add(Phase::Step, &[frame], dense(7, Activation::Tanh));
                let op = OpConfig::Recurrent(layer(cell, 6, 0));
                let hidden = network.add(Phase::Step, &[a, b], op);
                let both = network.add(Phase::Output, &[a, b], linear(5));
                network.output(hidden, Role::Values, true);
                for id in [a, middle, b] {
                    network.output(id, Role::Values, true);
                }
                let mut params = ModelParams::random(4, &network.config);
                // The parameters do not depend on the order of the layers.
                let same = |id: VectorId, seed| {
                    let mut one = Network::new();
                    one.add(Phase::Step, &[], OpConfig::Frame { size: 5 });
                    one.then(Phase::Step, network.config.layers[id.layer()].op);
                    ModelParams::random(seed, &one.values()).layers.remove(1).op
                };
                for (id, seed) in [(a, 1), (middle, 2), (b, 3)] {
                    params.layers[id.layer()].op = same(id, seed);
                }
                let mut joined = Network::new();
                joined.add(
                    Phase::Step,
                    &[],
                    OpConfig::Frame {
                        size: first.next_multiple_of(4) + 7,
                    },
                );
                joined.then(Phase::Step, op);
                joined.add(Phase::Output, &[VectorId::result(0)], linear(5));
                let mut joined = ModelParams::random(9, &joined.values()).layers;
                params.layers[both.layer()].op = joined.remove(2).op;
                params.layers[hidden.layer()].op = joined.remove(1).op;
                let words = encode(&params).unwrap();
                let model = Model::parse(as_bytes(&words)).unwrap();
                let mut workspace = vec![0; model.workspace_len()];
                let mut session = Session::new(&model, &mut workspace).unwrap();
                let mut rng = Pcg32::new(1, 1);
                let mut outputs = vec![];
                for _ in 0..20 {
                    session
                        .push(StepInput::Frame(&random_vector(&mut rng, 5)))
                        .unwrap();
                    let found = session.outputs().unwrap();
                    outputs.push(
                        (0..4)
                            .map(|index| found.get(index).unwrap().to_vec())
                            .collect(),
                    );
                }
                (outputs, model.workspace_len())
            };
            let (in_place, small): (Vec<Vec<Vec<i16>>>, usize) = run(false);
            let (gathered, large) = run(true);
            assert_eq!(in_place, gathered, "{cell:?}");
            assert!(small < large, "{cell:?}: {small} and {large} words");
            assert!(
                in_place[19]
                    .iter()
                    .all(|values| values.iter().any(|&value| value != 0))
            );
        }
    }
}

/// Changes a matrix to one over a state with `shift` more integer bits than Q15.
fn divide_by(matrix: &mut QuantizedMatrix, bits: u8) {
    for multiplier in &mut matrix.multiplier {
        let shift = multiplier.shift() as u8;
        *multiplier =
            QuantizedMultiplier::new(multiplier.multiplier() as u16, shift.saturating_sub(bits));
    }
    matrix.bias.iter_mut().for_each(|bias| *bias >>= bits);
}

#[test]
fn states_with_fewer_fraction_bits() {
    for cell in Cell::ALL {
        for shift in [1, 2, 5, 8] {
            for tokens in [Tokens::GateRows, Tokens::Embedding(6)] {
                let layers = [layer(cell, 10, shift), layer(cell, 7, 8 - shift)];
                let mut params = ModelParams::random(5, &model(tokens, &layers, linear(11)));
                // A unit of a state counts for more by its shift.
                for layer in &mut params.layers {
                    if let OpParams::Recurrent(recurrent) = &mut layer.op {
                        recurrent
                            .gates
                            .iter_mut()
                            .for_each(|gate| divide_by(gate, 3));
                    }
                }
                assert!(check(&params)[0] > 0.05);
            }
        }
    }
}

#[test]
fn output_layers_of_all_kinds() {
    use Activation::{Linear, Relu, Sigmoid, Tanh};
    for (mean, every_step) in [(false, true), (false, false), (true, false)] {
        for cell in [Cell::GruResetAfter, Cell::Lstm] {
            let heads: [&[Activation]; 6] = [
                &[],
                &[Tanh],
                &[Sigmoid],
                &[Relu, Linear],
                &[Tanh, Relu, Sigmoid, Linear],
                &[Linear; 10],
            ];
            for head in heads {
                let mut network = Network::new();
                network.add(Phase::Step, &[], OpConfig::Frame { size: 5 });
                network.then(Phase::Step, OpConfig::Recurrent(layer(cell, 6, 1)));
                if mean {
                    network.then(Phase::Step, OpConfig::Mean);
                }
                for (&activation, size) in head.iter().zip([17, 5, 33, 4, 70, 3, 20, 6, 9, 2]) {
                    network.then(Phase::Output, dense(size, activation));
                }
                network.output(network.last(), Role::Scores, every_step);
                check_random(5, &network.config);
            }
        }
    }
}

#[test]
fn networks_without_recurrent_layers() {
    let list = [
        dense(20, Activation::Tanh),
        dense(6, Activation::Relu),
        linear(3),
    ];
    for in_step in 0..3 {
        for mean in [false, true] {
            for begin in [false, true] {
                let mut network = Network::new();
                // Conditioning features need a layer in the step.
                let phase = if begin { Phase::Begin } else { Phase::Step };
                network.add(phase, &[], OpConfig::Frame { size: 9 });
                for (index, op) in list.into_iter().enumerate() {
                    if index == in_step && mean {
                        let frac_bits = 15;
                        match index {
                            // A frame has no format to average.
                            0 => network.then(Phase::Step, dense(9, Activation::Tanh)),
                            _ => network.then(Phase::Step, OpConfig::Sum { frac_bits }),
                        };
                        network.then(Phase::Step, OpConfig::Mean);
                    }
                    let in_step = index < in_step || (begin && !mean && index == 1);
                    network.then(if in_step { Phase::Step } else { Phase::Output }, op);
                    if begin && !mean && in_step && index == 1 {
                        break;
                    }
                }
                if network
                    .config
                    .layers
                    .iter()
                    .any(|layer| layer.phase == Phase::Step)
                    && network.config.layers.is_sorted_by_key(|layer| layer.phase)
                {
                    check_random(5, &network.values());
                }
            }
        }
    }
    let mut network = Network::new();
    network.add(Phase::Step, &[], embedding(11, 6));
    for op in [list[0], list[1], linear(11)] {
        network.then(Phase::Output, op);
    }
    check_random(5, &network.logits());
}

#[test]
fn tied_embeddings_are_the_rows_of_the_output_layer() {
    for vocab_size in [1, 5, 16, 17, 40, 70] {
        for outputs in [1, 2] {
            for layers in [0, 1, 2] {
                if layers == 0 && outputs == 1 {
                    continue;
                }
                let all = [layer(Cell::Lstm, 9, 0), layer(Cell::GruResetBefore, 6, 0)];
                let all = &all[..layers];
                let dim = match (outputs, all.last()) {
                    (1, Some(last)) => last.hidden_size,
                    _ => 11,
                };
                let mut network = Network::new();
                let table = (layers + outputs) as u8;
                network.add(Phase::Step, &[], tied(vocab_size, dim.into(), table));
                for layer in all {
                    network.then(Phase::Step, OpConfig::Recurrent(*layer));
                }
                if outputs == 2 {
                    network.then(Phase::Output, dense(11, Activation::Tanh));
                }
                network.then(Phase::Output, linear(vocab_size));
                let mut params = ModelParams::random(5, &network.logits());
                let Some(OpParams::Dense(dense)) =
                    params.layers.last_mut().map(|layer| &mut layer.op)
                else {
                    panic!("the last layer is the output layer");
                };
                // Rows of other scales.
                for (row, scale) in dense.matrix.multiplier.iter_mut().enumerate() {
                    let shift = scale.shift() as u8 + [0, 2, 1][row % 3];
                    *scale = QuantizedMultiplier::new(scale.multiplier() as u16, shift);
                }
                check(&params);
            }
        }
    }
}

#[test]
fn frames_through_dense_layers() {
    for layers in [1, 2] {
        for list in [
            &[][..],
            &[dense(18, Activation::Tanh)],
            &[linear(7), dense(5, Activation::Relu)],
        ] {
            for cell in Cell::ALL {
                let mut network = Network::new();
                network.add(Phase::Step, &[], OpConfig::Frame { size: 10 });
                for op in list {
                    network.then(Phase::Step, *op);
                }
                for layer in &[layer(cell, 7, 0), layer(Cell::Rnn, 6, 2)][..layers] {
                    network.then(Phase::Step, OpConfig::Recurrent(*layer));
                }
                network.then(Phase::Output, linear(11));
                check_random(5, &network.values());
            }
        }
    }
}

#[test]
fn initial_states_from_constants_and_features() {
    for cell in Cell::ALL {
        for tokens in [Some(Tokens::GateRows), Some(Tokens::Embedding(5)), None] {
            let mut network = Network::new();
            let constant = |network: &mut Network, size, kind| {
                network.add(Phase::Begin, &[], OpConfig::Constant { size, kind })
            };
            let lstm = |id: VectorId| (cell == Cell::Lstm).then_some(id);
            let frame = network.add(Phase::Begin, &[], OpConfig::Frame { size: 6 });
            network.then(Phase::Begin, dense(30, Activation::Relu));
            let hidden = network.then(Phase::Begin, dense(9, Activation::Tanh));
            let constant_cell = constant(&mut network, 9, ConstantKind::CellState).layer();
            let cell_state = network.add(Phase::Begin, &[frame], linear(6));
            let kind = ConstantKind::Vector { frac_bits: 12 };
            let constant = constant(&mut network, 6, kind);
            let layers = [
                RecurrentLayerConfig {
                    init: [Some(hidden), lstm(VectorId::cell_state(constant_cell))],
                    ..layer(cell, 9, 1)
                },
                RecurrentLayerConfig {
                    init: [Some(constant), lstm(cell_state)],
                    ..layer(cell, 6, 3)
                },
            ];
            match tokens {
                Some(Tokens::GateRows) => network.add(Phase::Step, &[], gate_rows(11, &layers[0])),
                Some(Tokens::Embedding(dim)) => network.add(Phase::Step, &[], embedding(11, dim)),
                None => network.add(Phase::Step, &[frame], dense(5, Activation::Relu)),
            };
            for layer in layers {
                network.then(Phase::Step, OpConfig::Recurrent(layer));
            }
            network.then(Phase::Output, linear(11));
            check_random(5, &network.values());
        }
    }
}

#[test]
fn initial_states_from_the_encoder() {
    for frac_bits in [0, 6, 11, 15] {
        for through in [0, 1, 2] {
            for (tokens, sizes) in [(Tokens::GateRows, [7, 70]), (Tokens::Embedding(5), [70, 7])] {
                // A direct initial state needs the same size.
                let sizes = if through == 0 { [7, 7] } else { sizes };
                let encoder = [
                    layer(Cell::Lstm, sizes[0], 0),
                    layer(Cell::Lstm, sizes[1], 2),
                ];
                let mut network = Network::new();
                match tokens {
                    Tokens::GateRows => network.add(Phase::Source, &[], gate_rows(11, &encoder[0])),
                    Tokens::Embedding(dim) => network.add(Phase::Source, &[], embedding(11, dim)),
                };
                let [first, second] =
                    encoder.map(|layer| network.then(Phase::Source, OpConfig::Recurrent(layer)));
                // Hidden to hidden and cell to cell, and each to the other.
                let (hidden, cell) = (first, VectorId::cell_state(second.layer()));
                let [a, b, c, d] = [hidden, cell, cell, hidden].map(|mut id| {
                    if through == 2 {
                        id = network.add(Phase::Begin, &[id], dense(12, Activation::Tanh));
                    }
                    if through > 0 {
                        let op = OpConfig::Dense {
                            output_size: 7,
                            activation: Activation::Linear,
                            frac_bits,
                            format: WeightFormat::Int8,
                        };
                        id = network.add(Phase::Begin, &[id], op);
                    }
                    Some(id)
                });
                let decoder =
                    [(1, [a, b]), (0, [c, d])].map(|(shift, init)| RecurrentLayerConfig {
                        init,
                        ..layer(Cell::Lstm, 7, shift)
                    });
                network.add(Phase::Step, &[], gate_rows(11, &decoder[0]));
                for layer in decoder {
                    network.then(Phase::Step, OpConfig::Recurrent(layer));
                }
                network.then(Phase::Output, linear(11));
                check_random(5, &network.logits());
            }
        }
    }
}

/// The distance to the reference is no larger after 9,000 steps than after 1,000, though each step begins at its own states.
#[test]
fn states_do_not_drift() {
    for cell in Cell::ALL {
        let layers = [RecurrentLayerConfig::new(cell, 24)];
        let mut params = ModelParams::random_language_model(11, 20, 0, &layers);
        let OpParams::Token {
            rows: TokenRows::Gates(table),
            ..
        } = params.layers[0].op.clone()
        else {
            panic!("layer 0 reads tokens");
        };
        let OpParams::Recurrent(recurrent) = &mut params.layers[1].op else {
            panic!("layer 1 is recurrent");
        };
        // It forgets: where differences grow, roundings do too.
        for gate in &mut recurrent.gates {
            for scale in &mut gate.multiplier {
                *scale =
                    QuantizedMultiplier::new(scale.multiplier() as u16, scale.shift() as u8 + 1);
            }
        }
        let recurrent = recurrent.clone();
        let words = encode(&params).unwrap();
        let model = Model::parse(as_bytes(&words)).unwrap();
        let mut workspace = vec![0; model.workspace_len()];
        let mut session = Session::new(&model, &mut workspace).unwrap();
        let mut float = [exact(&[0i16; 24]), exact(&[0i16; 24])];
        let mut rng = Pcg32::new(1, 1);
        let mut errors = vec![];
        for _ in 0..10_000 {
            let token = rng.next_u32() as u16 % 20;
            session.push_token(token).unwrap();
            let row = recurrent.token_scales.len();
            let row = &table[usize::from(token) * row..][..row];
            let [hidden, cell] = step(&recurrent, Some(row), &[], &float[0], &float[1]);
            let without_errors = |values: Vec<(f64, f64)>| {
                values.into_iter().map(|(value, _)| (value, 0.0)).collect()
            };
            float = [without_errors(hidden), without_errors(cell)];
            let pairs = float[0].iter().zip(session.hidden(1).unwrap());
            let sum: f64 = pairs.map(|((f, _), i)| (f - f64::from(*i)).abs()).sum();
            errors.push(sum / 24.0 / Q15);
        }
        let mean = |from: usize| errors[from..from + 1000].iter().sum::<f64>() / 1000.0;
        let (early, late) = (mean(1000), mean(9000));
        println!("{cell:?}: {early:.2e} after 1,000 steps, {late:.2e} after 9,000");
        assert!(
            late <= 1.2 * early && early < 2e-4,
            "{cell:?}: {early} became {late}"
        );
    }
}

/// `joined` has what only a list of layers can say; without one of its parts it computes something else.
#[test]
fn every_input_of_a_joined_layer_counts() {
    let config = sample("joined");
    let run = |params: &ModelParams| -> Vec<Vec<i16>> {
        let words = encode(params).unwrap();
        let model = Model::parse(as_bytes(&words)).unwrap();
        let mut workspace = vec![0; model.workspace_len()];
        let mut session = Session::new(&model, &mut workspace).unwrap();
        session.set_conditioning(&[9000, -9000, 20_000]).unwrap();
        session
            .push(StepInput::Frame(&[20_000, -30_000, 1000, 7, 25_000]))
            .unwrap();
        session
            .push(StepInput::Frame(&[-20_000, 3000, 9000, 70, 2500]))
            .unwrap();
        let outputs = session.outputs().unwrap();
        (0..2)
            .map(|index| outputs.get(index).unwrap().to_vec())
            .collect()
    };
    let params = ModelParams::random(3, &config);
    let whole = run(&params);
    for (index, layer) in params.layers.iter().enumerate() {
        for id in &layer.inputs {
            let mut changed = params.clone();
            let dense_or_recurrent = match &mut changed.layers[index].op {
                OpParams::Dense(dense) => std::slice::from_mut(&mut dense.matrix),
                OpParams::Recurrent(recurrent) => &mut recurrent.gates[..],
                _ => continue,
            };
            let sizes = [3, 5, 6, 7, 5, 7, 7];
            let before = layer.inputs.iter().take_while(|other| *other != id);
            let first: usize = before
                .map(|id| usize::next_multiple_of(sizes[id.layer()], 4))
                .sum();
            for matrix in dense_or_recurrent {
                let [input, hidden] = matrix.format.columns;
                if input > 0 {
                    for row in matrix.weights.chunks_exact_mut(input + hidden) {
                        row[first..first + sizes[id.layer()]].fill(0);
                    }
                }
            }
            assert_ne!(run(&changed), whole, "layer {index} without {id:?}");
        }
    }
}
