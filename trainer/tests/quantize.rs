//! The quantized network, run by the boards' own code, against the float network that it came from.

use pipsqueak::encode::{InputParts, bytes, encode};
use pipsqueak::{Image, Pcg32, State};
use rand_core::Rng;
use trainer::network::{Activation, Activations, Dense, Gru, Layer, Matrix, Network, Provenance};
use trainer::quantize::{QuantizeError, quantize};
use trainer::vocab::Vocabulary;

/// Uniform numbers in -largest to largest.
fn values(rng: &mut Pcg32, count: usize, largest: f32) -> Vec<f32> {
    (0..count)
        .map(|_| (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * largest)
        .collect()
}

fn gru(rng: &mut Pcg32, inputs: usize, hidden: usize, linear_before_reset: bool) -> Layer {
    let recurrent = 2.0 / (hidden as f32).sqrt();
    let input = if inputs > 8 {
        2.0 / (inputs as f32).sqrt()
    } else {
        1.5
    };
    Layer::Gru(Gru {
        w: Matrix::new(3 * hidden, inputs, values(rng, 3 * hidden * inputs, input)),
        r: Matrix::new(
            3 * hidden,
            hidden,
            values(rng, 3 * hidden * hidden, recurrent),
        ),
        wb: values(rng, 3 * hidden, 0.5),
        rb: values(rng, 3 * hidden, 0.5),
        linear_before_reset,
        activations: Activations::default(),
    })
}

fn first(network: &mut Network) -> &mut Gru {
    let Layer::Gru(gru) = &mut network.layers[0] else {
        panic!("a GRU");
    };
    gru
}

/// A network over `tokens` characters; an `embedding` of 0 takes one-hot tokens.
fn network(seed: u64, tokens: usize, embedding: usize, layers: &[(usize, bool)]) -> Network {
    let rng = &mut Pcg32::new(seed, 1);
    let characters = (0..tokens as u32).map(|i| char::from_u32(0x100 + i).unwrap().to_string());
    let table = (embedding > 0)
        .then(|| Matrix::new(tokens, embedding, values(rng, tokens * embedding, 2.0)));
    let mut inputs = if embedding > 0 { embedding } else { tokens };
    let mut stack = Vec::new();
    for &(hidden, linear_before_reset) in layers {
        stack.push(gru(rng, inputs, hidden, linear_before_reset));
        inputs = hidden;
    }
    let w = Matrix::new(tokens, inputs, values(rng, tokens * inputs, 1.0));
    Network::language_model(
        Vocabulary::new(characters.collect()).unwrap(),
        table,
        stack,
        Dense::linear(w, values(rng, tokens, 1.0)),
        Provenance::default(),
    )
}

/// Root of the mean squared difference of states and of logits over 24 steps.
fn differences(network: &Network) -> (f64, f64) {
    let quantized = quantize(network).unwrap();
    let words = encode(&quantized.parts).unwrap();
    let image = Image::parse(bytes(&words)).unwrap();
    let mut workspace = vec![0; image.workspace_len()];
    let mut integer = State::new(&image, &mut workspace).unwrap();
    let mut float = network.state();
    let (mut states, mut logits) = (vec![], vec![]);
    for step in 0..24usize {
        let token = (step * 7919 % network.tokens()) as u16;
        network.step(&mut float, token);
        integer.step(token);
        for (layer, hidden) in float.hidden.iter().enumerate() {
            let pairs = hidden.iter().zip(integer.hidden(layer));
            states.extend(pairs.map(|(f, &i)| f64::from(*f) - f64::from(i) / 32768.0));
        }
        let one = f64::from(1 << image.logit_bits());
        let pairs = network
            .logits(&float)
            .into_iter()
            .zip(integer.logits().to_vec());
        logits.extend(pairs.map(|(f, i)| f64::from(f) - f64::from(i) / one));
    }
    let rms =
        |values: Vec<f64>| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    (rms(states), rms(logits))
}

#[test]
fn integers_follow_float_at_every_size() {
    for after in [true, false] {
        for size in [1usize, 3, 17, 24, 65, 100, 127, 1024] {
            let wide = size.min(127);
            for network in [
                network(1, size, 0, &[(wide, after)]),
                network(2, 20, 0, &[(size, after)]),
                network(3, size, 5, &[(9, after)]),
                network(4, 30, wide, &[(6, after), (wide, !after), (5, after)]),
            ] {
                let (states, logits) = differences(&network);
                let units = network.head.dense[0].w.columns as f64;
                assert!(states < 0.01, "states {states}, size {size}, after {after}");
                assert!(
                    logits < 0.012 * units.sqrt() + 0.01,
                    "logits {logits}, {units} units"
                );
            }
        }
    }
}

#[test]
fn a_wide_embedding_folds_and_a_wide_vocabulary_does_not() {
    let kind = |network: &Network| match quantize(network).unwrap().parts.networks[0].input {
        InputParts::Table(_) => "table",
        InputParts::Embedding { .. } => "embedding",
        _ => "another",
    };
    assert_eq!(kind(&network(5, 60, 40, &[(16, true)])), "table");
    assert_eq!(kind(&network(5, 2000, 40, &[(64, true)])), "embedding");
}

#[test]
fn a_row_of_great_norm_gets_a_larger_scale() {
    let mut wide = network(6, 3, 0, &[(1024, true)]);
    let gru = first(&mut wide);
    // At 127 steps to the largest weight this row's norm would be 130,048.
    gru.r.data[..1024].fill(0.02);
    gru.r.data[1024..2048].fill(0.0);
    let quantized = quantize(&wide).unwrap();
    let row = &quantized.parts.networks[0].layers[0].gates[0].weights[..1024];
    let norm: u32 = row.iter().map(|w| u32::from(w.unsigned_abs())).sum();
    assert!((60_000..=65_535).contains(&norm), "{norm}");
    let (states, _) = differences(&wide);
    assert!(states < 0.02, "{states}");
}

#[test]
fn saturated_and_empty_networks_stay_right() {
    let mut zero = network(7, 4, 0, &[(8, true)]);
    let gru = first(&mut zero);
    for values in [&mut gru.w.data, &mut gru.r.data, &mut gru.wb, &mut gru.rb] {
        values.fill(0.0);
    }
    assert_eq!(differences(&zero).0, 0.0);
    let mut large = network(8, 4, 0, &[(8, true)]);
    let gru = first(&mut large);
    gru.w.data.iter_mut().for_each(|w| *w *= 100.0);
    let (states, _) = differences(&large);
    assert!(states < 0.02, "{states}");
}

#[test]
fn what_integers_cannot_hold_is_refused_by_name() {
    let mut network = network(9, 4, 0, &[(8, true)]);
    let gru = first(&mut network);
    gru.r.data[8] = 1e6;
    let error = quantize(&network).unwrap_err();
    assert!(
        matches!(&error, QuantizeError::Value { row: 1, .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("row 1 of layer 0 gate z has values as large as 1000000")
    );
}

#[test]
fn what_the_runtime_lacks_is_refused_by_name() {
    let said = |change: fn(&mut Network)| {
        let mut network = network(9, 4, 0, &[(8, true)]);
        change(&mut network);
        quantize(&network).unwrap_err().to_string()
    };
    let hard = said(|network| {
        first(network).activations.gate = Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        };
    });
    assert!(
        hard.contains("layer 0 is a GRU with") && hard.contains("HardSigmoid"),
        "{hard}"
    );
}
