//! Training, from data to a folder with the model and everything that is needed to repeat or to resume it.
//!
//! ```text
//! data -> dataset (text | lines) -> trainer (shards) -> run loop (dev, early stopping) -> files
//!                                      network, optimizer, QAT, distillation
//! ```

pub mod artifacts;
pub mod buckets;
pub mod checkpoint;
pub mod config;
pub mod config_check;
mod data;
pub mod dataset;
pub mod distill;
pub mod distill_error;
mod error;
mod initial_states;
pub mod lines;
pub mod model_config;
pub mod network;
pub mod ngram_teacher;
pub mod presets;
pub mod qat;
mod run_loop;
pub mod samples;
mod selection;
mod stack;
pub mod stack_config;
pub mod state;
pub mod stream;
mod teachers;
pub mod text;
pub mod to_network;
pub mod trainer;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::data::corpus::Corpus;
use crate::data::task::Task;
use crate::eval::tasks;
use crate::network::Network;
use artifacts::{LockedFolder, Metrics, NgramBaseline};
use checkpoint::Checkpoint;
use config::Config;
pub use data::{Data, InitialModel};
use dataset::PartSizes;
use distill::SoftTargets;
pub use error::TrainError;
pub use run_loop::End;
use run_loop::Run;
pub use selection::Selection;
pub use stack::DropoutRates;
use text::TextDataset;
use trainer::Trainer;

/// Texts of at most so many characters are compared with n-gram models at the end.
const NGRAM_CHARACTERS: usize = 5_000_000;

/// What is trained and where the results go.
#[derive(Debug)]
pub struct Request<'a> {
    /// The file.
    pub corpus: &'a Corpus,
    /// The same, as [`Data::new`] gave it.
    pub data: &'a Data,
    /// The settings.
    pub config: &'a Config,
    /// Initial weights; the settings have the hash of their file.
    pub initial: Option<&'a InitialModel>,
    /// The teachers' probabilities; the settings have their hash.
    pub soft: Option<&'a SoftTargets>,
    /// The folder of the results, which is made if it is missing.
    pub out: &'a Path,
    /// Where to continue from.
    pub resume: Option<Checkpoint>,
    /// Time between two checkpoints. It has no influence on the result.
    pub checkpoint_every: Duration,
    /// Threads. They have no influence on the result.
    pub threads: usize,
}

/// A line of `loss.csv`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Steps done.
    pub step: u64,
    /// Tokens or examples trained on so far.
    pub seen: u64,
    /// Smoothed training loss, with dropout, nats per prediction.
    pub train_loss: f64,
    /// Loss on dev, where it was measured.
    pub dev_loss: Option<f64>,
    /// The same in bits per character, unknown words spelled out.
    pub dev_bits_per_char: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

/// What a training is about to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Weights of the network.
    pub parameters: usize,
    /// Different tokens of a text; 0 for a task on lines.
    pub vocab_size: usize,
    /// Tokens of a text for training.
    pub train_tokens: usize,
    /// Tokens of the dev part.
    pub dev_tokens: usize,
    /// Characters of a text's parts, or examples.
    pub sizes: PartSizes,
    /// Tokens or examples of one step.
    pub step_size: usize,
    /// Rows of the batch and tokens of a sequence, where the text is too short for those of the settings.
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
    /// After each evaluation: a row of the log, and the network as it is.
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
    /// Why the training ended.
    pub end: End,
    /// As `metrics.json`.
    pub metrics: Metrics,
}

impl Outcome {
    /// Whether the training is done; else it was stopped and can be resumed.
    pub fn is_finished(&self) -> bool {
        self.end != End::Stopped
    }
}

/// How many steps fit into `time`, by doing a few of them; nothing of them is kept.
///
/// # Errors
/// If the training diverges.
pub fn steps_within(
    data: &Data,
    config: &Config,
    threads: usize,
    time: Duration,
) -> Result<u64, TrainError> {
    let dataset = data.dataset(config, None);
    let mut trainer = Trainer::new(config, data.model(config), dataset, None, threads);
    run_loop::steps_within(&mut trainer, config.optimizer.steps, time)
}

