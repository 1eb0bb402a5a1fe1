//! Training, from a text to a folder with the model and all that is needed to repeat or to resume it.

pub mod batches;
pub mod checkpoint;
mod course;
pub mod lessons;
pub mod model;
pub mod rounder;
pub mod samples;
pub mod sequence;
pub mod settings;
pub mod stack;
pub mod trainer;
pub mod update;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::data::corpus::{Corpus, CorpusError};
use crate::data::notice::Notice;
use crate::data::tokenizer::{EncodeError, Encoding, TokenIds, Tokenizer, Vocabulary};
use crate::eval::perplexity;
use crate::fs;
use crate::network::{Network, Provenance};
use batches::Batches;
use checkpoint::Checkpoint;
use course::{Course, Drive, Extent, Validation};
use lessons::{Lessons, LessonsError};
use settings::TrainSettings;
use trainer::Trainer;
use update::{Diverged, Progress, Step, Updater};

/// Logits of the validation text that are computed at a look at it while training; at the end it is read whole.
const GLANCE_LOGITS: usize = 1 << 23;

/// The most characters that such a look is at.
pub const VALIDATION_GLANCE: usize = 32_768;

/// What is trained and where the results go.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The text.
    pub corpus: &'a Corpus,
    /// The settings.
    pub settings: &'a TrainSettings,
    /// The first weights, in the place of random ones; the settings have the hash of where they are from.
    pub first: Option<Vec<f32>>,
    /// What teachers say; the settings have its hash.
    pub lessons: Option<&'a Lessons>,
    /// The folder of the results, which is made where it is missing.
    pub out: &'a Path,
    /// Where to go on from.
    pub resume: Option<Checkpoint>,
    /// Steps between two reports; 0: only the last one.
    pub report_every: u64,
    /// Time between two checkpoints. It has no influence on the result.
    pub checkpoint_every: Duration,
}

/// A line of `loss.csv`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Steps done.
    pub step: u64,
    /// Tokens trained on so far; characters, where these are the tokens, and examples, where whole lines are trained.
    pub characters: u64,
    /// Smoothed training loss, with dropout, nats per token.
    pub train_loss: f64,
    /// Loss on the first part of the validation text, at most [`VALIDATION_GLANCE`] tokens, where it was measured.
    pub validation_loss: Option<f64>,
    /// The same in bits per character, unknown words spelled out.
    pub validation_bits: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

/// What a training is about to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Weights of the network.
    pub parameters: usize,
    /// What a token is.
    pub level: Tokenizer,
    /// Different tokens.
    pub tokens: usize,
    /// Tokens to train on.
    pub train_tokens: usize,
    /// Tokens kept for validation.
    pub validation_tokens: usize,
    /// Tokens of one step.
    pub step_tokens: usize,
    /// Rows of the batch and tokens of a sequence, where the text is too short for those of the settings.
    pub shrunk: Option<(usize, usize)>,
    /// What the user should know about the text.
    pub notices: Vec<Notice>,
    /// Steps done before.
    pub done: u64,
    /// All steps.
    pub steps: u64,
}

/// Who watches a training.
pub trait Watch {
    /// Before the first step.
    fn begins(&mut self, plan: &Plan);
    /// After each step: steps done, and the smoothed training loss.
    fn steps(&mut self, step: u64, train_loss: f64);
    /// Every so often: a row of the log, and the network as it is.
    fn reports(&mut self, row: &Row, network: &Network);
}

/// Watches nothing.
impl Watch for () {
    fn begins(&mut self, _: &Plan) {}
    fn steps(&mut self, _: u64, _: f64) {}
    fn reports(&mut self, _: &Row, _: &Network) {}
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
    pub settings: TrainSettings,
    /// The text.
    pub corpus: CorpusRecord,
    /// The outcome.
    pub result: ResultRecord,
}

/// The text that was trained on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CorpusRecord {
    /// File name.
    pub name: String,
    /// SHA-256 of the text.
    pub sha256: String,
    /// Characters in all.
    pub characters: usize,
    /// Characters, from the first, that were trained on.
    pub train_characters: usize,
    /// Different tokens.
    pub tokens: usize,
}

