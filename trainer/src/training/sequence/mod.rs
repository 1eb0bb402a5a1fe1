//! Training on whole sequences, a line each: a class for a text (many-to-one), a text for a text (sequence-to-sequence), a text for
//! a feature vector (one-to-many).
//!
//! Lines of about one length make a padded batch; nothing that stands after a row's end has a part in its loss. A text's
//! class is read off the last state, an encoder's last states start the decoder, and a dense layer makes a decoder's first
//! states of features; gradients go back through all of them. Decoders are given the right tokens in training. Weights of 4 bits
//! are rounded as a language model's are, in an encoder and its decoder alike.

pub mod batches;
pub mod model;
pub mod settings;
pub mod stack;
pub mod trainer;

#[cfg(test)]
mod model_tests;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::course::{self, Course, Drive, Extent, Validation};
use super::update::{Diverged, Progress, Step, Updater};
use super::{MAX_MEMORY_GB, MAX_PARAMETERS, TrainError, Watch};
use crate::data::corpus::Corpus;
use crate::data::examples::{Example, ExampleSet};
use crate::eval::tasks::{self, Measures};
use crate::network::{Network, Provenance};
use settings::SequenceSettings;
use trainer::Trainer;

/// Examples that are measured on while training; at the end all that are held back are.
pub const GLANCE: usize = 500;

/// What is trained and where the results go.
pub struct Request<'a> {
    /// The lines.
    pub corpus: &'a Corpus,
    /// The same, as [`examples`] gave them.
    pub data: &'a ExampleSet,
    /// The settings.
    pub settings: &'a SequenceSettings,
    /// The folder of the results, which is made where it is missing.
    pub out: &'a Path,
    /// Where to go on from.
    pub resume: Option<Checkpoint<SequenceSettings>>,
    /// Steps between two reports; 0: only the last one.
    pub report_every: u64,
    /// Time between two checkpoints. It has no influence on the result.
    pub checkpoint_every: Duration,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The network, as in `model.onnx`.
    pub network: Network,
    /// Whether all steps were done; else the training was stopped and can be resumed.
    pub finished: bool,
    /// What `train.toml` says of it.
    pub result: ResultRecord,
}

/// `train.toml`: the settings, which can be given to another training, and what came of them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// All settings.
    pub settings: SequenceSettings,
    /// The lines.
    pub data: DataRecord,
    /// The outcome.
    pub result: ResultRecord,
}

/// The lines that were trained on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DataRecord {
    /// File name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Examples to train on.
    pub train_examples: usize,
    /// Examples that were held back.
    pub validation_examples: usize,
    /// Different tokens of sources; 0 where features come in.
    pub source_tokens: usize,
    /// Features of an example.
    pub channels: usize,
    /// Different tokens of targets, or classes.
    pub target_tokens: usize,
}

/// What came of a training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResultRecord {
    /// Steps done.
    pub steps: u64,
    /// Weights of the network.
    pub parameters: usize,
    /// Smoothed training loss, with dropout, nats per prediction.
    pub train_loss: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// On what was held back, after all steps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation: Option<Measures>,
}

/// The examples of a file, after a check of the settings and of the memory that a training on them needs.
///
/// # Errors
/// If the settings or the lines are refused.
pub fn examples(corpus: &Corpus, settings: &SequenceSettings) -> Result<ExampleSet, TrainError> {
    settings.check()?;
    let data = ExampleSet::read(corpus, &settings.examples())?;
    let needed = settings.memory(data.target.len(), data.longest()) >> 30;
    if needed > MAX_MEMORY_GB {
        return Err(TrainError::Memory { needed });
    }
    let parameters = trainer::shape(settings, &data).parameters();
    if parameters > MAX_PARAMETERS {
        return Err(TrainError::TooLarge { parameters });
    }
    Ok(data)
}

/// How many steps fit into `time`, by doing some of them; nothing of them is kept.
///
/// # Errors
/// If the training diverges.
pub fn steps_within(
    corpus: &Corpus,
    data: &ExampleSet,
    settings: &SequenceSettings,
    time: Duration,
) -> Result<u64, TrainError> {
    let mut course = LineCourse::new(corpus, data, settings);
    Ok(course::steps_within(
        &mut course,
        settings.train.steps,
        time,
    )?)
}

