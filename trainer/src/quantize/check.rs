//! The limits of a model file.

use super::token_input::cell;
use super::{QuantizeError, unsupported};
use crate::network::{Network, Op, Phase};
use pipsqueak::format::{MAX_DIM, MAX_INPUTS, MAX_LAYERS, MAX_OUTPUTS, MAX_STEPS_PER_TOKEN};

/// That a model file holds as many layers and as large ones, and that the integer runtime has such cells.
pub(super) fn check(network: &Network) -> Result<(), QuantizeError> {
    let limit = |what, found, limit| match found {
        n if n > limit => Err(QuantizeError::TooLarge { what, found, limit }),
        _ => Ok(()),
    };
    limit("layers", network.layers().len(), MAX_LAYERS)?;
    limit("outputs", network.outputs().len(), MAX_OUTPUTS)?;
    limit("steps", network.fixed_steps(), u16::MAX.into())?;
    for phase in network.step_phases() {
        for (number, (_, layer)) in network.recurrent(phase).enumerate() {
            cell(number, layer)?;
            limit("units in a layer", layer.hidden(), MAX_DIM.into())?;
        }
        let steps = network.steps_per_token(phase);
        limit("steps per token", steps, MAX_STEPS_PER_TOKEN.into())?;
    }
    for layer in network.layers() {
        limit("inputs of a layer", layer.inputs.len(), MAX_INPUTS)?;
        match &layer.op {
            Op::Token {
                vocab_size,
                embedding,
            } => {
                let columns = embedding.as_ref().map_or(0, |e| e.columns);
                limit("tokens", *vocab_size, u16::MAX.into())?;
                limit("elements in the embedding", columns, MAX_DIM.into())?;
            }
            Op::Frame { size } if layer.phase == Phase::Begin => {
                limit("elements in the feature vector", *size, MAX_DIM.into())?;
            }
            Op::Frame { size } => {
                limit("elements in an input vector", *size, MAX_DIM.into())?;
            }
            Op::Mean => {
                let input = &network.layers()[layer.inputs[0].layer];
                if matches!(input.op, Op::Frame { .. }) {
                    return unsupported(
                        "a mean over the input vectors themselves",
                        "a recurrent or a dense layer before it",
                    );
                }
            }
            Op::Constant(_) | Op::Dense(_) | Op::Recurrent { .. } | Op::Sum => {}
        }
    }
    for output in network.outputs() {
        let layer = &network.layers()[output.vector.layer];
        if layer.reads_caller() || output.vector.is_cell_state {
            return unsupported(
                "an output that no layer computes",
                "a dense layer before it",
            );
        }
    }
    if network.has_source() && network.recurrent(Phase::Source).next().is_none() {
        return unsupported("an encoder without recurrent layers", "at least one");
    }
    Ok(())
}
