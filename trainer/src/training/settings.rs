//! Every setting of a training, with defaults that need no thought.

use super::model::Shape;
use super::stack::StackShape;
use crate::data::tokenizer::{self, Tokenizer};
use crate::deploy::fit::Fit;
use crate::nn::rnn::{Cells, Kind};
use crate::quantize::Options;
use crate::quantize::formats::{INT4, INT8, INT8_INT4};
use pipsqueak::WeightFormat;

/// The settings that decide a training's result: with the same text on the same machine they give the same bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// What a token is.
    #[serde(default)]
    pub level: Tokenizer,
    /// Words or subwords of the vocabulary; 0 where all characters or bytes are.
    #[serde(default)]
    pub vocabulary: usize,
    /// Whether each line is a text of its own, which ends in `<eos>`.
    #[serde(default)]
    pub lines: bool,
    /// The recurrent cell: one for all layers, or one for each.
    pub cell: Cells,
    /// Columns of the embedding. 0: none, the first layer has a column of weights for each token.
    #[serde(default)]
    pub embedding: usize,
    /// Whether the embedding is the head's weights too. Where it has not as many columns as there are units, the head reads
    /// the layers through a factor, a matrix of so many rows.
    #[serde(default)]
    pub tied: bool,
    /// Units of each layer.
    pub hidden: usize,
    /// Number of recurrent layers.
    pub layers: usize,
    /// Recurrent steps that each token is fed for.
    #[serde(default = "one")]
    pub steps_per_token: usize,
    /// Part of each layer's outputs that is dropped while training, 0 to below 1.
    pub dropout: f32,
    /// Seed of the first weights, the epochs' starts and the dropout.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Sequences side by side.
    pub batch: usize,
    /// Characters of a sequence: how far back in time gradients go.
    pub sequence: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The last learning rate, as a part of the highest.
    pub last_rate: f64,
    /// Steps until the learning rate is at its highest.
    pub warmup: u64,
    /// Decoupled weight decay of AdamW, on matrices only.
    pub weight_decay: f32,
    /// The most that the gradient's norm may be.
    pub clip: f64,
    /// Decay of the moving average of the weights, which is what the model gets. 0: the last weights themselves.
    pub average: f32,
    /// Part of the text, at its end, that is kept for validation.
    pub validation: f64,
    /// Bits of the recurrent layers' weights in the image. With 4, the last steps are trained with rounded weights.
    #[serde(default = "eight")]
    pub bits: u8,
    /// Bits of the first layer's weights over its input, such as an embedding; by default as many as `bits`. With 8 beside
    /// `bits` of 4 they are trained without rounding. Over a table of tokens they make no difference.
    #[serde(default)]
    pub input_bits: Option<u8>,
    /// Bits of the head's weights in the image.
    #[serde(default = "eight")]
    pub head_bits: u8,
    /// Of all steps the last ones, in which weights of 4 bits are rounded: a training of their own, from the average that the
    /// ones before left.
    #[serde(default)]
    pub rounded_steps: u64,
    /// The highest learning rate of these.
    #[serde(default = "rounded_rate")]
    pub rounded_rate: f64,
    /// Decay of the moving average in these.
    #[serde(default = "rounded_average")]
    pub rounded_average: f32,
    /// The training's first weights are those of a model with this SHA-256.
    #[serde(default)]
    pub from: String,
    /// The lessons of teachers with this SHA-256 are learned beside the text.
    #[serde(default)]
    pub lessons: String,
    /// The part of the teachers' soft targets in the mixture with the text's own.
    #[serde(default)]
    pub soft: f32,
    /// Part of the batch's rows that are of texts which the teachers made up.
    #[serde(default)]
    pub imagined: f32,
    /// Threads. Sums depend on the split of the batch, so another number gives other last digits.
    pub threads: usize,
}

fn one() -> usize {
    1
}

fn eight() -> u8 {
    8
}

fn rounded_rate() -> f64 {
    3e-4
}

