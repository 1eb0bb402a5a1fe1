//! One optimizer step after the other.

use std::ops::Range;

use super::batches::Batches;
use super::model::{Model, Shape};
use super::random::{self, Purpose};
use super::settings::TrainSettings;
use crate::math::vectorized;
use crate::optimizer::{AdamW, Schedule, clip, norm};

/// Decay of the smoothed training loss.
const SMOOTHING: f64 = 0.99;

/// All that a training carries from one step to the next. With the settings and the text, it is all that decides what comes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The weights, as [`Shape`] lays them out.
    pub parameters: Vec<f32>,
    /// Their moving average; empty where the settings ask for none.
    pub average: Vec<f32>,
    /// The optimizer's moments.
    pub optimizer: AdamW,
    /// Each thread's states of the layers.
    pub states: Vec<Vec<f32>>,
    /// Smoothed training loss, nats per character; 0 before the first step.
    pub smoothed_loss: f64,
}

impl Progress {
    /// The weights that the model gets.
    pub fn model(&self) -> &[f32] {
        if self.average.is_empty() {
            &self.parameters
        } else {
            &self.average
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Loss of the step's characters, nats per character.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// The learning rate.
    pub rate: f64,
}

/// The loss or the gradient is not a number any more.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "the training diverged at step {step}: loss {loss}, norm of the gradient {norm}; lower the learning rate, which is {rate} at its highest"
)]
pub struct Diverged {
    step: u64,
    loss: f64,
    norm: f64,
    rate: f64,
}

/// One thread's part of the batch.
struct Worker {
    thread: u64,
    rows: Range<usize>,
    model: Model,
    inputs: Vec<u16>,  // [sequence][rows]
    targets: Vec<u16>, // [sequence][rows]
}

/// A training: the network, the optimizer, the workers.
pub struct Trainer {
    settings: TrainSettings,
    shape: Shape,
    batches: Batches,
    schedule: Schedule,
    workers: Vec<Worker>,
    gradient: Vec<f32>,
    step: u64,
    parameters: Vec<f32>,
    average: Vec<f32>,
    optimizer: AdamW,
    smoothed_loss: f64,
}

impl Trainer {
    /// A training before its first step, over a text of `characters` characters, `tokens` different ones.
    ///
    /// # Panics
    /// If the text has fewer than 2 characters, or the settings are not good by [`TrainSettings::check`].
    pub fn new(settings: &TrainSettings, tokens: usize, characters: usize) -> Self {
        let shape = settings.shape(tokens);
        let batches = Batches::new(characters, settings.batch, settings.sequence, settings.seed);
        let threads = settings.threads.min(batches.rows());
        let share = |thread: usize| thread * batches.rows() / threads;
        let workers = (0..threads).map(|thread| {
            let rows = share(thread)..share(thread + 1);
            Worker {
                thread: thread as u64,
                model: Model::new(
                    shape.clone(),
                    batches.sequence(),
                    rows.len(),
                    settings.dropout,
                ),
                rows,
                inputs: Vec::new(),
                targets: Vec::new(),
            }
        });
        let parameters = shape.initial(settings.seed);
        Self {
            workers: workers.collect(),
            gradient: vec![0.0; parameters.len()],
            step: 0,
            average: if settings.average > 0.0 {
                parameters.clone()
            } else {
                Vec::new()
            },
            optimizer: AdamW::new(parameters.len()),
            parameters,
            smoothed_loss: 0.0,
            schedule: Schedule {
                peak: settings.learning_rate,
                warmup: settings.warmup,
                steps: settings.steps,
                last: settings.last_rate,
            },
            settings: settings.clone(),
            shape,
            batches,
        }
    }

    /// The batches.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// What the parameters are.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Smoothed training loss, nats per character.
    pub fn smoothed_loss(&self) -> f64 {
        self.smoothed_loss
    }

    /// The weights that the model gets: the moving average, or the last ones.
    pub fn model(&self) -> &[f32] {
        if self.average.is_empty() {
            &self.parameters
        } else {
            &self.average
        }
    }

