//! Prompt in, text out.

use crate::image::Image;
use crate::sampler::{Sampler, SamplingParams};
use crate::state::{Feed, State, WorkspaceError};
use crate::text::conditioning::{self, FeatureError};
use crate::text::surprisal::surprisal_bits;
use crate::vocabulary::OutOfVocabulary;
use rand_core::Rng;
use rand_pcg::Pcg32;

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
        settings: SamplingParams,
    ) -> Result<Self, WorkspaceError> {
        Self::with_rng(image, workspace, settings, settings.rng())
    }

    /// Begins anew: the state is at its start, the random numbers begin at the seed, and nothing has been read.
    pub fn restart(&mut self, settings: SamplingParams) {
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
        settings: SamplingParams,
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
    pub fn source(&mut self, text: &str) -> Result<(), OutOfVocabulary> {
        let vocabulary = self.image().source();
        vocabulary.check(text)?;
        self.clear();
        for token in vocabulary.tokenize(text) {
            self.state.feed(0, Feed::Token(token?));
        }
        if let Some(eos) = vocabulary.special_tokens().eos {
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
        let names = image.source();
        conditioning::check(names, text)?;
        self.clear();
        self.state
            .features_by(|index, exponent| conditioning::value(names, text, index, exponent));
        Ok(())
    }

    /// Reads `text` by a network that has one output for the whole of it, and gives the outputs: a classifier's scores.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn classify(&mut self, text: &str) -> Result<&[i16], OutOfVocabulary> {
        let image = self.image();
        let vocabulary = match image.source() {
            source if source.is_empty() => image.vocabulary(),
            source => source,
        };
        vocabulary.check(text)?;
        self.clear();
        for token in vocabulary.tokenize(text) {
            self.state.step(token?);
        }
        Ok(self.state.logits())
    }

    /// Reads `text` as what came before. More may be read after it, also after text was generated.
    ///
    /// # Errors
    /// If a character or word is unknown and the vocabulary has no token for that. Then nothing has been read.
    pub fn prompt(&mut self, text: &str) -> Result<(), OutOfVocabulary> {
        let vocabulary = self.image().vocabulary();
        vocabulary.check(text)?;
        for token in vocabulary.tokenize(text) {
            self.read(token?);
        }
        Ok(())
    }

    /// The bits per character that the model needs for `text` after what it has read, for display. Reads the text.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    #[allow(clippy::float_arithmetic, reason = "for display")]
    pub fn score(&mut self, text: &str) -> Result<f32, OutOfVocabulary> {
        let image = self.image();
        image.vocabulary().check(text)?;
        let mut bits = 0.0;
        for token in image.vocabulary().tokenize(text) {
            let token = token?;
            self.catch_up();
            bits += surprisal_bits(self.state.logits(), image.logit_bits(), token);
            self.read(token);
        }
        Ok(bits / text.chars().count().max(1) as f32)
    }

    fn read(&mut self, token: u16) {
        let start = self.image().start();
        if !self.begun && self.image().vocabulary().special_tokens().contains(start) {
            // Every text has begun after it.
            self.pending = Some(start);
        }
        if let Some(pending) = self.pending.replace(token) {
            self.state.step(pending);
        }
        (self.begun, self.ended) = (true, false);
        (self.held, self.drawn) = (None, 0);
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
        let token = if vocabulary.has_special_tokens() {
            sampler.sample_masked(logits, bits, vocabulary.special_tokens(), &mut self.rng)
        } else {
            sampler.sample(logits, bits, &mut self.rng)
        };
        self.pending = Some(token);
        self.drawn = self.drawn.saturating_add(1);
        token
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
        if Some(token) == vocabulary.special_tokens().eos {
            self.ended = true;
            return None;
        }
        if vocabulary.tokenization().joins_with_space() && !first {
            self.held = Some(token);
            return Some(b" ");
        }
        Some(vocabulary.text(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Parts, bytes, encode, shapes};
    use crate::sampler::Temperature;
    use crate::{Cell, Layer};
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    fn image(parts: &Parts) -> &'static Image<'static> {
        let words = encode(parts).unwrap().leak();
        alloc::boxed::Box::leak(alloc::boxed::Box::new(Image::parse(bytes(words)).unwrap()))
    }

    fn named(name: &str) -> Parts<'static> {
        let (_, shapes) = shapes().into_iter().find(|(n, _)| *n == name).unwrap();
        Parts::random_of(3, &shapes)
    }

    fn generator(
        image: &'static Image<'static>,
        settings: SamplingParams,
    ) -> Generator<'static, 'static> {
        let workspace = vec![0; image.workspace_len()].leak();
        Generator::new(image, workspace, settings).unwrap()
    }

    fn temperature(text: &str) -> Temperature {
        Temperature::parse(text).unwrap()
    }

    fn text(generator: &mut Generator, pieces: usize) -> String {
        let pieces: Vec<u8> = generator.take(pieces).flatten().copied().collect();
        String::from_utf8(pieces).unwrap()
    }

    #[test]
    fn special_tokens_are_never_drawn_and_eos_ends() {
        let parts = named("words");
        let image = image(&parts);
        let specials = image.vocabulary().special_tokens();
        let (mut ended, mut drawn) = (0, 0);
        for seed in 0..400 {
            for at in ["0", "0.8", "100"] {
                let settings = SamplingParams {
                    temperature: temperature(at),
                    top_k: [0, 3][seed as usize % 2],
                    seed,
                };
                let mut generator = generator(image, settings);
                for piece in generator.by_ref().take(60) {
                    let hidden = specials
                        .all()
                        .map(|id| image.vocabulary().text(id.unwrap()));
                    assert!(
                        !hidden.contains(&piece),
                        "{}",
                        String::from_utf8_lossy(piece)
                    );
                    drawn += 1;
                }
                if generator.ended {
                    ended += 1;
                    assert_eq!((generator.next(), generator.next()), (None, None));
                    // It goes on after more was read.
                    generator.prompt("e").unwrap();
                    assert!(!generator.ended);
                }
                generator.restart(settings);
                for _ in 0..20 {
                    let token = generator.next_token();
                    assert!(
                        !specials.contains(token) || specials.eos == Some(token),
                        "{token}"
                    );
                }
            }
        }
        assert!(
            ended > 100 && drawn > 10_000,
            "{ended} ended, {drawn} drawn"
        );
    }

    #[test]
    fn words_are_printed_with_a_space_between() {
        let image = image(&named("words"));
        let mut first = generator(image, SamplingParams::default());
        let text = text(&mut first, 9);
        let words: Vec<&str> = text.split(' ').collect();
        assert!(
            words.len() == 5 && words.iter().all(|word| word.chars().count() == 1),
            "{text:?}"
        );
        // What was printed before a prompt is between words no longer.
        let mut after = generator(image, SamplingParams::default());
        after.prompt("E  c").unwrap();
        assert_eq!(after.next(), Some(&b" "[..]));
        assert_ne!(after.next(), Some(&b" "[..]));
        after.prompt("e").unwrap();
        assert_eq!(after.next(), Some(&b" "[..]));
    }

    #[test]
    fn a_limit_counts_tokens_and_anew_after_more_was_read() {
        for (limit, pieces) in [(1, 1), (4, 7)] {
            let mut parts = named("words");
            parts.limit = limit;
            // No end but the limit.
            parts.vocabularies[1].special_tokens.eos = None;
            let mut generator = generator(image(&parts), SamplingParams::default());
            assert_eq!(generator.by_ref().take(100).count(), pieces);
            assert_eq!(generator.next(), None);
            generator.prompt("e").unwrap();
            assert_eq!(generator.by_ref().take(100).count(), pieces + 1);
            generator.restart(SamplingParams::default());
            assert_eq!(generator.by_ref().take(100).count(), pieces);
        }
    }

    #[test]
    fn unknown_words_are_refused_with_their_place_or_are_unk() {
        let mut parts = named("words");
        let image_with = image(&parts);
        parts.vocabularies[1].special_tokens.unk = None;
        let image_without = image(&parts);
        let mut with = generator(image_with, SamplingParams::default());
        with.prompt("E zebra c").unwrap();
        let mut state = State::new(image_with, vec![0; image_with.workspace_len()].leak()).unwrap();
        // It begins after its start token, and 29 is unknown; c waits.
        [3, 4, 29].into_iter().for_each(|token| state.step(token));
        assert_eq!(with.state.hidden(0), state.hidden(0));
        let mut without = generator(image_without, SamplingParams::default());
        let error = OutOfVocabulary {
            character: 'z',
            position: 3,
        };
        assert_eq!(without.prompt("e  zebra c"), Err(error));
        assert_eq!(without.score("e  zebra c").unwrap_err(), error);
        assert!(
            without.state.hidden(0).iter().all(|&h| h == 0),
            "nothing was read"
        );
    }

    #[test]
    fn a_source_is_read_with_its_end_and_handed_over() {
        let parts = named("translator");
        let image = image(&parts);
        let mut found = generator(image, SamplingParams::default());
        // Something before, which must not count.
        found.source("zz").unwrap();
        text(&mut found, 3);
        found.source("ca b").unwrap();
        let mut state = State::new(image, vec![0; image.workspace_len()].leak()).unwrap();
        // The space is unknown, and 26 the end.
        for token in [2, 0, 28, 1, 26] {
            state.feed(0, Feed::Token(token));
        }
        state.hand_over();
        for index in 0..2 {
            assert_eq!(found.state.hidden_of(index, 0), state.hidden_of(index, 0));
            assert_eq!(found.state.cell_of(index, 0), state.cell_of(index, 0));
        }
        assert!(state.cell_of(1, 0).iter().any(|&c| c != 0));
    }

    #[test]
    fn a_text_begins_at_what_features_make() {
        let mut parts = named("features");
        let network = &mut parts.networks[0];
        // The same starts under a token table: a name of so many letters.
        let model = Parts::random(3, 6, 0, &[network.layers[0].layer])
            .networks
            .remove(0);
        let starts = core::mem::take(&mut network.layers[0].starts);
        let features = network.features.clone();
        *network = model;
        network.layers[0].starts = starts;
        network.features = features;
        let image = image(&parts);
        assert!(image.generates());
        let vector = [9000, -20_000, 30_000, 1, -4];
        let mut state = State::new(image, vec![0; image.workspace_len()].leak()).unwrap();
        state.features(&vector);
        state.step(image.start());
        let logits = state.logits();
        let most = logits.iter().max();
        let expected = logits.iter().position(|logit| Some(logit) == most);
        let greedy = SamplingParams {
            temperature: Temperature::GREEDY,
            ..SamplingParams::default()
        };
        let mut generator = generator(image, greedy);
        generator.features(&[i16::MAX; 5]);
        generator.next_token();
        generator.features(&vector);
        assert_eq!(Some(usize::from(generator.next_token())), expected);
        assert_eq!(generator.state.cell_of(0, 0), state.cell_of(0, 0));
        assert!(state.cell_of(0, 0).iter().any(|&c| c != 0));
    }

    #[test]
    fn a_score_is_the_surprise_of_each_token() {
        let image = image(&Parts::random(1, 20, 0, &[Layer::new(Cell::Rnn, 9)]));
        let mut state = State::new(image, vec![0; image.workspace_len()].leak()).unwrap();
        let mut bits = 0.0;
        for [before, token] in [[0, 1], [1, 0], [0, 2]] {
            state.step(before);
            let nats = |token: u16, logits: &[i16]| f64::from(logits[usize::from(token)]) / 512.0;
            let logits = state.logits().to_vec();
            let sum: f64 = (0..20).map(|token| nats(token, &logits).exp()).sum();
            bits += (sum.ln() - nats(token, &logits)) / core::f64::consts::LN_2;
        }
        let mut generator = generator(image, SamplingParams::default());
        let score = f64::from(generator.score("bac").unwrap());
        assert!((score - bits / 3.0).abs() < 0.03, "{score}, {bits}");
    }

    #[test]
    fn a_classifier_reads_all_of_a_text() {
        let layers = [Layer::new(Cell::Lstm, 9)];
        let mut parts = Parts::random(1, 20, 4, &layers);
        parts.vocabularies.swap(0, 1);
        parts.networks[0].reads = crate::image::Reads::LastStep;
        let image = image(&parts);
        let mut state = State::new(image, vec![0; image.workspace_len()].leak()).unwrap();
        [2, 0, 1].into_iter().for_each(|token| state.step(token));
        let mut generator = generator(image, SamplingParams::default());
        generator.classify("zzz").unwrap_err();
        generator.classify("tt").unwrap();
        assert_eq!(generator.classify("cab").unwrap(), state.logits());
    }
}
