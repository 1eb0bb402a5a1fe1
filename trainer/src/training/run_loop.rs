//! The loop of a training: steps, evaluations on dev, early stopping, checkpoints.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::config::{Config, TrainOn};
use super::dataset::DevLoss;
use super::selection::{Best, Selection};
use super::trainer::Trainer;
use super::{Row, TrainError, Watch};
use crate::fs;
use crate::network::{Network, Provenance};

/// Lines that `loss.csv` gets in a whole training, about.
const ROWS: u64 = 200;

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps are done.
    Steps,
    /// Dev has not improved for as many evaluations as `patience` says.
    Patience,
    /// It was stopped, and can be resumed.
    Stopped,
}

/// What the loop needs to know of a training.
pub(super) struct Run<'a> {
    pub config: &'a Config,
    /// SHA-256 of the data.
    pub sha256: &'a str,
    /// The data's name.
    pub name: &'a str,
    /// The folder of the results.
    pub out: &'a Path,
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Threads of evaluations.
    pub threads: usize,
}

/// The log so far, and the choice.
#[derive(Default)]
pub(super) struct Past {
    pub rows: Vec<Row>,
    pub selection: Selection,
    pub seconds: f64,
}

/// A training at its end, or where it was stopped.
pub(super) struct Done {
    pub end: End,
    /// The network of the best step, or of the last one where none was chosen.
    pub network: Network,
    /// The network of the last step.
    pub last: Network,
    /// Of `network` on dev; none where the training was stopped.
    pub dev: Option<DevLoss>,
    pub past: Past,
}

