//! Vocabularies made of a text.

use super::{SpecialTokens, Tokenization, Vocabulary, VocabularyError};
use std::collections::{HashMap, HashSet};
use tokenizers::Trainer as _;
use tokenizers::models::bpe::{BPE, BpeTrainer};

/// What a token of a vocabulary that is made of a text is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A character, by code point.
    #[default]
    Char,
    /// A byte of the text's UTF-8: any text in any language, 256 tokens.
    Byte,
    /// A whole word, with the space before it. What the vocabulary lacks is unknown.
    Word,
    /// A word or a part of one, found by byte pair encoding.
    Subword,
}

impl Kind {
    /// Whether such a vocabulary has a size of choice.
    pub fn is_sized(self) -> bool {
        matches!(self, Self::Word | Self::Subword)
    }

    /// A vocabulary of about `size` tokens (words and subwords only) for `text`, learned from its first part `train`.
    ///
    /// Where `by_line`, each line is a text of its own: there is a token `<eos>` for its end, and none for a line's end.
    ///
    /// # Errors
    /// If the text is empty, or has more characters than [`MAX_TOKENS`](super::MAX_TOKENS) or `size`.
    pub fn vocabulary(
        self,
        text: &str,
        train: &str,
        size: usize,
        by_line: bool,
    ) -> Result<Vocabulary, VocabularyError> {
        let plain = match self {
            Self::Char => Vocabulary::of_characters(text)?,
            Self::Byte => Vocabulary::of_bytes(),
            Self::Word => Vocabulary::of_words(train, size)?,
            Self::Subword => Vocabulary::of_subwords(text, train, size)?,
        };
        if by_line { plain.by_line() } else { Ok(plain) }
    }
}

impl Vocabulary {
    /// The different characters of `text`, by code point.
    ///
    /// # Errors
    /// If the text is empty or has more than [`MAX_TOKENS`](super::MAX_TOKENS) different characters.
    ///
    /// ```
    /// let vocabulary = trainer::data::vocab::Vocabulary::of_characters("hello")?;
    /// assert_eq!(vocabulary.texts(), ["e", "h", "l", "o"]);
    /// # Ok::<(), trainer::data::vocab::VocabularyError>(())
    /// ```
    pub fn of_characters(text: &str) -> Result<Self, VocabularyError> {
        Self::new(different(text).map(String::from).collect())
    }

    /// The 256 bytes.
    ///
    /// # Panics
    /// Never: they are a vocabulary.
    pub fn of_bytes() -> Self {
        let names = (0..=255u8).map(|byte| format!("<0x{byte:02X}>")).collect();
        Self::with(Tokenization::Byte, SpecialTokens::default(), names)
            .expect("256 different names")
    }

    /// The `size` most frequent words of `text` by [`Tokenization::Word`], fewer where it has no more, and `<unk>` before them. Of
    /// words that are as frequent, the first by their bytes.
    ///
    /// # Errors
    /// If the text is empty, or `size` is 0 or [`MAX_TOKENS`](super::MAX_TOKENS) or more.
    ///
    /// ```
    /// let vocabulary = trainer::data::vocab::Vocabulary::of_words("the cat and the dog and the bird", 3)?;
    /// assert_eq!(vocabulary.texts(), ["<unk>", " and", " the", " bird"]);
    /// # Ok::<(), trainer::data::vocab::VocabularyError>(())
    /// ```
    pub fn of_words(text: &str, size: usize) -> Result<Self, VocabularyError> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in Tokenization::Word.split_words(text) {
            *counts.entry(word).or_default() += 1;
        }
        // A word may look like the special token; the special token stays.
        counts.remove(UNK);
        let mut words: Vec<(&str, usize)> = counts.into_iter().collect();
        words.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
        let words = words.into_iter().take(size).map(|(word, _)| word);
        let specials = SpecialTokens {
            unk: Some(0),
            ..SpecialTokens::default()
        };
        let tokens = [UNK].into_iter().chain(words).map(String::from);
        Self::with(Tokenization::Word, specials, tokens.collect())
    }

    /// `size` subwords: the characters of `text`, and pieces of the words of its first part `train`, by byte pair encoding
    /// (R. Sennrich et al., "Neural machine translation of rare words with subword units", 2016). A text is then cut by the
    /// longest match, so the order in which pieces were merged is not kept.
    ///
    /// # Errors
    /// If the text is empty or has more different characters than `size`.
    pub fn of_subwords(text: &str, train: &str, size: usize) -> Result<Self, VocabularyError> {
        let refused = |error: tokenizers::Error| VocabularyError::Subwords(error.to_string());
        let alphabet: HashSet<char> = different(text).collect();
        if alphabet.len() > size {
            let found = alphabet.len();
            return Err(VocabularyError::Subwords(format!(
                "found {found} different characters, expected at most {size}, the size of the vocabulary"
            )));
        }
        let mut trainer = BpeTrainer::builder()
            .vocab_size(size)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(alphabet)
            .build();
        let cut = |text: &str| {
            Ok(Tokenization::Word
                .split_words(text)
                .map(String::from)
                .collect())
        };
        trainer.feed(pieces(train), cut).map_err(refused)?;
        let mut model = BPE::default();
        trainer.train(&mut model).map_err(refused)?;
        let mut pieces: Vec<(u32, String)> = model
            .get_vocab()
            .into_iter()
            .map(|(text, id)| (id, text))
            .collect();
        pieces.sort_unstable();
        Self::new(pieces.into_iter().map(|(_, text)| text).collect())
    }

    /// The same vocabulary where each line is a text of its own: without a line's end, with `<eos>` after all others.
    ///
    /// # Errors
    /// If nothing is left, or there is no room.
    fn by_line(self) -> Result<Self, VocabularyError> {
        let Self {
            level,
            mut specials,
            mut tokens,
            ..
        } = self;
        // Special tokens so far stand before the texts, and keep their ids.
        tokens.retain(|text| level == Tokenization::Byte || !text.contains(['\n', '\r']));
        specials.eos = u16::try_from(tokens.len()).ok();
        tokens.push(EOS.into());
        Self::with(level, specials, tokens)
    }
}

/// The different characters of a text, by code point.
fn different(text: &str) -> impl Iterator<Item = char> {
    // A set would look each character up anew, which is slow in long texts.
    let mut seen = vec![false; char::MAX as usize + 1];
    text.chars().for_each(|c| seen[c as usize] = true);
    ('\0'..=char::MAX).filter(move |c| seen[*c as usize])
}

/// A text in pieces of at most about a megabyte, with the same words: a long text's words all at once take much memory.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut length = 0;
        for word in Tokenization::Word.split_words(rest) {
            length += word.len();
            if length >= 1 << 20 {
                break;
            }
        }
        let (piece, after) = rest.split_at(length);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

const UNK: &str = "<unk>";
const EOS: &str = "<eos>";
