//! The settings of a training on whole sequences.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::quantize::formats::WeightFormats;
use pipsqueak::Tokenization;

use super::data::Lengths;
use crate::data::vocab;
use crate::quantize::Options;
use crate::training::checkpoint::Kept;
use crate::training::settings::{SettingsError, TrainSettings};

/// What is learned of the lines.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// `class TAB text`: a class for a text (many-to-one).
    Classify,
    /// `source TAB target`: a text for a text (sequence-to-sequence).
    Translate,
    /// `features TAB text`: a text for a feature vector (one-to-many).
    Describe,
}

/// How a text is cut into tokens.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Characters, by code point.
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
    /// use trainer::training::sequence::settings::Cut;
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

/// The settings that decide a training's result: with the same lines on the same machine they give the same bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceSettings {
    /// What is learned.
    pub task: Task,
    /// How a source is cut.
    pub source: Cut,
    /// How a target is cut.
    pub target: Cut,
    /// The most words of a vocabulary of words; the rarer ones are `<unk>`.
    pub words: usize,
    /// What is computed of each text where the lines name no features.
    pub features: Features,
    /// Sizes and the optimizer. A sequence is a whole line here, none longer than `sequence` tokens.
    pub train: TrainSettings,
}

impl Kept for SequenceSettings {
    const MAGIC: [u8; 8] = *b"PIPLINE\x01";

    fn table(&self) -> toml::Table {
        let mut table = toml::Table::try_from(self).expect("settings are a table");
        if let Some(toml::Value::Table(train)) = table.remove("train") {
            table.extend(train);
        }
        table
    }
}

/// What was measured to be good: units, embedding, dropout, learning rate, batch, epochs.
const RECIPES: [(Task, usize, usize, f32, f64, usize, f64); 3] = [
    (Task::Classify, 64, 32, 0.5, 3e-3, 32, 12.0),
    (Task::Translate, 192, 32, 0.1, 4e-3, 64, 16.0),
    (Task::Describe, 128, 16, 0.2, 4e-3, 64, 12.0),
];

impl SequenceSettings {
    /// Good settings for `task` on so many training lines, cut in these ways.
    pub fn for_task(task: Task, source: Cut, target: Cut, lines: usize) -> Self {
        let recipe = RECIPES.iter().find(|recipe| recipe.0 == task);
        let &(_, hidden, embedding, dropout, learning_rate, batch, epochs) =
            recipe.expect("a recipe for every task");
        let steps = (epochs * lines as f64 / batch as f64) as u64;
        Self {
            task,
            source,
            target,
            words: 4_000,
            features: Features::default(),
            train: TrainSettings {
                embedding,
                dropout,
                learning_rate,
                batch,
                sequence: 512,
                steps: steps.clamp(500, 60_000),
                ..TrainSettings::for_units(hidden, 1)
            },
        }
    }

    /// The formats of weights in the image, of each layer; those of an encoder are those of its decoder.
    pub fn widths(&self) -> Options<'static> {
        let widths = self.train.widths();
        let stacks = match self.task {
            Task::Translate => 2,
            Task::Classify | Task::Describe => 1,
        };
        let width = |layer: usize| widths.layers[layer.min(widths.layers.len() - 1)];
        let layers: Vec<WeightFormats> = (0..self.train.layers).map(width).collect();
        Options {
            layers: layers.repeat(stacks),
            ..widths
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting, what was found and what is expected.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.train.check()?;
        if self.words == 0 {
            return Err(SettingsError::new("words", "0", "at least 1"));
        }
        if self.train.tied {
            return Err(SettingsError::new(
                "tied",
                "true",
                "false, where whole sequences are trained",
            ));
        }
        if self.train.steps_per_token != 1 {
            return Err(SettingsError::new(
                "steps_per_token",
                self.train.steps_per_token.to_string(),
                "1, where whole sequences are trained",
            ));
        }
        if self.train.level != vocab::Kind::default() || self.train.lines {
            let level = format!("{:?}, lines {}", self.train.level, self.train.lines);
            let expected = "none: lines are cut as --source and --target say";
            return Err(SettingsError::new("level", level, expected));
        }
        Ok(())
    }

    /// Memory that a training needs, bytes, about.
    pub fn memory(&self, tokens: usize, longest: Lengths) -> u64 {
        let steps = longest.source + longest.target;
        self.train.memory(tokens, self.train.batch * steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::formats::{INT4, INT8, INT8_INT4};

    #[test]
    fn an_encoders_layers_have_the_widths_of_its_decoders() {
        let widths = |task, bits, input_bits| {
            let mut settings = SequenceSettings::for_task(task, Cut::Char, Cut::Char, 100);
            (settings.train.layers, settings.train.bits) = (3, bits);
            settings.train.input_bits = input_bits;
            settings.widths().layers
        };
        let mixed = [INT8_INT4, INT4, INT4];
        assert_eq!(widths(Task::Translate, 4, Some(8)), [mixed, mixed].concat());
        assert_eq!(widths(Task::Classify, 4, Some(8)), mixed);
        assert_eq!(widths(Task::Translate, 4, None), [INT4; 6]);
        assert_eq!(widths(Task::Describe, 8, None), [INT8; 3]);
    }
}
