//! Training, from a text to a folder with the model and all that is needed to repeat or to resume it.

pub mod batches;
pub mod checkpoint;
pub mod model;
pub mod random;
pub mod settings;
pub mod trainer;
pub mod update;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::corpus::{self, Corpus};
use crate::evaluate;
use crate::network::{Network, Provenance};
use crate::output;
use crate::vocab::Vocabulary;
use batches::Batches;
use checkpoint::Checkpoint;
use settings::TrainSettings;
use trainer::Trainer;

/// Characters of the validation text that are read while training; at the end it is read whole.
pub const VALIDATION_GLANCE: usize = 32_768;

/// Lines that `loss.csv` gets in a whole training, about.
const ROWS: u64 = 200;

/// What is trained and where the results go.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The text.
    pub corpus: &'a Corpus,
    /// The settings.
    pub settings: &'a TrainSettings,
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
    /// Characters trained on so far.
    pub characters: u64,
    /// Smoothed training loss, with dropout, nats per character.
    pub train_loss: f64,
    /// Loss on the first [`VALIDATION_GLANCE`] characters of the validation text, where it was measured.
    pub validation_loss: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

/// What a training is about to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Weights of the network.
    pub parameters: usize,
    /// Different characters.
    pub tokens: usize,
    /// Characters to train on.
    pub train_characters: usize,
    /// Characters kept for validation.
    pub validation_characters: usize,
    /// Characters of one step.
    pub step_characters: usize,
    /// Rows of the batch and characters of a sequence, where the text is too short for those of the settings.
    pub shrunk: Option<(usize, usize)>,
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
    /// Different characters.
    pub tokens: usize,
}

