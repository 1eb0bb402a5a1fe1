//! Soft targets for knowledge distillation (Hinton et al. 2015): the mean of the teachers' probabilities of each prediction of the
//! training data, and of more text that they generate, so that a student sees more than there is.

use std::path::{Path, PathBuf};

use rand_core::Rng;
use sha2::{Digest, Sha256};

use super::buckets::{padded_batch, predictions};
use super::lines::{BOS, EOS, vocabularies};
use super::network::{Batch, ModelConfig, Sequences, TrainableNetwork};
use super::stack::DropoutRates;
use super::to_network::{Vocabularies, from_network};
use super::trainer::{in_parallel, reset_rows};
use crate::data::examples::{Example, ExampleSet};
use crate::data::hash::hex;
use crate::data::task::Task;
use crate::fs::{self, OutputError};
use crate::network::Network;
use crate::nn::random::{self, Purpose};
use crate::nn::simd::Float;

/// What the file begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"PIPSOFT\x02";
/// Rows that a teacher reads side by side on one thread, whatever the number of threads.
const ROWS: usize = 64;
/// Shards of so many rows, at most.
const SHARDS: usize = 4;
/// Tokens that are read at a time.
const SEQ_LEN: usize = 64;
/// Tokens that are read before the probabilities count.
const WARM_UP: usize = 256;
/// A probability of 1.
const ONE: f32 = u16::MAX as f32;

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

/// Why there are no soft targets.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// A model cannot be a teacher of this data.
    #[error("{teacher} cannot be a teacher of this data: {found}")]
    Teacher {
        /// The file.
        teacher: String,
        /// What stands in the way.
        found: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The file is not what was written.
    #[error("{} holds no soft targets of this version, or is damaged: make it again with `trainer distill`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// They are of other data, or of another vocabulary or split.
    #[error(
        "the soft targets are of other data: {}; make them again with `trainer distill`, with the data, --split and tokenizer of this training",
        differences.join(", ")
    )]
    OtherData {
        /// Each as `what: found, expected`.
        differences: Vec<String>,
    },
    /// They would be too large.
    #[error(
        "the soft targets would take {needed} GB, expected at most {MAX_GB}: take less data or --synthetic-tokens, or train without teachers"
    )]
    TooLarge {
        /// What they would take.
        needed: u64,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// The most that soft targets may take.
const MAX_GB: u64 = 8;

/// The largest file that is read.
const MAX_BYTES: u64 = (MAX_GB + 1) << 30;

/// A teacher.
struct Teacher {
    config: ModelConfig,
    parameters: Vec<f32>,
}

/// A teacher at work on one thread.
struct Reader<'t> {
    teacher: &'t Teacher,
    network: TrainableNetwork,
    state: Vec<f32>,
}

fn readers(teachers: &[Teacher]) -> Vec<Reader<'_>> {
    let reader = |teacher| Reader::new(teacher);
    teachers.iter().map(reader).collect()
}

impl<'t> Reader<'t> {
    fn new(teacher: &'t Teacher) -> Self {
        let network = TrainableNetwork::new(teacher.config.clone(), DropoutRates::default());
        Self {
            teacher,
            network,
            state: Vec::new(),
        }
    }
}

fn teachers(
    teachers: &[(String, Network)],
    expected: &Vocabularies,
) -> Result<Vec<Teacher>, DistillError> {
    let teacher = |(name, network): &(String, Network)| {
        let refused = |found| DistillError::Teacher {
            teacher: name.clone(),
            found,
        };
        let (config, parameters, vocabularies) = from_network(network).map_err(refused)?;
        match vocabularies.difference(expected) {
            Some(found) => Err(refused(found)),
            None => Ok(Teacher { config, parameters }),
        }
    };
    teachers.iter().map(teacher).collect()
}

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
        let vocabularies = vocabularies(task, examples);
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

