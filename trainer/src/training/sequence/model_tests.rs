//! Gradients against finite differences, and the padded batch against the plain reading of the canonical network.

use super::batches::{predictions, rows};
use super::data::{Dataset, Example};
use super::model::{Model, Parts, Shape};
use super::settings::Task;
use super::trainer::network;
use crate::data::vocab::Vocabulary;
use crate::eval::tasks;
use crate::network::Provenance;
use crate::nn::random;
use crate::nn::rnn::Cells;
use crate::onnx;
use crate::training::settings::TrainSettings;
use crate::training::stack::StackShape;

const TASKS: [Task; 3] = [Task::Classify, Task::Translate, Task::Describe];

fn stack(tokens: usize, cells: &str, embedding: Option<usize>) -> StackShape {
    let cells: Cells = cells.parse().unwrap();
    StackShape {
        tokens,
        embedding,
        hidden: 5,
        cells: cells.stack(cells.len()).unwrap(),
    }
}

/// V of sources 7, of targets 6, 3 features.
fn shape(task: Task, cells: &str, embedding: Option<usize>) -> Shape {
    let (source, target) = (stack(7, cells, embedding), stack(6, cells, embedding));
    Shape {
        encoder: (task == Task::Translate).then(|| source.clone()),
        features: if task == Task::Describe { 3 } else { 0 },
        stack: if task == Task::Classify {
            source
        } else {
            target
        },
        outputs: 6,
        reads_last: task == Task::Classify,
    }
}

/// Rows of all lengths.
fn examples(task: Task, count: usize) -> Vec<Example> {
    let tokens = |phase: usize, length: usize, from: usize, count: usize| -> Vec<u16> {
        (0..length)
            .map(|i| (from + (i * i + 3 * i + phase) % count) as u16)
            .collect()
    };
    let example = |i: usize| Example {
        source: match task {
            Task::Describe => Vec::new(),
            _ => tokens(i, 1 + (3 * i) % 5, 0, 7),
        },
        features: match task {
            Task::Describe => vec![0.3 * i as f32, 1.0 - i as f32, (i % 2) as f32],
            _ => Vec::new(),
        },
        target: match task {
            Task::Classify => vec![(i % 6) as u16],
            _ => tokens(i + 1, 1 + (2 * i) % 4, 2, 4),
        },
        others: Vec::new(),
    };
    (0..count).map(example).collect()
}

fn values(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((1.0 + 2.3 * (i * i) as f64).sin() * 0.5) as f32)
        .collect()
}

fn loss_and_gradient(
    task: Task,
    shape: &Shape,
    parameters: &[f32],
    examples: &[Example],
    dropout: f32,
) -> (f64, Vec<f32>) {
    let rows = rows(task, &examples.iter().collect::<Vec<_>>(), 0, 1);
    let mut model = Model::new(shape.clone(), dropout);
    let mut random = random::stream(0, random::Purpose::Dropout, 0, 0);
    let loss = model.train(parameters, &rows, &mut random);
    (loss, model.gradient().to_vec())
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for task in TASKS {
        for (cells, embedding, dropout) in [
            ("gru", None, 0.0),
            ("lstm", None, 0.0),
            ("rnn", None, 0.0),
            ("gru", Some(4), 0.3),
            ("lstm,gru", Some(3), 0.0),
            ("rnn,lstm", Some(4), 0.4),
        ] {
            let shape = shape(task, cells, embedding);
            let examples = examples(task, 5);
            let mut parameters = values(shape.parameters());
            let run = |parameters: &[f32]| {
                loss_and_gradient(task, &shape, parameters, &examples, dropout)
            };
            let (_, gradient) = run(&parameters);
            let mut worst = 0f64;
            for i in (0..parameters.len()).step_by(1 + parameters.len() / 300) {
                let value = parameters[i];
                let step = 0.01;
                let mut at = |offset: f32| {
                    parameters[i] = value + offset;
                    let loss = run(&parameters).0;
                    parameters[i] = value;
                    loss
                };
                // Five points: the error is of the fourth order, so that the step can be large against rounding.
                let slope = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step)))
                    / (12.0 * f64::from(step));
                worst = worst.max((slope - f64::from(gradient[i])).abs() / (1.0 + slope.abs()));
            }
            assert!(
                worst < 1e-3,
                "{task:?}, {cells}, embedding {embedding:?}, dropout {dropout}: {worst}"
            );
            assert!(gradient.iter().any(|value| value.abs() > 0.1));
        }
    }
}

