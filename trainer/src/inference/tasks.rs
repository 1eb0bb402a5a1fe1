//! What networks other than language models are for, in float: a class for a text, a text for a text, a text for features.

use crate::inference::generate::{FloatGenerator, GREEDY};
use crate::network::{Inputs, Network, SubnetInputs};
use pipsqueak::SamplingParams;

/// The scores of every class for `tokens`.
///
/// # Panics
/// If there is no token, or one is not below V.
pub fn classify(network: &Network, tokens: &[u16]) -> Vec<f32> {
    let outputs = network.run(&Inputs::of_tokens(tokens));
    outputs.values.into_iter().next().unwrap_or_default()
}

/// The largest one's place; the first of equal ones.
pub fn best(scores: &[f32]) -> u16 {
    let larger = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
    (0..scores.len()).fold(0, larger) as u16
}

/// What the decoder says to `source`, always the likeliest token, until its end or after `limit` tokens. The end is left out.
///
/// # Panics
/// If the network has no encoder or no vocabulary, or a token is not below V.
pub fn translate(network: &Network, source: &[u16], limit: usize) -> Vec<u16> {
    let inputs = Inputs {
        source: SubnetInputs::of_tokens(source),
        ..Inputs::default()
    };
    say(network, &inputs, GREEDY, limit)
}

/// A text for `features`, a value for each of the network's channels, drawn by `settings`, of at most `limit` tokens. The end is
/// left out.
///
/// # Panics
/// If the network has no vocabulary, or takes another number of features.
pub fn describe(
    network: &Network,
    features: &[f32],
    settings: SamplingParams,
    limit: usize,
) -> Vec<u16> {
    let inputs = Inputs {
        features: features.to_vec(),
        ..Inputs::default()
    };
    say(network, &inputs, settings, limit)
}

/// A text that is no feature vector.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// A name that no channel has.
    #[error("{found:?} is no feature of the model: expected some of {}", .channels.join(", "))]
    Name {
        /// The name.
        found: String,
        /// Those that there are.
        channels: Vec<String>,
    },
    /// A value that is no number.
    #[error("found {0:?}, expected name=number")]
    Value(String),
}

/// The names in `text` and their values, such as `length=0.5, a`: a name alone is 1. Where a value is no number, that part of the
/// text is the error.
pub fn named(text: &str) -> impl Iterator<Item = Result<(&str, f32), &str>> {
    let between = |c: char| c == ',' || c.is_ascii_whitespace();
    let parts = text.split(between).filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, "1"));
        let value = value.parse().ok().filter(|value: &f32| value.is_finite());
        value.map(|value| (name, value)).ok_or(part)
    })
}

/// The values of `channels` that `text` [names](named); what is not named is 0.
///
/// ```
/// let channels = ["length".to_owned(), "a".to_owned()];
/// assert_eq!(trainer::inference::tasks::features(&channels, "length=0.5"), Ok(vec![0.5, 0.0]));
/// assert!(trainer::inference::tasks::features(&channels, "height=2").is_err());
/// ```
///
/// # Errors
/// If a name is unknown, or a value is no number.
pub fn features(channels: &[String], text: &str) -> Result<Vec<f32>, FeatureError> {
    let mut values = vec![0.0; channels.len()];
    for part in named(text) {
        let (name, value) = part.map_err(|part| FeatureError::Value(part.into()))?;
        let Some(channel) = channels.iter().position(|channel| channel == name) else {
            let (found, channels) = (name.to_owned(), channels.to_vec());
            return Err(FeatureError::Name { found, channels });
        };
        values[channel] = value;
    }
    Ok(values)
}

fn say(network: &Network, inputs: &Inputs, settings: SamplingParams, limit: usize) -> Vec<u16> {
    let generator = FloatGenerator::from_state(network, network.initial_state(inputs), settings);
    generator.take(limit).collect()
}
