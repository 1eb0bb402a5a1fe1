//! What the console's user can set.

use pipsqueak::Temperature;

/// The settings of the console. `temperature`, `seed` and `top_k` count from the next prompt on, `length` and `pace_ms`
/// at once.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// How freely tokens are drawn; 0 is greedy.
    pub temperature: Temperature,
    /// The seed of the generator of random numbers.
    pub seed: u64,
    /// The text's length in characters.
    pub length: u32,
    /// Draw among so many of the likeliest tokens; 0: among all.
    pub top_k: u16,
    /// The pause after each character, in milliseconds.
    pub pace_ms: u16,
}

impl Default for Settings {
    fn default() -> Self {
        let pipsqueak::Settings {
            temperature,
            top_k,
            seed,
        } = pipsqueak::Settings::default();
        Self {
            temperature,
            seed,
            length: 400,
            top_k,
            pace_ms: 0,
        }
    }
}

impl Settings {
    /// The part of them that the generator takes.
    pub fn generator(&self) -> pipsqueak::Settings {
        pipsqueak::Settings {
            temperature: self.temperature,
            top_k: self.top_k,
            seed: self.seed,
        }
    }
}
