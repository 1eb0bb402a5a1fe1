//! Text to token ids and back.
//!
//! A [`Tokenizer`] says what a token is: how a text is split, in training, here and on the boards. A [`Vocabulary`] is the list
//! of the tokens' texts; an id is a position in it. Special tokens are in the same list under names such as `<eos>`; no text is
//! ever split into them.

mod build;
mod encode;
pub mod file;
mod spelling;
mod token_ids;
mod vocabulary;

use std::fmt::{self, Display};
use std::str::FromStr;

pub use encode::{EncodeError, Encoding, OovStats, OovToken};
pub use pipsqueak::SpecialTokens;
use pipsqueak::Tokenization;
pub use token_ids::TokenIds;
pub use vocabulary::{CharStats, MAX_TOKENS, TokenizerMetadata, Vocabulary, VocabularyError};

/// What a token is.
///
/// ```
/// use trainer::data::tokenizer::Tokenizer;
/// assert_eq!(Tokenizer::CHAR.segment("to"), ["t", "o"]);
/// assert_eq!(Tokenizer::WORD.segment("Don't, Jim"), ["Don't", ",", " Jim"]);
/// assert_eq!(Tokenizer::WHITESPACE.segment("T AE1"), ["T", "AE1"]);
/// assert_eq!(Tokenizer::WHITESPACE_LOWERCASE.segment("Don't, Jim"), ["don't", ",", "jim"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokenizer {
    kind: TokenizerKind,
    lowercase: bool,
    drops_spaces: bool,
}

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenizerKind {
    /// A character, by code point.
    #[default]
    Char,
    /// A byte, of UTF-8 or of anything else: 256 tokens.
    Byte,
    /// A whole word, or a character that belongs to no word.
    Word,
    /// A word or a piece of one, found by byte pair encoding. A text is split by the longest match.
    Subword,
}

impl Tokenizer {
    /// Characters.
    pub const CHAR: Self = Self::new(TokenizerKind::Char, false, false);
    /// Bytes.
    pub const BYTE: Self = Self::new(TokenizerKind::Byte, false, false);
    /// Words, each with at most one leading space. Concatenating the tokens gives the text.
    pub const WORD: Self = Self::new(TokenizerKind::Word, false, false);
    /// Words and pieces of words.
    pub const SUBWORD: Self = Self::new(TokenizerKind::Subword, false, false);
    /// Words without white space: a space is printed between two tokens.
    pub const WHITESPACE: Self = Self::new(TokenizerKind::Word, false, true);
    /// Like [`WHITESPACE`](Self::WHITESPACE), with ASCII letters in lower case.
    pub const WHITESPACE_LOWERCASE: Self = Self::new(TokenizerKind::Word, true, true);

    /// Every tokenizer with its name.
    const NAMES: [(Self, &'static str); 6] = [
        (Self::CHAR, "char"),
        (Self::BYTE, "byte"),
        (Self::WORD, "word"),
        (Self::SUBWORD, "subword"),
        (Self::WHITESPACE, "whitespace"),
        (Self::WHITESPACE_LOWERCASE, "whitespace-lowercase"),
    ];

    const fn new(kind: TokenizerKind, lowercase: bool, drops_spaces: bool) -> Self {
        Self {
            kind,
            lowercase,
            drops_spaces,
        }
    }

    /// Returns what the tokens are.
    pub fn kind(self) -> TokenizerKind {
        self.kind
    }

    /// Returns whether ASCII letters of a text are converted to lower case.
    pub fn lowercase(self) -> bool {
        self.lowercase
    }

    /// Returns whether white space is dropped, and a space printed between two tokens.
    pub fn drops_spaces(self) -> bool {
        self.drops_spaces
    }

    /// Returns whether the size of the vocabulary is a choice.
    pub fn has_vocab_size(self) -> bool {
        matches!(self.kind, TokenizerKind::Word | TokenizerKind::Subword)
    }

    /// Returns the name in settings and options.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(tokenizer, _)| *tokenizer == self);
        named.expect("every tokenizer has a name").1
    }

