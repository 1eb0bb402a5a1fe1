//! What networks other than language models are for, in float: a class for a text, a text for a text, a text for features.

use pipsqueak::{Sampler, Settings};

use crate::generate::{LOGIT_BITS, fixed};
use crate::network::{Feeds, Network};

/// The token that a decoder is fed first. It never comes out.
pub const START: &str = "<s>";
/// The token that ends what a decoder says.
pub const END: &str = "<eos>";
/// The token for a word that a vocabulary lacks.
pub const UNKNOWN: &str = "<unk>";

/// The scores of every class for `tokens`.
///
/// # Panics
/// If there is no token, or one is not below V.
pub fn classify(network: &Network, tokens: &[u16]) -> Vec<f32> {
    let tokens = tokens.iter().map(|token| usize::from(*token)).collect();
    let feeds = Feeds {
        tokens,
        ..Feeds::default()
    };
    network.run(&feeds).head
}

/// The largest one's place; the first of equal ones.
pub fn best(scores: &[f32]) -> u16 {
    let larger = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
    (0..scores.len()).fold(0, larger) as u16
}

/// What the decoder says to `source`, always the likeliest token, until its end or after `limit` tokens. The end is left out.
///
/// # Panics
/// If the network has no encoder, no vocabulary with [`START`] and [`END`], or a token is not below V.
pub fn translate(network: &Network, source: &[u16], limit: usize) -> Vec<u16> {
    let source = Feeds {
        tokens: source.iter().map(|token| usize::from(*token)).collect(),
        ..Feeds::default()
    };
    let feeds = Feeds {
        encoder: Some(Box::new(source)),
        ..Feeds::default()
    };
    decode(network, &feeds, limit, best)
}

/// A text for `features`, a value for each of the network's channels, drawn by `settings`, of at most `limit` tokens. The end is
/// left out.
///
/// # Panics
/// If the network has no vocabulary with [`START`] and [`END`], or takes another number of features.
pub fn describe(network: &Network, features: &[f32], settings: Settings, limit: usize) -> Vec<u16> {
    let feeds = Feeds {
        features: features.to_vec(),
        ..Feeds::default()
    };
    let sampler = Sampler::new(settings.temperature, settings.top_k);
    let mut rng = settings.rng();
    decode(network, &feeds, limit, |logits| {
        sampler.draw(&fixed(logits), LOGIT_BITS, &mut rng)
    })
}

fn decode(
    network: &Network,
    feeds: &Feeds,
    limit: usize,
    mut choose: impl FnMut(&[f32]) -> u16,
) -> Vec<u16> {
    let [start, end] = [START, END].map(|text| special(network, text));
    let mut state = network.begin(feeds);
    let (mut said, mut token) = (Vec::new(), start);
    while said.len() < limit {
        network.step(&mut state, token);
        let mut logits = network.logits(&state);
        logits[usize::from(start)] = f32::MIN;
        token = choose(&logits);
        if token == end {
            break;
        }
        said.push(token);
    }
    said
}

fn special(network: &Network, text: &str) -> u16 {
    let texts = network.vocabulary().texts().iter();
    let mut ids = texts.zip(0..).filter(|(token, _)| *token == text);
    ids.next().expect("the decoder's vocabulary has a start and an end").1
}
