//! Text from the float network, by the very sampler of the boards.

use crate::network::{FloatState, Network};
use pipsqueak::{Pcg32, Sampler, Settings};

/// Fraction bits that float logits are rounded to for the sampler.
pub(crate) const LOGIT_BITS: u32 = 10;

/// Logits as the sampler takes them. A cast from float saturates.
pub(crate) fn fixed(logits: &[f32]) -> Vec<i16> {
    let one = f32::from(1u16 << LOGIT_BITS);
    let fixed = |logit: &f32| (logit * one).round() as i16;
    logits.iter().map(fixed).collect()
}

/// Yields the text that follows a prompt, a token at a time, without end: [`pipsqueak::Generator`] in float.
pub struct FloatGenerator<'n> {
    network: &'n Network,
    state: FloatState,
    sampler: Sampler,
    rng: Pcg32,
    pending: u16,
}

impl<'n> FloatGenerator<'n> {
    /// A generator that has read `prompt`, or the network's start token when there is none.
    ///
    /// # Panics
    /// If the network has no vocabulary, or a token is not in it.
    pub fn new(network: &'n Network, prompt: &[u16], settings: Settings) -> Self {
        let mut state = network.state();
        let (&pending, read) = prompt
            .split_last()
            .unwrap_or((&network.vocabulary().start(), &[]));
        for &token in read {
            network.step(&mut state, token);
        }
        let sampler = Sampler::new(settings.temperature, settings.top_k);
        Self {
            network,
            state,
            sampler,
            rng: settings.rng(),
            pending,
        }
    }
}

impl<'n> Iterator for FloatGenerator<'n> {
    type Item = &'n str;

    fn next(&mut self) -> Option<&'n str> {
        self.network.step(&mut self.state, self.pending);
        let logits = fixed(&self.network.logits(&self.state));
        self.pending = self.sampler.draw(&logits, LOGIT_BITS, &mut self.rng);
        Some(self.network.vocabulary().text(self.pending))
    }
}
