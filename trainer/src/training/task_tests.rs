//! Gradients against finite differences, and the padded batch against the plain reading of the canonical network.

use super::buckets::padded_batch;
use super::config::QuantizationConfig;
use super::model_config::{ModelConfig, Pooling};
use super::network::TrainableNetwork;
use super::qat::FakeQuantizer;
use super::stack::DropoutRates;
use super::stack_config::StackConfig;
use super::to_network::{Vocabularies, from_network, to_network};
use crate::data::examples::{Example, ExampleSet, predictions};
use crate::data::task::Task;
use crate::data::tokenizer::Vocabulary;
use crate::eval::tasks;
use crate::network::{Network, Op, Phase, Provenance, RecurrentCell};
use crate::nn::random;
use crate::nn::rnn::Cells;
use crate::onnx;

const TASKS: [Task; 3] = [
    Task::Classifier,
    Task::SequenceToSequence,
    Task::ConditionalGenerator,
];

fn stack(vocab_size: usize, cells: &str, embedding_dim: Option<usize>) -> StackConfig {
    let cells: Cells = cells.parse().unwrap();
    StackConfig {
        vocab_size,
        embedding_dim,
        hidden_size: 5,
        cells: cells.stack(cells.len()).unwrap(),
    }
}

/// V of sources 7, of targets 6, 3 features.
fn shape(task: Task, cells: &str, embedding: Option<usize>) -> ModelConfig {
    let (source, target) = (stack(7, cells, embedding), stack(6, cells, embedding));
    ModelConfig {
        encoder: (task == Task::SequenceToSequence).then(|| source.clone()),
        num_features: if task == Task::ConditionalGenerator {
            3
        } else {
            0
        },
        stack: if task == Task::Classifier {
            source
        } else {
            target
        },
        output_size: 6,
        pooling: if task == Task::Classifier {
            Pooling::LastStep
        } else {
            Pooling::EveryStep
        },
        tie_embeddings: false,
        steps_per_token: 1,
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
            Task::ConditionalGenerator => Vec::new(),
            _ => tokens(i, 1 + (3 * i) % 5, 0, 7),
        },
        features: match task {
            Task::ConditionalGenerator => vec![0.3 * i as f32, 1.0 - i as f32, (i % 2) as f32],
            _ => Vec::new(),
        },
        target: match task {
            Task::Classifier => vec![(i % 6) as u16],
            _ => tokens(i + 1, 1 + (2 * i) % 4, 2, 4),
        },
        alternative_targets: Vec::new(),
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
    shape: &ModelConfig,
    parameters: &[f32],
    examples: &[Example],
    dropout: f32,
) -> (f64, Vec<f32>) {
    let batch = padded_batch(task, &examples.iter().collect::<Vec<_>>(), 0, 1);
    let rates = DropoutRates {
        layers: dropout,
        embedding: dropout,
    };
    let mut network = TrainableNetwork::new(shape.clone(), rates);
    let mut random = random::stream(0, random::Purpose::Dropout, 0, 0);
    let mut gradient = vec![0.0; parameters.len()];
    let loss = network.loss_and_gradient(parameters, &batch, None, &mut random, &mut gradient);
    (loss, gradient)
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for task in TASKS {
        for (cells, embedding, dropout, tied, steps_per_token) in [
            ("gru", None, 0.0, false, 1),
            ("lstm", None, 0.0, false, 1),
            ("rnn", None, 0.0, false, 2),
            ("gru", Some(4), 0.3, false, 1),
            ("lstm,gru", Some(3), 0.0, true, 2),
            ("rnn,lstm", Some(4), 0.4, false, 1),
            ("gru", Some(5), 0.3, true, 1),
        ] {
            let mut shape = shape(task, cells, embedding);
            shape.tie_embeddings = tied && task != Task::Classifier;
            shape.steps_per_token = steps_per_token;
            let examples = examples(task, 5);
            let mut parameters = values(shape.num_parameters());
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
        for (cells, embedding, tied, steps_per_token) in [
            ("gru", None, false, 1),
            ("lstm", Some(4), true, 1),
            ("gru", Some(5), true, 1),
            ("rnn,lstm", None, false, 1),
            ("gru", Some(4), false, 2),
        ] {
            let mut shape = shape(task, cells, embedding);
            if task != Task::Classifier {
                shape.tie_embeddings = tied;
                shape.steps_per_token = steps_per_token;
            }
            let examples = examples(task, 9);
            let parameters = values(shape.num_parameters());
            let (loss, _) = loss_and_gradient(task, &shape, &parameters, &examples, 0.0);
            let letters = |text: &str| Vocabulary::of_characters(text).unwrap();
            let data = ExampleSet {
                source: (task != Task::ConditionalGenerator).then(|| letters("abcdefg")),
                feature_names: match task {
                    Task::ConditionalGenerator => ["length", "a", "b"].map(String::from).to_vec(),
                    _ => Vec::new(),
                },
                target: letters("uvwxyz"),
                train: examples.clone(),
                dev: Vec::new(),
                test: Vec::new(),
                skipped: 0,
                notices: Vec::new(),
            };
            let vocabularies = Vocabularies::of_examples(task, &data);
            let network = to_network(&shape, &parameters, &vocabularies, Provenance::default());
            if !shape.tie_embeddings {
                assert_eq!(network.parameters(), shape_parameters(&shape, &network));
            }
            let again = from_network(&network).unwrap();
            assert_eq!(again, (shape.clone(), parameters.clone(), vocabularies));
            let rows: Vec<&Example> = examples.iter().collect();
            let count: usize = examples.iter().map(|e| predictions(task, e)).sum();
            let expected = count as f64 * tasks::loss(&network, task, &rows, 2).unwrap();
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
fn shape_parameters(shape: &ModelConfig, network: &Network) -> usize {
    let cells = network.layers().iter().filter_map(|layer| layer.cell());
    let zeros = cells.map(|cell| match cell {
        RecurrentCell::Gru(gru) => 2 * gru.r.columns,
        RecurrentCell::Lstm(lstm) => 4 * lstm.r.columns,
        RecurrentCell::Rnn(rnn) => rnn.r.columns,
    });
    shape.num_parameters() + zeros.sum::<usize>()
}

/// Of every part of the canonical network what 4 bits hold, and nothing else.
#[test]
fn rounding_changes_the_layers_of_both_networks_and_the_head_alone() {
    for task in TASKS {
        for (bits, input_bits, head_bits) in [(4, None, 4), (4, Some(8), 8), (8, None, 4)] {
            let quantization = QuantizationConfig {
                weight_bits: bits,
                input_weight_bits: input_bits,
                output_weight_bits: head_bits,
                ..QuantizationConfig::default()
            };
            let shape = shape(task, "gru,lstm", Some(4));
            let parameters = values(shape.num_parameters());
            let mut quantizer = FakeQuantizer::new(&quantization, &shape);
            let rounded = quantizer.quantize(&parameters).to_vec();
            let letters = |text: &str| Vocabulary::of_characters(text).unwrap();
            let names = ["length", "a", "b"].map(String::from);
            let data = ExampleSet {
                source: (task != Task::ConditionalGenerator).then(|| letters("abcdefg")),
                feature_names: names[..shape.num_features].to_vec(),
                target: letters("uvwxyz"),
                train: Vec::new(),
                dev: Vec::new(),
                test: Vec::new(),
                skipped: 0,
                notices: Vec::new(),
            };
            let vocabularies = Vocabularies::of_examples(task, &data);
            let network =
                |parameters| to_network(&shape, parameters, &vocabularies, Provenance::default());
            let (before, after) = (network(&parameters), network(&rounded));
            let what = format!("{task:?}, {bits}, {input_bits:?}, {head_bits}");
            let first = |phase| before.recurrent(phase).next().map(|(index, _)| index);
            let first = [first(Phase::Source), first(Phase::Step)];
            let layers = before.layers().iter().zip(after.layers());
            for (index, (before, after)) in layers.enumerate() {
                let what = format!("{what}, {}", before.name);
                match (&before.op, &after.op) {
                    (
                        Op::Recurrent { cell, .. },
                        Op::Recurrent {
                            cell: quantized, ..
                        },
                    ) => {
                        let ((w, r, wb, rb), of) = (cell.weights(), quantized.weights());
                        let mixed = first.contains(&Some(index)) && input_bits == Some(8);
                        assert_eq!(w != of.0, bits == 4 && !mixed, "{what}");
                        assert_eq!(r != of.1, bits == 4, "{what}");
                        assert_eq!((wb, rb), (of.2, of.3), "{what}");
                    }
                    (Op::Dense(dense), Op::Dense(quantized)) if before.phase == Phase::Output => {
                        assert_eq!(dense.w != quantized.w, head_bits == 4, "{what}");
                        assert_eq!(dense.b, quantized.b, "{what}");
                    }
                    _ => assert_eq!(before, after, "{what}"),
                }
            }
        }
    }
}
