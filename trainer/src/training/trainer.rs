//! One optimizer step: the shards of a batch on several threads, their gradients added in order.

use std::sync::Mutex;

use super::config::Config;
use super::dataset::{Dataset, DevLoss};
use super::network::{ModelConfig, TrainableNetwork};
use super::stack::DropoutRates;
use super::state::{Diverged, Optimizer, StepStats, TrainState};
use super::to_network::{from_network, to_network};
use crate::network::{Network, Provenance};
use crate::nn::random::{self, Purpose};
use crate::nn::simd::vectorized;

/// A shard's share of a step.
#[derive(Default)]
struct Shard {
    /// States of the layers that the next step starts from, as the network lays them out; empty: zeros.
    state: Vec<f32>,
    gradient: Vec<f32>,
    /// Sum of the losses, nats.
    loss: f64,
    predictions: usize,
}

/// A training between two steps: the network, the optimizer, the shards.
pub struct Trainer<'d> {
    seed: u64,
    model: ModelConfig,
    dataset: Box<dyn Dataset + 'd>,
    shards: Vec<Shard>,
    /// One for each thread.
    networks: Vec<TrainableNetwork>,
    pub(super) optimizer: Optimizer,
    gradient: Vec<f32>,
}

impl<'d> Trainer<'d> {
    /// A training before its first step, from `initial` parameters, or random ones. `threads` decides the time and nothing else.
    ///
    /// # Panics
    /// If the settings are refused by [`Config::check`], or the number of initial parameters is not that of `model`.
    pub fn new(
        config: &Config,
        model: ModelConfig,
        dataset: Box<dyn Dataset + 'd>,
        initial: Option<Vec<f32>>,
        threads: usize,
    ) -> Self {
        let parameters = model.num_parameters();
        let seed = config.optimizer.seed;
        let initial = initial.unwrap_or_else(|| model.initial_parameters(seed));
        assert_eq!(initial.len(), parameters, "initial parameters");
        let shard = || Shard {
            gradient: vec![0.0; parameters],
            ..Shard::default()
        };
        let shards: Vec<Shard> = (0..dataset.most_shards()).map(|_| shard()).collect();
        let threads = threads.clamp(1, shards.len().max(1));
        let network = |_| TrainableNetwork::new(model.clone(), config.dropout());
        Self {
            seed,
            networks: (0..threads).map(network).collect(),
            optimizer: Optimizer::new(config, &model, initial),
            gradient: vec![0.0; parameters],
            model,
            dataset,
            shards,
        }
    }

    /// The data.
    pub fn dataset(&self) -> &dyn Dataset {
        &*self.dataset
    }

