//! One optimizer step on whole sequences after the other.

use super::batches::{Epochs, predictions, rows};

use super::model::{Model, Shape};
use super::settings::SequenceSettings;
use crate::data::examples::{Example, ExampleSet, Task};
use crate::network::Provenance;
use crate::network::{Dim, ElementType, Port, Role};
use crate::network::{Head, Input, Interface, Network, Reads, Start, Starts, StateId};
use crate::nn::random::{self, Purpose};
use crate::quantize::Options;
use crate::training::update::{Diverged, Progress, Step, Updater};

/// A decoder's special tokens come first in its vocabulary.
pub(crate) const START: u16 = 0;
/// As [`START`].
pub(crate) const END: u16 = 1;

/// One thread's rows of each batch.
struct Worker {
    thread: usize,
    model: Model,
}

/// A training: the network, the optimizer, the workers.
pub struct Trainer<'d> {
    task: Task,
    seed: u64,
    widths: Options<'static>,
    data: &'d ExampleSet,
    shape: Shape,
    epochs: Epochs,
    workers: Vec<Worker>,
    updater: Updater,
}

/// The network's shape on these examples.
///
/// # Panics
/// If the settings are not good by [`SequenceSettings::check`].
pub fn shape(settings: &SequenceSettings, data: &ExampleSet) -> Shape {
    let source = data
        .source
        .as_ref()
        .map(|source| settings.train.stack(source.len()));
    let outputs = data.target.len();
    let features = data.feature_names.len();
    match (settings.task, source) {
        (Task::Classify, Some(stack)) => Shape {
            encoder: None,
            features,
            stack,
            outputs,
            reads_last: true,
        },
        (_, encoder) => Shape {
            encoder,
            features,
            stack: settings.train.stack(outputs),
            outputs,
            reads_last: false,
        },
    }
}

impl<'d> Trainer<'d> {
    /// A training before its first step.
    ///
    /// # Panics
    /// If there is no example to train on, or the settings are not good by [`SequenceSettings::check`].
    pub fn new(settings: &SequenceSettings, data: &'d ExampleSet) -> Self {
        let shape = shape(settings, data);
        let train = &settings.train;
        let worker = |thread| Worker {
            thread,
            model: Model::new(shape.clone(), train.dropout),
        };
        Self {
            task: settings.task,
            seed: train.seed,
            widths: settings.widths(),
            data,
            epochs: Epochs::new(&data.train, train.batch, train.seed),
            workers: (0..train.threads.min(train.batch)).map(worker).collect(),
            updater: Updater::new(train, shape.initial(train.seed), shape.parts())
                .rounded_by(shape.rounder(train)),
            shape,
        }
    }

    /// The weights and what moves them.
    pub fn updater(&self) -> &Updater {
        &self.updater
    }

    /// Examples trained on so far; the last step of an epoch counts as whole.
    pub fn examples_seen(&self) -> u64 {
        self.updater.steps_done() * self.epochs.size() as u64
    }

    /// All that a resumed training needs.
    pub fn progress(&self) -> Progress {
        self.updater.progress(Vec::new())
    }

    /// Goes on from `progress`. False, and nothing changed, where it is not that of a training with these settings.
    pub fn resume(&mut self, progress: Progress) -> bool {
        self.updater.resume(progress)
    }

    /// One step. Each thread takes every so many of the batch's rows.
    ///
    /// # Errors
    /// If the training diverged. The weights are then those before the step.
    pub fn step(&mut self) -> Result<Step, Diverged> {
        let (step, seed, task) = (self.updater.steps_done(), self.seed, self.task);
        let batch = self.epochs.batch(step).iter().map(|i| &self.data.train[*i]);
        let batch: Vec<&Example> = batch.collect();
        let threads = self.workers.len();
        let work = |worker: &mut Worker, parameters: &[f32]| {
            let own = batch.iter().skip(worker.thread).step_by(threads);
            let rows = rows(task, &own.copied().collect::<Vec<_>>(), START, END);
            let mut random = random::stream(seed, Purpose::Dropout, step, worker.thread as u64);
            worker.model.train(parameters, &rows, &mut random)
        };
        let predictions: usize = batch.iter().map(|example| predictions(task, example)).sum();
        self.updater.step(
            &mut self.workers,
            work,
            |worker| worker.model.gradient(),
            predictions as f64,
        )
    }

