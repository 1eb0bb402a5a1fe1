//! The settings that the console's user can change.

use pipsqueak::Temperature;

/// The settings of the console. `temperature`, `seed` and `top_k` take effect with the next prompt, `length` and `pace_ms`
/// at once.
#[derive(Clone, Copy)]
pub(crate) struct ConsoleSettings {
    /// Sampling temperature; 0 is greedy.
    pub temperature: Temperature,
    /// Seed of the random number generator.
    pub seed: u64,
    /// Characters per text, at least 1.
    pub length: u32,
    /// Number of most likely tokens to sample among; 0: all.
    pub top_k: u16,
    /// Pause after each character, in milliseconds.
    pub pace_ms: u16,
}

/// A new value of one setting.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Temperature(Temperature),
    Seed(u64),
    Length(u32),
    TopK(u16),
    Pace(u16),
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        let pipsqueak::SamplingParams {
            temperature,
            top_k,
            seed,
        } = pipsqueak::SamplingParams::default();
        Self {
            temperature,
            seed,
            length: 400,
            top_k,
            pace_ms: 0,
        }
    }
}

impl ConsoleSettings {
    /// Changes one setting.
    pub fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Temperature(temperature) => self.temperature = temperature,
            Setting::Seed(seed) => self.seed = seed,
            Setting::Length(length) => self.length = length,
            Setting::TopK(top_k) => self.top_k = top_k,
            Setting::Pace(pace_ms) => self.pace_ms = pace_ms,
        }
    }

    /// The settings that the generator takes.
    pub fn sampling(&self) -> pipsqueak::SamplingParams {
        pipsqueak::SamplingParams {
            temperature: self.temperature,
            top_k: self.top_k,
            seed: self.seed,
        }
    }
}
