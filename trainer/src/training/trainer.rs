//! The language model's training, one optimizer step after the other.

use std::ops::Range;

use super::batches::Batches;
use super::lessons::Lessons;
use super::model::{Model, Shape};
use super::settings::TrainSettings;
use super::update::{Diverged, Progress, Step, Updater};
use crate::data::tokenizer::TokenIds;
use crate::nn::random::{self, Purpose};
use crate::nn::softmax::Soft;

/// One thread's part of the batch: rows of the text, and after them rows of what teachers made up.
struct Worker {
    thread: u64,
    /// Of the text's batches.
    rows: Range<usize>,
    /// Of the batches of what was made up.
    imagined: Range<usize>,
    model: Model,
    inputs: Vec<u16>,  // [sequence][rows]
    targets: Vec<u16>, // [sequence][rows]
}

/// A training: the network, the optimizer, the workers.
pub struct Trainer<'l> {
    settings: TrainSettings,
    shape: Shape,
    batches: Batches,
    lessons: Option<&'l Lessons>,
    /// Of what teachers made up, where rows of the batch are that.
    imagined: Option<Batches>,
    workers: Vec<Worker>,
    updater: Updater,
}

impl<'l> Trainer<'l> {
    /// A training before its first step, over a text of `characters` characters, `tokens` different ones, from the weights
    /// `first`, or random ones, and with `lessons`, where there are any.
    ///
    /// # Panics
    /// If the text has fewer than 2 characters, the settings are not good by [`TrainSettings::check`], or there are not as
    /// many weights as their shape has.
    pub fn new(
        settings: &TrainSettings,
        tokens: usize,
        characters: usize,
        first: Option<Vec<f32>>,
        lessons: Option<&'l Lessons>,
    ) -> Self {
        let shape = settings.shape(tokens);
        let &TrainSettings {
            batch,
            sequence,
            seed,
            ..
        } = settings;
        let made_up = lessons.map_or(0, |lessons| lessons.imagined().len());
        let share = (settings.imagined * batch as f32).round() as usize;
        let share = share.min(batch - 1);
        let (own, imagined) = if share > 0 && made_up > share * sequence {
            let imagined = Batches::new(made_up, share, sequence, seed);
            (batch - share, Some(imagined))
        } else {
            (batch, None)
        };
        let batches = Batches::new(characters, own, sequence, seed);
        // A short text has shorter sequences.
        let imagined = imagined.filter(|imagined| imagined.sequence() == batches.sequence());
        let others = imagined.map_or(0, |imagined| imagined.rows());
        let threads = settings.threads.min(batches.rows());
        let part = |rows: usize, thread: usize| {
            let end = |thread| thread * rows / threads;
            end(thread)..end(thread + 1)
        };
        let workers = (0..threads).map(|thread| {
            let (rows, imagined) = (part(batches.rows(), thread), part(others, thread));
            Worker {
                thread: thread as u64,
                model: Model::new(
                    shape.clone(),
                    batches.sequence(),
                    rows.len() + imagined.len(),
                    settings.dropout,
                ),
                rows,
                imagined,
                inputs: Vec::new(),
                targets: Vec::new(),
            }
        });
        let first = first.unwrap_or_else(|| shape.initial(seed));
        assert_eq!(first.len(), shape.parameters(), "first weights");
        let updater = Updater::new(settings, first, shape.parts());
        Self {
            settings: settings.clone(),
            workers: workers.collect(),
            updater: updater.rounded_by(shape.rounder(settings)),
            shape,
            batches,
            lessons,
            imagined,
        }
    }

    /// The batches of the text.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Tokens of a step, those that were made up among them.
    pub fn step_tokens(&self) -> usize {
        let imagined = self.imagined.map_or(0, |imagined| imagined.rows());
        (self.batches.rows() + imagined) * self.batches.sequence()
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
    pub fn step(&mut self, text: &TokenIds) -> Result<Step, Diverged> {
        let step = self.updater.steps_done();
        let predictions = self.step_tokens() as f64;
        let Self {
            settings,
            batches,
            imagined,
            lessons,
            ..
        } = &*self;
        let (settings, batches, imagined, lessons) =
            (settings.clone(), *batches, *imagined, *lessons);
        let work = |worker: &mut Worker, parameters: &[f32]| {
            let Worker {
                thread,
                rows,
                imagined: others,
                model,
                inputs,
                targets,
            } = worker;
            let (own, all) = (rows.len(), rows.len() + others.len());
            if batches.begins(step) {
                model.reset(0..own);
            }
            if imagined.is_some_and(|imagined| imagined.begins(step)) {
                model.reset(own..all);
            }
            inputs.clear();
            targets.clear();
            let mut probabilities = Vec::new();
            let mut places = batches.places(step, rows.clone());
            let more = imagined.as_ref();
            let mut more = more.map(|imagined| imagined.places(step, others.clone()));
            for _ in 0..batches.sequence() {
                for at in places.by_ref().take(own) {
                    inputs.push(text.get(at));
                    targets.push(text.get(at + 1));
                    probabilities.extend(lessons.map(|lessons| lessons.of_text(at)));
                }
                if let (Some(more), Some(lessons)) = (&mut more, lessons) {
                    for at in more.take(others.len()) {
                        inputs.push(lessons.imagined()[at]);
                        targets.push(lessons.imagined()[at + 1]);
                        probabilities.push(lessons.of_imagined(at));
                    }
                }
            }
            let soft = lessons.map(|_| Soft {
                weight: settings.soft,
                probabilities,
            });
            model.train_by(
                parameters,
                inputs,
                targets,
                soft.as_ref(),
                &mut random::stream(settings.seed, Purpose::Dropout, step, *thread),
            )
        };
        self.updater.step(
            &mut self.workers,
            work,
            |worker| worker.model.gradient(),
            predictions,
        )
    }
}
