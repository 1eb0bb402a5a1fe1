//! Text from the float network, by the very sampler of the boards.

use crate::network::{Network, State};
use pipsqueak::{Generator, Pcg32, Sampler, SamplingParams, Temperature};

/// Always the likeliest token.
pub const GREEDY: SamplingParams = SamplingParams {
    temperature: Temperature::GREEDY,
    top_k: 0,
    seed: 0,
};

/// Fraction bits that float logits are rounded to for the sampler.
const LOGIT_BITS: u32 = 10;

/// Logits as the sampler takes them. A cast from float saturates.
fn fixed(logits: &[f32]) -> Vec<i16> {
    let one = f32::from(1u16 << LOGIT_BITS);
    let fixed = |logit: &f32| (logit * one).round() as i16;
    logits.iter().map(fixed).collect()
}

/// Yields the tokens that follow a prompt, until the one that ends a text, without it: [`pipsqueak::Generator`] in float.
pub struct FloatGenerator<'n> {
    network: &'n Network,
    state: State,
    sampler: Sampler,
    rng: Pcg32,
    /// The token to read next; none after the end of the text.
    pending: Option<u16>,
}

impl<'n> FloatGenerator<'n> {
    /// A generator that has read `prompt` from `state`: after the token that texts start after, where that is a special one or there is no
    /// prompt.
    ///
    /// # Panics
    /// If the network has no vocabulary, or a token is not in it.
    pub fn new(
        network: &'n Network,
        mut state: State,
        prompt: &[u16],
        settings: SamplingParams,
    ) -> Self {
        let vocabulary = network.vocabulary();
        let start = vocabulary.start();
        let mut pending = None;
        let starts = prompt.is_empty() || vocabulary.specials().contains(start);
        let read = starts.then_some(start).into_iter();
        for token in read.chain(prompt.iter().copied()) {
            if let Some(before) = pending.replace(token) {
                network.step(&mut state, before);
            }
        }
        let mut generator = Self::from_state(network, state, settings);
        generator.pending = pending;
        generator
    }

    /// A generator of a new text from `state`.
    ///
    /// # Panics
    /// If the network has no vocabulary.
    pub fn from_state(network: &'n Network, state: State, settings: SamplingParams) -> Self {
        let vocabulary = network.vocabulary();
        Self {
            network,
            state,
            sampler: Sampler::new(settings.temperature, settings.top_k),
            rng: settings.rng(),
            pending: Some(vocabulary.start()),
        }
    }
}

impl Iterator for FloatGenerator<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.network.step(&mut self.state, self.pending?);
        let mut logits = fixed(&self.network.logits(&self.state));
        let specials = self.network.vocabulary().specials();
        let drawn = self
            .sampler
            .sample_masked(&mut logits, LOGIT_BITS, specials, &mut self.rng);
        self.pending = (Some(drawn) != specials.eos).then_some(drawn);
        self.pending
    }
}

/// The tokens that an image's generator draws, until the one that ends a text, without it.
///
/// # Panics
/// If the model does not generate text: [`pipsqueak::ModelView::is_autoregressive`].
pub fn tokens(generator: &mut Generator) -> impl Iterator<Item = u16> {
    let eos = generator.model().vocabulary().special_tokens().eos;
    let next = || generator.next_token().expect("the model generates text");
    std::iter::repeat_with(next).take_while(move |token| Some(*token) != eos)
}

/// A part of a text that repeats to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Tokens before the first repetition begins.
    pub begin: usize,
    /// Tokens of one repetition.
    pub length: usize,
}

/// Repetitions that make a cycle.
const REPETITIONS: usize = 3;

/// The cycle that tokens drawn without chance have fallen into: the shortest part that they end with at least three times.
///
/// ```
/// use trainer::inference::generate::{Cycle, cycle};
/// assert_eq!(cycle(&[7, 8, 1, 2, 1, 2, 1, 2, 1]), Some(Cycle { begin: 2, length: 2 }));
/// assert_eq!(cycle(&[1, 2, 1, 2]), None);
/// ```
pub fn cycle(tokens: &[u16]) -> Option<Cycle> {
    (1..=tokens.len() / REPETITIONS).find_map(|length| {
        let later = tokens[length..].iter().rev();
        let same = tokens[..tokens.len() - length]
            .iter()
            .rev()
            .zip(later)
            .take_while(|(token, later)| token == later)
            .count();
        let cycle = Cycle {
            begin: tokens.len() - length - same,
            length,
        };
        (same + length >= REPETITIONS * length).then_some(cycle)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `tokens` from `begin` on are one part of `length` again and again, at least three times.
    fn repeats(tokens: &[u16], begin: usize, length: usize) -> bool {
        tokens.len() - begin >= 3 * length
            && (begin..tokens.len()).all(|i| tokens[i] == tokens[begin + (i - begin) % length])
    }

    #[test]
    fn cycles_are_those_of_trying_all() {
        let mut found = 0;
        // All texts of two letters, up to 13 of them.
        for n in 0..14 {
            for bits in 0..1u32 << n {
                let tokens: Vec<u16> = (0..n).map(|i| (bits >> i & 1) as u16).collect();
                let pairs = (1..=n).flat_map(|length| (0..n).map(move |begin| (length, begin)));
                let expected = pairs
                    .filter(|(length, begin)| repeats(&tokens, *begin, *length))
                    .map(|(length, begin)| Cycle { begin, length })
                    .next();
                assert_eq!(cycle(&tokens), expected, "{tokens:?}");
                found += usize::from(expected.is_some());
            }
        }
        assert!(found > 1000);
    }
}