/// Trains, and writes into the folder `out`: `model.onnx`, `last.onnx`, `config.toml`, `metrics.json`, `loss.csv` and
/// `checkpoint.bin`.
///
/// When `stop` becomes true, the training ends after the current step, and all files are written of what there is.
///
/// # Errors
/// If the checkpoint belongs to another training, another training writes to the folder, the training diverges, or a file cannot
/// be written. The last checkpoint then stands.
pub fn run(
    request: Request,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Outcome, TrainError> {
    let Request {
        corpus,
        data,
        config,
        initial,
        soft,
        out,
        resume,
        checkpoint_every,
        threads,
    } = request;
    let task = config.data.task;
    let distillation = &config.distillation;
    let has_teachers = distillation.ngram_order > 0 || !distillation.targets.is_empty();
    match soft {
        Some(soft) => {
            let vocabularies = data.vocabularies(config);
            soft.check(&corpus.sha256, &vocabularies, data.predictions(task))?;
        }
        None if has_teachers => return Err(distill_error::DistillError::Missing.into()),
        None => {}
    }
    let initial = initial.map(|initial| initial.parameters.clone());
    let (model, dataset) = (data.model(config), data.dataset(config, soft));
    let mut trainer = Trainer::new(config, model, dataset, initial, threads);
    let run = Run {
        config,
        sha256: &corpus.sha256,
        name: &corpus.name,
        out,
        checkpoint_every,
        threads,
    };
    let _locked = LockedFolder::new(out)?;
    let past = run.begin(&mut trainer, resume)?;
    watch.begins(&plan(data, config, &trainer));
    let done = run.run(&mut trainer, past, stop, watch)?;

    let finished = done.end != End::Stopped;
    let ngram = match data {
        Data::Text(text) if finished && text.sizes().train <= NGRAM_CHARACTERS => {
            text.best_ngram(ngram_teacher::MAX_ORDER)
        }
        _ => None,
    };
    let dev = match data {
        Data::Lines(examples) if finished => {
            tasks::measure(&done.network, task, examples, &examples.dev, threads)
        }
        _ => None,
    };
    let selection = &done.past.selection;
    let provenance = &done.network.provenance;
    let metrics = Metrics {
        corpus: corpus.name.clone(),
        sha256: corpus.sha256.clone(),
        sizes: data.sizes(),
        vocab_size: trainer.model().output_size,
        parameters: trainer.model().num_parameters(),
        steps: trainer.steps_done(),
        best_step: provenance.steps,
        train_loss: provenance.train_loss.unwrap_or_default().into(),
        dev_loss: done.dev.map(|dev| dev.loss),
        dev_bits_per_char: done.dev.and_then(|dev| dev.bits_per_char),
        last_dev_loss: selection.last_loss.filter(|_| finished),
        ngram: ngram.map(|(order, bits_per_char)| NgramBaseline {
            order,
            bits_per_char,
        }),
        dev,
        seconds: done.past.seconds,
    };
    let unit = match task {
        Task::LanguageModel => "tokens",
        _ => "examples",
    };
    let networks = [&done.network, &done.last];
    artifacts::write(out, config, &metrics, (&done.past.rows, unit), networks)?;
    Ok(Outcome {
        network: done.network,
        end: done.end,
        metrics,
    })
}

fn plan(data: &Data, config: &Config, trainer: &Trainer) -> Plan {
    let (steps, done) = (config.optimizer.steps, trainer.steps_done());
    let mut plan = Plan {
        parameters: trainer.model().num_parameters(),
        vocab_size: 0,
        train_tokens: 0,
        dev_tokens: 0,
        sizes: data.sizes(),
        step_size: trainer.dataset().seen(1) as usize,
        shrunk: None,
        done,
        steps,
    };
    if let Data::Text(text) = data {
        let (batch_size, seq_len) = (config.optimizer.batch_size, config.optimizer.seq_len);
        plan.vocab_size = text.vocabulary().len();
        (plan.train_tokens, plan.dev_tokens) = (text.train_tokens(), text.dev_tokens());
        let dataset: TextDataset = text.dataset(config, None);
        let stream = *dataset.stream();
        if plan.step_size != batch_size * seq_len {
            plan.shrunk = Some((stream.rows(), stream.seq_len()));
        }
    }
    plan
}

#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod task_tests;
