//! What a model file says of the outputs.

use crate::network::{Network, Normalization, Output, VectorId};
use pipsqueak::encode::VocabularyParams;
use pipsqueak::format::{self, OutputConfig, Role};

/// An output's vector, meaning and normalization.
pub(super) fn output_config(
    network: &Network,
    output: &Output,
    vocabularies: &[VocabularyParams; 2],
) -> OutputConfig {
    OutputConfig {
        vector: format_id(output.vector),
        role: role(network, output, vocabularies),
        every_step: output.every_step,
        normalization: match output.normalization {
            Normalization::None => format::Normalization::None,
            Normalization::Softmax => format::Normalization::Softmax,
            Normalization::LogSoftmax => format::Normalization::LogSoftmax,
        },
    }
}

/// What the values of an output mean.
fn role(network: &Network, output: &Output, vocabularies: &[VocabularyParams; 2]) -> Role {
    let [source, target] = vocabularies.each_ref().map(|v| !v.tokens.is_empty());
    // Tokens of another vocabulary than the source's are those that the network generates.
    let own = network.has_source() || network.features() > 0 || !source;
    let tokens = network.tokens();
    if tokens > 0 && network.size(output.vector) == tokens && output.every_step && own {
        Role::Logits
    } else if target || output.normalization != Normalization::None {
        Role::Scores
    } else {
        Role::Values
    }
}

/// A vector's number in a model file, whose layers were counted.
pub(super) fn format_id(id: VectorId) -> format::VectorId {
    match id.is_cell_state {
        true => format::VectorId::cell_state(id.layer),
        false => format::VectorId::result(id.layer),
    }
}