/// The independent reading, one example at a time, before and after the file: no padding, and another code.
#[test]
fn the_padded_loss_is_that_of_the_canonical_network_and_of_its_file() {
    for task in TASKS {
        for (cells, embedding) in [("gru", None), ("lstm", Some(4)), ("rnn,lstm", None)] {
            let shape = shape(task, cells, embedding);
            let examples = examples(task, 9);
            let parameters = values(shape.parameters());
            let (loss, _) = loss_and_gradient(task, &shape, &parameters, &examples, 0.0);
            let letters = |text: &str| Vocabulary::of_characters(text).unwrap();
            let data = Dataset {
                source: (task != Task::Describe).then(|| letters("abcdefg")),
                channels: match task {
                    Task::Describe => ["length", "a", "b"].map(String::from).to_vec(),
                    _ => Vec::new(),
                },
                target: letters("uvwxyz"),
                train: examples.clone(),
                validation: Vec::new(),
                left_out: 0,
            };
            let network = network(&shape, &parameters, &data, Provenance::default());
            assert_eq!(network.parameters(), shape_parameters(&shape, &network));
            let count: usize = examples.iter().map(|e| predictions(task, e)).sum();
            let expected = count as f64 * tasks::loss(&network, task, &examples, 2).unwrap();
            assert!(
                (loss - expected).abs() < 1e-4 * expected,
                "{task:?}, {cells}: {loss}, expected {expected}"
            );
            let again = onnx::read(&onnx::write(&network)).unwrap();
            assert!(again == network, "{task:?}, {cells}: the file's network");
        }
    }
}

/// The canonical network has recurrent biases that are 0 and not trained.
fn shape_parameters(shape: &Shape, network: &crate::network::Network) -> usize {
    let cells = network.layers().iter().filter_map(|layer| layer.cell());
    let zeros = cells.map(|layer| match layer {
        crate::network::RecurrentCell::Gru(gru) => 2 * gru.r.columns,
        crate::network::RecurrentCell::Lstm(lstm) => 4 * lstm.r.columns,
        crate::network::RecurrentCell::Rnn(rnn) => rnn.r.columns,
    });
    shape.parameters() + zeros.sum::<usize>()
}

/// Of every part of the canonical network what 4 bits hold, and nothing else.
#[test]
fn rounding_changes_the_layers_of_both_networks_and_the_head_alone() {
    for task in TASKS {
        for (bits, input_bits, head_bits) in [(4, None, 4), (4, Some(8), 8), (8, None, 4)] {
            let settings = TrainSettings {
                bits,
                input_bits,
                head_bits,
                ..TrainSettings::for_units(5, 1_000)
            };
            let shape = shape(task, "gru,lstm", Some(4));
            let parameters = values(shape.parameters());
            let rounded = shape.rounder(&settings).round(&parameters).to_vec();
            let (before, after) = (shape.network(&parameters), shape.network(&rounded));
            let what = format!("{task:?}, {bits}, {input_bits:?}, {head_bits}");
            assert_eq!(before.starts, after.starts, "{what}");
            assert_eq!(before.head.w != after.head.w, head_bits == 4, "{what}");
            assert_eq!(before.head.b, after.head.b, "{what}");
            let stacks = |parts: Parts| [Some(parts.stack), parts.encoder].into_iter().flatten();
            for ((table, layers), (same, changed)) in stacks(before).zip(stacks(after)) {
                assert_eq!(table, same, "{what}");
                for (index, (before, after)) in layers.iter().zip(&changed).enumerate() {
                    let ((w, r, wb, rb), of) = (before.weights(), after.weights());
                    let mixed = index == 0 && input_bits == Some(8);
                    assert_eq!(w != of.0, bits == 4 && !mixed, "{what}, layer {index}");
                    assert_eq!(r != of.1, bits == 4, "{what}, layer {index}");
                    assert_eq!((wb, rb), (of.2, of.3), "{what}, layer {index}");
                }
            }
        }
    }
}
