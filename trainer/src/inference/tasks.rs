//! Inference of classifiers, sequence-to-sequence models and conditional generators in float.

use crate::data::features::parse_features;
use crate::inference::generate::{FloatGenerator, GREEDY};
use crate::network::{Inputs, Network, SubnetInputs};
use pipsqueak::SamplingParams;

/// Returns the score of every class for `tokens`.
///
/// # Panics
/// Panics if `tokens` is empty or a token is V or more.
pub fn classify(network: &Network, tokens: &[u16]) -> Vec<f32> {
    let outputs = network.run(&Inputs::of_tokens(tokens));
    outputs.values.into_iter().next().unwrap_or_default()
}

/// Returns the index of the largest score, the first of equal ones.
pub fn argmax(scores: &[f32]) -> u16 {
    let larger = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
    (0..scores.len()).fold(0, larger) as u16
}

/// Decodes `source` greedily until EOS, which is left out, or `limit` tokens.
///
/// # Panics
/// Panics if the network has no encoder or no vocabulary, or a token is V or more.
pub fn translate(network: &Network, source: &[u16], limit: usize) -> Vec<u16> {
    let inputs = Inputs {
        source: SubnetInputs::of_tokens(source),
        ..Inputs::default()
    };
    decode(network, &inputs, GREEDY, limit)
}

/// Samples a text conditioned on `features`, one value for each feature of the network, until EOS, which is left out, or `limit`
/// tokens.
///
/// # Panics
/// Panics if the network has no vocabulary, or takes another number of features.
pub fn generate_conditioned(
    network: &Network,
    features: &[f32],
    settings: SamplingParams,
    limit: usize,
) -> Vec<u16> {
    let inputs = Inputs {
        features: features.to_vec(),
        ..Inputs::default()
    };
    decode(network, &inputs, settings, limit)
}

/// Why a text is not a feature vector.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// The model has no feature of this name.
    #[error("the model has no feature {found:?}: expected some of {}", .names.join(", "))]
    Name {
        /// The name.
        found: String,
        /// The names of the model's features.
        names: Vec<String>,
    },
    /// The value is not a finite number.
    #[error("found {0:?}, expected name=number")]
    Value(String),
}

/// Returns the values of the features `names` that `text` [names](parse_features); features that are not named are 0.
///
/// ```
/// let names = ["length".to_owned(), "a".to_owned()];
/// assert_eq!(trainer::inference::tasks::feature_vector(&names, "length=0.5"), Ok(vec![0.5, 0.0]));
/// assert!(trainer::inference::tasks::feature_vector(&names, "height=2").is_err());
/// ```
///
/// # Errors
/// If a name is unknown, or a value is not a finite number.
pub fn feature_vector(names: &[String], text: &str) -> Result<Vec<f32>, FeatureError> {
    let mut values = vec![0.0; names.len()];
    for part in parse_features(text) {
        let (name, value) = part.map_err(|part| FeatureError::Value(part.into()))?;
        let Some(index) = names.iter().position(|known| known == name) else {
            let (found, names) = (name.to_owned(), names.to_vec());
            return Err(FeatureError::Name { found, names });
        };
        values[index] = value;
    }
    Ok(values)
}

fn decode(network: &Network, inputs: &Inputs, settings: SamplingParams, limit: usize) -> Vec<u16> {
    let generator = FloatGenerator::from_state(network, network.initial_state(inputs), settings);
    generator.take(limit).collect()
}
