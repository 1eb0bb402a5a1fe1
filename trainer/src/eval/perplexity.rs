//! The cross-entropy loss of a language model on a text, per token and per character, in one pass from the zero state.

use crate::data::tokenizer::CharStats;
use crate::inference::model::Model;
use crate::network::{Network, cross_entropy};
use pipsqueak::{ModelView, Session, SessionError};
use std::time::Instant;

/// A model's loss on a text.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// Total surprisal, in nats.
    #[serde(skip)]
    total: f64,
    /// Mean of `-ln p` over all tokens but the first.
    pub nats_per_token: f64,
    /// Surprisal of the text, including the spelling of unknown words, divided by its characters, in nats.
    pub nats_per_char: f64,
    /// [`nats_per_char`](Self::nats_per_char) in bits.
    pub bits_per_char: f64,
    /// `e` to the power of [`nats_per_token`](Self::nats_per_token).
    pub perplexity: f64,
    /// Predicted tokens: all but the first.
    pub tokens: usize,
    /// How many of them are UNK.
    pub unknown: usize,
    /// Characters of the predicted tokens; EOS counts as one.
    pub characters: usize,
    /// Characters that were skipped because they are not in the vocabulary.
    pub skipped: usize,
    /// Speed on this machine, one thread.
    pub characters_per_second: f64,
}

impl Evaluation {
    /// An evaluation where each token is a character.
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

    /// This evaluation with losses per character of the predicted tokens; UNK costs the spelling of its word in addition.
    pub fn per_character(self, stats: CharStats) -> Self {
        let characters = stats.characters;
        let nats_per_char = (self.total + stats.spelling) / characters.max(1) as f64;
        Self {
            nats_per_char,
            bits_per_char: nats_per_char / std::f64::consts::LN_2,
            unknown: stats.unknown,
            characters,
            characters_per_second: self.characters_per_second * characters as f64
                / self.tokens.max(1) as f64,
            ..self
        }
    }
}

/// Evaluates a float or quantized model from the zero state; `on_token` is called after each token.
///
/// # Errors
/// As [`integer`].
///
/// # Panics
/// Panics if a token is not in the vocabulary.
pub fn model(
    model: &Model,
    tokens: &[u16],
    on_token: impl FnMut(),
) -> Result<Evaluation, SessionError> {
    match model {
        Model::Float(network) => Ok(float(network, tokens, on_token)),
        Model::Integer(bytes) => integer(&bytes.model(), tokens, on_token),
    }
}

/// Evaluates a float network from the zero state; `on_token` is called after each token.
///
/// # Panics
/// Panics if a token is not in the vocabulary.
pub fn float(network: &Network, tokens: &[u16], mut on_token: impl FnMut()) -> Evaluation {
    let begun = Instant::now();
    let mut state = network.state();
    let mut total = 0.0;
    for pair in tokens.windows(2) {
        network.step(&mut state, pair[0]);
        total += cross_entropy(&network.logits(&state), pair[1]);
        on_token();
    }
    Evaluation::new(total, tokens.len().saturating_sub(1), begun)
}

/// Evaluates a quantized model from the zero state with the code that runs on boards; `on_token` is called after each token.
///
/// # Errors
/// Returns an error if the model does not read tokens, or a token is not in its vocabulary.
pub fn integer(
    model: &ModelView,
    tokens: &[u16],
    mut on_token: impl FnMut(),
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
        on_token();
    }
    Ok(Evaluation::new(
        total,
        tokens.len().saturating_sub(1),
        begun,
    ))
}
