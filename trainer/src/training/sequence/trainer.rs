//! One optimizer step on whole sequences after the other.

use super::batches::{Epochs, predictions, rows};
use super::data::{Dataset, Example};
use super::model::{Model, Shape};
use super::settings::{SequenceSettings, Task};
use crate::data::vocab::Vocabulary;
use crate::network::{
    Builder, Dim, ElementType, InitialState, Network, Normalization, Phase, Provenance, Signature,
    TensorRole, TensorSpec, VectorId,
};
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
    data: &'d Dataset,
    shape: Shape,
    epochs: Epochs,
    workers: Vec<Worker>,
    updater: Updater,
}

/// The network's shape on these examples.
///
/// # Panics
/// If the settings are not good by [`SequenceSettings::check`].
pub fn shape(settings: &SequenceSettings, data: &Dataset) -> Shape {
    let source = data
        .source
        .as_ref()
        .map(|source| settings.train.stack(source.len()));
    let outputs = data.target.len();
    let features = data.channels.len();
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
    pub fn new(settings: &SequenceSettings, data: &'d Dataset) -> Self {
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
    data: &Dataset,
    provenance: Provenance,
) -> Network {
    let parts = shape.network(parameters);
    let mut builder = Builder::default();
    let features = (shape.features > 0).then(|| builder.features(Phase::Step, shape.features));
    let mut encoder = Vec::new();
    if let Some((embedding, layers)) = parts.encoder {
        let tokens = data.source.as_ref().map_or(0, Vocabulary::len);
        let mut x = builder.tokens(Phase::Source, tokens, embedding);
        for cell in layers {
            x = builder.recurrent(Phase::Source, x, cell, Default::default());
            encoder.push(x);
        }
    }
    let (embedding, layers) = parts.stack;
    let mut inits = Vec::new();
    for (number, cell) in layers.iter().enumerate() {
        let mut init = [InitialState::Zero; 2];
        let states = init.iter_mut().take(1 + usize::from(cell.has_cell()));
        for (state, init) in states.enumerate() {
            let is_cell_state = state == 1;
            if let Some(layer) = encoder.get(number) {
                *init = InitialState::Vector(VectorId {
                    is_cell_state,
                    ..*layer
                });
            } else if let (Some(features), Some(dense)) = (features, parts.starts.get(number)) {
                let name = Builder::initial_name(Phase::Step, number, is_cell_state);
                let dense = vec![dense[state].clone()];
                *init = InitialState::Vector(builder.dense(Phase::Begin, &name, features, dense));
            }
        }
        inits.push(init);
    }
    let mut x = builder.tokens(Phase::Step, shape.stack.tokens, embedding);
    for (cell, init) in layers.into_iter().zip(inits) {
        x = builder.recurrent(Phase::Step, x, cell, init);
    }
    let name = if shape.reads_last { "scores" } else { "logits" };
    let outputs = builder.dense(Phase::Output, "head", x, vec![parts.head]);
    builder.output(name, outputs, !shape.reads_last, Normalization::None);
    let network = builder
        .build()
        .and_then(|network| network.with_signatures(signatures(shape, name)));
    let mut network = network.expect("the lengths are those of the shape");
    if shape.encoder.is_some() {
        network.source_vocabulary.clone_from(&data.source);
    }
    (network.vocabulary, network.labels) = if shape.reads_last {
        (data.source.clone(), Some(data.target.clone()))
    } else {
        (Some(data.target.clone()), None)
    };
    network.feature_names.clone_from(&data.channels);
    network.provenance = provenance;
    network
}

/// Names and shapes of what the ONNX file reads and gives, of the source and of the step.
fn signatures(shape: &Shape, output: &str) -> [Signature; 2] {
    let spec = |name: &str, element, shape: Vec<Dim>, role| TensorSpec {
        name: name.into(),
        element,
        shape,
        role,
    };
    let (one, float) = (Dim::Fixed(1), ElementType::Float);
    let tokens = |name| {
        let shape = vec![one, Dim::Steps];
        spec(name, ElementType::Int64, shape, TensorRole::Tokens)
    };
    let mut inputs = vec![tokens("tokens")];
    if shape.features > 0 {
        let features = vec![one, Dim::Fixed(shape.features)];
        inputs.insert(0, spec("features", float, features, TensorRole::Features));
    }
    let outputs = Dim::Fixed(shape.outputs);
    let outputs = match shape.reads_last {
        true => vec![one, outputs],
        false => vec![one, Dim::Steps, outputs],
    };
    let source = shape.encoder.iter().map(|_| tokens("source"));
    [
        Signature {
            inputs: source.collect(),
            outputs: Vec::new(),
        },
        Signature {
            inputs,
            outputs: vec![spec(output, float, outputs, TensorRole::Output)],
        },
    ]
}