/// Trains, and writes into the folder `out`: `model.onnx`, `train.toml`, `loss.csv` and `checkpoint.bin`.
///
/// When `stop` becomes true, the training ends after the current step, and all files are written of what there is.
///
/// # Errors
/// If the checkpoint belongs to another training, the training diverges, or a file cannot be written.
pub fn run(
    request: Request,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Outcome, TrainError> {
    let Request {
        corpus,
        data,
        settings,
        out,
        resume,
        report_every,
        checkpoint_every,
    } = request;
    let mut course = LineCourse::new(corpus, data, settings);
    let drive = Drive {
        settings,
        steps: settings.train.steps,
        sha256: &corpus.sha256,
        out,
        report_every,
        checkpoint_every,
    };
    let log = drive.begin(&mut course, resume)?;
    let driven = drive.run(&mut course, log, stop, watch)?;
    let validation = driven
        .finished
        .then(|| tasks::measure(&driven.network, settings.task, data, settings.train.threads));
    let result = ResultRecord {
        steps: course.updater().steps_done(),
        parameters: driven.network.parameters(),
        train_loss: course.updater().smoothed_loss(),
        seconds: driven.seconds,
        validation: validation.flatten(),
    };
    let record = Record {
        settings: settings.clone(),
        data: DataRecord {
            name: corpus.name.clone(),
            sha256: corpus.sha256.clone(),
            train_examples: data.train.len(),
            validation_examples: data.dev.len(),
            source_tokens: data.source.as_ref().map_or(0, |source| source.len()),
            channels: data.feature_names.len(),
            target_tokens: data.target.len(),
        },
        result: result.clone(),
    };
    driven.write(out, "examples", &record)?;
    Ok(Outcome {
        network: driven.network,
        finished: driven.finished,
        result,
    })
}

/// A network in training on lines.
struct LineCourse<'a> {
    trainer: Trainer<'a>,
    corpus: &'a Corpus,
    data: &'a ExampleSet,
    settings: &'a SequenceSettings,
}

impl<'a> LineCourse<'a> {
    fn new(corpus: &'a Corpus, data: &'a ExampleSet, settings: &'a SequenceSettings) -> Self {
        Self {
            trainer: Trainer::new(settings, data),
            corpus,
            data,
            settings,
        }
    }
}

impl Course for LineCourse<'_> {
    fn step(&mut self) -> Result<Step, Diverged> {
        self.trainer.step()
    }

    fn updater(&self) -> &Updater {
        self.trainer.updater()
    }

    fn progress(&self) -> Progress {
        self.trainer.progress()
    }

    fn resume(&mut self, progress: Progress) -> bool {
        self.trainer.resume(progress)
    }

    fn seen(&self) -> u64 {
        self.trainer.examples_seen()
    }

    fn network(&self, extent: Extent) -> (Network, Option<Validation>) {
        let all = &self.data.dev;
        let examples: &[Example] = match extent {
            Extent::Glance => &all[..all.len().min(GLANCE)],
            Extent::Whole => all,
        };
        let train = &self.settings.train;
        let provenance = Provenance {
            corpus: self.corpus.name.clone(),
            split: split(train.validation),
            steps: self.updater().steps_done(),
            seed: train.seed,
            train_loss: Some(self.updater().smoothed_loss() as f32),
            validation_loss: None,
        };
        let mut network = self.trainer.network(provenance);
        let loss = tasks::loss(&network, self.settings.task, examples, train.threads);
        network.provenance.validation_loss = loss.map(|loss| loss as f32);
        let validation = loss.map(|loss| Validation { loss, bits: None });
        (network, validation)
    }
}

/// `all but about 10 %, by each text's SHA-256`
fn split(validation: f64) -> String {
    if validation == 0.0 {
        return "all".into();
    }
    let percent = (1e4 * validation).round() / 1e2;
    format!("all but about {percent} %, by each text's SHA-256")
}
