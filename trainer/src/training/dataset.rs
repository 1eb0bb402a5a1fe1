//! What a training sees at each step. There are two forms: a [text](super::text) read as parallel streams whose states carry over,
//! and [examples](super::lines) in batches of about one length.

use super::network::Batch;
use super::to_network::Vocabularies;
use crate::network::Network;
use crate::nn::tensor::LANES;

/// Rows of a shard. A batch is cut into shards of so many rows whatever the number of threads, so that a result does not depend
/// on it: gradients are added in the order of the shards, and each shard has its own dropout masks.
pub const SHARD_ROWS: usize = LANES;

/// Tokens of dev that are evaluated, at most: the first ones.
pub const DEV_TOKENS: usize = 128 << 10;

/// Sizes of the three parts: characters of a text, or examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PartSizes {
    /// Of the training part.
    pub train: usize,
    /// Of the dev part.
    pub dev: usize,
    /// Of the test part, which training does not read.
    pub test: usize,
}

/// The loss on dev.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DevLoss {
    /// Nats per prediction.
    pub loss: f64,
    /// Bits per character, where the predictions are a text's.
    pub bits_per_char: Option<f64>,
}

/// The rows of a shard whose carried states begin at zero.
pub type Resets = Vec<usize>;

/// Training and dev data.
pub trait Dataset: Sync {
    /// Texts of tokens, classes and features.
    fn vocabularies(&self) -> &Vocabularies;

    /// Sizes of the parts.
    fn sizes(&self) -> PartSizes;

    /// Prepares the batch of step `step`, from 0. A batch is a function of the step alone.
    fn prepare(&mut self, step: u64);

    /// Shards of the prepared batch.
    fn shards(&self) -> usize;

    /// Shards of the largest batch.
    fn most_shards(&self) -> usize;

    /// A shard of the prepared batch.
    fn batch(&self, shard: usize) -> Batch<'_>;

    /// The rows of the shard whose states begin at zero; `None` where all do, as no state is carried over.
    fn resets(&self, shard: usize) -> Option<Resets>;

    /// Tokens or examples trained on after so many steps.
    fn seen(&self, steps: u64) -> u64;

    /// Shards of dev.
    fn dev_shards(&self) -> usize;

    /// The batches of a shard of dev, in order; states carry over where [`resets`](Self::resets) says that they do.
    fn dev_batches(&self, shard: usize) -> Vec<Batch<'_>>;

    /// The loss of the finished network on the same part of dev, by the plain forward pass; `None` without a dev part.
    fn dev_loss(&self, network: &Network, threads: usize) -> Option<DevLoss>;

    /// Bits per character of dev, from nats per prediction, where the predictions are a text's.
    fn bits_per_char(&self, nats: f64) -> Option<f64>;
}
