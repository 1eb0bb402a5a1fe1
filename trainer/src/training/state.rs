//! The optimizer: AdamW with a schedule, the moving average of the weights, and quantization-aware steps at the end.

use super::config::Config;
use super::model_config::ModelConfig;
use super::qat::FakeQuantizer;
use crate::network::Network;
use crate::nn::optimizer::{AdamW, Schedule, clip, norm};
use crate::nn::simd::vectorized;
use crate::quantize::project_to_grid;

/// Decay of the smoothed training loss.
const SMOOTHING: f64 = 0.99;

/// Steps until the learning rate of quantization-aware steps is at its highest.
const QAT_WARMUP: u64 = 20;

/// Everything that a training carries from one step to the next. With the settings and the data it decides what follows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainState {
    /// Steps done.
    pub step: u64,
    /// The weights, as the network's layout says.
    pub parameters: Vec<f32>,
    /// Their moving average; empty with `ema_decay` 0.
    pub ema: Vec<f32>,
    /// The optimizer's moments.
    pub optimizer: AdamW,
    /// Each shard's states of the layers; empty where no state is carried over.
    pub shards: Vec<Vec<f32>>,
    /// Smoothed training loss, nats per prediction; 0 before the first step.
    pub smoothed_loss: f64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepStats {
    /// Loss of the step's predictions, nats per prediction.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// The loss or the gradient is not a finite number any more.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "the training diverged at step {step}: loss {loss}, norm of the gradient {norm}; lower --learning-rate, which is {rate} now"
)]
pub struct Diverged {
    step: u64,
    loss: f64,
    norm: f64,
    rate: f64,
}

/// The weights and what moves them.
pub(super) struct Optimizer {
    config: Config,
    /// Lengths of the parameter groups, in order, and whether weight decay applies.
    groups: Vec<(usize, bool)>,
    /// Of the float steps, and of the quantization-aware ones.
    schedules: [Schedule; 2],
    quantizer: Option<FakeQuantizer>,
    pub state: TrainState,
}

impl Optimizer {
    /// Before the first step, from these parameters.
    pub fn new(config: &Config, model: &ModelConfig, parameters: Vec<f32>) -> Self {
        let (optimizer, quantization) = (&config.optimizer, &config.quantization);
        let schedule = |peak, warmup, steps| Schedule {
            peak,
            warmup,
            steps,
            last: optimizer.min_lr_ratio,
        };
        let float_steps = optimizer.steps - quantization.qat_steps;
        Self {
            groups: model.groups().collect(),
            schedules: [
                schedule(optimizer.learning_rate, optimizer.warmup_steps, float_steps),
                schedule(quantization.qat_lr, QAT_WARMUP, quantization.qat_steps),
            ],
            quantizer: (quantization.qat_steps > 0)
                .then(|| FakeQuantizer::new(quantization, model)),
            state: TrainState {
                step: 0,
                ema: match optimizer.ema_decay > 0.0 {
                    true => parameters.clone(),
                    false => Vec::new(),
                },
                optimizer: AdamW::new(parameters.len()),
                parameters,
                shards: Vec::new(),
                smoothed_loss: 0.0,
            },
            config: config.clone(),
        }
    }

    /// Quantization-aware steps done, if the next step is one.
    pub fn qat_steps_done(&self) -> Option<u64> {
        self.quantizer.as_ref()?;
        self.state.step.checked_sub(self.schedules[0].steps)
    }

    /// Whether the last step was quantization-aware.
    pub fn is_quantized(&self) -> bool {
        self.qat_steps_done().is_some_and(|done| done > 0)
    }

    /// The weights that the model gets: the moving average, or the last ones.
    pub fn weights(&self) -> &[f32] {
        if self.state.ema.is_empty() {
            &self.state.parameters
        } else {
            &self.state.ema
        }
    }

    /// Starts the quantization-aware steps, from these weights.
    pub fn begin_qat(&mut self, weights: Vec<f32>) {
        if !self.state.ema.is_empty() {
            self.state.ema.clone_from(&weights);
        }
        self.state.optimizer = AdamW::new(weights.len());
        self.state.parameters = weights;
    }

    /// The parameters of the next step: as they are, or quantized.
    pub fn parameters(&mut self) -> &[f32] {
        let qat = self.qat_steps_done();
        match (&mut self.quantizer, qat) {
            (Some(quantizer), Some(_)) => quantizer.quantize(&self.state.parameters),
            _ => &self.state.parameters,
        }
    }

    /// `network` on the grids of its weight formats, if its weights were trained to be on them.
    pub fn on_grids(&self, network: Network, is_quantized: bool) -> Network {
        if !is_quantized {
            return network;
        }
        // Weights that have diverged are on no grid; the next step says so.
        project_to_grid(&network, &self.config.weight_formats()).unwrap_or(network)
    }

    /// One step, from the sums of the losses and of the gradients over `predictions` predictions.
    ///
    /// # Errors
    /// If the training diverged. The weights are then those before the step.
    pub fn step(
        &mut self,
        loss: f64,
        gradient: &[f32],
        predictions: f64,
    ) -> Result<StepStats, Diverged> {
        let step = self.state.step;
        let qat = self.qat_steps_done();
        let (loss, norm) = (loss / predictions, norm(gradient) / predictions);
        let rate = match qat {
            None => self.schedules[0].rate(step),
            Some(done) => self.schedules[1].rate(done),
        };
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Diverged {
                step,
                loss,
                norm,
                rate,
            });
        }
        let optimizer = &self.config.optimizer;
        let scale = (clip(norm, optimizer.grad_clip) / predictions) as f32;
        self.state.optimizer.step(
            &mut self.state.parameters,
            gradient,
            scale,
            rate as f32,
            optimizer.weight_decay,
            self.groups.iter().copied(),
        );
        self.state.step += 1;
        self.update_ema(qat);
        self.state.smoothed_loss = match step {
            0 => loss,
            _ => SMOOTHING * self.state.smoothed_loss + (1.0 - SMOOTHING) * loss,
        };
        Ok(StepStats {
            loss,
            norm,
            learning_rate: rate,
        })
    }

    /// Early on the average forgets faster, so that the first weights do not linger.
    fn update_ema(&mut self, qat: Option<u64>) {
        let (decay, step) = match qat {
            None => (self.config.optimizer.ema_decay, self.state.step as f32),
            Some(done) => (self.config.quantization.qat_ema_decay, done as f32 + 1.0),
        };
        let keep = decay.min((1.0 + step) / (10.0 + step));
        let values = self.state.ema.iter_mut().zip(&self.state.parameters);
        vectorized(
            #[inline(always)]
            || values.for_each(|(average, value)| *average += (1.0 - keep) * (value - *average)),
        );
    }

    /// Continues from `state`. Returns false, and changes nothing, if the state is not that of a training with these settings.
    pub fn restore(&mut self, state: &TrainState) -> bool {
        let parameters = self.state.parameters.len();
        let fits = [state.parameters.len(), state.optimizer.parameters()] == [parameters; 2]
            && state.ema.len() == self.state.ema.len()
            && state.step <= self.config.optimizer.steps;
        if fits {
            self.state = state.clone();
        }
        fits
    }
}