/// Counts what several threads have done.
#[derive(Default)]
struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    fn next(&self) -> u64 {
        1 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

/// The mean of the teachers' probabilities of the batch's predictions, `[T][B][C]`; padding has some too. With `carries`, each
/// teacher's states carry over from the batch before.
fn mean(readers: &mut [Reader], batch: &Batch, carries: bool, out: &mut Vec<f32>) {
    out.clear();
    let part = 1.0 / readers.len() as f32;
    for Reader {
        teacher,
        network,
        state,
    } in readers
    {
        let state = carries.then_some(state);
        let logits = network.logits(&teacher.parameters, batch, state);
        let (outputs, rows) = (logits.features(), logits.batch());
        out.resize(logits.steps() * rows * outputs, 0.0);
        let mut row = vec![0.0; outputs];
        for (place, out) in out.chunks_exact_mut(outputs).enumerate() {
            let (slot, row_of) = (1 + place / rows, place % rows);
            for (token, logit) in row.iter_mut().enumerate() {
                *logit = logits.get(token, slot, row_of);
            }
            let max = row.iter().fold(f32::MIN, |a, &b| a.max(b));
            row.iter_mut()
                .for_each(|logit| *logit = Float::PLAIN.exp(*logit - max));
            let scale = part / row.iter().sum::<f32>();
            out.iter_mut().zip(&row).for_each(|(p, e)| *p += scale * e);
        }
    }
}

fn fixed(probability: f32) -> u16 {
    (probability * ONE).round() as u16
}

fn tokens_batch(tokens: Vec<u16>, rows: usize) -> Batch<'static> {
    Batch {
        inputs: Sequences {
            lengths: vec![tokens.len() / rows; rows],
            tokens,
        },
        ..Batch::default()
    }
}

/// The teachers read the text, in stretches side by side.
fn read_text(
    teachers: &[Teacher],
    text: &[u16],
    threads: usize,
    probabilities: &mut [u16],
    progress: &(dyn Fn(f64) + Sync),
) {
    let outputs = teachers[0].config.output_size;
    // As many stretches as are worth it.
    let all_rows = (text.len() / (4 * SEQ_LEN)).clamp(1, ROWS * SHARDS);
    let stretch = text.len().div_ceil(all_rows);
    let blocks = (stretch + WARM_UP).div_ceil(SEQ_LEN);
    let shards = all_rows.div_ceil(ROWS);
    let done = Counter::default();
    let work = |_: &mut (), (shard, own): (usize, &mut [u16])| {
        let stretches = shard * ROWS..((shard + 1) * ROWS).min(all_rows);
        let rows = stretches.len();
        let base = stretches.start * stretch;
        let mut readers = readers(teachers);
        let mut means = Vec::new();
        for block in 0..blocks {
            if stretches.start == 0 && block * SEQ_LEN == WARM_UP {
                // Nothing comes before the text.
                let readers = readers.iter_mut();
                readers.for_each(|reader| reset_rows(&mut reader.state, rows, &[0]));
            }
            // Each row begins a while before its stretch; what is beyond the text is read without use.
            let place = |t: usize, row: usize| -> Option<usize> {
                let at = (stretches.start + row) * stretch + block * SEQ_LEN + t;
                at.checked_sub(WARM_UP)
            };
            let token = |t: usize, row: usize| {
                let token = place(t, row).and_then(|at| text.get(at));
                token.copied().unwrap_or(text[0])
            };
            let tokens = (0..SEQ_LEN).flat_map(|t| (0..rows).map(move |row| (t, row)));
            let tokens = tokens.map(|(t, row)| token(t, row)).collect();
            mean(&mut readers, &tokens_batch(tokens, rows), true, &mut means);
            for (slot, means) in means.chunks_exact(outputs).enumerate() {
                let (t, row) = (slot / rows, slot % rows);
                let ahead = block * SEQ_LEN + t;
                let is_own = (WARM_UP..WARM_UP + stretch).contains(&ahead);
                let Some(at) = place(t, row).filter(|at| is_own && *at < text.len()) else {
                    continue;
                };
                let to = &mut own[(at - base) * outputs..][..outputs];
                to.iter_mut().zip(means).for_each(|(to, p)| *to = fixed(*p));
            }
            progress(done.next() as f64 / (blocks * shards) as f64);
        }
    };
    let items = probabilities
        .chunks_mut(ROWS * stretch * outputs)
        .enumerate();
    in_parallel(&mut vec![(); threads.max(1)], items, work);
}