/// What came of a training. Losses are in nats per token.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResultRecord {
    /// Steps done.
    pub steps: u64,
    /// Weights of the network.
    pub parameters: usize,
    /// Smoothed training loss, with dropout.
    pub train_loss: f64,
    /// Loss on the whole validation text, as one stream from a state of zeros.
    pub validation_loss: Option<f64>,
    /// The same in bits per character, unknown words spelled out.
    #[serde(default)]
    pub validation_bits: Option<f64>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Why a training did not run to an end or a stop.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Bad settings.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    /// The text's vocabulary was refused.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The text cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Too few characters.
    #[error(
        "{name} has {characters} characters, {train} of them for training (validation {validation}): expected at least 2"
    )]
    TooShort {
        /// The text.
        name: String,
        /// Its characters.
        characters: usize,
        /// Those for training.
        train: usize,
        /// The setting.
        validation: f64,
    },
    /// The activations would take too much memory.
    #[error(
        "these settings need about {needed} GB of memory, expected at most {MAX_MEMORY_GB}: lower hidden, layers, batch or sequence"
    )]
    Memory {
        /// Memory that the settings need.
        needed: u64,
    },
    /// More weights than an ONNX file may have.
    #[error(
        "these settings make {parameters} weights, expected at most {MAX_PARAMETERS}: lower hidden or layers"
    )]
    TooLarge {
        /// The weights.
        parameters: usize,
    },
    /// A resumed training must be the same one.
    #[error("{} belongs to another training: {differences}; give the same text and settings, or start anew", path.display())]
    Other {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder {}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The loss is not a number any more.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// Lessons were refused.
    #[error(transparent)]
    Lessons(#[from] LessonsError),
    /// Lines were refused.
    #[error(transparent)]
    Data(#[from] crate::data::examples::DataError),
    /// A result cannot be written.
    #[error(transparent)]
    Output(#[from] fs::OutputError),
}

const MAX_MEMORY_GB: u64 = 16;

/// What `model.onnx` may hold to be read again, with room for its vocabulary.
const MAX_PARAMETERS: usize = (crate::onnx::MAX_FILE_BYTES - (2 << 20)) / 4;

/// A text, encoded and divided.
struct Texts {
    vocabulary: Vocabulary,
    train: TokenIds,
    validation: Encoding,
    /// Characters in all. They are counted here, since no step looks at the text again.
    characters: usize,
    /// Characters for training.
    train_characters: usize,
}

impl Texts {
    fn new(corpus: &Corpus, settings: &TrainSettings) -> Result<Self, TrainError> {
        settings.check()?;
        let [first, last] = corpus.parts(settings.validation, settings.lines)?;
        let train_characters = first.characters;
        let characters = corpus.characters();
        let too_short = |train| TrainError::TooShort {
            name: corpus.name.clone(),
            characters,
            train,
            validation: settings.validation,
        };
        if train_characters < 2 {
            return Err(too_short(train_characters));
        }
        let &TrainSettings { level, lines, .. } = settings;
        let vocabulary = level.build_vocabulary(corpus, first, settings.vocabulary, lines)?;
        let train = vocabulary.encode_streaming(corpus, first)?;
        // The vocabulary comes from the training part: what only the validation part has is left out, and reported.
        let validation = vocabulary.encode_part(corpus, last, true)?;
        if train.len() < 2 {
            return Err(too_short(train.len()));
        }
        let batches = Batches::new(
            train.len(),
            settings.batch,
            settings.sequence,
            settings.seed,
        );
        let needed = settings.memory(vocabulary.len(), batches.rows() * batches.sequence()) >> 30;
        if needed > MAX_MEMORY_GB {
            return Err(TrainError::Memory { needed });
        }
        let parameters = settings.shape(vocabulary.len()).parameters();
        if parameters > MAX_PARAMETERS {
            return Err(TrainError::TooLarge { parameters });
        }
        Ok(Self {
            vocabulary,
            train,
            validation,
            characters,
            train_characters,
        })
    }

    fn notices(&self) -> Vec<Notice> {
        let skipped = &self.validation.skipped;
        let summary = || skipped.summary(self.vocabulary.oov_name());
        let notice = (skipped.count > 0).then(|| Notice::OutOfVocabulary { summary: summary() });
        notice.into_iter().collect()
    }
}

/// How many steps fit into `time`, by doing a few of them; nothing of them is kept.
///
/// # Errors
/// As [`run`].
pub fn steps_within(
    corpus: &Corpus,
    settings: &TrainSettings,
    time: Duration,
) -> Result<u64, TrainError> {
    let texts = Texts::new(corpus, settings)?;
    let mut course = TextCourse::new(&texts, corpus, settings, None, None);
    Ok(course::steps_within(&mut course, settings.steps, time)?)
}

/// Trains, and writes into the folder `out`: `model.onnx`, `train.toml`, `loss.csv` and `checkpoint.bin`.
///
/// When `stop` becomes true, the training ends after the current step, and all files are written of what there is.
///
/// # Errors
/// If the settings or the text are refused, the checkpoint belongs to another training, the training diverges, or a file
/// cannot be written. The last checkpoint then stands.
pub fn run(
    request: Request,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Outcome, TrainError> {
    let Request {
        corpus,
        settings,
        first,
        lessons,
        out,
        resume,
        report_every,
        checkpoint_every,
    } = request;
    let texts = Texts::new(corpus, settings)?;
    if let Some(lessons) = lessons {
        lessons.check(&corpus.sha256, texts.vocabulary.len(), texts.train.len())?;
    }
    let mut course = TextCourse::new(&texts, corpus, settings, first, lessons);
    let drive = Drive {
        settings,
        steps: settings.steps,
        sha256: &corpus.sha256,
        out,
        report_every,
        checkpoint_every,
    };
    let log = drive.begin(&mut course, resume)?;

    let batches = *course.trainer.batches();
    let tokens = settings.batch * settings.sequence;
    let shrunk = course.trainer.step_tokens() != tokens;
    watch.begins(&Plan {
        parameters: course.trainer.shape().parameters(),
        level: settings.level,
        tokens: texts.vocabulary.len(),
        train_tokens: texts.train.len(),
        validation_tokens: texts.validation.tokens.len(),
        step_tokens: course.trainer.step_tokens(),
        shrunk: shrunk.then_some((batches.rows(), batches.sequence())),
        notices: texts.notices(),
        done: course.updater().steps_done(),
        steps: settings.steps,
    });

    let driven = drive.run(&mut course, log, stop, watch)?;
    let result = ResultRecord {
        steps: course.updater().steps_done(),
        parameters: driven.network.parameters(),
        train_loss: course.updater().smoothed_loss(),
        validation_loss: driven.validation.map(|validation| validation.loss),
        validation_bits: driven.validation.and_then(|validation| validation.bits),
        seconds: driven.seconds,
    };
    let record = Record {
        settings: settings.clone(),
        corpus: CorpusRecord {
            name: corpus.name.clone(),
            sha256: corpus.sha256.clone(),
            characters: texts.characters,
            train_characters: texts.train_characters,
            tokens: texts.vocabulary.len(),
        },
        result: result.clone(),
    };
    driven.write(out, "characters", &record)?;
    Ok(Outcome {
        network: driven.network,
        finished: driven.finished,
        result,
    })
}

/// A language model in training on a text.
struct TextCourse<'a> {
    trainer: Trainer<'a>,
    texts: &'a Texts,
    corpus: &'a Corpus,
    settings: &'a TrainSettings,
}

impl<'a> TextCourse<'a> {
    fn new(
        texts: &'a Texts,
        corpus: &'a Corpus,
        settings: &'a TrainSettings,
        first: Option<Vec<f32>>,
        lessons: Option<&'a Lessons>,
    ) -> Self {
        let (tokens, characters) = (texts.vocabulary.len(), texts.train.len());
        Self {
            trainer: Trainer::new(settings, tokens, characters, first, lessons),
            texts,
            corpus,
            settings,
        }
    }
}

impl Course for TextCourse<'_> {
    fn step(&mut self) -> Result<Step, Diverged> {
        self.trainer.step(&self.texts.train)
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
        self.updater().steps_done() * self.trainer.step_tokens() as u64
    }

    fn network(&self, extent: Extent) -> (Network, Option<Validation>) {
        let (vocabulary, validation) = (&self.texts.vocabulary, &self.texts.validation);
        let all = validation.tokens.len();
        let tokens = match extent {
            Extent::Glance => all
                .min(VALIDATION_GLANCE)
                .min(GLANCE_LOGITS / vocabulary.len()),
            Extent::Whole => all,
        };
        let updater = self.updater();
        let provenance = Provenance {
            corpus: self.corpus.name.clone(),
            split: split(self.settings.validation),
            steps: updater.steps_done(),
            seed: self.settings.seed,
            train_loss: Some(updater.smoothed_loss() as f32),
            validation_loss: None,
        };
        let shape = self.trainer.shape();
        let network = shape.network(updater.model(), vocabulary, provenance);
        let mut network = updater.on_grids(network, &self.settings.widths());
        let measured = (tokens > 1).then(|| {
            let stats = vocabulary.char_stats(validation, 1..tokens);
            let read = &validation.tokens[..tokens];
            let evaluation = perplexity::float(&network, read, || ()).per_character(stats);
            Validation {
                loss: evaluation.nats_per_token,
                bits: Some(evaluation.bits_per_char),
            }
        });
        network.provenance.validation_loss = measured.map(|measured| measured.loss as f32);
        (network, measured)
    }
}

/// `first 90 %`
fn split(validation: f64) -> String {
    if validation == 0.0 {
        return "all".into();
    }
    // Two decimals, without the noise of binary fractions.
    format!("first {} %", (1e4 * (1.0 - validation)).round() / 1e2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_told_in_plain_numbers() {
        let told = [0.0, 0.1, 0.05, 0.3, 0.333].map(split);
        assert_eq!(
            told,
            [
                "all",
                "first 90 %",
                "first 95 %",
                "first 70 %",
                "first 66.7 %"
            ]
        );
    }
}
