//! The settings of a training on whole sequences.

use crate::data::examples::{ExampleOptions, Lengths, Task};
use crate::data::features::Features;
use crate::data::tokenizer::{Tokenizer, TokenizerKind};
use crate::quantize::Options;
use crate::quantize::formats::WeightFormats;
use crate::training::checkpoint::Kept;
use crate::training::settings::{SettingsError, TrainSettings};

/// The settings that decide a training's result: with the same lines on the same machine they give the same bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceSettings {
    /// What is learned.
    pub task: Task,
    /// The tokenizer of a source.
    pub source: Tokenizer,
    /// The tokenizer of a target.
    pub target: Tokenizer,
    /// The most words of a vocabulary of words; the rarer ones are `<unk>`.
    pub words: usize,
    /// What is computed of each text where the lines name no features.
    pub features: Features,
    /// Sizes and the optimizer. A sequence is a whole line here, none longer than `sequence` tokens.
    pub train: TrainSettings,
}

impl Kept for SequenceSettings {
    const MAGIC: [u8; 8] = *b"PIPLINE\x02";

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
    /// Good settings for `task` on so many training lines, with these tokenizers.
    pub fn for_task(task: Task, source: Tokenizer, target: Tokenizer, lines: usize) -> Self {
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

    /// How the examples are read.
    pub fn examples(&self) -> ExampleOptions<'_> {
        ExampleOptions {
            task: self.task,
            source: self.source,
            target: self.target,
            vocab_size: self.words,
            features: &self.features,
            max_len: self.train.sequence,
            dev: self.train.validation,
            test: 0.0,
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
        if self.train.level != Tokenizer::default() || self.train.lines {
            let level = format!("{}, lines {}", self.train.level, self.train.lines);
            let expected = "none: lines have the tokenizers of --source and --target";
            return Err(SettingsError::new("level", level, expected));
        }
        for (name, tokenizer) in [("source", self.source), ("target", self.target)] {
            if let TokenizerKind::Byte | TokenizerKind::Subword = tokenizer.kind() {
                let expected = "char, word, whitespace or whitespace-lowercase";
                return Err(SettingsError::new(name, tokenizer.to_string(), expected));
            }
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
            let mut settings =
                SequenceSettings::for_task(task, Tokenizer::CHAR, Tokenizer::CHAR, 100);
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
