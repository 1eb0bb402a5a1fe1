//! Prompt in, text out.

use super::conditioning::{self, FeatureError};
use super::surprisal::surprisal_bits;
use crate::format::Phase;
use crate::message::{Fragment, Message, display};
use crate::model::ModelView;
use crate::sampler::{Sampler, SamplingParams};
use crate::session::{InputKind, Session, SessionError, StepInput};
use crate::vocabulary::{OutOfVocabulary, Vocabulary};
use rand_core::Rng;
use rand_pcg::Pcg32;

/// Why a text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// A character or word is not in the vocabulary.
    OutOfVocabulary(OutOfVocabulary),
    /// The text is not a list of features.
    Features(FeatureError),
    /// The model reads something else.
    Session(SessionError),
}

impl From<OutOfVocabulary> for TextError {
    fn from(error: OutOfVocabulary) -> Self {
        Self::OutOfVocabulary(error)
    }
}

impl From<FeatureError> for TextError {
    fn from(error: FeatureError) -> Self {
        Self::Features(error)
    }
}

impl From<SessionError> for TextError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl Message for TextError {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        match self {
            Self::OutOfVocabulary(error) => error.write_to(out),
            Self::Features(error) => error.write_to(out),
            Self::Session(error) => error.write_to(out),
        }
    }
}

impl core::fmt::Display for TextError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for TextError {}

/// Reads a prompt and generates the text that follows, the text of one token at a time, until the model emits EOS or reaches its
/// maximum number of tokens. Most models define neither.
///
/// A language model continues a [`prompt`](Self::prompt), or begins after the vocabulary's initial token. The text of an
/// encoder-decoder model comes after [`encode_source`](Self::encode_source), that of a conditional generator after
/// [`set_conditioning`](Self::set_conditioning). The same model, parameters and input give the same text on every machine.
#[derive(Debug)]
pub struct Generator<'m, 'w, R = Pcg32> {
    session: Session<'m, 'w>,
    sampler: Sampler,
    rng: R,
    /// The token that the session has not read yet.
    pending: Option<u16>,
    /// The token whose text comes after the space before it.
    pending_word: Option<u16>,
    /// Whether the session has read, or will read, a token.
    started: bool,
    /// Whether the text has ended.
    finished: bool,
    /// Tokens generated.
    generated: u16,
}

impl<'m, 'w> Generator<'m, 'w> {
    /// A generator in the first [`ModelView::workspace_len`] words of `workspace`.
    ///
    /// # Errors
    /// If the workspace is too small.
    pub fn new(
        model: &'m ModelView<'m>,
        workspace: &'w mut [u32],
        params: SamplingParams,
    ) -> Result<Self, SessionError> {
        Self::with_rng(model, workspace, params, params.rng())
    }

    /// Starts again: the session is reset, the random number generator is seeded, and nothing has been read.
    pub fn reset(&mut self, params: SamplingParams) {
        self.rng = params.rng();
        self.sampler = Sampler::new(params.temperature, params.top_k);
        self.clear();
    }
}

impl<'m, 'w, R: Rng> Generator<'m, 'w, R> {
    /// Like [`new`](Generator::new) with another random number generator; the seed of `params` is not used.
    ///
    /// # Errors
    /// If the workspace is too small.
    pub fn with_rng(
        model: &'m ModelView<'m>,
        workspace: &'w mut [u32],
        params: SamplingParams,
        rng: R,
    ) -> Result<Self, SessionError> {
        Ok(Self {
            session: Session::new(model, workspace)?,
            sampler: Sampler::new(params.temperature, params.top_k),
            rng,
            pending: None,
            pending_word: None,
            started: false,
            finished: false,
            generated: 0,
        })
    }

    /// The model.
    pub fn model(&self) -> &'m ModelView<'m> {
        self.session.model()
    }

    /// The session, to run a [self-test](crate::selftest) in. A text that has begun is lost: [`reset`](Generator::reset).
    pub fn session(&mut self) -> &mut Session<'m, 'w> {
        &mut self.session
    }

    fn clear(&mut self) {
        self.session.reset();
        (self.pending, self.pending_word) = (None, None);
        (self.started, self.finished, self.generated) = (false, false, 0);
    }

    /// Starts again and reads `text` with the encoder, and then EOS, if its vocabulary has it.
    ///
    /// # Errors
    /// If a character or word is unknown and the vocabulary has no UNK token; then nothing has been read. If the model has no
    /// encoder of text.
    pub fn encode_source(&mut self, text: &str) -> Result<(), TextError> {
        let model = self.model();
        let reader = model.input_of(Phase::Source);
        if reader.is_none_or(|layer| layer.vocab_size().is_none()) {
            return Err(TextError::Session(SessionError::InputKind {
                expected: InputKind::NoSourceText,
            }));
        }
        let vocabulary = model.source_vocabulary();
        vocabulary.check(text)?;
        self.clear();
        let tokens = vocabulary.tokenize(text).map(|token| token.map(Some));
        for token in tokens.chain([Ok(vocabulary.special_tokens().eos)]) {
            if let Some(token) = token? {
                self.session.push_source(StepInput::Token(token))?;
            }
        }
        Ok(self.session.begin_steps()?)
    }

    /// Starts again with these conditioning features, element i in Q15 of 2^exponent i of [`ModelView::conditioning`].
    ///
    /// # Errors
    /// If the model has another number of features.
    pub fn set_conditioning(&mut self, features: &[i16]) -> Result<(), SessionError> {
        self.clear();
        self.session.set_conditioning(features)
    }

