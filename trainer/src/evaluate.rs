//! How well a model predicts a text: the mean surprise over its characters, read as one stream.

use crate::model::Model;
use crate::network::{Network, nats};
use pipsqueak::{Image, State, WorkspaceError};
use std::time::Instant;

/// A model's loss on a text.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// Mean of `-ln p` of each character after the first.
    pub nats_per_char: f64,
    /// The same in bits.
    pub bits_per_char: f64,
    /// `e` to the power of the nats: as unsure as a fair draw among so many characters.
    pub perplexity: f64,
    /// Characters that were predicted: all that were read but the first.
    pub characters: usize,
    /// Characters that the vocabulary lacks, left out.
    pub skipped: usize,
    /// Speed on this machine, one thread.
    pub characters_per_second: f64,
}

impl Evaluation {
    fn new(total: f64, characters: usize, begun: Instant) -> Self {
        let nats_per_char = total / characters.max(1) as f64;
        Self {
            nats_per_char,
            bits_per_char: nats_per_char / std::f64::consts::LN_2,
            perplexity: nats_per_char.exp(),
            characters,
            skipped: 0,
            characters_per_second: characters as f64 / begun.elapsed().as_secs_f64().max(1e-9),
        }
    }
}

/// Evaluates a model of either kind from a zero state; `seen` is told of each character.
///
/// # Errors
/// As [`integer`].
///
/// # Panics
/// If a token is not in the vocabulary.
pub fn model(
    model: &Model,
    tokens: &[u16],
    seen: impl FnMut(),
) -> Result<Evaluation, WorkspaceError> {
    match model {
        Model::Float(network) => Ok(float(network, tokens, seen)),
        Model::Integer(bytes) => integer(&bytes.image(), tokens, seen),
    }
}

/// Evaluates the float network from a zero state; `seen` is told of each character.
///
/// # Panics
/// If a token is not in the vocabulary.
pub fn float(network: &Network, tokens: &[u16], mut seen: impl FnMut()) -> Evaluation {
    let begun = Instant::now();
    let mut state = network.state();
    let mut total = 0.0;
    for pair in tokens.windows(2) {
        network.step(&mut state, pair[0]);
        total += nats(&network.logits(&state), pair[1]);
        seen();
    }
    Evaluation::new(total, tokens.len().saturating_sub(1), begun)
}

/// Evaluates an image by running the very code of the boards, from a zero state; `seen` is told of each character.
///
/// # Errors
/// Never: the workspace is as large as the image asks for.
///
/// # Panics
/// If a token is not in the vocabulary.
pub fn integer(
    image: &Image,
    tokens: &[u16],
    mut seen: impl FnMut(),
) -> Result<Evaluation, WorkspaceError> {
    let begun = Instant::now();
    let mut workspace = vec![0; image.workspace_len()];
    let mut state = State::new(image, &mut workspace)?;
    let one = f32::from(1u16 << image.logit_bits());
    let mut total = 0.0;
    let mut logits = vec![0.0; image.outputs()];
    for pair in tokens.windows(2) {
        state.step(pair[0]);
        for (float, &fixed) in logits.iter_mut().zip(&*state.logits()) {
            *float = f32::from(fixed) / one;
        }
        total += nats(&logits, pair[1]);
        seen();
    }
    Ok(Evaluation::new(
        total,
        tokens.len().saturating_sub(1),
        begun,
    ))
}
