//! The digest finds what the checksum cannot: a model that was changed and has a new checksum.

mod common;

use common::sample;
use pipsqueak::encode::{
    ModelParams, OpParams, QuantizedMatrix, as_bytes, encode, sample_configs, to_words,
    update_checksum,
};
use pipsqueak::format::{OpConfig, Phase};
use pipsqueak::selftest::{Coverage, output_digest, verify_kernels};
use pipsqueak::{Activation, Cell, Model, RecurrentLayerConfig, Session, StepInput, WeightFormat};

/// Models with every kind of matrix, whose few tokens the sequence visits all.
fn models() -> Vec<(String, ModelParams<'static>)> {
    let stack = |cell, dim| {
        let layers = [6, 9].map(|size| RecurrentLayerConfig::new(cell, size));
        let name = format!("{cell:?} over {dim}");
        (name, ModelParams::random_language_model(5, 7, dim, &layers))
    };
    let stacks = Cell::ALL
        .into_iter()
        .flat_map(|cell| [0, 5].map(|dim| stack(cell, dim)));
    let samples = sample_configs().into_iter().map(|(name, mut config)| {
        for layer in &mut config.layers {
            // A weight before a ReLU that gives zero does not count.
            if let OpConfig::Dense {
                activation,
                frac_bits,
                ..
            } = &mut layer.op
                && *activation == Activation::Relu
            {
                (*activation, *frac_bits) = (Activation::Tanh, 15);
            }
        }
        // Only the first output has a digest.
        config.metadata.outputs.truncate(1);
        if name == "joined" {
            config.layers.pop();
        }
        (name.to_string(), ModelParams::random(5, &config))
    });
    stacks.chain(samples).collect()
}

/// Every matrix.
fn matrices<'p>(params: &'p mut ModelParams) -> Vec<&'p mut QuantizedMatrix> {
    let of = |op: &'p mut OpParams| match op {
        OpParams::Dense(dense) => std::slice::from_mut(&mut dense.matrix),
        OpParams::Recurrent(recurrent) => &mut recurrent.gates[..],
        _ => &mut [],
    };
    params
        .layers
        .iter_mut()
        .flat_map(|layer| of(&mut layer.op))
        .collect()
}

/// The columns over the padding between joined inputs, by the matrices of [`matrices`].
fn padding(params: &ModelParams) -> Vec<Vec<usize>> {
    let words = encode(params).unwrap();
    let model = Model::parse(as_bytes(&words)).unwrap();
    let sizes: Vec<usize> = model.layers().map(|layer| layer.len()).collect();
    let columns = |ids: &[pipsqueak::format::VectorId]| {
        let (mut padding, mut column) = (vec![], 0);
        for id in &ids[..ids.len().max(1) - 1] {
            let end = column + sizes[id.layer()];
            column = end.next_multiple_of(4);
            padding.extend(end..column);
        }
        padding
    };
    let of = |layer: &pipsqueak::encode::LayerParams| match &layer.op {
        OpParams::Dense(_) => vec![columns(&layer.inputs)],
        OpParams::Recurrent(recurrent) => {
            let has_input = |gate: &QuantizedMatrix| gate.format.columns[0] > 0;
            let columns = columns(&layer.inputs);
            let of = |gate| {
                if has_input(gate) {
                    columns.clone()
                } else {
                    vec![]
                }
            };
            recurrent.gates.iter().map(of).collect()
        }
        _ => vec![],
    };
    params.layers.iter().flat_map(of).collect()
}

fn recorded(params: &ModelParams) -> u32 {
    let words = encode(params).unwrap();
    Model::parse(as_bytes(&words)).unwrap().digest()
}

fn computed(model: &[u8]) -> (u32, u32) {
    let words = to_words(model);
    let model = Model::parse(as_bytes(&words)).unwrap();
    let mut workspace = vec![0; model.workspace_len()];
    let mut session = Session::new(&model, &mut workspace).unwrap();
    (output_digest(&mut session).unwrap(), model.digest())
}

#[test]
fn a_changed_weight_with_a_good_checksum_is_found() {
    for (name, mut params) in models() {
        let words = encode(&params).unwrap();
        let (found, expected) = computed(as_bytes(&words));
        assert_eq!(found, expected, "{name}");
        let recorded = &as_bytes(&words)[16..20];
        let first = &mut *matrices(&mut params)[0];
        first.weights[5] ^= match first.format.formats[0] {
            WeightFormat::Int8 => 0x20,
            WeightFormat::Int4 | WeightFormat::Int8Scaled => 4,
        };
        let words = encode(&params).unwrap();
        let mut changed = as_bytes(&words).to_vec();
        changed[16..20].copy_from_slice(recorded);
        update_checksum(&mut changed);
        let (found, unchanged) = computed(&changed);
        assert_eq!(unchanged, expected);
        assert_ne!(found, expected, "{name}");
    }
}

