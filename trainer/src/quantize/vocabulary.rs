//! Texts of what goes in and what comes out.

use crate::network::{Input, Network, Reads};
use crate::vocab::{Level, Specials, Vocabulary, VocabularyError};
use pipsqueak::encode::VocabularyParts;
use pipsqueak::image;

/// Of what goes in, where it is something else than what comes out; and of what comes out.
pub(super) fn vocabularies(network: &Network) -> [VocabularyParts; 2] {
    let none = VocabularyParts::default;
    let own = parts(network.vocabulary.as_ref());
    // Tokens that come out are those that go in.
    let speaks = match &network.input {
        Input::Tokens { count, .. } => {
            network.head.reads == Reads::EveryStep && outputs(network) == *count
        }
        _ => false,
    };
    match &network.encoder {
        Some(encoder) => [
            parts(encoder.vocabulary.as_ref()),
            if speaks { own } else { none() },
        ],
        None if speaks => [none(), own],
        None => [own, none()],
    }
}

/// Values that the head gives.
fn outputs(network: &Network) -> usize {
    let dense = network.head.dense.last().map(|last| last.w.rows);
    let top = || network.layers.last().map(|top| top.hidden());
    dense.or_else(top).unwrap_or(network.input.width())
}

fn parts(vocabulary: Option<&Vocabulary>) -> VocabularyParts {
    let Some(vocabulary) = vocabulary else {
        return VocabularyParts::default();
    };
    let Specials {
        start,
        eos,
        pad,
        unk,
    } = vocabulary.specials();
    VocabularyParts {
        level: vocabulary.level(),
        tokens: vocabulary.texts().to_vec(),
        start: vocabulary.start(),
        specials: image::Specials {
            start,
            eos,
            pad,
            unk,
        },
    }
}

/// The vocabulary of an image.
///
/// # Errors
/// If it is none of ours: an image made elsewhere may hold a text twice.
pub fn vocabulary_of(vocabulary: pipsqueak::Vocabulary) -> Result<Vocabulary, VocabularyError> {
    let image::Specials {
        start,
        eos,
        pad,
        unk,
    } = vocabulary.specials();
    let specials = Specials {
        start,
        eos,
        pad,
        unk,
    };
    let bytes = Vocabulary::of_bytes();
    let text = |id: usize| match vocabulary.level() {
        Level::Bytes => bytes
            .texts()
            .get(id)
            .cloned()
            .unwrap_or_else(|| format!("<{id}>")),
        _ => String::from_utf8_lossy(vocabulary.text(id as u16)).into(),
    };
    Vocabulary::with(
        vocabulary.level(),
        specials,
        (0..vocabulary.len()).map(text).collect(),
    )
}
