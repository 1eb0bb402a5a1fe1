//! Texts of what goes in and what comes out.

use crate::data::tokenizer::{Vocabulary, VocabularyError};
use crate::network::{Network, Reads};
use pipsqueak::Tokenization;
use pipsqueak::encode::VocabularyParams;

/// Of what goes in, where it is something else than what comes out; and of what comes out.
pub(super) fn vocabularies(network: &Network) -> [VocabularyParams; 2] {
    let own = parts(network.vocabulary.as_ref());
    // Tokens that come out are those that go in.
    let speaks = network.head.reads == Reads::EveryStep
        && network.labels.is_none()
        && network.tokens() == network.output_width();
    let labels = parts(network.labels.as_ref());
    match &network.encoder {
        Some(encoder) => [
            parts(encoder.vocabulary.as_ref()),
            if speaks { own } else { labels },
        ],
        None if speaks => [channels(&network.channels), own],
        None if network.tokens() == 0 => [channels(&network.channels), labels],
        None => [own, labels],
    }
}

/// The names of a feature vector's values.
fn channels(names: &[String]) -> VocabularyParams {
    VocabularyParams {
        tokens: names.to_vec(),
        ..VocabularyParams::default()
    }
}

fn parts(vocabulary: Option<&Vocabulary>) -> VocabularyParams {
    let Some(vocabulary) = vocabulary else {
        return VocabularyParams::default();
    };
    VocabularyParams {
        tokenization: vocabulary.tokenizer().tokenization(),
        tokens: vocabulary.tokens().to_vec(),
        initial_token: vocabulary.initial_token(),
        special_tokens: vocabulary.specials(),
    }
}

/// The vocabulary of an image.
///
/// # Errors
/// If it is none of ours: an image made elsewhere may hold a text twice.
pub fn vocabulary_of(vocabulary: pipsqueak::Vocabulary) -> Result<Vocabulary, VocabularyError> {
    let bytes = Vocabulary::of_bytes();
    let text = |id: usize| match vocabulary.tokenization() {
        Tokenization::Byte => bytes
            .tokens()
            .get(id)
            .cloned()
            .unwrap_or_else(|| format!("<{id}>")),
        _ => String::from_utf8_lossy(vocabulary.text(id as u16)).into(),
    };
    Vocabulary::with(
        vocabulary.tokenization(),
        vocabulary.special_tokens(),
        (0..vocabulary.len()).map(text).collect(),
    )
}