#[test]
fn every_weight_counts() {
    for (name, mut params) in models() {
        let before = recorded(&params);
        let padding = padding(&params);
        let (mut hidden, mut saturated, mut all) = (0, 0, 0);
        for (matrix, padding) in padding.iter().enumerate() {
            let format = matrices(&mut params)[matrix].format;
            for at in 0..matrices(&mut params)[matrix].weights.len() {
                let column = at % format.num_columns();
                if padding.contains(&column) {
                    continue;
                }
                let old = matrices(&mut params)[matrix].weights[at];
                let part = usize::from(column >= format.columns[0]);
                let [small, large] = match format.formats[part] {
                    WeightFormat::Int8 | WeightFormat::Int8Scaled => [8, 100],
                    WeightFormat::Int4 => [1, 7],
                };
                let mut is_seen = |by: i8| {
                    let new = if old > 0 { old - by } else { old + by };
                    matrices(&mut params)[matrix].weights[at] = new;
                    recorded(&params) != before
                };
                // Rounding may hide a small change of what counts once, as an initial state's weights do, but not a large one.
                if !is_seen(small) {
                    hidden += 1;
                    saturated += usize::from(!is_seen(large));
                }
                matrices(&mut params)[matrix].weights[at] = old;
                all += 1;
            }
            let groups = format.scale_groups().count();
            for at in 0..matrices(&mut params)[matrix].scales.len() {
                // The scale of int8 columns without scales is 1.
                let input_groups = match format.formats[0] {
                    WeightFormat::Int4 => format.columns[0].div_ceil(32),
                    _ => format.columns[0].min(1),
                };
                let part = usize::from(at % groups >= input_groups);
                // More would leave 32 bits where it is times 8.
                let change = match format.formats[part] {
                    WeightFormat::Int8 => continue,
                    _ if format.formats[0] == format.formats[1] => 0x80,
                    _ => 8,
                };
                matrices(&mut params)[matrix].scales[at] ^= change;
                assert_ne!(recorded(&params), before, "{name}: {matrix}, scale {at}");
                matrices(&mut params)[matrix].scales[at] ^= change;
            }
        }
        // The states of an encoder count through the initial states of its decoder only.
        // Those before a tanh that is nearly 1 count little.
        let percent = match &name[..] {
            "translator" => 2,
            "joined" => 5,
            _ => 1,
        };
        assert!(hidden * 100 <= percent * all, "{name}: {hidden} of {all}");
        assert!(saturated * 200 <= all, "{name}: {saturated} of {all}");
    }
}

#[test]
fn every_element_of_a_constant_initial_state_counts() {
    let mut params = ModelParams::random(5, &sample("rnn"));
    let before = recorded(&params);
    for unit in 0..11 {
        let mut changed = params.clone();
        let OpParams::Constant { values, .. } = &mut changed.layers[0].op else {
            panic!("layer 0 is constant");
        };
        values[unit] ^= 1 << 10;
        assert_ne!(recorded(&changed), before, "unit {unit}");
    }
    let OpParams::Recurrent(recurrent) = &mut params.layers[2].op else {
        panic!("layer 2 is recurrent");
    };
    recurrent.init[0] = None;
    assert_ne!(recorded(&params), before);
}

/// The weights of each matrix, padded.
#[test]
fn the_kernels_are_compared_on_all_weights() {
    let pad = |n: usize| n.next_multiple_of(4);
    for (name, mut params) in models() {
        let words = encode(&params).unwrap();
        let model = Model::parse(as_bytes(&words)).unwrap();
        let mut workspace = vec![0; model.workspace_len()];
        let mut session = Session::new(&model, &mut workspace).unwrap();
        let frame = [9000; 16];
        let input = match model.input_of(Phase::Step) {
            None => StepInput::Repeat,
            Some(layer) if layer.vocab_size().is_some() => StepInput::Token(1),
            Some(layer) => StepInput::Frame(&frame[..layer.len()]),
        };
        session.push(input).unwrap();
        let weights = |matrix: &&mut QuantizedMatrix| {
            pad(matrix.bias.len()) * matrix.format.columns.map(pad).iter().sum::<usize>()
        };
        let expected = matrices(&mut params).iter().map(weights).sum();
        assert_eq!(
            verify_kernels(&mut session, Coverage::Full),
            Ok(expected),
            "{name}"
        );
        for (index, layer) in model.layers().enumerate() {
            if layer.cell().is_some() {
                let hidden = session.hidden(index).unwrap();
                assert!(
                    hidden.iter().all(|&h| h == 0),
                    "{name}: the session is reset"
                );
            }
        }
        let Ok(quick) = verify_kernels(&mut session, Coverage::Quick) else {
            panic!("{name}: a kernel that is right for all weights is right for some");
        };
        assert!(
            0 < quick && quick < expected,
            "{name}: {quick} of {expected}"
        );
    }
}
