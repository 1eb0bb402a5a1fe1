//! The vocabularies of a model file.

use crate::data::tokenizer::{Vocabulary, VocabularyError};
use crate::network::Network;
use pipsqueak::Tokenization;
use pipsqueak::encode::VocabularyParams;

/// The vocabulary of the inputs, where they are something else than the outputs; and that of the outputs.
pub(super) fn vocabularies(network: &Network) -> [VocabularyParams; 2] {
    let own = params(network.vocabulary.as_ref());
    let is_autoregressive = network.output().every_step
        && network.labels.is_none()
        && network.tokens() == network.output_width();
    let labels = params(network.labels.as_ref());
    match () {
        () if network.has_source() => [
            params(network.source_vocabulary.as_ref()),
            if is_autoregressive { own } else { labels },
        ],
        () if is_autoregressive => [names(&network.feature_names), own],
        () if network.tokens() == 0 => [names(&network.feature_names), labels],
        () => [own, labels],
    }
}

/// The names of the conditioning features.
fn names(names: &[String]) -> VocabularyParams {
    VocabularyParams {
        tokens: names.to_vec(),
        ..VocabularyParams::default()
    }
}

fn params(vocabulary: Option<&Vocabulary>) -> VocabularyParams {
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

/// The vocabulary of a model file.
///
/// # Errors
/// If the trainer has no such vocabulary: a model file made elsewhere may hold a text twice.
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
