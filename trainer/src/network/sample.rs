//! Untrained networks of every shape, for tests and measurements.

use super::{
    Activation, Activations, Builder, Dense, Dim, ElementType, Gru, InitialState, Lstm, Matrix,
    Network, Normalization, Op, Phase, Provenance, RecurrentCell, Signature, StateId, TensorRole,
    TensorSpec, VectorId,
};
use crate::data::tokenizer::Vocabulary;
use pipsqueak::Pcg32;
use rand_core::Rng;

/// The shape of a sample network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// V; tokens are Hebrew letters and what follows them in Unicode, so that a text in them is never one byte each.
    pub tokens: usize,
    /// H of the first layer; each next one has one unit more, so that a mix-up of layers shows.
    pub units: usize,
    /// Number of layers.
    pub layers: usize,
    /// An embedding two wider than the units, or a one-hot token into the first layer.
    pub embedding: bool,
    /// The variant of the GRU.
    pub linear_before_reset: bool,
}

/// A network of random weights; the same seed gives the same.
///
/// # Panics
/// If there are no tokens or too many for a vocabulary.
pub fn network(seed: u64, shape: Shape) -> Network {
    let Shape {
        tokens,
        units,
        layers,
        embedding,
        linear_before_reset,
    } = shape;
    let mut random = Pcg32::new(seed, 0);
    let letters = ('\u{5d0}'..)
        .filter(|letter| !letter.is_whitespace())
        .take(tokens);
    let embedding = embedding.then(|| matrix(&mut random, tokens, units + 2));
    let mut inputs = embedding.as_ref().map_or(tokens, |table| table.columns);
    let layers = (units..units + layers)
        .map(|units| {
            let mut cell = gru(&mut random, units, inputs);
            if let RecurrentCell::Gru(gru) = &mut cell {
                gru.linear_before_reset = linear_before_reset;
            }
            inputs = units;
            cell
        })
        .collect();
    let w = matrix(&mut random, tokens, inputs);
    let head = Dense::linear(w, weights(&mut random, tokens));
    let texts = letters.map(String::from).collect();
    let vocabulary = Vocabulary::new(texts).expect("different letters");
    let provenance = Provenance {
        corpus: "שירים \"1\".txt".into(),
        split: "first 90 %".into(),
        steps: 1_000,
        seed: u64::MAX,
        train_loss: Some(1.5),
        validation_loss: None,
    };
    Network::language_model(vocabulary, embedding, layers, 1, vec![head], provenance)
        .expect("the lengths fit")
}

/// Between -1 and 1.
fn weights(random: &mut Pcg32, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}

/// Rows whose products stay near 1: larger weights make the recurrence chaotic, and rounding grows from step to step.
fn matrix(random: &mut Pcg32, rows: usize, columns: usize) -> Matrix {
    let scale = (columns as f32).sqrt().recip();
    let data = weights(random, rows * columns)
        .into_iter()
        .map(|w| w * scale)
        .collect();
    Matrix::new(rows, columns, data)
}