/// The teachers continue from random places of the text: about `count` tokens, and the probabilities after each.
fn generate(
    teachers: &[Teacher],
    text: &[u16],
    count: usize,
    seed: u64,
    threads: usize,
    progress: &(dyn Fn(f64) + Sync),
) -> (Vec<u16>, Vec<u16>) {
    if count == 0 {
        return (Vec::new(), Vec::new());
    }
    let outputs = teachers[0].config.output_size;
    let length = count.div_ceil(ROWS * SHARDS);
    let done = Counter::default();
    let work = |_: &mut (), (shard, result): (usize, &mut (Vec<u16>, Vec<u16>))| {
        let mut random = random::stream(seed, Purpose::Synthetic, 0, shard as u64);
        let starts: Vec<usize> = (0..ROWS)
            .map(|_| random::below(&mut random, text.len()))
            .collect();
        let mut readers = readers(teachers);
        let mut generated = vec![Vec::new(); ROWS];
        let mut probabilities = vec![Vec::new(); ROWS];
        let mut inputs = vec![0; ROWS];
        let mut means = Vec::new();
        for step in 0..WARM_UP + length {
            for (row, input) in inputs.iter_mut().enumerate() {
                if step < WARM_UP {
                    *input = text[(starts[row] + step) % text.len()];
                }
            }
            mean(
                &mut readers,
                &tokens_batch(inputs.clone(), ROWS),
                true,
                &mut means,
            );
            for (row, means) in means.chunks_exact(outputs).enumerate() {
                if step >= WARM_UP {
                    generated[row].push(inputs[row]);
                    probabilities[row].extend(means.iter().map(|p| fixed(*p)));
                }
                if step + 1 >= WARM_UP {
                    let mut left = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
                    let sampled = means.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    inputs[row] = sampled.unwrap_or(outputs - 1) as u16;
                }
            }
            progress(done.next() as f64 / ((WARM_UP + length) * SHARDS) as f64);
        }
        *result = (generated.concat(), probabilities.concat());
    };
    let mut results = vec![(Vec::new(), Vec::new()); SHARDS];
    let items = results.iter_mut().enumerate();
    in_parallel(&mut vec![(); threads.max(1)], items, work);
    let (generated, probabilities): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    (generated.concat(), probabilities.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::Vocabulary;
    use crate::network::{Provenance, nats};
    use crate::nn::rnn::Kind;
    use crate::training::network::Pooling;
    use crate::training::stack_config::StackConfig;
    use crate::training::to_network::to_network;

    fn teacher(vocabulary: &Vocabulary, steps_per_token: usize, seed: u64) -> (String, Network) {
        let config = ModelConfig {
            encoder: None,
            num_features: 0,
            stack: StackConfig {
                vocab_size: vocabulary.len(),
                embedding_dim: Some(3),
                hidden_size: 7,
                cells: vec![Kind::Gru, Kind::Gru],
            },
            output_size: vocabulary.len(),
            pooling: Pooling::EveryStep,
            tie_embeddings: false,
            steps_per_token,
        };
        let mut weights = config.initial_parameters(seed);
        weights.iter_mut().for_each(|w| *w *= 3.0);
        let vocabularies = of(vocabulary);
        let network = to_network(&config, &weights, &vocabularies, Provenance::default());
        (format!("teacher {seed}"), network)
    }

    fn of(vocabulary: &Vocabulary) -> Vocabularies {
        Vocabularies {
            input: vocabulary.clone(),
            ..Vocabularies::default()
        }
    }

    #[test]
    fn soft_targets_are_the_mean_of_each_teachers_probabilities_on_any_number_of_threads() {
        let vocabulary = Vocabulary::of_characters("abcd").unwrap();
        let teachers = [teacher(&vocabulary, 1, 1), teacher(&vocabulary, 2, 2)];
        let text: Vec<u16> = (0..200).map(|i| (i * i + i / 3) % 4).collect();
        let make = |threads| {
            let text = ("hash", &text[..]);
            let vocabularies = of(&vocabulary);
            SoftTargets::of_text(&teachers, &vocabularies, text, (3000, 5), threads, &|_| ())
                .unwrap()
        };
        let targets = make(2);
        let mut states = teachers.each_ref().map(|(_, network)| network.state());
        for (at, token) in text.iter().enumerate() {
            let mut expected = [0.0; 4];
            for ((_, network), state) in teachers.iter().zip(&mut states) {
                network.step(state, *token);
                let logits = network.logits(state);
                for (token, p) in expected.iter_mut().enumerate() {
                    *p += 0.5 * (-nats(&logits, token as u16)).exp();
                }
            }
            for (found, expected) in targets.of_data(at).iter().zip(expected) {
                let found = f64::from(*found) / 65535.0;
                assert!((found - expected).abs() < 2e-5, "{at}: {found}, {expected}");
            }
        }
        assert!(targets.synthetic().len() >= 3000);
        assert!(targets.synthetic().iter().all(|token| *token < 4));
        let all = targets.synthetic().len();
        for at in [0, all / 2, all - 1] {
            let sum: u32 = targets.of_synthetic(at).iter().map(|p| u32::from(*p)).sum();
            assert!(sum.abs_diff(65535) <= 4, "{sum}");
        }
        // What is drawn is as likely as was said.
        let mut expected = 0.0;
        let mut drawn = 0.0;
        for at in 0..all {
            expected += f64::from(targets.of_synthetic(at)[2]) / 65535.0;
            drawn += f64::from(u8::from(targets.synthetic()[at] == 2));
        }
        assert!(
            (expected - drawn).abs() < 5.0 * expected.sqrt(),
            "{expected}, {drawn}"
        );
        assert_eq!(make(3), targets, "the same seed");
    }

    #[test]
    fn models_that_cannot_teach_and_what_is_damaged_is_refused() {
        let vocabulary = Vocabulary::of_characters("abcd").unwrap();
        let other = Vocabulary::of_characters("abce").unwrap();
        let text = ("hash", &[0, 1, 2, 3][..]);
        let refused = |teachers: &[(String, Network)], imagine| {
            let synthetic = (imagine, 1);
            let made =
                SoftTargets::of_text(teachers, &of(&vocabulary), text, synthetic, 1, &|_| ());
            made.unwrap_err().to_string()
        };
        let error = refused(&[teacher(&vocabulary, 1, 1), teacher(&other, 1, 2)], 0);
        assert!(
            error.contains("teacher 2") && error.contains("vocabulary"),
            "{error}"
        );
        let error = refused(&[teacher(&vocabulary, 1, 1)], 1 << 40);
        assert!(error.contains("GB"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("targets.bin");
        let teachers = [teacher(&vocabulary, 1, 1)];
        let targets =
            SoftTargets::of_text(&teachers, &of(&vocabulary), text, (0, 1), 1, &|_| ()).unwrap();
        let hash = targets.write(&path).unwrap();
        assert_eq!(SoftTargets::read(&path).unwrap(), (targets.clone(), hash));
        assert!(targets.check("hash", &of(&vocabulary), 4).is_ok());
        let error = targets
            .check("other", &of(&other), 4)
            .unwrap_err()
            .to_string();
        assert!(error.contains("found hash, expected other"), "{error}");
        assert!(error.contains("SHA-256 of the vocabulary"), "{error}");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = SoftTargets::read(&path).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
