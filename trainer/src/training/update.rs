//! One optimizer step: all threads' gradients, AdamW, the moving average. What is trained does not matter here.

use super::rounder::Rounder;
use super::settings::TrainSettings;
use crate::network::Network;
use crate::nn::optimizer::{AdamW, Schedule, clip, norm};
use crate::nn::simd::vectorized;
use crate::quantize::{Options, project_to_grid};

/// Decay of the smoothed training loss.
const SMOOTHING: f64 = 0.99;

/// All that a training carries from one step to the next. With the settings and the text, it is all that decides what comes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The weights, as the network's shape lays them out.
    pub parameters: Vec<f32>,
    /// Their moving average; empty where the settings ask for none.
    pub average: Vec<f32>,
    /// The optimizer's moments.
    pub optimizer: AdamW,
    /// Each thread's states of the layers; none where each sequence stands for itself.
    pub states: Vec<Vec<f32>>,
    /// Smoothed training loss, nats per prediction; 0 before the first step.
    pub smoothed_loss: f64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Loss of the step's predictions, nats per prediction.
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

/// Steps until the learning rate of rounded weights is at its highest.
const ROUNDED_WARMUP: u64 = 20;

/// The weights and what moves them.
pub struct Updater {
    settings: TrainSettings,
    /// Lengths of the parameters' parts, in order, and whether they decay.
    parts: Vec<(usize, bool)>,
    /// Of the steps with weights as they are, and of those with rounded ones.
    schedules: [Schedule; 2],
    rounder: Option<Rounder>,
    gradient: Vec<f32>,
    step: u64,
    parameters: Vec<f32>,
    average: Vec<f32>,
    optimizer: AdamW,
    smoothed_loss: f64,
}

impl Updater {
    /// Before the first step, from these `parameters`; `parts` are their parts' lengths, in order, and whether they decay.
    pub fn new(
        settings: &TrainSettings,
        parameters: Vec<f32>,
        parts: impl Iterator<Item = (usize, bool)>,
    ) -> Self {
        Self {
            parts: parts.collect(),
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
            schedules: [
                Schedule {
                    peak: settings.learning_rate,
                    warmup: settings.warmup,
                    steps: settings.steps - settings.rounded_steps,
                    last: settings.last_rate,
                },
                Schedule {
                    peak: settings.rounded_rate,
                    warmup: ROUNDED_WARMUP,
                    steps: settings.rounded_steps,
                    last: settings.last_rate,
                },
            ],
            rounder: None,
            settings: settings.clone(),
        }
    }

    /// The last of the settings' steps, as many as they say, are done with weights that `rounder` rounds.
    pub fn rounded_by(self, rounder: Rounder) -> Self {
        let rounder = (self.settings.rounded_steps > 0).then_some(rounder);
        Self { rounder, ..self }
    }

    /// Steps done with rounded weights, where the next step is one of these.
    fn rounded_steps_done(&self) -> Option<u64> {
        self.rounder.as_ref()?;
        self.step.checked_sub(self.schedules[0].steps)
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Smoothed training loss, nats per prediction.
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

    /// `network`, of the model's weights, on the grids of these widths, once the weights have been trained to be rounded.
    pub fn on_grids(&self, network: Network, widths: &Options) -> Network {
        match self.rounded_steps_done() {
            None | Some(0) => network,
            // Weights that have diverged are on no grid; the next step says so.
            Some(_) => project_to_grid(&network, widths).unwrap_or(network),
        }
    }

    /// All that a resumed training needs, with the workers' `states`.
    pub fn progress(&self, states: Vec<Vec<f32>>) -> Progress {
        Progress {
            step: self.step,
            parameters: self.parameters.clone(),
            average: self.average.clone(),
            optimizer: self.optimizer.clone(),
            states,
            smoothed_loss: self.smoothed_loss,
        }
    }

    /// Goes on from `progress`. False, and nothing changed, where it is not that of a training with these settings.
    pub fn resume(&mut self, progress: Progress) -> bool {
        let parameters = self.parameters.len();
        let fits = [progress.parameters.len(), progress.optimizer.parameters()] == [parameters; 2]
            && progress.average.len() == self.average.len()
            && progress.step <= self.settings.steps;
        if fits {
            (self.step, self.parameters) = (progress.step, progress.parameters);
            (self.average, self.optimizer) = (progress.average, progress.optimizer);
            self.smoothed_loss = progress.smoothed_loss;
        }
        fits
    }

    /// One step. Each worker does its `work` with the weights on a thread of its own and gives the sum of its losses; the
    /// `gradient`s that it leaves are added in the workers' order. There are `predictions` in all.
    ///
    /// # Errors
    /// If the training diverged. The weights are then those before the step.
    ///
    /// # Panics
    /// If there is no worker, or its work panics.
    pub fn step<W: Send>(
        &mut self,
        workers: &mut [W],
        work: impl Fn(&mut W, &[f32]) -> f64 + Sync,
        gradient: impl Fn(&W) -> &[f32],
        predictions: f64,
    ) -> Result<Step, Diverged> {
        let (step, work) = (self.step, &work);
        let rounded = self.rounded_steps_done();
        if rounded == Some(0) {
            // Another training begins where the average is.
            if !self.average.is_empty() {
                self.parameters.clone_from(&self.average);
            }
            self.optimizer = AdamW::new(self.parameters.len());
        }
        let parameters: &[f32] = match (&mut self.rounder, rounded) {
            (Some(rounder), Some(_)) => rounder.round(&self.parameters),
            _ => &self.parameters,
        };
        let (first, others) = workers.split_first_mut().expect("at least one thread");
        let loss: f64 = std::thread::scope(|scope| {
            let others: Vec<_> = others
                .iter_mut()
                .map(|worker| scope.spawn(move || work(worker, parameters)))
                .collect();
            let first = work(first, parameters);
            others.into_iter().fold(first, |sum, thread| {
                sum + thread.join().expect("a worker does not panic")
            })
        });
        self.gradient.copy_from_slice(gradient(&workers[0]));
        for worker in &workers[1..] {
            let values = self.gradient.iter_mut().zip(gradient(worker));
            vectorized(
                #[inline(always)]
                || values.for_each(|(sum, value)| *sum += value),
            );
        }
        let (loss, norm) = (loss / predictions, norm(&self.gradient) / predictions);
        let rate = match rounded {
            None => self.schedules[0].rate(step),
            Some(step) => self.schedules[1].rate(step),
        };
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Diverged {
                step,
                loss,
                norm,
                rate: self.settings.learning_rate,
            });
        }
        let scale = (clip(norm, self.settings.clip) / predictions) as f32;
        self.optimizer.step(
            &mut self.parameters,
            &self.gradient,
            scale,
            rate as f32,
            self.settings.weight_decay,
            self.parts.iter().copied(),
        );
        self.step += 1;
        self.update_average(rounded);
        self.smoothed_loss = match step {
            0 => loss,
            _ => SMOOTHING * self.smoothed_loss + (1.0 - SMOOTHING) * loss,
        };
        Ok(Step { loss, norm, rate })
    }

    /// Early on the average forgets faster, so that the first weights do not linger.
    fn update_average(&mut self, rounded: Option<u64>) {
        let (decay, step) = match rounded {
            None => (self.settings.average, self.step as f32),
            Some(step) => (self.settings.rounded_average, step as f32 + 1.0),
        };
        let keep = decay.min((1.0 + step) / (10.0 + step));
        let values = self.average.iter_mut().zip(&self.parameters);
        vectorized(
            #[inline(always)]
            || values.for_each(|(average, value)| *average += (1.0 - keep) * (value - *average)),
        );
    }
}