    /// All that a resumed training needs.
    pub fn progress(&self) -> Progress {
        Progress {
            step: self.step,
            parameters: self.parameters.clone(),
            average: self.average.clone(),
            optimizer: self.optimizer.clone(),
            states: self
                .workers
                .iter()
                .map(|worker| worker.model.state())
                .collect(),
            smoothed_loss: self.smoothed_loss,
        }
    }

    /// Goes on from `progress`. False, and nothing changed, where it is not that of a training with these settings.
    pub fn resume(&mut self, progress: Progress) -> bool {
        let parameters = self.parameters.len();
        let lengths = [progress.parameters.len(), progress.optimizer.parameters()]
            == [parameters; 2]
            && progress.average.len() == self.average.len()
            && progress.step <= self.settings.steps;
        let states = progress.states.iter().map(Vec::len);
        if !lengths || !states.eq(self.workers.iter().map(|worker| worker.model.state().len())) {
            return false;
        }
        for (worker, state) in self.workers.iter_mut().zip(&progress.states) {
            worker.model.set_state(state);
        }
        let Progress {
            step,
            parameters,
            average,
            optimizer,
            smoothed_loss,
            ..
        } = progress;
        (self.step, self.parameters, self.average) = (step, parameters, average);
        (self.optimizer, self.smoothed_loss) = (optimizer, smoothed_loss);
        true
    }

    /// One step on `text`. Each thread takes its rows through the whole sequence, forth and back; the gradients are added in
    /// the threads' order.
    ///
    /// # Errors
    /// If the training diverged. The weights are then those before the step.
    ///
    /// # Panics
    /// If `text` is not as long as the trainer was made for, or has a token that is not below V.
    pub fn step(&mut self, text: &[u16]) -> Result<Step, Diverged> {
        let (step, seed, batches, parameters) = (
            self.step,
            self.settings.seed,
            &self.batches,
            &*self.parameters,
        );
        let work = |worker: &mut Worker| {
            let Worker {
                thread,
                rows,
                model,
                inputs,
                targets,
            } = worker;
            if batches.begins(step) {
                model.reset();
            }
            batches.fill(text, step, rows.clone(), inputs, targets);
            model.train(
                parameters,
                inputs,
                targets,
                &mut random::stream(seed, Purpose::Dropout, step, *thread),
            )
        };
        let (first, others) = self.workers.split_first_mut().expect("at least one thread");
        let loss: f64 = std::thread::scope(|scope| {
            let others: Vec<_> = others
                .iter_mut()
                .map(|worker| scope.spawn(|| work(worker)))
                .collect();
            let first = work(first);
            others.into_iter().fold(first, |sum, thread| {
                sum + thread.join().expect("a worker does not panic")
            })
        });
        self.gradient
            .copy_from_slice(self.workers[0].model.gradient());
        for worker in &self.workers[1..] {
            let values = self.gradient.iter_mut().zip(worker.model.gradient());
            vectorized(
                #[inline(always)]
                || values.for_each(|(sum, value)| *sum += value),
            );
        }
        let predictions = (self.batches.rows() * self.batches.sequence()) as f64;
        let (loss, norm) = (loss / predictions, norm(&self.gradient) / predictions);
        let rate = self.schedule.rate(step);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Diverged {
                step,
                loss,
                norm,
                rate: self.settings.learning_rate,
            });
        }
        let scale = (clip(norm, self.settings.clip) / predictions) as f32;
        let (decay, parts) = (self.settings.weight_decay, self.shape.parts());
        self.optimizer.step(
            &mut self.parameters,
            &self.gradient,
            scale,
            rate as f32,
            decay,
            parts,
        );
        self.step += 1;
        self.update_average();
        self.smoothed_loss = match step {
            0 => loss,
            _ => SMOOTHING * self.smoothed_loss + (1.0 - SMOOTHING) * loss,
        };
        Ok(Step { loss, norm, rate })
    }

    /// Early on the average forgets faster, so that the first weights do not linger.
    fn update_average(&mut self) {
        let keep = self
            .settings
            .average
            .min((1.0 + self.step as f32) / (10.0 + self.step as f32));
        let values = self.average.iter_mut().zip(&self.parameters);
        vectorized(
            #[inline(always)]
            || values.for_each(|(average, value)| *average += (1.0 - keep) * (value - *average)),
        );
    }
}
