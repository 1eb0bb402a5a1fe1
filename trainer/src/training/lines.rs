//! Examples as a dataset: batches of lines of about one length, each from its own initial states.

use super::buckets::{Buckets, padded_batch};
use super::config::Config;
use super::dataset::{DEV_TOKENS, Dataset, DevLoss, PartSizes, Resets, SHARD_ROWS};
use super::distill::SoftTargets;
use super::model_config::ModelConfig;
use super::network::Batch;
use super::to_network::Vocabularies;
use crate::data::examples::{BOS, EOS, Example, ExampleSet, predictions};
use crate::data::task::Task;
use crate::eval::tasks;
use crate::network::Network;
use crate::nn::softmax::Soft;

/// The sizes of the network for these examples.
///
/// # Panics
/// If the settings are not good by [`Config::check`].
pub fn model_config(config: &Config, examples: &ExampleSet) -> ModelConfig {
    let source = examples.source.as_ref().map_or(0, |source| source.len());
    config.model(source, examples.target.len(), examples.feature_names.len())
}

/// Sizes of the parts, in examples.
pub fn sizes(examples: &ExampleSet) -> PartSizes {
    PartSizes {
        train: examples.train.len(),
        dev: examples.dev.len(),
        test: examples.test.len(),
    }
}

/// Batches of examples.
pub struct LineDataset<'d> {
    task: Task,
    examples: &'d ExampleSet,
    vocabularies: Vocabularies,
    buckets: Buckets,
    soft: Option<&'d SoftTargets>,
    distill_weight: f32,
    /// Of each training example, the number of predictions before it.
    offsets: Vec<usize>,
    /// Examples of dev that are evaluated, each shard's in order of length.
    dev: Vec<&'d Example>,
    /// The prepared batch.
    batch: Vec<usize>,
}

impl<'d> LineDataset<'d> {
    /// The dataset of these examples.
    ///
    /// # Panics
    /// If there is no example to train on.
    pub fn new(config: &Config, examples: &'d ExampleSet, soft: Option<&'d SoftTargets>) -> Self {
        let task = config.data.task;
        let optimizer = &config.optimizer;
        let mut offset = 0;
        let offsets = examples.train.iter().map(|example| {
            offset += predictions(task, example);
            offset - predictions(task, example)
        });
        Self {
            task,
            vocabularies: Vocabularies::of_examples(task, examples),
            buckets: Buckets::new(&examples.train, optimizer.batch_size, optimizer.seed),
            soft,
            distill_weight: config.distillation.distill_weight,
            offsets: offsets.collect(),
            dev: evaluated(&examples.dev),
            examples,
            batch: Vec::new(),
        }
    }

    fn padded(&self, examples: &[&Example]) -> Batch<'static> {
        padded_batch(self.task, examples, BOS, EOS)
    }
}

/// The first examples of dev with at most [`DEV_TOKENS`] tokens, sorted by length.
fn evaluated(dev: &[Example]) -> Vec<&Example> {
    let mut tokens = 0;
    let few = dev.iter().take_while(|example| {
        tokens += example.source.len() + example.target.len();
        tokens <= DEV_TOKENS
    });
    let mut examples: Vec<&Example> = few.collect();
    examples.sort_by_key(|example| (example.source.len(), example.target.len()));
    examples
}

impl Dataset for LineDataset<'_> {
    fn vocabularies(&self) -> &Vocabularies {
        &self.vocabularies
    }

    fn sizes(&self) -> PartSizes {
        sizes(self.examples)
    }

    fn prepare(&mut self, step: u64) {
        self.batch = self.buckets.batch(step).to_vec();
    }

    fn shards(&self) -> usize {
        self.batch.len().div_ceil(SHARD_ROWS)
    }

    fn most_shards(&self) -> usize {
        self.buckets.size().div_ceil(SHARD_ROWS)
    }

    fn batch(&self, shard: usize) -> Batch<'_> {
        let rows = self.batch[shard * SHARD_ROWS..].iter().take(SHARD_ROWS);
        let rows: Vec<usize> = rows.copied().collect();
        let examples = rows.iter().map(|row| &self.examples.train[*row]);
        let mut batch = self.padded(&examples.collect::<Vec<_>>());
        batch.soft = self.soft.map(|soft| {
            let steps = batch.targets.len() / rows.len();
            let at = |t: usize, row: usize| -> &[u16] {
                match predictions(self.task, &self.examples.train[row]) > t {
                    true => soft.of_data(self.offsets[row] + t),
                    // Padding has no target.
                    false => &[],
                }
            };
            let at = |t| rows.iter().map(move |row| at(t, *row));
            Soft {
                weight: self.distill_weight,
                probabilities: (0..steps).flat_map(at).collect(),
            }
        });
        batch
    }

    fn resets(&self, _: usize) -> Option<Resets> {
        None
    }

    fn seen(&self, steps: u64) -> u64 {
        // The last batch of an epoch counts as a whole one.
        steps * self.buckets.size() as u64
    }

    fn dev_shards(&self) -> usize {
        self.dev.len().div_ceil(SHARD_ROWS)
    }

    fn dev_batches(&self, shard: usize) -> Vec<Batch<'_>> {
        let examples = self.dev.chunks(SHARD_ROWS).nth(shard);
        vec![self.padded(examples.unwrap_or_default())]
    }

    fn dev_loss(&self, network: &Network, threads: usize) -> Option<DevLoss> {
        let loss = tasks::loss(network, self.task, &self.dev, threads)?;
        Some(DevLoss {
            loss,
            bits_per_char: None,
        })
    }

    fn bits_per_char(&self, _: f64) -> Option<f64> {
        None
    }
}
