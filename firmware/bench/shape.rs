//! What the name of a measured function says of the network that it runs. `build.rs` makes the models by it, and `firmware/host`
//! fits what they cost.
//!
//! ```text
//! fitted_v96four_e32_s2_after200mixed_lstm64
//! ```
//!
//! The first word says whether the cost model is fitted to the measurement or only checked against it (`unseen`). Then come the
//! vocabulary size, the embedding dimension (0 for rows of gate inputs), steps per token if there are more than one, and each
//! layer's cell and hidden size, a GRU's by where its reset gate is. `four` (int4) or `mixed` (int8 over the input, int4 over the
//! hidden state) after a number is the weight format where it is not int8: after the vocabulary size that of the output layer.

use pipsqueak::encode::{ModelConfig, language_model};
use pipsqueak::format::OpConfig;
use pipsqueak::{Cell, RecurrentLayerConfig, WeightFormat};

/// The configuration that `name` describes; `None` if it is not such a name.
pub fn parse(name: &str) -> Option<ModelConfig> {
    let mut words = name.split('_').peekable();
    if !matches!(words.next()?, "fitted" | "unseen") {
        return None;
    }
    let (vocab_size, [output_format, _]) = number(words.next()?.strip_prefix('v')?)?;
    let embedding = words.next()?.strip_prefix('e')?.parse().ok()?;
    let steps = words.next_if(|word| word.starts_with('s'));
    let steps_per_token = steps.map_or(Some(1), |word| word[1..].parse().ok())?;
    let layers: Option<Vec<RecurrentLayerConfig>> = words.map(layer).collect();
    let mut config = language_model(vocab_size.into(), embedding, &layers?);
    config.metadata.steps_per_token[1] = steps_per_token;
    if let OpConfig::Dense { format, .. } = &mut config.layers.last_mut()?.op {
        *format = output_format;
    }
    Some(config)
}

/// A layer's cell, hidden size and weight formats.
fn layer(word: &str) -> Option<RecurrentLayerConfig> {
    let cells = [
        ("after", Cell::GruResetAfter),
        ("before", Cell::GruResetBefore),
        ("lstm", Cell::Lstm),
        ("rnn", Cell::Rnn),
    ];
    let known = |&(start, cell)| Some((word.strip_prefix(start)?, cell));
    let (rest, cell) = cells.iter().find_map(known)?;
    let (hidden_size, formats) = number(rest)?;
    Some(RecurrentLayerConfig::new(cell, hidden_size).with_formats(formats))
}

/// A number and the weight formats after it.
fn number(word: &str) -> Option<(u16, [WeightFormat; 2])> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let formats = match &word[digits.len()..] {
        "" => [WeightFormat::Int8; 2],
        "four" => [WeightFormat::Int4; 2],
        "mixed" => [WeightFormat::Int8Scaled, WeightFormat::Int4],
        _ => return None,
    };
    Some((digits.parse().ok()?, formats))
}
