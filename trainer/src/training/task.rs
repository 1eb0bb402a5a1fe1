//! What is learned: the tasks, how lines are cut into tokens, and features that are computed from lines.

use std::fmt::{self, Display};
use std::str::FromStr;

use pipsqueak::Tokenization;

/// What is learned.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The next token of a text.
    #[default]
    LanguageModel,
    /// `class TAB text`: a class for a text (many-to-one).
    Classifier,
    /// `source TAB target`: a text for a text (sequence-to-sequence).
    SequenceToSequence,
    /// `features TAB text`: a text for a feature vector (one-to-many).
    ConditionalGenerator,
}

/// How a text is cut into tokens.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Characters, by code point.
    #[default]
    Char,
    /// Words and other characters, ASCII capitals made small, white space dropped; rare words are `<unk>`.
    Word,
    /// Words as they are, such as phonemes: every different one is a token.
    Symbol,
}

impl Cut {
    /// The tokens of `text`.
    ///
    /// ```
    /// use trainer::training::task::Cut;
    /// assert_eq!(Cut::Char.tokens("to"), ["t", "o"]);
    /// assert_eq!(Cut::Word.tokens("Don't, Jim"), ["don't", ",", "jim"]);
    /// assert_eq!(Cut::Symbol.tokens("T AE1"), ["T", "AE1"]);
    /// ```
    pub fn tokens(self, text: &str) -> Vec<String> {
        let words = |text: &str| self.level().split_words(text).map(String::from).collect();
        match self {
            Cut::Char => text.chars().map(String::from).collect(),
            Cut::Word => words(&text.to_ascii_lowercase()),
            Cut::Symbol => words(text),
        }
    }

    /// What such tokens are to a vocabulary.
    pub fn level(self) -> Tokenization {
        match self {
            Cut::Char => Tokenization::Subword,
            Cut::Word => Tokenization::SpacedWord { lowercase: true },
            Cut::Symbol => Tokenization::SpacedWord { lowercase: false },
        }
    }
}

/// A feature that is computed of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Its characters, in tens.
    Length,
    /// A channel for each first character, 1 for the text's own.
    FirstLetter,
}

/// Features that are computed of each text, as text `length,first-letter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Features(pub Vec<Feature>);

/// A feature that does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is not a feature: expected length, first-letter or both, such as length,first-letter"
)]
pub struct FeatureError(String);

impl FromStr for Features {
    type Err = FeatureError;

    fn from_str(text: &str) -> Result<Self, FeatureError> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let feature = |name: &str| match name {
            "length" => Ok(Feature::Length),
            "first-letter" => Ok(Feature::FirstLetter),
            other => Err(FeatureError(other.into())),
        };
        Ok(Self(names.map(feature).collect::<Result<_, _>>()?))
    }
}

impl TryFrom<String> for Features {
    type Error = FeatureError;

    fn try_from(text: String) -> Result<Self, FeatureError> {
        text.parse()
    }
}

impl Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, feature) in self.0.iter().enumerate() {
            let name = match feature {
                Feature::Length => "length",
                Feature::FirstLetter => "first-letter",
            };
            write!(f, "{}{name}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl From<Features> for String {
    fn from(features: Features) -> Self {
        features.to_string()
    }
}