fn rounded_average() -> f32 {
    0.995
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{name} is {found}: expected {expected}")]
pub struct SettingsError {
    /// The setting, as in `train.toml`.
    name: &'static str,
    found: String,
    expected: &'static str,
}

impl SettingsError {
    /// The setting `name`, what was found and what is expected.
    pub fn new(name: &'static str, found: impl Into<String>, expected: &'static str) -> Self {
        let found = found.into();
        Self {
            name,
            found,
            expected,
        }
    }
}

/// Part of the text that is kept for validation where nothing else is said.
pub const VALIDATION: f64 = 0.1;

/// Layers of so many units are trained in larger batches, which is faster.
const LARGE: usize = 300;

/// The most characters that are held back where nothing is said: measuring on more takes long and tells no more.
const VALIDATION_CHARACTERS: f64 = 1e6;

/// The part of a text of so many characters that is held back where nothing is said.
///
/// ```
/// use trainer::training::settings::validation;
/// assert_eq!([1_115_394, 100_000_000].map(validation), [0.1, 0.01]);
/// ```
pub fn validation(characters: usize) -> f64 {
    VALIDATION.min(VALIDATION_CHARACTERS / characters as f64)
}

/// What was measured to be good on about a million characters: units, dropout, learning rate, weight decay, epochs.
const RECIPES: [(usize, f32, f64, f32, f64); 4] = [
    (128, 0.0, 8e-3, 0.05, 20.0),
    (168, 0.1, 6e-3, 0.05, 16.0),
    (256, 0.25, 5e-3, 0.05, 16.0),
    (512, 0.4, 3e-3, 0.1, 12.0),
];

impl TrainSettings {
    /// Good settings for so many units, on a text of so many characters for training.
    pub fn for_units(hidden: usize, characters: usize) -> Self {
        let recipe = RECIPES
            .iter()
            .rev()
            .find(|recipe| recipe.0 <= hidden)
            .unwrap_or(&RECIPES[0]);
        let (_, dropout, learning_rate, weight_decay, epochs) = *recipe;
        let (batch, sequence) = (32, 64);
        let epoch = characters as f64 / (batch * sequence) as f64;
        Self {
            level: Tokenizer::CHAR,
            vocabulary: 0,
            lines: false,
            cell: Kind::Gru.into(),
            embedding: 0,
            tied: false,
            hidden,
            layers: 1,
            steps_per_token: 1,
            dropout,
            seed: 1,
            // Small texts are seen more often, large ones less.
            steps: ((epochs * epoch) as u64).clamp(1_000, 40_000),
            batch,
            sequence,
            learning_rate,
            last_rate: 0.02,
            warmup: 100,
            weight_decay,
            clip: 1.0,
            average: 0.999,
            bits: 8,
            input_bits: None,
            head_bits: 8,
            rounded_steps: 0,
            rounded_rate: rounded_rate(),
            rounded_average: rounded_average(),
            from: String::new(),
            lessons: String::new(),
            soft: 0.8,
            imagined: 0.4,
            validation: VALIDATION,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Good settings for a kind of tokens, so many units, and a text of so many characters for training.
    pub fn for_level(level: Tokenizer, hidden: usize, characters: usize) -> Self {
        if !level.has_vocab_size() {
            return Self {
                level,
                ..Self::for_units(hidden, characters)
            };
        }
        // About as many as there are in English.
        let tokens = characters / 4;
        let (batch, sequence) = (32, 32);
        let epoch = tokens as f64 / (batch * sequence) as f64;
        Self {
            level,
            vocabulary: 4_000,
            embedding: hidden,
            tied: true,
            dropout: 0.25,
            steps: ((12.0 * epoch) as u64).clamp(1_000, 40_000),
            batch,
            sequence,
            learning_rate: 6e-3,
            ..Self::for_units(hidden, characters)
        }
    }

    /// Whether weights of 4 bits are asked for.
    pub fn rounds(&self) -> bool {
        self.bits == 4 || self.head_bits == 4
    }

    /// Whether the first layer's weights have 8 bits over the input and 4 over the state.
    pub fn is_mixed(&self) -> bool {
        (self.input_bits, self.bits) == (Some(8), 4)
    }

    /// Good settings for a network that was chosen to fit, on a text of so many characters for training. What does not depend
    /// on the network is as in `settings`.
    pub fn for_fit(fit: &Fit, settings: &Self, characters: usize) -> Self {
        let recipe = Self::for_level(settings.level, fit.hidden, characters);
        let mut fitted = Self {
            dropout: recipe.dropout,
            learning_rate: recipe.learning_rate,
            weight_decay: recipe.weight_decay,
            ..settings.clone()
        };
        if fit.layers > 1 {
            (fitted.dropout, fitted.weight_decay, fitted.learning_rate) = (0.4, 0.1, 4e-3);
        }
        if fit.layers > 1 || fit.hidden >= LARGE {
            fitted.batch = 64;
        }
        fit.put_into(&mut fitted);
        fitted
    }

    /// The formats of weights in the image, for a network without an encoder.
    pub fn widths(&self) -> Options<'static> {
        let layers = match (self.is_mixed(), self.bits) {
            (true, _) => vec![INT8_INT4, INT4],
            (false, 4) => vec![INT4],
            (false, _) => vec![INT8],
        };
        let head = match self.head_bits {
            4 => WeightFormat::Int4,
            _ => WeightFormat::Int8,
        };
        Options {
            layers,
            head: Some(head),
            ..Options::default()
        }
    }

    /// The shape of a language model on so many tokens.
    ///
    /// # Panics
    /// As [`stack`](Self::stack).
    pub fn shape(&self, tokens: usize) -> Shape {
        Shape {
            stack: self.stack(tokens),
            tied: self.tied,
            steps_per_token: self.steps_per_token,
        }
    }

    /// Layers over so many tokens.
    ///
    /// # Panics
    /// If there are not as many cells as layers, which [`check`](Self::check) refuses.
    pub fn stack(&self, tokens: usize) -> StackShape {
        StackShape {
            tokens,
            embedding: (self.embedding > 0).then_some(self.embedding),
            hidden: self.hidden,
            cells: self.cell.stack(self.layers).expect("checked settings"),
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting, what was found and what is expected.
    pub fn check(&self) -> Result<(), SettingsError> {
        let check = |name, found: String, good: bool, expected| {
            if good {
                Ok(())
            } else {
                Err(SettingsError {
                    name,
                    found,
                    expected,
                })
            }
        };
        let whole = |name, value: usize, most: usize, expected| {
            check(
                name,
                value.to_string(),
                (1..=most).contains(&value),
                expected,
            )
        };
        check(
            "vocabulary",
            format!("{} with level {}", self.vocabulary, self.level),
            match self.level.has_vocab_size() {
                true => (2..tokenizer::MAX_TOKENS - 1).contains(&self.vocabulary),
                false => self.vocabulary == 0,
            },
            "2 to 65533 of words or subwords, 0 of characters or bytes",
        )?;
        whole("hidden", self.hidden, 4096, "1 to 4096")?;
        whole("layers", self.layers, 8, "1 to 8")?;
        whole("steps_per_token", self.steps_per_token, 4, "1 to 4")?;
        for (name, bits) in [("bits", self.bits), ("head_bits", self.head_bits)] {
            check(name, bits.to_string(), [4, 8].contains(&bits), "4 or 8")?;
        }
        if let Some(input) = self.input_bits {
            check(
                "input_bits",
                format!("{input} with bits {}", self.bits),
                input == self.bits || self.is_mixed(),
                "8, or 4 beside bits of 4",
            )?;
        }
        check(
            "rounded_steps",
            self.rounded_steps.to_string(),
            self.rounded_steps <= self.steps && (self.rounded_steps == 0 || self.rounds()),
            "at most as many as steps, 0 without bits of 4",
        )?;
        check(
            "embedding",
            self.embedding.to_string(),
            self.embedding <= 4096,
            "0 (none) to 4096",
        )?;
        check(
            "tied",
            format!(
                "{} with embedding {} and hidden {}",
                self.tied, self.embedding, self.hidden
            ),
            !self.tied || self.embedding > 0,
            "false, or an embedding",
        )?;
        check(
            "head_bits",
            format!("{} with tied {}", self.head_bits, self.tied),
            !self.tied || self.head_bits == 8,
            "8, as an embedding has, or tied = false",
        )?;
        check(
            "cell",
            self.cell.to_string(),
            self.cell.stack(self.layers).is_some(),
            "one cell for all layers, or as many as there are layers",
        )?;
        whole("batch", self.batch, 4096, "1 to 4096")?;
        whole("sequence", self.sequence, 4096, "1 to 4096")?;
        whole("threads", self.threads, 1024, "1 to 1024")?;
        check(
            "steps",
            self.steps.to_string(),
            (1..=1 << 31).contains(&self.steps),
            "1 to 2147483648",
        )?;
        // train.toml holds integers of 64 bits with a sign.
        check(
            "seed",
            self.seed.to_string(),
            i64::try_from(self.seed).is_ok(),
            "0 to 9223372036854775807",
        )?;
        let part = |name, value: f64, expected| {
            check(
                name,
                value.to_string(),
                (0.0..1.0).contains(&value),
                expected,
            )
        };
        part("dropout", self.dropout.into(), "0 or more, below 1")?;
        part("average", self.average.into(), "0 or more, below 1")?;
        part(
            "rounded_average",
            self.rounded_average.into(),
            "0 or more, below 1",
        )?;
        part("soft", self.soft.into(), "0 or more, below 1")?;
        part("imagined", self.imagined.into(), "0 or more, below 1")?;
        part("validation", self.validation, "0 or more, below 1")?;
        part(
            "weight_decay",
            self.weight_decay.into(),
            "0 or more, below 1",
        )?;
        let positive = |name, value: f64, most, expected| {
            check(
                name,
                value.to_string(),
                value > 0.0 && value <= most,
                expected,
            )
        };
        if self.rounded_steps > 0 {
            positive("rounded_rate", self.rounded_rate, 1.0, "above 0, at most 1")?;
        }
        positive(
            "learning_rate",
            self.learning_rate,
            1.0,
            "above 0, at most 1",
        )?;
        positive("clip", self.clip, f64::MAX, "above 0")?;
        check(
            "last_rate",
            self.last_rate.to_string(),
            (0.0..=1.0).contains(&self.last_rate),
            "0 to 1",
        )
    }

    /// Memory that a training needs, bytes, about: activations of `predictions` characters at once, and the weights' moments.
    ///
    /// # Panics
    /// As [`shape`](Self::shape).
    pub fn memory(&self, tokens: usize, predictions: usize) -> u64 {
        let weights = self.shape(tokens).parameters() as u64;
        let (hidden, layers, tokens) = (self.hidden as u64, self.layers as u64, tokens as u64);
        // Values that a GRU keeps for a unit and a step; an LSTM keeps about as many, an RNN fewer.
        let embedding = 2 * self.embedding as u64;
        let activations = predictions as u64
            * (9 * hidden * layers * self.steps_per_token as u64 + 2 * hidden + embedding + tokens);
        // Each thread has a gradient, its sums, and the weights packed in two ways.
        4 * (activations + (5 + 4 * self.threads as u64) * weights)
    }
}