    /// The network as it is, on its grids once its weights have been trained to be rounded.
    pub fn network(&self, provenance: Provenance) -> Network {
        let network = network(&self.shape, self.updater.model(), self.data, provenance);
        self.updater.on_grids(network, &self.widths)
    }
}

/// The parameters as the canonical network.
///
/// # Panics
/// If there are not as many parameters as the shape has.
pub fn network(
    shape: &Shape,
    parameters: &[f32],
    data: &ExampleSet,
    provenance: Provenance,
) -> Network {
    let parts = shape.network(parameters);
    let port = |name: &str, element, shape: Vec<Dim>, role| Port {
        name: name.into(),
        element,
        shape,
        role,
    };
    let one = Dim::Fixed(1);
    let tokens = |name| {
        port(
            name,
            ElementType::Int64,
            vec![one, Dim::Steps],
            Role::Tokens,
        )
    };
    let float = ElementType::Float;
    let zeros = |layers: usize| vec![Starts::default(); layers];

    let encoder = parts.encoder.map(|(embedding, layers)| {
        let vocabulary = data.source.clone();
        let count = vocabulary
            .as_ref()
            .map_or(0, crate::data::tokenizer::Vocabulary::len);
        Box::new(Network {
            vocabulary,
            labels: None,
            channels: Vec::new(),
            input: Input::Tokens { count, embedding },
            starts: zeros(layers.len()),
            steps_per_token: 1,
            grids: Default::default(),
            layers,
            head: Head {
                reads: Reads::LastStep,
                ..Head::default()
            },
            encoder: None,
            interface: Interface {
                inputs: vec![tokens("source")],
                outputs: Vec::new(),
            },
            provenance: Provenance::default(),
        })
    });
    let (embedding, layers) = parts.stack;
    let mut starts = zeros(layers.len());
    for (layer, (start, kind)) in starts.iter_mut().zip(&layers).enumerate() {
        let mut states = [&mut start.hidden, &mut start.cell];
        let states = states.iter_mut().take(1 + usize::from(kind.has_cell()));
        for (cell, start) in states.enumerate() {
            let id = StateId {
                layer,
                cell: cell == 1,
            };
            if encoder.is_some() {
                **start = Start::Encoder(id, Vec::new());
            } else if let Some(dense) = parts.starts.get(layer) {
                **start = Start::Features(vec![dense[cell].clone()]);
            }
        }
    }
    let mut inputs = vec![tokens("tokens")];
    if shape.features > 0 {
        let features = vec![one, Dim::Fixed(shape.features)];
        inputs.insert(0, port("features", float, features, Role::Features));
    }
    let outputs = Dim::Fixed(shape.outputs);
    let (reads, output) = if shape.reads_last {
        (
            Reads::LastStep,
            port("scores", float, vec![one, outputs], Role::Head),
        )
    } else {
        let logits = vec![one, Dim::Steps, outputs];
        (Reads::EveryStep, port("logits", float, logits, Role::Head))
    };
    let (vocabulary, labels) = if shape.reads_last {
        (data.source.clone(), Some(data.target.clone()))
    } else {
        (Some(data.target.clone()), None)
    };
    Network {
        vocabulary,
        labels,
        channels: data.feature_names.clone(),
        input: Input::Tokens {
            count: shape.stack.tokens,
            embedding,
        },
        layers,
        starts,
        steps_per_token: 1,
        grids: Default::default(),
        head: Head {
            reads,
            ..Head::logits(parts.head)
        },
        encoder,
        interface: Interface {
            inputs,
            outputs: vec![output],
        },
        provenance,
    }
}
