//! Prompt in, text out.

use crate::image::Image;
use crate::sampler::{Sampler, Temperature};
use crate::state::{State, WorkspaceError};
use rand_core::Rng;
use rand_pcg::Pcg32;

/// What, besides the image and the prompt, decides a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How freely tokens are drawn.
    pub temperature: Temperature,
    /// Only this many of the most likely tokens are drawn from; 0 leaves all in.
    pub top_k: u16,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for Settings {
    /// Temperature 0.8, all tokens, seed 42.
    fn default() -> Self {
        Self {
            temperature: Temperature::DEFAULT,
            top_k: 0,
            seed: 42,
        }
    }
}

impl Settings {
    /// The random numbers that a text of these settings draws from.
    pub fn rng(&self) -> Pcg32 {
        // The stream is the same for all: texts differ by seed alone.
        Pcg32::new(self.seed, 0x7069_7073_7175_6561)
    }
}

/// A character of a prompt that no token covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCharacter {
    /// The character.
    pub character: char,
    /// Its place in the prompt, in bytes.
    pub position: usize,
}

impl core::fmt::Display for UnknownCharacter {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let Self {
            character,
            position,
        } = self;
        let code = u32::from(*character);
        write!(
            f,
            "the model does not know {character:?} (U+{code:04X}) at byte {position} of the prompt"
        )
    }
}

impl core::error::Error for UnknownCharacter {}

/// Reads a prompt and yields the text that follows, a token at a time, without end.
///
/// Without a prompt the text begins after [`Image::start`]. The same image, settings and prompt give the same text.
#[derive(Debug)]
pub struct Generator<'i, 'w, R = Pcg32> {
    state: State<'i, 'w>,
    sampler: Sampler,
    rng: R,
    /// The token that the state has not seen yet.
    pending: Option<u16>,
    /// Whether the state has seen a token.
    begun: bool,
}

impl<'i, 'w> Generator<'i, 'w> {
    /// A generator over `workspace`, of which it uses the first [`Image::workspace_len`] words.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn new(
        image: &'i Image<'i>,
        workspace: &'w mut [u32],
        settings: Settings,
    ) -> Result<Self, WorkspaceError> {
        Self::with_rng(image, workspace, settings, settings.rng())
    }

    /// Begins anew: the state is zero, the random numbers begin at the seed, and nothing has been read.
    pub fn restart(&mut self, settings: Settings) {
        self.rng = settings.rng();
        self.sampler = Sampler::new(settings.temperature, settings.top_k);
        self.state.reset();
        self.pending = None;
        self.begun = false;
    }
}

impl<'i, 'w, R: Rng> Generator<'i, 'w, R> {
    /// The same with random numbers of your own; the settings' seed is not used.
    ///
    /// # Errors
    /// If the workspace is too small.
    pub fn with_rng(
        image: &'i Image<'i>,
        workspace: &'w mut [u32],
        settings: Settings,
        rng: R,
    ) -> Result<Self, WorkspaceError> {
        let state = State::new(image, workspace)?;
        let sampler = Sampler::new(settings.temperature, settings.top_k);
        Ok(Self {
            state,
            sampler,
            rng,
            pending: None,
            begun: false,
        })
    }

    /// The image that runs.
    pub fn image(&self) -> &'i Image<'i> {
        self.state.image()
    }

    /// The state, to try it with [`selftest`](crate::selftest). A text that has begun is lost: [`restart`](Self::restart).
    pub fn state(&mut self) -> &mut State<'i, 'w> {
        &mut self.state
    }

    /// Reads `text` as what came before. More may be read after it, also after text was generated.
    ///
    /// # Errors
    /// If a character is not in the vocabulary. Then nothing has been read.
    pub fn prompt(&mut self, text: &str) -> Result<(), UnknownCharacter> {
        self.tokens(text, |_, _| ())?;
        self.tokens(text, Self::read)
    }

    /// The bits per character that the model needs for `text` after what it has read, for display. Reads the text.
    ///
    /// # Errors
    /// If a character is not in the vocabulary. Then nothing has been read.
    #[allow(clippy::float_arithmetic, reason = "for display")]
    pub fn score(&mut self, text: &str) -> Result<f32, UnknownCharacter> {
        self.tokens(text, |_, _| ())?;
        let mut bits = 0.0;
        self.tokens(text, |generator, token| {
            generator.catch_up();
            let image = generator.image();
            bits += crate::surprise(generator.state.logits(), image.logit_bits(), token);
            generator.read(token);
        })?;
        Ok(bits / text.chars().count().max(1) as f32)
    }

    /// Calls `each` for the tokens of `text`, longest match first.
    fn tokens(
        &mut self,
        text: &str,
        mut each: impl FnMut(&mut Self, u16),
    ) -> Result<(), UnknownCharacter> {
        let vocabulary = self.image().vocabulary();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let position = text.len() - rest.len();
            let (token, length) = vocabulary.longest_match(rest).ok_or(UnknownCharacter {
                character,
                position,
            })?;
            each(self, token);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn read(&mut self, token: u16) {
        if let Some(pending) = self.pending.replace(token) {
            self.state.step(pending);
        }
        self.begun = true;
    }

    /// Brings the state to where logits can be asked for.
    fn catch_up(&mut self) {
        if !self.begun {
            self.read(self.image().start());
        }
        if let Some(token) = self.pending.take() {
            self.state.step(token);
        }
    }

    /// Draws the next token.
    pub fn next_token(&mut self) -> u16 {
        self.catch_up();
        let image = self.image();
        let token = self
            .sampler
            .draw(self.state.logits(), image.logit_bits(), &mut self.rng);
        self.pending = Some(token);
        token
    }
}

impl<'i, R: Rng> Iterator for Generator<'i, '_, R> {
    type Item = &'i str;

    /// The next token's text: whole characters. Never none.
    fn next(&mut self) -> Option<&'i str> {
        let token = self.next_token();
        Some(self.image().vocabulary().text(token))
    }
}