    /// The sizes of the network.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.optimizer.state.step
    }

    /// Smoothed training loss, nats per prediction.
    pub fn smoothed_loss(&self) -> f64 {
        self.optimizer.state.smoothed_loss
    }

    /// Everything that a resumed training needs.
    pub fn state(&self) -> TrainState {
        TrainState {
            shards: self
                .shards
                .iter()
                .map(|shard| shard.state.clone())
                .collect(),
            ..self.optimizer.state.clone()
        }
    }

    /// Continues from `state`. Returns false, and changes nothing, if the state is not that of a training with these settings.
    pub fn restore(&mut self, state: &TrainState) -> bool {
        let stack = &self.model.stack;
        let values: usize = (0..stack.cells.len())
            .map(|layer| stack.state_len(layer))
            .sum();
        self.dataset.prepare(state.step);
        let fits = |(index, values_of_rows): (usize, &Vec<f32>)| {
            let is_carried = index < self.dataset.shards() && self.dataset.resets(index).is_some();
            let rows = || self.dataset.batch(index).rows();
            values_of_rows.is_empty() || is_carried && values_of_rows.len() == values * rows()
        };
        let fits =
            state.shards.len() == self.shards.len() && state.shards.iter().enumerate().all(fits);
        if !fits || !self.optimizer.restore(state) {
            return false;
        }
        for (shard, state) in self.shards.iter_mut().zip(&state.shards) {
            shard.state.clone_from(state);
        }
        true
    }

    /// One step.
    ///
    /// # Errors
    /// If the training diverged. The weights are then those before the step.
    pub fn step(&mut self) -> Result<StepStats, Diverged> {
        let step = self.steps_done();
        self.dataset.prepare(step);
        let (seed, dataset) = (self.seed, &*self.dataset);
        let shards = &mut self.shards[..dataset.shards()];
        let parameters = self.optimizer.parameters();
        let work = |network: &mut TrainableNetwork, (index, shard): (usize, &mut Shard)| {
            let batch = dataset.batch(index);
            let mut random = random::stream(seed, Purpose::Dropout, step, index as u64);
            let resets = dataset.resets(index);
            let state = resets.map(|resets| {
                reset_rows(&mut shard.state, batch.rows(), &resets);
                &mut shard.state
            });
            let gradient = &mut shard.gradient;
            shard.loss =
                network.loss_and_gradient(parameters, &batch, state, &mut random, gradient);
            shard.predictions = batch.predictions();
        };
        in_parallel(&mut self.networks, shards.iter_mut().enumerate(), work);
        let (first, others) = shards.split_first().expect("a shard");
        self.gradient.copy_from_slice(&first.gradient);
        for shard in others {
            let values = self.gradient.iter_mut().zip(&shard.gradient);
            vectorized(
                #[inline(always)]
                || values.for_each(|(sum, value)| *sum += value),
            );
        }
        let loss = shards.iter().map(|shard| shard.loss).sum();
        let predictions: usize = shards.iter().map(|shard| shard.predictions).sum();
        self.optimizer
            .step(loss, &self.gradient, predictions as f64)
    }

    /// The network of these weights, on the grids of its formats if they were trained to be quantized.
    pub fn network(&self, weights: &[f32], is_quantized: bool, provenance: Provenance) -> Network {
        let vocabularies = self.dataset.vocabularies();
        let network = to_network(&self.model, weights, vocabularies, provenance);
        self.optimizer.on_grids(network, is_quantized)
    }

    /// The loss of a network on dev, `None` without a dev part. It is close to that of [`Dataset::dev_loss`], which reads a text as
    /// one stream, and much faster.
    pub fn evaluate(&self, network: &Network) -> Option<DevLoss> {
        let dataset = &*self.dataset;
        if dataset.dev_shards() == 0 {
            return None;
        }
        // Weights that have diverged are not equal to themselves; the next step says so.
        let (model, parameters, _) = from_network(network).ok()?;
        let mut losses = vec![(0.0, 0); dataset.dev_shards()];
        let threads = self.networks.len().min(losses.len());
        let network = |_| TrainableNetwork::new(model.clone(), DropoutRates::default());
        let mut networks: Vec<_> = (0..threads).map(network).collect();
        let work = |network: &mut TrainableNetwork, (index, sum): (usize, &mut (f64, usize))| {
            let mut state = dataset.resets(0).map(|_| Vec::new());
            for batch in dataset.dev_batches(index) {
                sum.0 += network.loss(&parameters, &batch, state.as_mut());
                sum.1 += batch.predictions();
            }
        };
        in_parallel(&mut networks, losses.iter_mut().enumerate(), work);
        let loss: f64 = losses.iter().map(|sum| sum.0).sum();
        let predictions: usize = losses.iter().map(|sum| sum.1).sum();
        let loss = loss / predictions as f64;
        Some(DevLoss {
            loss,
            bits_per_char: dataset.bits_per_char(loss),
        })
    }
}

/// Sets the states of these rows to zero: `state` is `[..][batch]`.
pub(super) fn reset_rows(state: &mut Vec<f32>, batch: usize, rows: &[usize]) {
    if rows.len() == batch {
        return state.clear();
    }
    for values in state.chunks_exact_mut(batch) {
        rows.iter().for_each(|row| values[*row] = 0.0);
    }
}

/// Does the work of every item, each on the next free worker. Workers have a thread each.
pub(super) fn in_parallel<W: Send, I: Send>(
    workers: &mut [W],
    items: impl Iterator<Item = I> + Send,
    work: impl Fn(&mut W, I) + Sync,
) {
    let (first, others) = workers.split_first_mut().expect("at least one worker");
    let (queue, work) = (&Mutex::new(items), &work);
    let run = move |worker: &mut W| {
        loop {
            let item = queue.lock().expect("no worker panics").next();
            match item {
                Some(item) => work(worker, item),
                None => break,
            }
        }
    };
    std::thread::scope(|scope| {
        for worker in others {
            scope.spawn(move || run(worker));
        }
        run(first);
    });
}