/// What came of a training. Losses are in nats per character.
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
    Vocabulary(#[from] crate::vocab::VocabularyError),
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
    Diverged(#[from] update::Diverged),
    /// A result cannot be written.
    #[error(transparent)]
    Output(#[from] output::OutputError),
}

const MAX_MEMORY_GB: u64 = 16;

/// What `model.onnx` may hold to be read again, with room for its vocabulary.
const MAX_PARAMETERS: usize = (crate::onnx::MAX_FILE_BYTES - (2 << 20)) / 4;

/// A text, encoded and divided.
struct Texts {
    vocabulary: Vocabulary,
    tokens: Vec<u16>,
    train: usize,
}

impl Texts {
    fn new(corpus: &Corpus, settings: &TrainSettings) -> Result<Self, TrainError> {
        settings.check()?;
        let vocabulary = Vocabulary::of_characters(&corpus.text)?;
        let tokens = vocabulary.encode(&corpus.text, false)?.tokens;
        let train = corpus::training_part(tokens.len(), settings.validation);
        if train < 2 {
            let (name, characters) = (corpus.name.clone(), tokens.len());
            return Err(TrainError::TooShort {
                name,
                characters,
                train,
                validation: settings.validation,
            });
        }
        let batches = Batches::new(train, settings.batch, settings.sequence, settings.seed);
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
            tokens,
            train,
        })
    }

    fn train(&self) -> &[u16] {
        &self.tokens[..self.train]
    }

    fn validation(&self) -> &[u16] {
        &self.tokens[self.train..]
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
    let mut trainer = Trainer::new(settings, texts.vocabulary.len(), texts.train);
    // The first step touches fresh memory.
    trainer.step(texts.train())?;
    let begun = Instant::now();
    let sample = (time / 20).min(Duration::from_secs(5));
    let mut steps = 0;
    while steps == 0 || begun.elapsed() < sample {
        trainer.step(texts.train())?;
        steps += 1;
        if trainer.steps_done() >= settings.steps {
            break;
        }
    }
    let step = begun.elapsed().as_secs_f64() / steps as f64;
    // A twentieth went to this measurement, a twentieth goes to reports and the validation.
    Ok(((0.9 * time.as_secs_f64() / step) as u64).max(1))
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
        out,
        resume,
        report_every,
        checkpoint_every,
    } = request;
    let texts = Texts::new(corpus, settings)?;
    let mut trainer = Trainer::new(settings, texts.vocabulary.len(), texts.train);
    let checkpoint_path = out.join("checkpoint.bin");
    let (mut rows, seconds_before) = match resume {
        None => (Vec::new(), 0.0),
        Some(checkpoint) => {
            let (rows, seconds) = (checkpoint.rows.clone(), checkpoint.seconds);
            take_up(&mut trainer, checkpoint, corpus, settings).map_err(|differences| {
                TrainError::Other {
                    path: checkpoint_path.clone(),
                    differences,
                }
            })?;
            (rows, seconds)
        }
    };
    std::fs::create_dir_all(out).map_err(|cause| TrainError::Folder {
        path: out.into(),
        cause,
    })?;

    let batches = *trainer.batches();
    let step_characters = batches.rows() * batches.sequence();
    let shrunk = (batches.rows(), batches.sequence()) != (settings.batch, settings.sequence);
    watch.begins(&Plan {
        parameters: trainer.shape().parameters(),
        tokens: texts.vocabulary.len(),
        train_characters: texts.train,
        validation_characters: texts.validation().len(),
        step_characters,
        shrunk: shrunk.then_some((batches.rows(), batches.sequence())),
        done: trainer.steps_done(),
        steps: settings.steps,
    });

    let network = |trainer: &Trainer, validation: &[u16]| {
        let provenance = Provenance {
            corpus: corpus.name.clone(),
            split: split(settings.validation),
            steps: trainer.steps_done(),
            seed: settings.seed,
            train_loss: Some(trainer.smoothed_loss() as f32),
            validation_loss: None,
        };
        let mut network = trainer
            .shape()
            .network(trainer.model(), &texts.vocabulary, provenance);
        let loss = (validation.len() > 1)
            .then(|| evaluate::float(&network, validation, || ()).nats_per_char);
        network.provenance.validation_loss = loss.map(|loss| loss as f32);
        (network, loss)
    };
    let begun = Instant::now();
    let seconds = || seconds_before + begun.elapsed().as_secs_f64();
    let save = |trainer: &Trainer, rows: &[Row]| {
        Checkpoint {
            settings: settings.clone(),
            corpus: corpus.sha256.clone(),
            progress: trainer.progress(),
            rows: rows.to_vec(),
            seconds: seconds(),
        }
        .write(&checkpoint_path)
    };
    // Before the first step, so that a folder that cannot be written costs no training.
    save(&trainer, &rows)?;
    let mut saved = Instant::now();

    while trainer.steps_done() < settings.steps && !stop.load(Ordering::Relaxed) {
        let step = trainer.step(texts.train())?;
        let done = trainer.steps_done();
        watch.steps(done, trainer.smoothed_loss());
        let last = done == settings.steps;
        let reports = last || (report_every > 0 && done.is_multiple_of(report_every));
        if reports || done.is_multiple_of(settings.steps.div_ceil(ROWS)) {
            let mut row = Row {
                step: done,
                characters: done * step_characters as u64,
                train_loss: trainer.smoothed_loss(),
                validation_loss: None,
                learning_rate: step.rate,
            };
            if reports {
                let glance = texts.validation().len().min(VALIDATION_GLANCE);
                let (network, loss) = network(&trainer, &texts.validation()[..glance]);
                row.validation_loss = loss;
                watch.reports(&row, &network);
            }
            rows.push(row);
        }
        if saved.elapsed() > checkpoint_every {
            save(&trainer, &rows)?;
            saved = Instant::now();
        }
    }

    save(&trainer, &rows)?;
    let finished = trainer.steps_done() == settings.steps;
    // Someone who stops a training does not want to wait.
    let validation = texts.validation();
    let validation = if finished {
        validation
    } else {
        &validation[..validation.len().min(VALIDATION_GLANCE)]
    };
    let (mut network, loss) = network(&trainer, validation);
    if !finished {
        network.provenance.validation_loss = None;
    }
    let result = ResultRecord {
        steps: trainer.steps_done(),
        parameters: network.parameters(),
        train_loss: trainer.smoothed_loss(),
        validation_loss: loss.filter(|_| finished),
        seconds: seconds().round(),
    };
    let record = Record {
        settings: settings.clone(),
        corpus: CorpusRecord {
            name: corpus.name.clone(),
            sha256: corpus.sha256.clone(),
            characters: texts.tokens.len(),
            train_characters: texts.train,
            tokens: texts.vocabulary.len(),
        },
        result: result.clone(),
    };
    output::write_atomically(&out.join("loss.csv"), csv(&rows).as_bytes())?;
    let record = toml::to_string(&record).expect("a record can be written as TOML");
    output::write_atomically(&out.join("train.toml"), record.as_bytes())?;
    output::write_atomically(&out.join("model.onnx"), &crate::onnx::write(&network))?;
    Ok(Outcome {
        network,
        finished,
        result,
    })
}

/// Goes on from a checkpoint, or says in what it is another training's.
fn take_up(
    trainer: &mut Trainer,
    checkpoint: Checkpoint,
    corpus: &Corpus,
    settings: &TrainSettings,
) -> Result<(), String> {
    let mut differences = checkpoint.settings.differences(settings);
    if checkpoint.corpus != corpus.sha256 {
        differences.push(format!(
            "SHA-256 of the text {}, not {}",
            checkpoint.corpus, corpus.sha256
        ));
    }
    if !differences.is_empty() {
        return Err(differences.join("; "));
    }
    if trainer.resume(checkpoint.progress) {
        Ok(())
    } else {
        Err("its sizes are not those of its settings".into())
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

fn csv(rows: &[Row]) -> String {
    let mut text = String::from("step,characters,train_loss,validation_loss,learning_rate\n");
    for Row {
        step,
        characters,
        train_loss,
        validation_loss,
        learning_rate,
    } in rows
    {
        let validation = validation_loss
            .map(|loss| format!("{loss:.4}"))
            .unwrap_or_default();
        text += &format!("{step},{characters},{train_loss:.4},{validation},{learning_rate:.6}\n");
    }
    text
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
