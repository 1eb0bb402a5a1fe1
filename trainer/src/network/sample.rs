//! Untrained networks of every shape, for tests and measurements.

use crate::data::vocab::Vocabulary;
use crate::network::{Activations, Dense, Gru, Matrix, Network, Provenance, RecurrentCell};
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
            let gru = Gru {
                w: matrix(&mut random, 3 * units, inputs),
                r: matrix(&mut random, 3 * units, units),
                wb: weights(&mut random, 3 * units),
                rb: weights(&mut random, 3 * units),
                linear_before_reset,
                activations: Activations::default(),
            };
            inputs = units;
            RecurrentCell::Gru(gru)
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
