//! What a training shows of its network: generated text, or examples and the outputs for them.

use pipsqueak::{SamplingParams, Temperature};

use crate::data::examples::{Example, ExampleSet};
use crate::data::task::Task;
use crate::inference::generate::FloatGenerator;
use crate::inference::tasks::{argmax, classify, generate_conditioned, translate};
use crate::network::Network;
use crate::training::Data;
use crate::training::config::Config;

/// Characters of a generated text.
const CHARACTERS: usize = 240;

/// Documents of a generated text, at most.
const DOCUMENTS: usize = 8;

/// Examples that are shown.
const EXAMPLES: usize = 5;

/// Tokens of a shown output, at most.
const TOKENS: usize = 60;

/// A sample of what the network does.
pub(super) fn sample(network: &Network, data: &Data, config: &Config) -> String {
    match data {
        Data::Text(_) => generated(network, config.optimizer.seed),
        Data::Lines(examples) => outputs(network, examples, config.data.task),
    }
}

fn generated(network: &Network, seed: u64) -> String {
    let vocabulary = network.vocabulary();
    // Where documents are short, there is room for some of them.
    let mut lines = Vec::new();
    let mut characters = 0;
    while characters < CHARACTERS && lines.len() < DOCUMENTS {
        let settings = SamplingParams {
            seed: seed.wrapping_add(lines.len() as u64),
            ..SamplingParams::default()
        };
        let generator = FloatGenerator::new(network, network.state(), &[], settings);
        let mut tokens = Vec::new();
        let mut text = String::new();
        for token in generator {
            tokens.push(token);
            text = vocabulary.decode(&tokens);
            if characters + text.chars().count() >= CHARACTERS {
                break;
            }
        }
        characters += text.chars().count() + 1;
        lines.push(text);
    }
    lines.join("\n")
}

/// Some examples of dev and the outputs for them, a line each.
fn outputs(network: &Network, data: &ExampleSet, task: Task) -> String {
    let examples = match &data.dev[..] {
        [] => &data.train,
        dev => dev,
    };
    let shown = examples.iter().take(EXAMPLES).enumerate();
    let line = |(seed, example)| format!("  {}", output(network, data, task, example, seed as u64));
    shown.map(line).collect::<Vec<_>>().join("\n")
}

fn output(
    network: &Network,
    data: &ExampleSet,
    task: Task,
    example: &Example,
    seed: u64,
) -> String {
    let target = |tokens: &[u16]| data.target.decode(tokens);
    let source = || {
        let vocabulary = data.source.as_ref().expect("a source");
        vocabulary.decode(&example.source)
    };
    match task {
        Task::Classifier => {
            let class = argmax(&classify(network, &example.source));
            format!("{} <- {}", data.target.token(class), source())
        }
        Task::SequenceToSequence => {
            let output = translate(network, &example.source, TOKENS);
            format!("{} -> {}", source(), target(&output))
        }
        Task::ConditionalGenerator | Task::LanguageModel => {
            let settings = SamplingParams {
                temperature: Temperature::DEFAULT,
                top_k: 0,
                seed,
            };
            let output = generate_conditioned(network, &example.features, settings, TOKENS);
            let features = data.feature_names.iter().zip(&example.features);
            let features = features.filter(|(_, value)| **value != 0.0);
            let features: Vec<String> = features
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{} -> {}", features.join(","), target(&output))
        }
    }
}
