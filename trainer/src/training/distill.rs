//! Soft targets for knowledge distillation (Hinton et al. 2015): the mean of the teachers' probabilities of each prediction of the
//! training data, and of more text that they generate, so that a student sees more than there is.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::buckets::padded_batch;
use super::distill_error::{DistillError, MAX_GB};
use super::teachers::{
    Counter, ONE, ROWS, Reader, fixed, generate, mean, read_text, readers, teachers,
};
use super::to_network::Vocabularies;
use super::trainer::in_parallel;
use crate::data::examples::{BOS, EOS, Example, ExampleSet, predictions};
use crate::data::hash::hex;
use crate::data::task::Task;
use crate::fs;
use crate::network::Network;

/// What the file begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"PIPSOFT\x02";
/// The teachers' probabilities.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SoftTargets {
    /// SHA-256 of the data.
    data: String,
    /// SHA-256 of the vocabularies.
    vocabulary: String,
    /// Outputs, C.
    outputs: usize,
    /// Predictions of the training part.
    predictions: usize,
    /// Text that the teachers generated.
    synthetic: Vec<u16>,
    /// Of each prediction of the training part, then of the generated text, the probabilities of all outputs in 1/65,535: `[..][C]`.
    probabilities: Vec<u16>,
}

/// The largest file that is read.
const MAX_BYTES: u64 = (MAX_GB + 1) << 30;

fn check_size(outputs: usize, predictions: usize) -> Result<(), DistillError> {
    let needed = (2 * outputs as u64).saturating_mul(predictions as u64) >> 30;
    match needed {
        0..=MAX_GB => Ok(()),
        needed => Err(DistillError::TooLarge { needed }),
    }
}

impl SoftTargets {
    /// Those of `predictions` predictions of the training part, then of the generated text `synthetic`: `[..][C]` in 1/65,535.
    ///
    /// # Panics
    /// If there are not C probabilities for each.
    pub(super) fn new(
        data: &str,
        vocabularies: &Vocabularies,
        predictions: usize,
        synthetic: Vec<u16>,
        probabilities: Vec<u16>,
    ) -> Self {
        let outputs = vocabularies.input.len();
        assert_eq!(
            probabilities.len(),
            outputs * (predictions + synthetic.len()),
            "probabilities"
        );
        Self {
            data: data.into(),
            vocabulary: vocabularies.digest(),
            outputs,
            predictions,
            synthetic,
            probabilities,
        }
    }