impl Run<'_> {
    /// Restores the checkpoint, if there is one, and makes the folder.
    pub fn begin(
        &self,
        trainer: &mut Trainer,
        resume: Option<Checkpoint>,
    ) -> Result<Past, TrainError> {
        let past = match resume {
            None => Past::default(),
            Some(checkpoint) => self.restore(trainer, checkpoint).map_err(|differences| {
                TrainError::OtherTraining {
                    path: self.out.join(super::checkpoint::FILE),
                    differences,
                }
            })?,
        };
        fs::remove_stale_temp(self.out);
        Ok(past)
    }

    /// Continues from a checkpoint, or says in what it is another training's.
    fn restore(&self, trainer: &mut Trainer, checkpoint: Checkpoint) -> Result<Past, String> {
        let Checkpoint {
            config,
            data,
            state,
            rows,
            mut selection,
            seconds,
        } = checkpoint;
        // More steps may be asked for: the schedule is then that of all steps.
        let mut same = config.clone();
        let is_longer = self.config.optimizer.steps > config.optimizer.steps;
        if is_longer && config.quantization.qat_steps == 0 {
            same.optimizer.steps = self.config.optimizer.steps;
            selection.stale = 0;
        }
        let mut differences = same.differences(self.config);
        if data != self.sha256 {
            differences.push(format!("SHA-256 of the data {data}, not {}", self.sha256));
        }
        if !differences.is_empty() {
            return Err(differences.join("; "));
        }
        let weights = state.parameters.len();
        let best = selection.best.as_ref();
        if !trainer.restore(&state) || best.is_some_and(|best| best.weights.len() != weights) {
            return Err("its sizes are not those of its settings".into());
        }
        Ok(Past {
            rows,
            selection,
            seconds,
        })
    }

    /// Trains until all steps are done, dev has not improved for long, or `stop` becomes true.
    pub fn run(
        &self,
        trainer: &mut Trainer,
        mut past: Past,
        stop: &AtomicBool,
        watch: &mut dyn Watch,
    ) -> Result<Done, TrainError> {
        let begun = Instant::now();
        let seconds_before = past.seconds;
        let seconds = || seconds_before + begun.elapsed().as_secs_f64();
        // Before the first step, so that a folder that cannot be written costs no training.
        self.save(trainer, &past, seconds())?;
        let mut saved = Instant::now();
        let steps = self.config.optimizer.steps;
        while trainer.steps_done() < steps
            && !self.is_stale(trainer, &past.selection)
            && !stop.load(Ordering::Relaxed)
        {
            if trainer.optimizer.qat_steps_done() == Some(0) {
                // Another training begins, whose best step is to be found among its own.
                let best = std::mem::take(&mut past.selection).best;
                let weights =
                    best.map_or_else(|| trainer.optimizer.weights().to_vec(), |b| b.weights);
                trainer.optimizer.begin_qat(weights);
            }
            let stats = trainer.step()?;
            let done = trainer.steps_done();
            watch.steps(done, trainer.smoothed_loss());
            let evaluates = done == steps || done.is_multiple_of(self.config.eval_interval());
            if evaluates || done.is_multiple_of(steps.div_ceil(ROWS)) {
                let mut row = Row {
                    step: done,
                    seen: trainer.dataset().seen(done),
                    train_loss: trainer.smoothed_loss(),
                    dev_loss: None,
                    dev_bits_per_char: None,
                    learning_rate: stats.learning_rate,
                };
                if evaluates {
                    let network = self.last(trainer);
                    let dev = trainer.evaluate(&network);
                    row.dev_loss = dev.map(|dev| dev.loss);
                    row.dev_bits_per_char = dev.and_then(|dev| dev.bits_per_char);
                    self.choose(trainer, &mut past.selection, row.dev_loss);
                    watch.reports(&row, &network);
                }
                past.rows.push(row);
            }
            if saved.elapsed() > self.checkpoint_every {
                self.save(trainer, &past, seconds())?;
                saved = Instant::now();
            }
        }
        past.seconds = seconds().round();
        self.save(trainer, &past, seconds())?;
        let end = if trainer.steps_done() == steps {
            End::Steps
        } else if self.is_stale(trainer, &past.selection) {
            End::Patience
        } else {
            End::Stopped
        };
        Ok(self.done(trainer, past, end))
    }

    fn done(&self, trainer: &Trainer, past: Past, end: End) -> Done {
        let last = self.last(trainer);
        let mut network = match &past.selection.best {
            Some(best) => self.best(trainer, best),
            None => last.clone(),
        };
        let dev = match end {
            // Someone who stops a training does not want to wait.
            End::Stopped => None,
            _ => trainer.dataset().dev_loss(&network, self.threads),
        };
        network.provenance.validation_loss = dev.map(|dev| dev.loss as f32);
        Done {
            end,
            network,
            last,
            dev,
            past,
        }
    }

    /// Whether dev has not improved for long. With quantization-aware steps only these count: they begin from the best step.
    fn is_stale(&self, trainer: &Trainer, selection: &Selection) -> bool {
        let patience = self.config.optimizer.patience;
        let has_qat = self.config.quantization.qat_steps > 0;
        patience > 0
            && selection.stale >= patience
            && (!has_qat || trainer.optimizer.is_quantized())
    }

    /// Notes a loss on dev.
    fn choose(&self, trainer: &Trainer, selection: &mut Selection, loss: Option<f64>) {
        let Some(loss) = loss.filter(|_| self.config.data.train_on == TrainOn::Train) else {
            return;
        };
        selection.last_loss = Some(loss);
        if selection
            .best
            .as_ref()
            .is_some_and(|best| best.loss <= loss)
            || !loss.is_finite()
        {
            selection.stale += 1;
            return;
        }
        selection.stale = 0;
        selection.best = Some(Best {
            step: trainer.steps_done(),
            loss,
            weights: trainer.optimizer.weights().to_vec(),
            train_loss: trainer.smoothed_loss(),
        });
    }

    /// The network as it is.
    fn last(&self, trainer: &Trainer) -> Network {
        let provenance = self.provenance(trainer, trainer.steps_done(), trainer.smoothed_loss());
        let is_quantized = trainer.optimizer.is_quantized();
        trainer.network(trainer.optimizer.weights(), is_quantized, provenance)
    }

    fn best(&self, trainer: &Trainer, best: &Best) -> Network {
        let provenance = self.provenance(trainer, best.step, best.train_loss);
        // A best step is forgotten where quantization-aware steps begin.
        trainer.network(&best.weights, trainer.optimizer.is_quantized(), provenance)
    }

    fn provenance(&self, trainer: &Trainer, steps: u64, train_loss: f64) -> Provenance {
        let data = &self.config.data;
        let sizes = trainer.dataset().sizes();
        let parts = match data.train_on {
            TrainOn::Train => "train",
            TrainOn::TrainAndDev => "train+dev",
        };
        Provenance {
            corpus: self.name.into(),
            // Characters or examples. A model file keeps 64 bytes.
            split: format!(
                "{} = {}/{}/{}, trained on {parts}",
                data.split, sizes.train, sizes.dev, sizes.test
            ),
            steps,
            seed: self.config.optimizer.seed,
            train_loss: Some(train_loss as f32),
            validation_loss: None,
        }
    }

    fn save(&self, trainer: &Trainer, past: &Past, seconds: f64) -> Result<(), fs::OutputError> {
        Checkpoint {
            config: self.config.clone(),
            data: self.sha256.into(),
            state: trainer.state(),
            rows: past.rows.clone(),
            selection: past.selection.clone(),
            seconds,
        }
        .write(&self.out.join(super::checkpoint::FILE))
    }
}

/// How many steps fit into `time`, by doing some of a training, which is of no use after that.
///
/// # Errors
/// If the training diverges.
pub(super) fn steps_within(
    trainer: &mut Trainer,
    most: u64,
    time: Duration,
) -> Result<u64, TrainError> {
    // The first step touches fresh memory.
    trainer.step()?;
    let begun = Instant::now();
    // Batches of lines differ in length: many of them tell the mean better.
    let sample = (time / 20).min(Duration::from_secs(10));
    let mut done = 0;
    while done == 0 || begun.elapsed() < sample && trainer.steps_done() < most {
        trainer.step()?;
        done += 1;
    }
    let step = begun.elapsed().as_secs_f64() / f64::from(done);
    // A twentieth went to this measurement, a tenth goes to evaluations and the end.
    Ok(((0.85 * time.as_secs_f64() / step) as u64).max(1))
}
