//! The language model's training, one optimizer step after the other.

use std::ops::Range;

use super::batches::Batches;
use super::model::{Model, Shape};
use super::random::{self, Purpose};
use super::settings::TrainSettings;
use super::update::{Diverged, Progress, Step, Updater};
use crate::vocab::Tokens;

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
    seed: u64,
    shape: Shape,
    batches: Batches,
    workers: Vec<Worker>,
    updater: Updater,
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
        Self {
            seed: settings.seed,
            workers: workers.collect(),
            updater: Updater::new(settings, shape.initial(settings.seed), shape.parts()),
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

    /// The weights and what moves them.
    pub fn updater(&self) -> &Updater {
        &self.updater
    }

    /// All that a resumed training needs.
    pub fn progress(&self) -> Progress {
        let states = self.workers.iter().map(|worker| worker.model.state());
        self.updater.progress(states.collect())
    }

    /// Goes on from `progress`. False, and nothing changed, where it is not that of a training with these settings.
    pub fn resume(&mut self, progress: Progress) -> bool {
        let states = progress.states.clone();
        let lengths = self.workers.iter().map(|worker| worker.model.state().len());
        if !states.iter().map(Vec::len).eq(lengths) || !self.updater.resume(progress) {
            return false;
        }
        for (worker, state) in self.workers.iter_mut().zip(&states) {
            worker.model.set_state(state);
        }
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
    pub fn step(&mut self, text: &Tokens) -> Result<Step, Diverged> {
        let (step, seed, batches) = (self.updater.steps_done(), self.seed, &self.batches);
        let work = |worker: &mut Worker, parameters: &[f32]| {
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
        let predictions = (batches.rows() * batches.sequence()) as f64;
        self.updater.step(
            &mut self.workers,
            work,
            |worker| worker.model.gradient(),
            predictions,
        )
    }
}
