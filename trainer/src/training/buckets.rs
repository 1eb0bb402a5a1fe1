//! The examples that each step sees, padded to a common length.

use super::network::{Batch, Sequences};
use crate::data::examples::Example;
use crate::data::task::Task;
use crate::nn::random::{self, Purpose};
use crate::nn::softmax::IGNORE_INDEX;

/// Batches that are sorted by length within so many batches: rows of about one length, and still another mix each epoch.
const POOL: usize = 32;

/// The order of the examples, epoch by epoch: each example once, in batches of about one length.
#[derive(Clone, Debug)]
pub struct Buckets {
    lengths: Vec<(usize, usize)>,
    batch: usize,
    seed: u64,
    /// The epoch whose order is below.
    epoch: Option<u64>,
    order: Vec<Vec<usize>>,
}

impl Buckets {
    /// Over `examples`, `batch` of them in a step, the last step of an epoch fewer.
    ///
    /// # Panics
    /// If there is no example, or `batch` is 0.
    pub fn new(examples: &[Example], batch: usize, seed: u64) -> Self {
        assert!(!examples.is_empty() && batch > 0, "examples in batches");
        let length = |example: &Example| (example.source.len(), example.target.len());
        Self {
            lengths: examples.iter().map(length).collect(),
            batch,
            seed,
            epoch: None,
            order: Vec::new(),
        }
    }

    /// Examples of a step.
    pub fn size(&self) -> usize {
        self.batch.min(self.lengths.len())
    }

    /// The examples of step `step`, from 0.
    pub fn batch(&mut self, step: u64) -> &[usize] {
        let steps = self.lengths.len().div_ceil(self.batch) as u64;
        let epoch = step / steps;
        if self.epoch != Some(epoch) {
            self.order = self.shuffle(epoch);
            self.epoch = Some(epoch);
        }
        &self.order[(step % steps) as usize]
    }

    fn shuffle(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut random = random::stream(self.seed, Purpose::Order, epoch, 0);
        let mut examples: Vec<usize> = (0..self.lengths.len()).collect();
        random::shuffle(&mut random, &mut examples);
        let mut batches = Vec::new();
        for pool in examples.chunks_mut(POOL * self.batch) {
            pool.sort_by_key(|example| self.lengths[*example]);
            batches.extend(pool.chunks(self.batch).map(<[usize]>::to_vec));
        }
        random::shuffle(&mut random, &mut batches);
        batches
    }
}

/// These examples as one padded batch; `bos` and `eos` are the decoder's. Token 0 is read after a row's end, without a target.
pub fn padded_batch(task: Task, examples: &[&Example], bos: u16, eos: u16) -> Batch<'static> {
    let sources: Vec<&[u16]> = examples.iter().map(|example| &*example.source).collect();
    let targets: Vec<&[u16]> = examples.iter().map(|example| &*example.target).collect();
    if task == Task::Classifier {
        return Batch {
            inputs: padded(&sources, 0),
            targets: targets.concat(),
            ..Batch::default()
        };
    }
    let with = |before: &[u16], after: &[u16]| -> Vec<Vec<u16>> {
        let row = |target: &&[u16]| [before, target, after].concat();
        targets.iter().map(row).collect()
    };
    let (inputs, outputs) = (with(&[bos], &[]), with(&[], &[eos]));
    let channels = examples.first().map_or(0, |example| example.features.len());
    let feature = |channel: usize| {
        examples
            .iter()
            .map(move |example| example.features[channel])
    };
    Batch {
        source: match task {
            Task::SequenceToSequence => padded(&sources, 0),
            _ => Default::default(),
        },
        features: (0..channels).flat_map(feature).collect(),
        inputs: padded(&inputs, 0),
        targets: padded(&outputs, IGNORE_INDEX).tokens,
        soft: None,
    }
}

/// The rows side by side, `[T][B]`, filled up with `padding`, and their lengths.
fn padded<R: AsRef<[u16]>>(rows: &[R], padding: u16) -> Sequences {
    let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let at = |t: usize| {
        let token = move |row: &R| row.as_ref().get(t).copied().unwrap_or(padding);
        rows.iter().map(token)
    };
    let tokens = (0..steps).flat_map(at).collect();
    Sequences { tokens, lengths }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(source: &[u16], target: &[u16]) -> Example {
        Example {
            source: source.to_vec(),
            target: target.to_vec(),
            ..Example::default()
        }
    }

    #[test]
    fn every_epoch_sees_each_example_once_in_another_order() {
        let examples: Vec<Example> = (0..103)
            .map(|i| example(&vec![0; 1 + i % 7], &[0]))
            .collect();
        let mut epochs = Buckets::new(&examples, 10, 5);
        let mut seen = [(); 2].map(|()| Vec::new());
        for step in 0..22 {
            seen[step as usize / 11].extend_from_slice(epochs.batch(step));
        }
        assert_ne!(seen[0], seen[1]);
        for mut seen in seen {
            seen.sort_unstable();
            assert_eq!(seen, (0..103).collect::<Vec<_>>());
        }
        // Rows of a batch are of about one length, and what comes is a function of the step alone.
        let mut again = Buckets::new(&examples, 10, 5);
        for step in (0..22).rev() {
            let batch = again.batch(step).to_vec();
            assert_eq!(batch, epochs.batch(step));
            let lengths = batch.iter().map(|i| examples[*i].source.len());
            let (least, most) = (lengths.clone().min().unwrap(), lengths.max().unwrap());
            assert!(most - least <= 2, "{least} to {most}");
        }
    }

    #[test]
    fn rows_are_padded_and_ends_are_predicted() {
        let (short, long) = (example(&[7], &[5, 6]), example(&[8, 9], &[4]));
        let sequences = |tokens: &[u16], lengths: &[usize]| Sequences {
            tokens: tokens.to_vec(),
            lengths: lengths.to_vec(),
        };
        let batch = padded_batch(Task::SequenceToSequence, &[&short, &long], 1, 2);
        assert_eq!(batch.source, sequences(&[7, 8, 0, 9], &[1, 2]));
        assert_eq!(batch.inputs, sequences(&[1, 1, 5, 4, 6, 0], &[3, 2]));
        assert_eq!(batch.targets, [5, 4, 6, 2, 2, IGNORE_INDEX]);
        let examples = [&example(&[7], &[3]), &long];
        let batch = padded_batch(Task::Classifier, &examples, 1, 2);
        assert_eq!(batch.inputs, sequences(&[7, 8, 0, 9], &[1, 2]));
        assert_eq!((batch.targets, batch.source.tokens.len()), (vec![3, 4], 0));
    }
}
