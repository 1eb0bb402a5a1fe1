//! How well a model predicts a text: the mean surprise over its tokens and its characters, read as one stream.

use crate::data::vocab::Measure;
use crate::inference::model::Model;
use crate::network::{Network, cross_entropy};
use pipsqueak::{ModelView, Session, SessionError};
use std::time::Instant;

/// A model's loss on a text.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// The sum of all surprises, nats.
    #[serde(skip)]
    total: f64,
    /// Mean of `-ln p` of each token after the first.
    pub nats_per_token: f64,
    /// What the text takes, unknown words spelled out, by its characters, nats.
    pub nats_per_char: f64,
    /// The same in bits.
    pub bits_per_char: f64,
    /// `e` to the power of the nats per token: as unsure as a fair draw among so many tokens.
    pub perplexity: f64,
    /// Tokens that were predicted: all that were read but the first.
    pub tokens: usize,
    /// How many of them stand for what the vocabulary lacks.
    pub unknown: usize,
    /// Characters of the tokens that were predicted; an end of text counts as one.
    pub characters: usize,
    /// Characters that the vocabulary lacks, left out.
    pub skipped: usize,
    /// Speed on this machine, one thread.
    pub characters_per_second: f64,
}

impl Evaluation {
    /// Each token a character.
    fn new(total: f64, tokens: usize, begun: Instant) -> Self {
        let nats_per_token = total / tokens.max(1) as f64;
        Self {
            total,
            nats_per_token,
            nats_per_char: nats_per_token,
            bits_per_char: nats_per_token / std::f64::consts::LN_2,
            perplexity: nats_per_token.exp(),
            tokens,
            unknown: 0,
            characters: tokens,
            skipped: 0,
            characters_per_second: tokens as f64 / begun.elapsed().as_secs_f64().max(1e-9),
        }
    }

    /// The same, told by the characters that the predicted tokens stand for; unknown ones cost their spelling too.
    pub fn by_character(self, measure: Measure) -> Self {
        let characters = measure.characters;
        let nats_per_char = (self.total + measure.spelling) / characters.max(1) as f64;
        Self {
            nats_per_char,
            bits_per_char: nats_per_char / std::f64::consts::LN_2,
            unknown: measure.unknown,
            characters,
            characters_per_second: self.characters_per_second * characters as f64
                / self.tokens.max(1) as f64,
            ..self
        }
    }
}

/// Evaluates a model of either kind from a zero state; `seen` is told of each token.
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
) -> Result<Evaluation, SessionError> {
    match model {
        Model::Float(network) => Ok(float(network, tokens, seen)),
        Model::Integer(bytes) => integer(&bytes.image(), tokens, seen),
    }
}

/// Evaluates the float network from a zero state; `seen` is told of each token.
///
/// # Panics
/// If a token is not in the vocabulary.
pub fn float(network: &Network, tokens: &[u16], mut seen: impl FnMut()) -> Evaluation {
    let begun = Instant::now();
    let mut state = network.state();
    let mut total = 0.0;
    for pair in tokens.windows(2) {
        network.step(&mut state, pair[0]);
        total += cross_entropy(&network.logits(&state), pair[1]);
        seen();
    }
    Evaluation::new(total, tokens.len().saturating_sub(1), begun)
}

/// Evaluates a model file by running the very code of the boards, from a zero state; `seen` is told of each token.
///
/// # Errors
/// If the model reads something else than tokens, or a token is not in its vocabulary.
pub fn integer(
    model: &ModelView,
    tokens: &[u16],
    mut seen: impl FnMut(),
) -> Result<Evaluation, SessionError> {
    let begun = Instant::now();
    let mut workspace = vec![0; model.workspace_len()];
    let mut session = Session::new(model, &mut workspace)?;
    let output = model.output().ok_or(SessionError::NoSuchVector)?;
    let one = f32::from(1u16 << output.frac_bits());
    let mut total = 0.0;
    let mut logits = vec![0.0; output.len()];
    for pair in tokens.windows(2) {
        session.push_token(pair[0])?;
        for (float, &fixed) in logits.iter_mut().zip(&*session.logits()?) {
            *float = f32::from(fixed) / one;
        }
        total += cross_entropy(&logits, pair[1]);
        seen();
    }
    Ok(Evaluation::new(
        total,
        tokens.len().saturating_sub(1),
        begun,
    ))
}