    /// Starts again with conditioning features as text: `length=0.5, a` sets the feature `length` to 0.5, `a` to 1 and all others
    /// to 0.
    ///
    /// # Errors
    /// If a name is unknown or a value is not a number; then nothing has changed. If the model has no features.
    pub fn set_conditioning_text(&mut self, text: &str) -> Result<(), TextError> {
        let names = self.model().source_vocabulary();
        conditioning::check(names, text)?;
        self.clear();
        let mut value = |index, exponent| conditioning::value(names, text, index, exponent);
        Ok(self.session.set_conditioning_by(&mut value, None)?)
    }

    /// Starts again, reads `text` with a classifier and returns the scores of the classes, `[classes]`.
    ///
    /// # Errors
    /// As [`encode_source`](Self::encode_source).
    pub fn classify(&mut self, text: &str) -> Result<&[i16], TextError> {
        let model = self.model();
        let vocabulary = match model.source_vocabulary() {
            source if source.is_empty() => model.vocabulary(),
            source => source,
        };
        vocabulary.check(text)?;
        self.clear();
        for token in vocabulary.tokenize(text) {
            self.session.push_token(token?)?;
        }
        Ok(self.session.logits()?)
    }

    /// Reads `text` as what came before. More can be read later, also after text was generated.
    ///
    /// # Errors
    /// If a character or word is unknown and the vocabulary has no UNK token; then nothing has been read. If the model does not
    /// read the tokens that it generates.
    pub fn prompt(&mut self, text: &str) -> Result<(), TextError> {
        let vocabulary = self.vocabulary()?;
        vocabulary.check(text)?;
        let mut position = 0;
        while let Some(token) = vocabulary.next_token(text, &mut position) {
            self.read(token?)?;
        }
        Ok(())
    }

    /// The mean surprisal of the characters of `text` after what has been read, in bits per character, for display. Reads the text.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    #[allow(clippy::float_arithmetic, reason = "for display")]
    pub fn bits_per_char(&mut self, text: &str) -> Result<f32, TextError> {
        let vocabulary = self.vocabulary()?;
        vocabulary.check(text)?;
        let frac_bits = self.frac_bits();
        let mut bits = 0.0;
        for token in vocabulary.tokenize(text) {
            let token = token?;
            self.flush_pending()?;
            bits += surprisal_bits(self.session.logits()?, frac_bits, token);
            self.read(token)?;
        }
        Ok(bits / text.chars().count().max(1) as f32)
    }

    /// The vocabulary of the tokens that are read and generated.
    fn vocabulary(&self) -> Result<&'m Vocabulary<'m>, SessionError> {
        let model = self.model();
        let vocabulary = model.output_vocabulary();
        match model.is_autoregressive() && !vocabulary.is_empty() {
            true => Ok(vocabulary),
            false => Err(SessionError::InputKind {
                expected: InputKind::NoPrompt,
            }),
        }
    }

    fn frac_bits(&self) -> u32 {
        self.model().output().map_or(0, |output| output.frac_bits())
    }

    fn read(&mut self, token: u16) -> Result<(), SessionError> {
        let vocabulary = self.model().output_vocabulary();
        let initial = vocabulary.initial_token();
        if !self.started && vocabulary.special_tokens().contains(initial) {
            // In training, every text began after it.
            self.pending = Some(initial);
        }
        if let Some(pending) = self.pending.replace(token) {
            self.session.push_token(pending)?;
        }
        (self.started, self.finished) = (true, false);
        (self.pending_word, self.generated) = (None, 0);
        Ok(())
    }

    /// Lets the session read the last token, so that its logits are those of the next one.
    fn flush_pending(&mut self) -> Result<(), SessionError> {
        if !self.started {
            self.pending = Some(self.model().output_vocabulary().initial_token());
            self.started = true;
        }
        match self.pending.take() {
            Some(token) => self.session.push_token(token),
            None => Ok(()),
        }
    }

    /// Samples the next token. BOS, PAD and UNK are masked; EOS is not.
    ///
    /// # Errors
    /// If the model does not read the tokens that it generates.
    pub fn next_token(&mut self) -> Result<u16, SessionError> {
        let model = self.model();
        if !model.is_autoregressive() || model.input_of(Phase::Step).is_none() {
            return Err(SessionError::InputKind {
                expected: InputKind::NotItsTokens,
            });
        }
        self.flush_pending()?;
        let special_tokens = model.output_vocabulary().special_tokens();
        let frac_bits = self.frac_bits();
        let logits = self.session.logits()?;
        let token = match model.output_vocabulary().has_special_tokens() {
            true => self
                .sampler
                .sample_masked(logits, frac_bits, special_tokens, &mut self.rng),
            false => self.sampler.sample(logits, frac_bits, &mut self.rng),
        };
        self.pending = Some(token);
        self.generated = self.generated.saturating_add(1);
        Ok(token)
    }
}

impl<'m, R: Rng> Iterator for Generator<'m, '_, R> {
    type Item = &'m [u8];

    /// The text of the next token: whole characters, except with [`Tokenization::Byte`](crate::Tokenization::Byte), which gives
    /// single bytes. `None` after the end of the text, and for a model that does not generate text.
    fn next(&mut self) -> Option<&'m [u8]> {
        let model = self.model();
        let vocabulary = model.output_vocabulary();
        if let Some(token) = self.pending_word.take() {
            return Some(vocabulary.text(token));
        }
        let limited = model.max_tokens() > 0 && self.generated >= model.max_tokens();
        if self.finished || limited {
            return None;
        }
        let first = self.generated == 0 && self.pending.is_none();
        let token = self.next_token().ok()?;
        if Some(token) == vocabulary.special_tokens().eos {
            self.finished = true;
            return None;
        }
        if vocabulary.tokenization().joins_with_space() && !first {
            self.pending_word = Some(token);
            return Some(b" ");
        }
        Some(vocabulary.text(token))
    }
}

#[cfg(test)]
mod tests;