    /// Returns the name of a token, in the singular.
    pub fn token_name(self) -> &'static str {
        match self.kind {
            TokenizerKind::Char => "character",
            TokenizerKind::Byte => "byte",
            TokenizerKind::Word => "word",
            TokenizerKind::Subword => "subword",
        }
    }

    /// Returns the name of several tokens.
    pub fn token_names(self) -> &'static str {
        match self.kind {
            TokenizerKind::Char => "characters",
            TokenizerKind::Byte => "bytes",
            TokenizerKind::Word => "words",
            TokenizerKind::Subword => "subwords",
        }
    }

    /// Returns how a model file stores this tokenizer: it does not distinguish characters from subwords.
    pub fn tokenization(self) -> Tokenization {
        match self.kind {
            TokenizerKind::Char | TokenizerKind::Subword => Tokenization::Subword,
            TokenizerKind::Byte => Tokenization::Byte,
            TokenizerKind::Word if self.drops_spaces => Tokenization::SpacedWord {
                lowercase: self.lowercase,
            },
            TokenizerKind::Word => Tokenization::Word,
        }
    }

    /// Splits a text into the texts of its tokens.
    ///
    /// # Panics
    /// If tokens are bytes, which are no text, or subwords, which need a [`Vocabulary`].
    pub fn segment(self, text: &str) -> Vec<String> {
        match self.kind {
            TokenizerKind::Char => text.chars().map(String::from).collect(),
            TokenizerKind::Word => {
                let words = self.tokenization().split_words(text);
                words.map(|word| self.normalize(word)).collect()
            }
            TokenizerKind::Byte | TokenizerKind::Subword => {
                panic!("{self} tokens of a text need a vocabulary")
            }
        }
    }

    fn normalize(self, word: &str) -> String {
        match self.lowercase {
            true => word.to_ascii_lowercase(),
            false => word.into(),
        }
    }
}

/// The tokenizer of a model file. Its vocabulary tells characters from subwords.
impl From<Tokenization> for Tokenizer {
    fn from(stored: Tokenization) -> Self {
        match stored {
            Tokenization::Subword => Self::SUBWORD,
            Tokenization::Byte => Self::BYTE,
            Tokenization::Word => Self::WORD,
            Tokenization::SpacedWord { lowercase: false } => Self::WHITESPACE,
            Tokenization::SpacedWord { lowercase: true } => Self::WHITESPACE_LOWERCASE,
        }
    }
}

impl Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A tokenizer that does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is not a tokenizer: expected char, byte, word, subword, whitespace or whitespace-lowercase"
)]
pub struct TokenizerError(String);

impl FromStr for Tokenizer {
    type Err = TokenizerError;

    fn from_str(name: &str) -> Result<Self, TokenizerError> {
        let named = Self::NAMES.iter().find(|(_, other)| *other == name);
        let named = named.map(|(tokenizer, _)| *tokenizer);
        named.ok_or_else(|| TokenizerError(name.into()))
    }
}

impl serde::Serialize for Tokenizer {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'d> serde::Deserialize<'d> for Tokenizer {
    fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        let name = <String as serde::Deserialize>::deserialize(from)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl clap::ValueEnum for Tokenizer {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::CHAR,
            Self::BYTE,
            Self::WORD,
            Self::SUBWORD,
            Self::WHITESPACE,
            Self::WHITESPACE_LOWERCASE,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match *self {
            Self::CHAR => "Characters",
            Self::BYTE => "Bytes of any file",
            Self::WORD => "Words with the space before them; rare ones are <unk>",
            Self::SUBWORD => "Words and pieces of words (byte pair encoding)",
            Self::WHITESPACE => "Words without white space, such as phonemes",
            _ => "Words without white space, in lower case",
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}

#[cfg(test)]
mod tests;
