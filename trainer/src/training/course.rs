//! The loop of a training, whatever is trained: steps, reports, checkpoints, and the files at the end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Kept};
use super::update::{Diverged, Progress, Step, Updater};
use super::{Row, TrainError, Watch};
use crate::fs;
use crate::network::Network;

/// Lines that `loss.csv` gets in a whole training, about.
const ROWS: u64 = 200;

/// How much of what is held back a network is measured on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extent {
    /// A look, while training.
    Glance,
    /// All of it.
    Whole,
}

/// How well what is held back was foreseen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Validation {
    /// Nats per prediction.
    pub loss: f64,
    /// Bits per character, where the predictions are a text's.
    pub bits: Option<f64>,
}

/// What is trained.
pub(super) trait Course {
    /// One step.
    fn step(&mut self) -> Result<Step, Diverged>;
    /// The weights and what moves them.
    fn updater(&self) -> &Updater;
    /// All that a resumed training needs.
    fn progress(&self) -> Progress;
    /// Goes on from there. False, and nothing changed, where it is not that of a training with these settings.
    fn resume(&mut self, progress: Progress) -> bool;
    /// Characters or examples that were trained on so far.
    fn seen(&self) -> u64;
    /// The network as it is, and its loss on what is held back.
    fn network(&self, extent: Extent) -> (Network, Option<Validation>);
}

/// How many steps fit into `time`, by doing some of a training of `steps`, which is of no use after that.
pub(super) fn steps_within(
    course: &mut impl Course,
    steps: u64,
    time: Duration,
) -> Result<u64, Diverged> {
    // The first step touches fresh memory.
    course.step()?;
    let begun = Instant::now();
    // Batches of lines differ in length: many of them tell the mean better.
    let sample = (time / 20).min(Duration::from_secs(10));
    let mut done = 0;
    while done == 0 || begun.elapsed() < sample && course.updater().steps_done() < steps {
        course.step()?;
        done += 1;
    }
    let step = begun.elapsed().as_secs_f64() / f64::from(done);
    // A twentieth went to this measurement, a twentieth goes to reports and the validation.
    Ok(((0.9 * time.as_secs_f64() / step) as u64).max(1))
}

/// What the loop needs to know of a training.
pub(super) struct Drive<'a, S> {
    /// The settings.
    pub settings: &'a S,
    /// All steps.
    pub steps: u64,
    /// SHA-256 of the text.
    pub sha256: &'a str,
    /// The folder of the results.
    pub out: &'a Path,
    /// Steps between two reports; 0: only the last one.
    pub report_every: u64,
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
}

/// A training at its end, or where it was stopped.
pub(super) struct Driven {
    /// The network, its validation loss within its provenance where all steps were done.
    pub network: Network,
    /// Whether all steps were done.
    pub finished: bool,
    /// On what is held back, where all steps were done.
    pub validation: Option<Validation>,
    /// The log.
    pub rows: Vec<Row>,
    /// Seconds of training.
    pub seconds: f64,
}

