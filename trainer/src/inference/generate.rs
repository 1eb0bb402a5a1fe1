//! Text generation by the float network with the sampler that runs on boards, and detection of repetition.

use crate::network::{Network, State};
use pipsqueak::{Generator, Pcg32, Sampler, SamplingParams, Temperature};

/// Always samples the most likely token.
pub const GREEDY: SamplingParams = SamplingParams {
    temperature: Temperature::GREEDY,
    top_k: 0,
    seed: 0,
};

/// Fraction bits of the logits that the sampler reads: Q5.10.
const LOGIT_FRAC_BITS: u32 = 10;

/// Logits in Q5.10, saturated.
fn to_fixed(logits: &[f32]) -> Vec<i16> {
    let one = f32::from(1u16 << LOGIT_FRAC_BITS);
    logits
        .iter()
        .map(|logit| (logit * one).round() as i16)
        .collect()
}

/// Samples the tokens after a prompt, until EOS, which is left out: [`pipsqueak::Generator`] in float.
pub struct FloatGenerator<'n> {
    network: &'n Network,
    state: State,
    sampler: Sampler,
    rng: Pcg32,
    /// The token to read next; none after EOS.
    pending: Option<u16>,
}

impl<'n> FloatGenerator<'n> {
    /// Reads `prompt` from `state`, preceded by the start token if that is a special token or the prompt is empty.
    ///
    /// # Panics
    /// Panics if the network has no vocabulary, or a token is not in it.
    pub fn new(
        network: &'n Network,
        mut state: State,
        prompt: &[u16],
        settings: SamplingParams,
    ) -> Self {
        let vocabulary = network.vocabulary();
        let start = vocabulary.initial_token();
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

    /// Generates a text from `state`, without a prompt.
    ///
    /// # Panics
    /// Panics if the network has no vocabulary.
    pub fn from_state(network: &'n Network, state: State, settings: SamplingParams) -> Self {
        let vocabulary = network.vocabulary();
        Self {
            network,
            state,
            sampler: Sampler::new(settings.temperature, settings.top_k),
            rng: settings.rng(),
            pending: Some(vocabulary.initial_token()),
        }
    }
}

impl Iterator for FloatGenerator<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.network.step(&mut self.state, self.pending?);
        let mut logits = to_fixed(&self.network.logits(&self.state));
        let specials = self.network.vocabulary().specials();
        let sampled =
            self.sampler
                .sample_masked(&mut logits, LOGIT_FRAC_BITS, specials, &mut self.rng);
        self.pending = (Some(sampled) != specials.eos).then_some(sampled);
        self.pending
    }
}

/// The tokens that `generator` samples, until EOS, which is left out.
///
/// # Panics
/// Panics if the model does not generate text: [`pipsqueak::ModelView::is_autoregressive`].
pub fn tokens(generator: &mut Generator) -> impl Iterator<Item = u16> {
    let eos = generator.model().vocabulary().special_tokens().eos;
    let next = || generator.next_token().expect("the model generates text");
    std::iter::repeat_with(next).take_while(move |token| Some(*token) != eos)
}

/// The end of a text that repeats one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Tokens before the first occurrence of the part.
    pub begin: usize,
    /// Tokens of the part.
    pub length: usize,
}

/// Occurrences that count as a repetition.
const OCCURRENCES: usize = 3;

/// Finds the shortest part that `tokens` ends with at least three times.
///
/// ```
/// use trainer::inference::generate::{Repetition, repetition};
/// assert_eq!(repetition(&[7, 8, 1, 2, 1, 2, 1, 2, 1]), Some(Repetition { begin: 2, length: 2 }));
/// assert_eq!(repetition(&[1, 2, 1, 2]), None);
/// ```
pub fn repetition(tokens: &[u16]) -> Option<Repetition> {
    (1..=tokens.len() / OCCURRENCES).find_map(|length| {
        let later = tokens[length..].iter().rev();
        let same = tokens[..tokens.len() - length]
            .iter()
            .rev()
            .zip(later)
            .take_while(|(token, later)| token == later)
            .count();
        let found = Repetition {
            begin: tokens.len() - length - same,
            length,
        };
        (same + length >= OCCURRENCES * length).then_some(found)
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
    fn repetitions_are_those_of_an_exhaustive_search() {
        let mut found = 0;
        // All texts of two letters, up to 13 of them.
        for n in 0..14 {
            for bits in 0..1u32 << n {
                let tokens: Vec<u16> = (0..n).map(|i| (bits >> i & 1) as u16).collect();
                let pairs = (1..=n).flat_map(|length| (0..n).map(move |begin| (length, begin)));
                let expected = pairs
                    .filter(|(length, begin)| repeats(&tokens, *begin, *length))
                    .map(|(length, begin)| Repetition { begin, length })
                    .next();
                assert_eq!(repetition(&tokens), expected, "{tokens:?}");
                found += usize::from(expected.is_some());
            }
        }
        assert!(found > 1000);
    }
}
