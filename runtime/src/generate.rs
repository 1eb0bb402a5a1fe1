//! Prompt in, text out.

use crate::features::{self, FeatureError};
use crate::image::{Image, Specials};
use crate::level::Level;
use crate::sampler::{Sampler, Temperature};
use crate::state::{Feed, State, WorkspaceError};
use crate::vocabulary::Vocabulary;
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

/// Reads a prompt and yields the text that follows, a token's text at a time, until the model ends it; most never do.
///
/// A language model's text goes on after a [`prompt`](Self::prompt), or begins after [`Image::start`]. What an
/// encoder-decoder makes comes after [`source`](Self::source), what is made of a feature vector after
/// [`features`](Self::features). The same image, settings and input give the same text.
#[derive(Debug)]
pub struct Generator<'i, 'w, R = Pcg32> {
    state: State<'i, 'w>,
    sampler: Sampler,
    rng: R,
    /// The token that the state has not seen yet.
    pending: Option<u16>,
    /// The token whose text comes after the space before it.
    held: Option<u16>,
    /// Whether the state has seen a token.
    begun: bool,
    /// Whether the text has ended.
    ended: bool,
    /// Tokens drawn.
    drawn: u16,
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

    /// Begins anew: the state is at its start, the random numbers begin at the seed, and nothing has been read.
    pub fn restart(&mut self, settings: Settings) {
        self.rng = settings.rng();
        self.sampler = Sampler::new(settings.temperature, settings.top_k);
        self.clear();
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
            held: None,
            begun: false,
            ended: false,
            drawn: 0,
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

    fn clear(&mut self) {
        self.state.reset();
        (self.pending, self.held) = (None, None);
        (self.begun, self.ended, self.drawn) = (false, false, 0);
    }

    /// Begins anew with what the encoder makes of `text`, after which its end mark is read, if it has one.
    ///
    /// # Errors
    /// If a character or word is unknown and the vocabulary has no token for that. Then nothing has been read.
    pub fn source(&mut self, text: &str) -> Result<(), UnknownCharacter> {
        let vocabulary = self.image().source();
        tokens(vocabulary, text, |_| ())?;
        self.clear();
        tokens(vocabulary, text, |token| {
            self.state.feed(0, Feed::Token(token))
        })?;
        if let Some(eos) = vocabulary.specials().eos {
            self.state.feed(0, Feed::Token(eos));
        }
        self.state.hand_over();
        Ok(())
    }

    /// Begins anew with a feature vector, Q15 of its [channels](Image::feature_channels).
    pub fn features(&mut self, features: &[i16]) {
        self.clear();
        self.state.features(features);
    }

    /// The same, as text: `length=0.5, a` sets the channels `length` to 0.5 and `a` to 1, and all others to 0.
    ///
    /// # Errors
    /// If a channel is unknown or a value is no number. Then nothing has changed.
    pub fn describe(&mut self, text: &str) -> Result<(), FeatureError> {
        let image = self.image();
        features::check(image, text)?;
        self.clear();
        self.state
            .features_by(|index, channel| features::value(image, text, index, channel));
        Ok(())
    }

    /// Reads `text` by a network that has one output for the whole of it, and gives the outputs: a classifier's scores.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn classify(&mut self, text: &str) -> Result<&[i16], UnknownCharacter> {
        let image = self.image();
        let vocabulary = match image.source() {
            source if source.is_empty() => image.vocabulary(),
            source => source,
        };
        tokens(vocabulary, text, |_| ())?;
        self.clear();
        tokens(vocabulary, text, |token| self.state.step(token))?;
        Ok(self.state.logits())
    }

    /// Reads `text` as what came before. More may be read after it, also after text was generated.
    ///
    /// # Errors
    /// If a character or word is unknown and the vocabulary has no token for that. Then nothing has been read.
    pub fn prompt(&mut self, text: &str) -> Result<(), UnknownCharacter> {
        let vocabulary = self.image().vocabulary();
        tokens(vocabulary, text, |_| ())?;
        tokens(vocabulary, text, |token| self.read(token))
    }

    /// The bits per character that the model needs for `text` after what it has read, for display. Reads the text.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    #[allow(clippy::float_arithmetic, reason = "for display")]
    pub fn score(&mut self, text: &str) -> Result<f32, UnknownCharacter> {
        let image = self.image();
        tokens(image.vocabulary(), text, |_| ())?;
        let mut bits = 0.0;
        tokens(image.vocabulary(), text, |token| {
            self.catch_up();
            bits += crate::surprise(self.state.logits(), image.logit_bits(), token);
            self.read(token);
        })?;
        Ok(bits / text.chars().count().max(1) as f32)
    }