impl<S: Kept> Drive<'_, S> {
    /// Takes up the checkpoint, where there is one, and makes the folder: what comes before the first step. Gives the log so far.
    pub fn begin(
        &self,
        course: &mut impl Course,
        resume: Option<Checkpoint<S>>,
    ) -> Result<(Vec<Row>, f64), TrainError> {
        let log = match resume {
            None => (Vec::new(), 0.0),
            Some(checkpoint) => {
                let log = (checkpoint.rows.clone(), checkpoint.seconds);
                self.take_up(course, checkpoint)
                    .map_err(|differences| TrainError::Other {
                        path: self.out.join("checkpoint.bin"),
                        differences,
                    })?;
                log
            }
        };
        std::fs::create_dir_all(self.out).map_err(|cause| TrainError::Folder {
            path: self.out.into(),
            cause,
        })?;
        fs::remove_stale_temp(self.out);
        Ok(log)
    }

    /// Goes on from a checkpoint, or says in what it is another training's.
    fn take_up(&self, course: &mut impl Course, checkpoint: Checkpoint<S>) -> Result<(), String> {
        let mut differences = checkpoint.settings.differences(self.settings);
        if checkpoint.corpus != self.sha256 {
            differences.push(format!(
                "SHA-256 of the text {}, not {}",
                checkpoint.corpus, self.sha256
            ));
        }
        if !differences.is_empty() {
            return Err(differences.join("; "));
        }
        if course.resume(checkpoint.progress) {
            Ok(())
        } else {
            Err("its sizes are not those of its settings".into())
        }
    }

    /// Trains on from `log`, which [`begin`](Self::begin) gave, until all steps are done or `stop` becomes true.
    pub fn run(
        &self,
        course: &mut impl Course,
        (mut rows, seconds_before): (Vec<Row>, f64),
        stop: &AtomicBool,
        watch: &mut dyn Watch,
    ) -> Result<Driven, TrainError> {
        let begun = Instant::now();
        let seconds = || seconds_before + begun.elapsed().as_secs_f64();
        let save = |course: &dyn Fn() -> Progress, rows: &[Row]| {
            Checkpoint {
                settings: self.settings.clone(),
                corpus: self.sha256.into(),
                progress: course(),
                rows: rows.to_vec(),
                seconds: seconds(),
            }
            .write(&self.out.join("checkpoint.bin"))
        };
        // Before the first step, so that a folder that cannot be written costs no training.
        save(&|| course.progress(), &rows)?;
        let mut saved = Instant::now();

        while course.updater().steps_done() < self.steps && !stop.load(Ordering::Relaxed) {
            let step = course.step()?;
            let done = course.updater().steps_done();
            watch.steps(done, course.updater().smoothed_loss());
            let last = done == self.steps;
            let reports = last || (self.report_every > 0 && done.is_multiple_of(self.report_every));
            if reports || done.is_multiple_of(self.steps.div_ceil(ROWS)) {
                let mut row = Row {
                    step: done,
                    characters: course.seen(),
                    train_loss: course.updater().smoothed_loss(),
                    validation_loss: None,
                    validation_bits: None,
                    learning_rate: step.rate,
                };
                if reports {
                    let (network, validation) = course.network(Extent::Glance);
                    row.validation_loss = validation.map(|validation| validation.loss);
                    row.validation_bits = validation.and_then(|validation| validation.bits);
                    watch.reports(&row, &network);
                }
                rows.push(row);
            }
            if saved.elapsed() > self.checkpoint_every {
                save(&|| course.progress(), &rows)?;
                saved = Instant::now();
            }
        }

        save(&|| course.progress(), &rows)?;
        let finished = course.updater().steps_done() == self.steps;
        // Someone who stops a training does not want to wait.
        let extent = if finished {
            Extent::Whole
        } else {
            Extent::Glance
        };
        let (mut network, validation) = course.network(extent);
        if !finished {
            network.provenance.validation_loss = None;
        }
        Ok(Driven {
            network,
            finished,
            validation: validation.filter(|_| finished),
            rows,
            seconds: seconds().round(),
        })
    }
}

impl Driven {
    /// Writes `loss.csv`, whose losses are after so many of `unit`, `train.toml` with `record`, and `model.onnx`.
    pub fn write(
        &self,
        out: &Path,
        unit: &str,
        record: &impl serde::Serialize,
    ) -> Result<(), TrainError> {
        fs::write_atomically(&out.join("loss.csv"), csv(&self.rows, unit).as_bytes())?;
        let record = toml::to_string(record).expect("a record can be written as TOML");
        fs::write_atomically(&out.join("train.toml"), record.as_bytes())?;
        let network = crate::onnx::write(&self.network);
        Ok(fs::write_atomically(&out.join("model.onnx"), &network)?)
    }
}

fn csv(rows: &[Row], unit: &str) -> String {
    let mut text = format!("step,{unit},train_loss,validation_loss,learning_rate\n");
    for Row {
        step,
        characters,
        train_loss,
        validation_loss,
        learning_rate,
        ..
    } in rows
    {
        let validation = validation_loss
            .map(|loss| format!("{loss:.4}"))
            .unwrap_or_default();
        text += &format!("{step},{characters},{train_loss:.4},{validation},{learning_rate:.6}\n");
    }
    text
}
