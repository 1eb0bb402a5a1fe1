//! What the name of a counted function says of the network whose characters are counted. `build.rs` makes the images by it,
//! and `firmware/host` fits what they cost.
//!
//! ```text
//! fitted_v96four_e32_s2_after200mixed_lstm64
//! ```
//!
//! The first word says whether the prediction of what a character costs is fitted to the counts or only tried on them
//! (`unseen`). Then come tokens, the embedding's elements (0 for a token table), steps per token if there are more than one,
//! and each layer's cell and units, a GRU's by where its reset gate is. `four` or `mixed` after a number is the width of the
//! weights where it is not 8 bits: after the tokens the head's, after units the layer's.

use pipsqueak::{Cell, RecurrentLayerConfig, WeightFormat};

/// The network.
pub struct Named {
    /// V
    pub tokens: usize,
    /// The format of the head's weights.
    pub head: WeightFormat,
    /// Elements of the embedding; 0 for a token table.
    pub embedding: usize,
    /// How often all layers step for a token.
    pub steps_per_token: u8,
    /// The layers, from the input on.
    pub layers: Vec<RecurrentLayerConfig>,
}

/// What `name` says; none if it is not the name of a shape.
pub fn parse(name: &str) -> Option<Named> {
    let mut words = name.split('_').peekable();
    if !matches!(words.next()?, "fitted" | "unseen") {
        return None;
    }
    let (tokens, head) = number(words.next()?.strip_prefix('v')?)?;
    let embedding = words.next()?.strip_prefix('e')?.parse().ok()?;
    let steps = words.next_if(|word| word.starts_with('s'));
    let steps_per_token = steps.map_or(Some(1), |word| word[1..].parse().ok())?;
    let layers: Option<Vec<RecurrentLayerConfig>> = words.map(layer).collect();
    Some(Named {
        tokens: tokens.into(),
        head: head[1],
        embedding,
        steps_per_token,
        layers: layers?,
    })
}

/// A layer's cell, units and width.
fn layer(word: &str) -> Option<RecurrentLayerConfig> {
    let cells = [
        ("after", Cell::GruResetAfter),
        ("before", Cell::GruResetBefore),
        ("lstm", Cell::Lstm),
        ("rnn", Cell::Rnn),
    ];
    let known = |&(start, cell)| Some((word.strip_prefix(start)?, cell));
    let (rest, cell) = cells.iter().find_map(known)?;
    let (units, formats) = number(rest)?;
    Some(RecurrentLayerConfig::new(cell, units).with_formats(formats))
}

/// A number and the formats of weights after it, over the input and over the state.
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