    fn read(&mut self, token: u16) {
        let start = self.image().start();
        if !self.begun && self.image().vocabulary().specials().is(start) {
            // Every text has begun after it.
            self.pending = Some(start);
        }
        if let Some(pending) = self.pending.replace(token) {
            self.state.step(pending);
        }
        (self.begun, self.ended, self.held) = (true, false, None);
    }

    /// Brings the state to where logits can be asked for.
    fn catch_up(&mut self) {
        if !self.begun {
            self.pending = Some(self.image().start());
            self.begun = true;
        }
        if let Some(token) = self.pending.take() {
            self.state.step(token);
        }
    }

    /// Draws the next token, never one that stands for no text but the one that ends it.
    pub fn next_token(&mut self) -> u16 {
        self.catch_up();
        let image = self.image();
        let vocabulary = image.vocabulary();
        let logits = self.state.logits();
        let (sampler, bits) = (&self.sampler, image.logit_bits());
        let token = if vocabulary.has_specials() {
            draw_allowed(sampler, logits, vocabulary.specials(), bits, &mut self.rng)
        } else {
            sampler.draw(logits, bits, &mut self.rng)
        };
        self.pending = Some(token);
        self.drawn = self.drawn.saturating_add(1);
        token
    }
}

/// Draws from all logits but those of tokens that may not be drawn: the last one takes the place of such a one.
#[inline(never)]
fn draw_allowed<R: Rng>(
    sampler: &Sampler,
    logits: &mut [i16],
    specials: Specials,
    logit_bits: u32,
    rng: &mut R,
) -> u16 {
    let mut moved = [(u16::MAX, u16::MAX); 3];
    let mut count = logits.len();
    let mut banned =
        [specials.start, specials.pad, specials.unk].map(|id| id.map_or(-1, i32::from));
    // The highest first, so that what takes a place may be drawn.
    banned.sort_unstable_by(|a, b| b.cmp(a));
    let mut before = None;
    for (moved, id) in moved.iter_mut().zip(banned) {
        let Ok(id) = u16::try_from(id) else { continue };
        let again = before.replace(id) == Some(id);
        if usize::from(id) < count && Some(id) != specials.eos && !again && count > 1 {
            count -= 1;
            logits.swap(id.into(), count);
            *moved = (id, count as u16);
        }
    }
    let logits = logits.get(..count).unwrap_or_default();
    let mut token = sampler.draw(logits, logit_bits, rng);
    // What took a place may itself have been taken elsewhere later.
    for (id, last) in moved.into_iter().rev() {
        if token == id {
            token = last;
        }
    }
    token
}

/// Calls `each` for the tokens of `text`.
fn tokens(
    vocabulary: Vocabulary,
    text: &str,
    mut each: impl FnMut(u16),
) -> Result<(), UnknownCharacter> {
    if vocabulary.level() == Level::Bytes {
        text.bytes().for_each(|byte| each(byte.into()));
        return Ok(());
    }
    let spaced = vocabulary.level().is_spaced();
    let mut rest = text;
    loop {
        if spaced {
            rest = rest.trim_ascii_start();
        }
        let Some(character) = rest.chars().next() else {
            return Ok(());
        };
        let position = text.len() - rest.len();
        let (token, length) = vocabulary.first(rest).map_err(|_| UnknownCharacter {
            character,
            position,
        })?;
        each(token);
        rest = rest.get(length..).unwrap_or_default();
    }
}

impl<'i, R: Rng> Iterator for Generator<'i, '_, R> {
    type Item = &'i [u8];

    /// The next token's text: whole characters, but single bytes of a vocabulary of bytes. None after the text's end.
    fn next(&mut self) -> Option<&'i [u8]> {
        let image = self.image();
        let vocabulary = image.vocabulary();
        if let Some(token) = self.held.take() {
            return Some(vocabulary.text(token));
        }
        let limited = image.limit() > 0 && self.drawn >= image.limit();
        if self.ended || limited {
            return None;
        }
        let first = self.drawn == 0 && self.pending.is_none();
        let token = self.next_token();
        if Some(token) == vocabulary.specials().eos {
            self.ended = true;
            return None;
        }
        if vocabulary.level().is_spaced() && !first {
            self.held = Some(token);
            return Some(b" ");
        }
        Some(vocabulary.text(token))
    }
}