    /// Those of language models for the tokens `text` of the training part, and for about `synthetic` tokens that they generate.
    /// `data` is the SHA-256 of all data. Teachers are named as errors should name them. `progress` gets thousandths.
    ///
    /// # Errors
    /// If a teacher is no language model with the text's vocabulary, or there would be too much.
    ///
    /// # Panics
    /// If the text is empty, or no teacher is given.
    pub fn of_text(
        networks: &[(String, Network)],
        vocabularies: &Vocabularies,
        (data, text): (&str, &[u16]),
        (synthetic, seed): (usize, u64),
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, DistillError> {
        assert!(
            !networks.is_empty() && !text.is_empty(),
            "no teacher or text"
        );
        let outputs = vocabularies.input.len();
        check_size(outputs, text.len().saturating_add(synthetic))?;
        let teachers = teachers(networks, vocabularies)?;
        let mut probabilities = vec![0; outputs * text.len()];
        // Reading is a matter of large products, generating one of small ones.
        let parts = [text.len() as u64, 2 * synthetic as u64];
        let share = |part: usize, done: f64| {
            let before: u64 = parts[..part].iter().sum();
            let all = parts.iter().sum::<u64>().max(1);
            progress((1e3 * (before as f64 + done * parts[part] as f64) / all as f64) as u64);
        };
        let read = |done| share(0, done);
        read_text(&teachers, text, threads, &mut probabilities, &read);
        let generated = |done| share(1, done);
        let (synthetic, more) = generate(&teachers, text, synthetic, seed, threads, &generated);
        probabilities.extend(more);
        Ok(Self {
            data: data.into(),
            vocabulary: vocabularies.digest(),
            outputs,
            predictions: text.len(),
            synthetic,
            probabilities,
        })
    }

    /// Those of networks of a task on lines, for all predictions of the training examples. Nothing is generated.
    ///
    /// # Errors
    /// If a teacher is of another task or vocabulary, or there would be too much.
    ///
    /// # Panics
    /// If no teacher is given.
    pub fn of_examples(
        networks: &[(String, Network)],
        task: Task,
        examples: &ExampleSet,
        data: &str,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, DistillError> {
        assert!(!networks.is_empty(), "no teacher");
        let vocabularies = Vocabularies::of_examples(task, examples);
        let outputs = examples.target.len();
        let train = &examples.train;
        let count = |examples: &[Example]| -> usize {
            examples
                .iter()
                .map(|example| predictions(task, example))
                .sum()
        };
        let all = count(train);
        check_size(outputs, all)?;
        let teachers = teachers(networks, &vocabularies)?;
        let mut probabilities = vec![0; outputs * all];
        let mut rest = &mut probabilities[..];
        let items: Vec<_> = train
            .chunks(ROWS)
            .map(|examples| {
                let (own, others) =
                    std::mem::take(&mut rest).split_at_mut(outputs * count(examples));
                rest = others;
                (examples, own)
            })
            .collect();
        let (chunks, done) = (items.len(), Counter::default());
        let work = |readers: &mut Vec<Reader>, (examples, own): (&[Example], &mut [u16])| {
            let rows: Vec<&Example> = examples.iter().collect();
            let batch = padded_batch(task, &rows, BOS, EOS);
            let mut means = Vec::new();
            mean(readers, &batch, false, &mut means);
            let mut to = own.chunks_exact_mut(outputs);
            for (row, example) in examples.iter().enumerate() {
                for (t, to) in to.by_ref().take(predictions(task, example)).enumerate() {
                    let at = (t * rows.len() + row) * outputs;
                    let from = &means[at..at + outputs];
                    to.iter_mut().zip(from).for_each(|(to, p)| *to = fixed(*p));
                }
            }
            progress(1000 * done.next() / chunks as u64);
        };
        let mut workers: Vec<Vec<Reader>> =
            (0..threads.max(1)).map(|_| readers(&teachers)).collect();
        in_parallel(&mut workers, items.into_iter(), work);
        Ok(Self {
            data: data.into(),
            vocabulary: vocabularies.digest(),
            outputs,
            predictions: all,
            synthetic: Vec::new(),
            probabilities,
        })
    }

    /// The text that was generated.
    pub fn synthetic(&self) -> &[u16] {
        &self.synthetic
    }

    /// The probabilities of prediction `at` of the training part, in 1/65,535: of a text the token after token `at`.
    pub fn of_data(&self, at: usize) -> &[u16] {
        &self.probabilities[at * self.outputs..][..self.outputs]
    }

    /// The same of the generated text.
    pub fn of_synthetic(&self, at: usize) -> &[u16] {
        self.of_data(self.predictions + at)
    }

    /// The mean loss of the teachers on the text, in nats per token: a low one means that they have memorised it.
    pub fn loss(&self, text: &[u16]) -> f64 {
        let nats = |(at, next): (usize, &u16)| {
            let p = f64::from(self.of_data(at)[usize::from(*next)]) / f64::from(ONE);
            -p.max(0.5 / f64::from(ONE)).ln()
        };
        let losses = text[1..].iter().enumerate().map(nats);
        losses.sum::<f64>() / (text.len() - 1) as f64
    }

    /// Checks that they are of this data: its SHA-256, vocabularies, and predictions of the training part.
    ///
    /// # Errors
    /// Says in what they differ.
    pub fn check(
        &self,
        data: &str,
        vocabularies: &Vocabularies,
        predictions: usize,
    ) -> Result<(), DistillError> {
        let mut differences = Vec::new();
        let mut differ = |what: &str, found: &dyn ToString, expected: &dyn ToString| {
            let (found, expected) = (found.to_string(), expected.to_string());
            if found != expected {
                differences.push(format!("{what}: found {found}, expected {expected}"));
            }
        };
        differ("SHA-256 of the data", &self.data, &data);
        differ(
            "predictions of the training part",
            &self.predictions,
            &predictions,
        );
        differ(
            "SHA-256 of the vocabulary",
            &self.vocabulary,
            &vocabularies.digest(),
        );
        match differences.is_empty() {
            true => Ok(()),
            false => Err(DistillError::OtherData { differences }),
        }
    }

    /// Writes the file, in full or not at all. Returns its SHA-256.
    ///
    /// # Errors
    /// If it cannot be written.
    ///
    /// # Panics
    /// Never: every field can be encoded.
    pub fn write(&self, path: &Path) -> Result<String, DistillError> {
        let fields = postcard::to_stdvec(self).expect("postcard encodes every field");
        let hash = Sha256::digest(&fields);
        fs::write_atomically(path, &[&MAGIC[..], &hash[..], &fields].concat())?;
        Ok(hex(&hash))
    }

    /// Reads the file. Returns its SHA-256 too.
    ///
    /// # Errors
    /// If it cannot be read, is of another version, or is damaged.
    pub fn read(path: &Path) -> Result<(Self, String), DistillError> {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
            .map_err(|cause| DistillError::Io {
                path: path.into(),
                cause,
            })?;
        let parts = bytes
            .strip_prefix(&MAGIC)
            .and_then(|rest| rest.split_at_checked(32));
        let fields = parts.filter(|(hash, fields)| *hash == &Sha256::digest(fields)[..]);
        fields
            .and_then(|(hash, fields)| Some((postcard::from_bytes(fields).ok()?, hex(hash))))
            .ok_or_else(|| DistillError::Damaged { path: path.into() })
    }
}

#[cfg(test)]
#[path = "distill_tests.rs"]
mod tests;
