//! Networks that are language models.

use super::layer::{InitialState, Layer, Op, Phase};
use super::{Activation, Dense, Matrix, Network, RecurrentCell};
use crate::data::tokenizer::Vocabulary;

/// A network that is a language model: tokens in, the logits of the next token out at every step.
#[derive(Clone, Debug)]
pub struct LanguageModel<'n> {
    /// The V tokens.
    pub vocabulary: &'n Vocabulary,
    /// `[V][E]`, or none where the first layer's `w` takes a one-hot token (`E = V`).
    pub embedding: Option<&'n Matrix>,
    /// At least one.
    pub layers: Vec<&'n RecurrentCell>,
    /// A low-rank projection before the output layer, `[E][H]` of the last layer's units, without activation; mostly none.
    pub projection: Option<&'n Dense>,
    /// The output layer, `[V][H]`, or after a projection `[V][E]`, without activation.
    pub output: &'n Dense,
}

/// Why a network is no language model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the model is not a language model: found {found}, expected {expected}")]
pub struct NotLanguageModel {
    found: String,
    expected: &'static str,
}

impl Network {
    /// The parts of a language model.
    ///
    /// # Errors
    /// If the network is something else: the error says what stands in the way.
    pub fn as_language_model(&self) -> Result<LanguageModel<'_>, NotLanguageModel> {
        let refused = |found: String, expected| Err(NotLanguageModel { found, expected });
        let Some((_, reader)) = self.reader(Phase::Step) else {
            return refused("an input of features".into(), "tokens");
        };
        let Op::Token {
            vocab_size,
            embedding,
        } = &reader.op
        else {
            return refused("an input of float vectors".into(), "tokens");
        };
        if self.recurrent(Phase::Step).next().is_none() {
            return refused("no recurrent layer".into(), "at least one");
        }
        if self.has_source() {
            return refused("an encoder and a decoder".into(), "one network");
        }
        let has_vector = |init: &InitialState| matches!(init, InitialState::Vector(_));
        let own = self.layers().iter().find(|layer| match &layer.op {
            Op::Recurrent { init, .. } => init.iter().any(has_vector),
            _ => false,
        });
        if let Some(layer) = own {
            return refused(
                format!("{} with an initial state of its own", layer.name),
                "states of zeros, or given",
            );
        }
        let is_chain = |(index, layer): (usize, &Layer)| {
            let inputs = layer.inputs.iter().map(|id| id.layer);
            layer.reads_caller() || inputs.eq([index.wrapping_sub(1)])
        };
        let mut layers = self.layers().iter().enumerate();
        if !layers.all(is_chain) || self.outputs().len() != 1 {
            return refused("layers beside each other".into(), "one after another");
        }
        let dense: Vec<&Dense> = self.layers().iter().filter_map(|l| l.dense()).collect();
        let [projection, output] = match dense[..] {
            [output] => [None, Some(output)],
            [projection, output] => [Some(projection), Some(output)],
            _ => [None, None],
        };
        let Some(head) = output else {
            return refused(
                format!("a head of {} dense layers", dense.len()),
                "one, or two",
            );
        };
        let linear = |dense: &&Dense| dense.activation == Activation::Linear;
        let activation = dense.iter().find(|dense| !linear(dense));
        let activation = activation.map(|dense| dense.activation);
        let others = self.layers().iter().any(|layer| match layer.op {
            Op::Dense(_) => layer.phase != Phase::Output,
            Op::Token { .. } | Op::Recurrent { .. } => false,
            _ => true,
        });
        if !self.output().every_step || activation.is_some() || others {
            return refused(
                format!(
                    "an output {}, with activation {:?}",
                    match self.output().every_step {
                        true => "at every step",
                        false => "after the last step",
                    },
                    activation.unwrap_or_default()
                ),
                "logits at every step",
            );
        }
        if head.w.rows != *vocab_size {
            return refused(
                format!("{} outputs", head.w.rows),
                "as many as there are tokens",
            );
        }
        let Some(vocabulary) = &self.vocabulary else {
            return refused("no vocabulary".into(), "the tokens' texts");
        };
        Ok(LanguageModel {
            vocabulary,
            embedding: embedding.as_ref(),
            layers: self.recurrent(Phase::Step).map(|(_, cell)| cell).collect(),
            projection,
            output: head,
        })
    }
}