/// An untrained network with every kind of layer: an encoder of frames, features that the step reads and a state begins with, joined
/// vectors, a skip connection, two layers that run twice per token, and outputs at every step and after the last one.
///
/// # Panics
/// Never: the lengths fit.
pub fn every_layer(seed: u64) -> Network {
    const VOCAB: usize = 6;
    let random = &mut Pcg32::new(seed, 0);
    let mut builder = Builder::default();
    let features = builder.features(Phase::Step, 3);

    let frames = builder.frames(Phase::Source, 4);
    let name = "encoder input";
    let x = builder.dense(Phase::Source, name, frames, vec![dense(random, 5, 4)]);
    let cell = lstm(random, 7, 5);
    let source = builder.recurrent(Phase::Source, x, cell, Default::default());

    let about = [features, source];
    let about = push_dense(
        &mut builder,
        Phase::Begin,
        "about",
        &about,
        dense(random, 5, 10),
    );
    let list = vec![dense(random, 9, 5), dense(random, 9, 9)];
    let h0 = builder.dense(
        Phase::Begin,
        &Builder::initial_name(Phase::Step, 0, false),
        about,
        list,
    );
    let c0 = builder.push(
        Builder::initial_name(Phase::Step, 1, true),
        Phase::Begin,
        vec![],
        Op::Constant(weights(random, 9)),
    );

    let embedding = matrix(random, VOCAB, 6);
    builder.steps_per_token(Phase::Step, 2);
    let token = builder.tokens(Phase::Step, VOCAB, Some(embedding));
    let read = [token, about];
    let x = push_dense(
        &mut builder,
        Phase::Step,
        "input",
        &read,
        dense(random, 5, 11),
    );
    let init = [InitialState::Vector(h0), InitialState::Zero];
    let first = builder.recurrent(Phase::Step, x, gru(random, 9, 5), init);
    let cell = lstm(random, 9, 14);
    let init = [InitialState::External, InitialState::Vector(c0)];
    let name = "layer 1".into();
    let op = Op::Recurrent { cell, init };
    let second = builder.push(name, Phase::Step, vec![x, first], op);
    let sum = builder.push("skip".into(), Phase::Step, vec![first, second], Op::Sum);
    let mean = builder.mean(sum);

    let logits = builder.dense(Phase::Output, "head", sum, vec![dense(random, VOCAB, 9)]);
    let scores = builder.dense(Phase::Output, "scores", mean, vec![dense(random, 4, 9)]);
    let both = [sum, first];
    let last = push_dense(
        &mut builder,
        Phase::Output,
        "last",
        &both,
        dense(random, 2, 18),
    );
    builder.output("logits", logits, true, Normalization::LogSoftmax);
    builder.output("scores", scores, false, Normalization::Softmax);
    builder.output("last", last, false, Normalization::None);
    builder.output("skip", sum, true, Normalization::None);
    let network = builder.build().expect("the lengths fit");

    let spec = |name: &str, element, shape: &[Dim], role| TensorSpec {
        name: name.into(),
        element,
        shape: shape.to_vec(),
        role,
    };
    let (one, steps, float) = (Dim::Fixed(1), Dim::Steps, ElementType::Float);
    let fixed = Dim::Fixed;
    let state = StateId {
        layer: 1,
        cell: false,
    };
    let frames = [one, steps, fixed(4)];
    let source = Signature {
        inputs: vec![spec("frames", float, &frames, TensorRole::Frames)],
        outputs: Vec::new(),
    };
    let state = TensorRole::States(vec![state]);
    let step = Signature {
        inputs: vec![
            spec("features", float, &[one, fixed(3)], TensorRole::Features),
            spec(
                "tokens",
                ElementType::Int64,
                &[one, steps],
                TensorRole::Tokens,
            ),
            spec("h0", float, &[one, one, fixed(9)], state.clone()),
        ],
        outputs: vec![
            spec(
                "logits",
                float,
                &[one, steps, fixed(VOCAB)],
                TensorRole::Output,
            ),
            spec("scores", float, &[one, fixed(4)], TensorRole::of_output(1)),
            spec(
                "last",
                float,
                &[one, one, fixed(2)],
                TensorRole::of_output(2),
            ),
            spec(
                "skip",
                float,
                &[one, steps, fixed(9)],
                TensorRole::of_output(3),
            ),
            spec("hn", float, &[one, one, fixed(9)], state),
        ],
    };
    network
        .with_signatures([source, step])
        .expect("the states exist")
}

fn push_dense(
    builder: &mut Builder,
    phase: Phase,
    name: &str,
    inputs: &[VectorId],
    dense: Dense,
) -> VectorId {
    builder.push(name.into(), phase, inputs.to_vec(), Op::Dense(dense))
}

fn dense(random: &mut Pcg32, outputs: usize, inputs: usize) -> Dense {
    Dense {
        w: matrix(random, outputs, inputs),
        b: weights(random, outputs),
        activation: Activation::Tanh,
    }
}

fn gru(random: &mut Pcg32, units: usize, inputs: usize) -> RecurrentCell {
    RecurrentCell::Gru(Gru {
        w: matrix(random, 3 * units, inputs),
        r: matrix(random, 3 * units, units),
        wb: weights(random, 3 * units),
        rb: weights(random, 3 * units),
        linear_before_reset: true,
        activations: Activations::default(),
    })
}

fn lstm(random: &mut Pcg32, units: usize, inputs: usize) -> RecurrentCell {
    RecurrentCell::Lstm(Lstm {
        w: matrix(random, 4 * units, inputs),
        r: matrix(random, 4 * units, units),
        wb: weights(random, 4 * units),
        rb: weights(random, 4 * units),
        activations: Activations::default(),
    })
}
