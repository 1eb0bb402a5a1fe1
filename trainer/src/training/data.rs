//! The data of a training: read, encoded, split, and checked against the settings.

use super::config::Config;
use super::dataset::{self, Dataset, PartSizes};
use super::distill::SoftTargets;
use super::error::{MAX_MEMORY_GB, MAX_PARAMETERS, TrainError};
use super::lines::{self, LineDataset};
use super::model_config::ModelConfig;
use super::text::TextData;
use super::to_network::Vocabularies;
use crate::data::corpus::Corpus;
use crate::data::examples::{ExampleSet, predictions};
use crate::data::notice::Notice;
use crate::data::task::Task;

/// A model whose weights a training starts from, or whose vocabulary it has.
#[derive(Clone, Debug, PartialEq)]
pub struct InitialModel {
    /// Its sizes.
    pub config: ModelConfig,
    /// Its weights.
    pub parameters: Vec<f32>,
    /// Its texts of tokens, classes and features, which the training has too.
    pub vocabularies: Vocabularies,
}

/// Data that was read, encoded and split, and checked against the settings.
#[derive(Debug)]
pub enum Data {
    /// A text.
    Text(TextData),
    /// Examples.
    Lines(ExampleSet),
}

impl Data {
    /// Encodes a corpus, and checks the settings and the memory that they need on `threads` threads. With an initial model, its
    /// vocabulary is used.
    ///
    /// # Errors
    /// If the settings, the data or the initial model are refused.
    pub fn new(
        corpus: &Corpus,
        config: &Config,
        initial: Option<&InitialModel>,
        threads: usize,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let data = match config.data.task {
            Task::LanguageModel => {
                let vocabulary = initial.map(|initial| &initial.vocabularies.input);
                Data::Text(TextData::new(corpus, config, vocabulary)?)
            }
            _ => Data::Lines(ExampleSet::read(corpus, &config.example_options())?),
        };
        let model = data.model(config);
        if let Some(initial) = initial {
            let vocabularies = data.vocabularies(config);
            if let Some(found) = initial.vocabularies.difference(&vocabularies) {
                return Err(TrainError::InitialModel(found));
            }
            if initial.config != model {
                let found = "its sizes are not those of the settings".into();
                return Err(TrainError::InitialModel(found));
            }
        }
        let (shards, tokens) = match &data {
            Data::Text(text) => {
                let dataset = text.dataset(config, None);
                (dataset.most_shards(), dataset.stream().seq_len())
            }
            Data::Lines(examples) => {
                let longest = examples.longest();
                let rows = config.optimizer.batch_size.min(examples.train.len());
                let shards = rows.div_ceil(dataset::SHARD_ROWS);
                (shards, longest.source + longest.target)
            }
        };
        let tokens = tokens * dataset::SHARD_ROWS;
        let needed = config.memory(&model, shards, tokens, threads) >> 30;
        if needed > MAX_MEMORY_GB {
            return Err(TrainError::Memory { needed });
        }
        let parameters = model.num_parameters();
        if parameters > MAX_PARAMETERS {
            return Err(TrainError::TooLarge { parameters });
        }
        Ok(data)
    }

    /// The sizes of the network.
    pub fn model(&self, config: &Config) -> ModelConfig {
        match self {
            Data::Text(text) => config.language_model(text.vocabulary().len()),
            Data::Lines(examples) => lines::model_config(config, examples),
        }
    }

    /// Texts of tokens, classes and features.
    pub fn vocabularies(&self, config: &Config) -> Vocabularies {
        match self {
            Data::Text(text) => Vocabularies {
                input: text.vocabulary().clone(),
                ..Vocabularies::default()
            },
            Data::Lines(examples) => Vocabularies::of_examples(config.data.task, examples),
        }
    }

    /// Sizes of the parts.
    pub fn sizes(&self) -> PartSizes {
        match self {
            Data::Text(text) => text.sizes(),
            Data::Lines(examples) => lines::sizes(examples),
        }
    }

    /// What the user should know.
    pub fn notices(&self) -> Vec<Notice> {
        match self {
            Data::Text(text) => text.notices(),
            Data::Lines(examples) => examples.notices.clone(),
        }
    }

    /// Predictions of the parts that are trained on, as soft targets have them.
    pub(super) fn predictions(&self, task: Task) -> usize {
        match self {
            Data::Text(text) => text.train_tokens(),
            Data::Lines(examples) => examples
                .train
                .iter()
                .map(|example| predictions(task, example))
                .sum(),
        }
    }

    /// The batches, with the soft targets of teachers if there are any.
    pub fn dataset<'d>(
        &'d self,
        config: &Config,
        soft: Option<&'d SoftTargets>,
    ) -> Box<dyn Dataset + 'd> {
        match self {
            Data::Text(text) => Box::new(text.dataset(config, soft)),
            Data::Lines(examples) => Box::new(LineDataset::new(config, examples, soft)),
        }
    }
}
