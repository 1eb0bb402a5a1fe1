//! An n-gram model as the teacher of a language model on a small text.
//!
//! On a small text an n-gram model predicts better than a network that is trained on the text alone: the network memorises the text
//! before it has learned from it. So the network learns from both (Hinton et al. 2015): from the text, and from text that the n-gram
//! model generates, whose targets are the distributions that each token was drawn from. The n-gram model keeps the network from
//! memorising, and the text lets it become better than its teacher.

use rand_core::Rng;

use super::Data;
use super::config::DistillationConfig;
use super::distill::SoftTargets;
use super::text::TextData;
use crate::data::ngram::KneserNey;
use crate::nn::random::{self, Purpose};

/// The highest order that is tried.
pub const MAX_ORDER: usize = 8;
/// Training tokens, at most, up to which a text has an n-gram teacher by default: larger texts do not need one.
pub const MAX_TOKENS: usize = 300_000;
/// Size of the vocabulary, at most, for the same: characters and bytes.
pub const MAX_VOCAB_SIZE: usize = 512;
/// Tokens that the teacher generates.
const SYNTHETIC_TOKENS: usize = 500_000;
/// A probability of 1 in soft targets.
const ONE: f64 = u16::MAX as f64;

/// Weight of the distillation loss and fraction of generated text with an n-gram teacher: the text's own rows have plain targets.
pub const WEIGHTS: (f32, f32) = (0.95, 0.9);

/// Chooses the best order on dev for a small text of characters or bytes; of other data there is no n-gram teacher.
pub fn choose(data: &Data, distillation: &mut DistillationConfig) {
    let Data::Text(text) = data else { return };
    let is_small = text.train_tokens() <= MAX_TOKENS && text.vocabulary().len() <= MAX_VOCAB_SIZE;
    if let Some((order, _)) = is_small.then(|| text.best_ngram(MAX_ORDER)).flatten() {
        distillation.ngram_order = order;
        (distillation.distill_weight, distillation.synthetic_fraction) = WEIGHTS;
    }
}

/// The soft targets of the n-gram model of this order, which counts the training part of `text`: for the text itself its own tokens,
/// for text that the model generates the model's distributions. `sha256` is that of the data.
///
/// # Panics
/// If the text has no token.
pub fn soft_targets(text: &TextData, order: usize, seed: u64, sha256: &str) -> SoftTargets {
    let vocab_size = text.vocabulary().len();
    let train = text.train_ids();
    let counted: Vec<u32> = train.iter().map(|token| u32::from(*token)).collect();
    let model = KneserNey::new(&counted, vocab_size, order);
    let mut probabilities = vec![0; vocab_size * train.len()];
    for (row, next) in probabilities
        .chunks_exact_mut(vocab_size)
        .zip(train.iter().skip(1))
    {
        row[usize::from(*next)] = u16::MAX;
    }
    let mut random = random::stream(seed, Purpose::Synthetic, 0, 0);
    let mut context: Vec<u32> = counted[counted.len().saturating_sub(order)..].to_vec();
    let mut p = model.distribution(&context, order);
    let mut synthetic = Vec::with_capacity(SYNTHETIC_TOKENS);
    for _ in 0..SYNTHETIC_TOKENS {
        let token = draw(&p, f64::from(random.next_u32()) / f64::from(u32::MAX));
        synthetic.push(token as u16);
        context.push(token as u32);
        context.drain(..context.len().saturating_sub(order));
        p = model.distribution(&context, order);
        probabilities.extend(p.iter().map(|p| (p * ONE).round() as u16));
    }
    SoftTargets::new(
        sha256,
        &text.vocabularies(),
        train.len(),
        synthetic,
        probabilities,
    )
}

/// The outcome of the distribution `p` that `uniform`, 0 to 1, falls on.
fn draw(p: &[f64], uniform: f64) -> usize {
    let mut left = uniform;
    let drawn = p.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    // Rounding may leave a little at the end.
    drawn.unwrap_or(p.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_drawn_as_often_as_they_are_likely() {
        let p = [0.5, 0.0, 0.2, 0.3];
        let mut counts = [0; 4];
        for i in 0..1000 {
            counts[draw(&p, f64::from(i) / 1000.0)] += 1;
        }
        assert!(
            counts
                .iter()
                .zip([500, 0, 200, 300])
                .all(|(found, expected): (&i32, i32)| (found - expected).abs() <= 1),
            "{counts:?}"
        );
        assert_eq!(draw(&p, 1.0), 3);
    }
}
